"""Chains of layers that pass at the same time, by several threads."""

import ctypes
from collections.abc import Callable, Sequence

from rllib.kernels.dense import DenseKernel
from rllib.kernels.library import library


class _Pass(ctypes.Structure):
    """``Pass`` of dense.c."""

    _fields_ = (
        ("chain", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("num_rows", "num_trained", "features_from")),
    )


class Together:
    """The numbers are those of each chain alone, whatever the number of threads.

    Each thread takes the rows of a chain that are next, or the outputs of a layer whose parameters'
    gradients are next.

    Args:
        chains: they, and what they read and write, stay where they are.
        num_threads: at most.

    Attributes:
        address: of the ``Pass`` of each chain, one after the other.
    """

    def __init__(self, chains: Sequence[DenseKernel], num_threads: int) -> None:
        functions = library()
        assert functions is not None, "the chains are compiled"
        self._functions = functions
        self.chains, self.num_threads = list(chains), num_threads
        self._passes = (_Pass * len(self.chains))(*(_Pass(each.address) for each in self.chains))
        self.address = ctypes.addressof(self._passes)

    def load(self) -> None:
        """Take over the weights as they are now."""
        self._do(self._functions.dense_load_all)

    def forward(self, num_rows: int) -> None:
        """From what each chain took, to its ``outputs``."""
        for each in self._passes:
            each.num_rows = num_rows
        self._do(self._functions.dense_forward_all)

    def backward(self, num_rows: int, num_trained: int) -> None:
        """From each chain's ``of_outputs`` of the first rows of the latest ``forward``.

        Args:
            num_rows: which of them have a gradient.
            num_trained: the first of these are those that the parameters' gradients are of; the
                others' go on to ``of_features``.
        """
        for each in self._passes:
            each.num_rows, each.num_trained, each.features_from = num_rows, num_trained, num_trained
        self._do(self._functions.dense_backward_all)

    def _do(self, function: Callable[..., None]) -> None:
        function(self.address, len(self.chains), self.num_threads)
