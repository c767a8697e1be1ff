"""What can go wrong with an environment, and where it went wrong.

The kit above turns these into its own errors; this package stays usable without it.
"""

import re
import traceback
import warnings
from collections.abc import Iterable
from math import isfinite
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from rllib.envs.located import Located


class EnvSetupError(ValueError):
    """An environment cannot be made or used as asked; the message names the fix."""


class EnvFault(Located, RuntimeError):
    """An environment raised, died, or returned a value that cannot be trained on.

    The message carries the environment's own traceback as text, because the exception crosses
    process borders, where ``__cause__`` is lost.
    """


_SIGNATURE = re.compile(r"unexpected keyword argument '(seed|options)'")


def signature_hint(error: BaseException) -> str:
    """How ``reset`` is to be written, where it does not take what it is called with."""
    if isinstance(error, TypeError) and _SIGNATURE.search(str(error)):
        return "; write it as reset(self, *, seed=None, options=None)"
    return ""


def raise_fault(
    error: BaseException, operation: str, env_index: int | None, step: int | None
) -> NoReturn:
    """Raise an ``EnvFault`` that tells where the environment's exception ``error`` came from."""
    who = "vector environment" if env_index is None else f"environment {env_index}"
    when = "" if step is None else f" at its env step {step}"
    # The first frame is the caller's try block: the reader wants the environment's own frames.
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, trace or error.__traceback__))
    message = f"{who} raised {type(error).__name__} in {operation}(){when}: {error}"
    message = f"{message}{signature_hint(error)}\n{text}"
    raise EnvFault(message.rstrip(), env_index=env_index, step=step) from error


class Closable(Protocol):
    """An environment, single or vector."""

    def close(self) -> Any:
        """Release it."""


def close_env(env: Closable) -> None:
    """Close an environment; what it raises is a warning, because all results are in by then."""
    try:
        env.close()
    except Exception as error:
        text = f"{env} raised {type(error).__name__} in close(): {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def field_path(root: str, keys: Iterable[Any]) -> str:
    """``obs['camera'][0]``: a part of a Dict by its key, of a Tuple by its index."""
    steps = (str(key) if str(key).isdigit() else repr(key) for key in keys)
    return root + "".join(f"[{step}]" for step in steps)


def _are_small(values: NDArray[Any]) -> bool:
    """Whether a few numbers are finite, and so are their squares: NaN and infinity are in any sum.

    Takes a third of the time, which is felt where there are few numbers.
    """
    if values.size > 4096 or values.dtype.char not in "fd":
        return False
    return isfinite(np.vdot(values, values))


class Nonfinite(NamedTuple):
    """A NaN or infinity: in which part of packed observations, at which indices, and which."""

    names: tuple[str, ...]
    place: tuple[int, ...]
    value: float


def find_nonfinite(values: NDArray[Any]) -> Nonfinite | None:
    """The first NaN or infinity in ``values`` (any shape), ``None`` if all are finite.

    Of a structured array it is the one of the smallest first index: the oldest of a fragment.
    """
    if values.dtype.names is not None:
        parts = {name: find_nonfinite(values[name]) for name in values.dtype.names}
        found = [bad._replace(names=(name, *bad.names)) for name, bad in parts.items() if bad]
        return min(found, key=lambda bad: bad.place[:1], default=None)
    if values.dtype.kind not in "fc" or _are_small(values) or np.isfinite(values).all():
        return None
    flat = int(np.argmin(np.isfinite(values)))
    place = tuple(int(i) for i in np.unravel_index(flat, values.shape))
    return Nonfinite((), place, float(values[place]))


def check_finite(field: str, values: NDArray[Any], first_step: int) -> None:
    """Refuse NaN and infinity in ``values`` [T, N, ...], whose row 0 is vector step ``first_step``.

    Raises:
        EnvFault: naming the environment, the vector step, the field and the value.
    """
    bad = find_nonfinite(values)
    if bad is None:
        return
    row, env_index, *inner = bad.place
    step = first_step + row
    field = field_path(field, bad.names)
    where = field_path(field, inner)
    raise EnvFault(
        f"environment {env_index} returned {where} = {bad.value} at vector step {step}; "
        "training on it would spoil every weight. Make the environment return finite numbers.",
        env_index=env_index,
        step=step,
        field=field,
        value=bad.value,
    )
