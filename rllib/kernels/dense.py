"""A chain of fully connected layers with its memory, whose passes are compiled.

Legend: B rows, I inputs, O outputs; I', O', B' the same in whole vectors and tiles.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.kernels.library import library

Floats = NDArray[np.float32]

ACTIVATIONS = {"linear": 0, "tanh": 1, "relu": 2}
"""Those that there are, by their numbers in ``dense.c``."""
_LANES, _TILE_ROWS = 16, 8
"""As ``dense_passes.h`` has them at most."""


class DenseLayer(NamedTuple):
    """Parameters of a layer, in float32 and contiguous, and what follows it.

    Attributes:
        weight: [O, I].
        bias: [O].
        activation: one of ``ACTIVATIONS``.
        of_weight: [O, I] for its gradient; None where nothing is trained.
        of_bias: [O].
    """

    weight: Floats
    bias: Floats
    activation: str
    of_weight: Floats | None = None
    of_bias: Floats | None = None


class _Layer(ctypes.Structure):
    """``Layer`` of dense.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "activation")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "of_weight", "of_bias")),
        *((name, ctypes.c_void_p) for name in ("by_input", "by_output", "start")),
        *((name, ctypes.c_void_p) for name in ("sums", "start_sums", "results", "of_argument")),
    )


class _Chain(ctypes.Structure):
    """``Chain`` of dense.c."""

    _fields_ = (
        ("layers", ctypes.c_void_p),
        ("num_layers", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("features", "of_features")),
    )


