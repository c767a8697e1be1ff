"""How an environment gets on with what is around it: gymnasium's checker, processes, vectors."""

import re
import warnings
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
from gymnasium.utils.env_checker import check_env as check_by_gymnasium
from gymnasium.vector.utils import concatenate, create_empty_array

from rllib.envs.check.findings import Finding, error, raised, warning
from rllib.envs.check.play import Env, sample_action
from rllib.envs.check.spaces import mask_sizes_of
from rllib.envs.faults import EnvFault, EnvSetupError
from rllib.envs.make import EnvSource, make_vector_env
from rllib.envs.packing import unpack
from rllib.envs.vector import VectorEnv

_TASTE = (
    "space minimum value is -infinity",
    "space maximum value is infinity",
    "we recommend using a symmetric and normalized space",
    "is different from the unwrapped version",
    "Not able to test alternative render modes",
)
"""What gymnasium says of sound environments too."""

_MILD = ("share an object", "random number generator")
"""What it takes for an error and does no harm here: observations are copied in every backend, and
whether seeds are obeyed is seen from the episodes themselves."""

_COLOUR = re.compile(r"\x1b\[\d+m")


def check_gymnasium(env: Env) -> Iterator[Finding]:
    """Everything that gymnasium's own checker looks at, but for rendering."""
    failure: Exception | None = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            check_by_gymnasium(env.unwrapped, skip_render_check=True)
        except Exception as stopped:
            failure = stopped
    for text in dict.fromkeys(_plain(each.message) for each in said):
        if not any(taste in text for taste in _TASTE):
            yield warning(_THEIRS, text)
    if failure is not None:
        text = _plain(failure) or type(failure).__name__
        yield (warning if any(mild in text for mild in _MILD) else error)(_THEIRS, text)


_THEIRS = "gymnasium's check_env"


def _plain(message: object) -> str:
    return " ".join(_COLOUR.sub("", str(message)).removeprefix("WARN: ").split())


def check_travel(source: EnvSource, *spaces: Any) -> Iterator[Finding]:
    """What makes the environment reaches other processes, and so do its spaces."""
    for name, value in (("env", source), ("spaces", spaces)):
        try:
            cloudpickle.loads(cloudpickle.dumps(value))
        except Exception as failure:
            text = f"cannot be sent to env runners: {type(failure).__name__}: {failure}"
            fix = "make what it needs (files, locks, connections) in the constructor, not before"
            yield error(f"pickling of {name}", text, fix)


def check_vector(source: EnvSource, config: dict[str, Any]) -> Iterator[Finding]:
    """Two at once by the backend that training would take."""
    try:
        vector = make_vector_env(source, 2, "auto", config)
    except EnvSetupError as failure:
        yield error("vector", str(failure))
        return
    try:
        _play_vector(vector)
    except EnvFault as failure:
        yield error("vector", str(failure).partition("\n")[0])
    except Exception as failure:
        yield raised("vector", failure)
    else:
        mode = vector.env.metadata["autoreset_mode"]
        text = f"backend {vector.backend!r}, autoreset mode {getattr(mode, 'name', mode)}"
        yield Finding("note", "vector", text)
    finally:
        vector.close()


def _play_vector(vector: VectorEnv) -> None:
    space, sizes = vector.action_space, mask_sizes_of(vector)
    space.seed(0)
    obs = vector.reset(seed=0)
    for _ in range(20):
        rows = [unpack(obs[index]) for index in range(vector.num_envs)]
        actions = [sample_action(space, row, sizes) for row in rows]
        batch: Any = create_empty_array(space, vector.num_envs)
        with np.errstate(all="ignore"):
            obs = vector.step(concatenate(space, actions, batch)).obs
