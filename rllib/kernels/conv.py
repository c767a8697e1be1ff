"""Convolutions over images of bytes, compiled: in bfloat16, where the processor multiplies such.

Legend: B rows, C channels, H x W pixels, O outputs of a layer, P pixels of its results; B' and O'
in whole pairs and vectors.
"""

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.kernels.dense import Floats, whole
from rllib.kernels.library import library

Halves = NDArray[np.int16]
"""The bits of bfloat16, for which numpy has no numbers."""
Bytes = NDArray[np.uint8]

MOST_CONVS = 16
"""Layers that there may be; as ``conv.h`` has it."""
_LANES, _PAIR = 16, 2
_LINE = 64
"""As ``conv.c`` has them."""


class ConvLayer(NamedTuple):
    """A convolution without padding, and the rectifier after it.

    Attributes:
        outputs: O.
        kernel: height and width, in pixels.
        stride: likewise.
    """

    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]


class ConvParameters(NamedTuple):
    """Of a layer, or their gradients.

    Attributes:
        weight: [O, C, height, width].
        bias: [O].
    """

    weight: Floats
    bias: Floats


class ConvPass(NamedTuple):
    """What a way forward leaves for the way back.

    Attributes:
        images: [B, C, H, W] or [B, H, W, C] that it is of.
        features: [B, O x P] of the last layer: numbers that bfloat16 has, too.
        results: [B', P, O'] of each layer; none where there is no way back.
    """

    images: Bytes
    features: Floats
    results: list[Halves]