class DenseKernel:
    """Layers, one after the other.

    Args:
        layers: at least one; their parameters stay where they are from here on.

    Raises:
        ValueError: a parameter is of another type or shape, or is not contiguous.
        RuntimeError: nothing was compiled; ask ``library`` first.

    Attributes:
        parameters: the layers.
        shapes: [O, I] of each of them.
        address: of the ``Chain`` of dense.c.
        capacity: rows that there is room for; all of these move when it grows:
        features: [capacity, I] of the latest ``forward``.
        outputs: [capacity, O] of the latest ``forward``.
        of_outputs: [capacity, O] gradient of the same.
        of_features: [capacity, I] gradient of the inputs, where one was asked for.
    """

    def __init__(self, layers: Sequence[DenseLayer]) -> None:
        if (functions := library()) is None:
            raise RuntimeError("there are no compiled kernels here")
        _check(layers)
        self._functions = functions
        self.parameters = list(layers)
        self.shapes = [layer.weight.shape for layer in layers]
        self.num_inputs, self.num_outputs = layers[0].weight.shape[1], len(layers[-1].bias)
        self._layers = (_Layer * len(layers))()
        self._chain = _Chain(ctypes.addressof(self._layers), len(layers))
        self.address = ctypes.addressof(self._chain)
        self._arrays: dict[tuple[int, str], NDArray[Any]] = {}
        for struct, layer in zip(self._layers, layers, strict=True):
            self._place(struct, layer)
        self.capacity = -1
        self.reserve(0)

    def _place(self, struct: _Layer, layer: DenseLayer) -> None:
        """Tell where the parameters are, and make room for copies in whole vectors."""
        outputs, inputs = layer.weight.shape
        struct.inputs, struct.outputs = inputs, outputs
        struct.activation = ACTIVATIONS[layer.activation]
        given = {"weight": layer.weight, "bias": layer.bias}
        own = {"by_input": _zeros(inputs, outputs), "start": _zeros(1, outputs)}
        if layer.of_weight is not None and layer.of_bias is not None:
            given |= {"of_weight": layer.of_weight, "of_bias": layer.of_bias}
            own["start_sums"] = _zeros(1, outputs)
            # Whole lines are read and written where they are.
            is_whole = inputs % _LANES == outputs % _TILE_ROWS == 0
            own["by_output"] = layer.weight if is_whole else _zeros(outputs, inputs)
            own["sums"] = layer.of_weight if is_whole else _zeros(whole(outputs, _LANES), inputs)
        for name, array in (given | own).items():
            self._give(struct, name, array)

    def _give(self, struct: ctypes.Structure, name: str, array: Floats) -> None:
        """Let a field point to an array, which lives until there is another one for it."""
        setattr(struct, name, array.ctypes.data)
        self._arrays[ctypes.addressof(struct), name] = array

    def reserve(self, num_rows: int) -> None:
        """Room for so many rows at least; if there was less, what there was is forgotten."""
        if num_rows <= self.capacity:
            return
        self.capacity = whole(num_rows, _TILE_ROWS)
        for struct in self._layers:
            self.outputs = self._rows(struct, "results", struct.outputs)
            self.of_outputs = self._rows(struct, "of_argument", struct.outputs)
        self.features = self._rows(self._chain, "features", self.num_inputs)
        self.of_features = self._rows(self._chain, "of_features", self.num_inputs)

    def _rows(self, struct: ctypes.Structure, name: str, width: int) -> Floats:
        array = _zeros(self.capacity, width)
        self._give(struct, name, array)
        return array[:, :width]

    def load(self) -> None:
        """Take over the weights as they are now: passes from here on are by these."""
        self._functions.dense_load(self.address)

    def forward(self, x: NDArray[Any]) -> Floats:
        """[B, O] of [B, I]; valid until the next call.

        Raises:
            ValueError: there are more or fewer than I inputs.
        """
        self.take(x)
        self._functions.dense_forward(self.address, len(x))
        return self.outputs[: len(x)]

    def take(self, x: NDArray[Any]) -> None:
        """Put inputs [B, I] where ``dense_forward`` reads them.

        Raises:
            ValueError: there are more or fewer than I inputs.
        """
        num_rows, width = x.shape
        if width != self.num_inputs:
            raise ValueError(f"got {width} inputs, but the layers take {self.num_inputs}")
        self.reserve(num_rows)
        self.features[:num_rows] = x

    def backward(self, gradient: Floats, *, of_inputs: bool = False) -> Floats | None:
        """From that of the latest outputs [B, O] to those of the parameters; all are overwritten.

        Returns:
            That of the inputs [B, I], if ``of_inputs``; valid until the next call.
        """
        num_rows = len(gradient)
        self.of_outputs[:num_rows] = gradient
        return self.go_back(num_rows, of_inputs=of_inputs)

    def go_back(self, num_rows: int, *, of_inputs: bool = False) -> Floats | None:
        """The same from what was written to ``of_outputs``, which is changed."""
        features_from = 0 if of_inputs else num_rows
        self._functions.dense_backward(self.address, num_rows, num_rows, features_from)
        return self.of_features[:num_rows] if of_inputs else None


def _check(layers: Sequence[DenseLayer]) -> None:
    width = layers[0].weight.shape[1]
    for layer in layers:
        outputs = len(layer.bias)
        shapes = {"weight": (outputs, width), "bias": (outputs,)}
        if layer.of_weight is not None:
            shapes |= {"of_weight": (outputs, width), "of_bias": (outputs,)}
        for name, shape in shapes.items():
            _check_array(name, getattr(layer, name), shape)
        width = outputs


def _check_array(name: str, array: Floats, shape: tuple[int, ...]) -> None:
    is_right = array.shape == shape and array.dtype == np.dtype(np.float32)
    if not (is_right and array.flags.c_contiguous):
        raise ValueError(
            f"{name} is to be a contiguous array of float32 of the shape {shape}, "
            f"not one of {array.dtype} of the shape {array.shape}"
        )


def _zeros(rows: int, width: int) -> Floats:
    """[rows, width in whole vectors], of which each begins with a cache line."""
    width = whole(width, _LANES)
    memory = np.zeros(rows * width + _LANES, np.float32)
    begin = -memory.ctypes.data // memory.itemsize % _LANES
    return memory[begin : begin + rows * width].reshape(rows, width)


def whole(number: int, multiple: int) -> int:
    """The next multiple."""
    return -(-number // multiple) * multiple
