"""Adam's step over one vector, compiled.

Legend: P parameters.
"""

import ctypes

from rllib.kernels.dense import Floats
from rllib.kernels.library import library

MOST = 1 << 18
"""Parameters: of so many this takes less than half of torch's time, but of several times as many
memory takes it, and torch may have several threads. By how many it does not go: the numbers are to
be the same."""


class _Adam(ctypes.Structure):
    """``Adam`` of adam.c."""

    _fields_ = (
        ("size", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("flat", "gradient", "exp_avg", "exp_avg_sq")),
        *((name, ctypes.c_double) for name in ("lr", "beta1", "beta2", "epsilon")),
        *((name, ctypes.c_double) for name in ("correction1", "correction2", "factor", "norm")),
    )


class AdamKernel:
    """Works on four vectors [P] in float32, which stay where they are.

    Args:
        flat: parameters.
        gradient: of the same.
        exp_avg: first moments.
        exp_avg_sq: second moments.
        betas: decay of both.
        epsilon: added to the root of the second.
    """

    def __init__(
        self,
        flat: Floats,
        gradient: Floats,
        exp_avg: Floats,
        exp_avg_sq: Floats,
        betas: tuple[float, float],
        epsilon: float,
    ) -> None:
        functions = library()
        assert functions is not None, "whoever makes one has looked"
        self._functions = functions
        self._arrays = flat, gradient, exp_avg, exp_avg_sq
        pointers = (each.ctypes.data for each in self._arrays)
        self._adam = _Adam(flat.size, *pointers, 0.0, *betas, epsilon)
        self._address = ctypes.addressof(self._adam)

    def norm(self) -> float:
        """Euclidean norm of the gradient; not finite if any of it is not."""
        self._functions.adam_norm(self._address)
        norm: float = self._adam.norm
        return norm

    def scale(self, factor: float) -> None:
        """Multiply the gradient."""
        self._adam.factor = factor
        self._functions.adam_scale(self._address)

    def step(self, lr: float, num_steps: int) -> None:
        """A step against the gradient.

        Args:
            lr: step size.
            num_steps: which one it is, from 1.
        """
        adam = self._adam
        adam.lr = lr
        adam.correction1 = 1.0 - adam.beta1**num_steps
        adam.correction2 = 1.0 - adam.beta2**num_steps
        self._functions.adam_step(self._address)