class _Layer(ctypes.Structure):
    """``Conv`` of conv.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("channels", "in_h", "in_w", "in_c")),
        *((name, ctypes.c_int64) for name in ("outputs", "out_h", "out_w", "out_c")),
        *((name, ctypes.c_int64) for name in ("kernel_h", "kernel_w", "stride_h", "stride_w")),
        ("scale", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "of_weight", "of_bias")),
        *((name, ctypes.c_void_p) for name in ("by_input", "by_output", "start", "known")),
        ("windows", ctypes.c_void_p),
    )


class _Convs(ctypes.Structure):
    """``Convs`` of conv.h."""

    _fields_ = (
        ("layers", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("num_layers", "num_rows", "num_threads")),
        ("images", ctypes.c_void_p),
        ("channels_last", ctypes.c_int64),
        ("results", ctypes.c_void_p * MOST_CONVS),
        *((name, ctypes.c_void_p) for name in ("features", "of_features", "sums")),
        *((name, ctypes.c_void_p) for name in ("rooms", "busy")),
        *((name, ctypes.c_int64) for name in ("num_parts", "num_sums", "room_size")),
    )


def has_conv() -> bool:
    """Whether a ``ConvKernel`` can be made: it was compiled, and for such a processor."""
    functions = library()
    return functions is not None and bool(functions.conv_is_possible())


class ConvKernel:
    """Layers, one after the other, over bytes that are scaled to [0, 1].

    Args:
        layers: from 1 to ``MOST_CONVS``.
        shape: of an image, [C, H, W] or [H, W, C].
        channels_last: whether it is the latter.

    Attributes:
        num_features: O x P of the last layer.
    """

    def __init__(
        self, layers: Sequence[ConvLayer], shape: tuple[int, ...], *, channels_last: bool
    ) -> None:
        functions = library()
        assert functions is not None, "has_conv has looked"
        self._functions = functions
        self._arguments = (tuple(layers), shape, channels_last)
        self._arrays: list[NDArray[Any]] = []
        self._layers = (_Layer * len(layers))()
        self._lay_out(layers, (shape[2], *shape[:2]) if channels_last else shape)
        self._convs = _Convs(ctypes.addressof(self._layers), len(layers))
        self._convs.channels_last = channels_last
        self._address = ctypes.addressof(self._convs)
        functions.conv_prepare(self._address)
        self._convs.sums = self._room(self._convs.num_parts * self._convs.num_sums, np.float32)
        self.use_threads(1)
        self._unused: list[list[Halves]] = []
        last = self._layers[-1]
        self.num_features = last.outputs * last.out_h * last.out_w

    def __reduce__(self) -> Any:
        """Copies have their own memory."""
        return _made, self._arguments

    def _lay_out(self, layers: Sequence[ConvLayer], shape: tuple[int, ...]) -> None:
        """Sizes, and room for copies of weights; an image is [C, H, W]."""
        channels, height, width = shape
        wide = whole(channels, _PAIR)
        for i, (struct, layer) in enumerate(zip(self._layers, layers, strict=True)):
            struct.channels, struct.in_h, struct.in_w, struct.in_c = channels, height, width, wide
            struct.kernel_h, struct.kernel_w = layer.kernel
            struct.stride_h, struct.stride_w = layer.stride
            num_weights = prod(layer.kernel) * layer.outputs
            size = prod(layer.kernel) * wide * whole(layer.outputs, _LANES)
            struct.known = self._room(num_weights * channels + layer.outputs, np.float32)
            height, width = (
                (pixels - kernel) // stride + 1
                for pixels, kernel, stride in zip(
                    (height, width), layer.kernel, layer.stride, strict=True
                )
            )
            channels, wide = layer.outputs, whole(layer.outputs, _LANES)
            struct.outputs, struct.out_h, struct.out_w, struct.out_c = channels, height, width, wide
            struct.scale = 1.0 if i else 1.0 / 255.0
            struct.by_input = self._room(size, np.int16)
            struct.by_output = self._room(size, np.int16) if i else None
            struct.start = self._room(wide, np.float32)
            struct.windows = self._room(_PAIR * height * width, np.int64)

    def _room(self, size: int, dtype: type[np.generic]) -> int:
        """Address of so many zeros, which live as long as this."""
        self._arrays.append(np.zeros(size, dtype))
        return self._arrays[-1].ctypes.data

    def use_threads(self, num_threads: int) -> None:
        """So many, at most; the numbers are the same."""
        convs = self._convs
        if num_threads != convs.num_threads:
            self._rooms = np.empty(num_threads * convs.room_size + _LINE, np.int16)
            self._busy = np.zeros(num_threads, np.int8)
            address = self._rooms.ctypes.data
            convs.rooms, convs.busy = address + -address % _LINE, self._busy.ctypes.data
            convs.num_threads = num_threads

    def forward(
        self, images: Bytes, parameters: Sequence[ConvParameters], *, keep: bool
    ) -> ConvPass:
        """Of images [B, *shape], contiguous.

        Args:
            images: they.
            parameters: of each layer, contiguous.
            keep: whether there may be a way back.
        """
        for struct, each in zip(self._layers, parameters, strict=True):
            struct.weight, struct.bias = each.weight.ctypes.data, each.bias.ctypes.data
        self._functions.conv_load(self._address)
        num_rows = len(images)
        passed = ConvPass(
            images,
            np.empty((num_rows, self.num_features), np.float32),
            self._results(num_rows) if keep else [],
        )
        self._point(passed)
        self._convs.features = passed.features.ctypes.data
        self._functions.conv_forward(self._address)
        return passed

    def _results(self, num_rows: int) -> list[Halves]:
        """Room for them, that of an earlier pass if there is any: fresh memory would be slower."""
        found = self._unused.pop() if self._unused else []
        if not found or len(found[0]) < num_rows:
            wide = whole(num_rows, _PAIR)
            sizes = [(each.out_h * each.out_w, each.out_c) for each in self._layers]
            found = [np.empty((wide, *size), np.int16) for size in sizes]
        return found

    def give_back(self, passed: ConvPass) -> None:
        """Nobody will go back this way again."""
        self._unused = [passed.results]

    def _point(self, passed: ConvPass) -> None:
        convs = self._convs
        convs.num_rows, convs.images = len(passed.images), passed.images.ctypes.data
        for i in range(len(self._layers)):
            convs.results[i] = passed.results[i].ctypes.data if passed.results else None

    def backward(self, passed: ConvPass, gradient: Floats) -> list[ConvParameters]:
        """From the gradient [B, O x P] of features to those of each layer's parameters.

        The weights are to be those of the way forward.
        """
        found = [
            ConvParameters(
                np.empty((each.outputs, each.channels, each.kernel_h, each.kernel_w), np.float32),
                np.empty(each.outputs, np.float32),
            )
            for each in self._layers
        ]
        for struct, of_layer in zip(self._layers, found, strict=True):
            struct.of_weight, struct.of_bias = (each.ctypes.data for each in of_layer)
        self._point(passed)
        self._convs.of_features = gradient.ctypes.data
        self._functions.conv_backward(self._address)
        return found


def _made(layers: Sequence[ConvLayer], shape: tuple[int, ...], channels_last: bool) -> ConvKernel:
    return ConvKernel(layers, shape, channels_last=channels_last)
