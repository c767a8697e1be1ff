"""The layers of the default networks: fully connected, convolutions, memory.

Weights are orthogonal with gain sqrt(2) and biases 0, as in "The 37 Implementation Details of PPO"
(Huang et al. 2022).

Legend: ... leading dimensions, B sequences, L their length, D features, C x H x W an image.
"""

from collections.abc import Callable
from itertools import pairwise
from math import prod, sqrt
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib.config.model import ModelConfig
from rllib.errors import ConfigError
from rllib.modules.convolutions import Convolutions
from rllib.modules.dense import dense
from rllib.modules.initializers import initialize
from rllib.modules.observations import FEATURES, ObservationEncoder
from rllib.tensors import Tree, first_tensor, map_tree, to_tensors

Activation = Callable[[Tensor], Tensor]
LayerT = TypeVar("LayerT", bound=nn.Linear | nn.Conv2d)
State = dict[str, Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": nn.functional.silu,
    "linear": lambda x: x,
}

NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel and stride of DQN's convolutions (Mnih et al. 2015)."""

IMPALA_CHANNELS = (16, 32, 32)
"""Of the three sections of IMPALA's deep network (Espeholt et al. 2018, figure 3)."""


def linear(fan_in: int, fan_out: int, gain: float = sqrt(2)) -> nn.Linear:
    """A layer with orthogonal weights."""
    return _orthogonal(nn.Linear(fan_in, fan_out), gain)


def in_float32(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a layer makes of ``x``, in float32 also where others compute in 16 bits."""
    if not torch.is_autocast_enabled(x.device.type):
        return layer(x)
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


class Output(nn.Linear):
    """A last layer: it computes in float32 also where the others do in 16 bits, because of values
    and log probabilities small differences are taken.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return in_float32(super().forward, x)


def output(fan_in: int, fan_out: int, gain: float = 1.0) -> Output:
    """A last layer with orthogonal weights."""
    return _orthogonal(Output(fan_in, fan_out), gain)


def _orthogonal(layer: LayerT, gain: float = sqrt(2)) -> LayerT:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Module):
    """Hidden layers [..., D] -> [..., width of the last].

    Args:
        fan_in: D.
        model: widths, activation, LayerNorm and how weights are drawn ...
        stack: ... under the names that begin with this: ``"fcnet"``, ``"head_fcnet"`` or
            ``"fusionnet"``.
    """

    def __init__(self, fan_in: int, model: ModelConfig, stack: str) -> None:
        super().__init__()
        sizes = (fan_in, *model[f"{stack}_hiddens"])
        self.size = sizes[-1]
        self.layers = nn.ModuleList([linear(a, b) for a, b in pairwise(sizes)])
        has_norms = model.get(f"{stack}_use_layernorm", False)
        self.norms = nn.ModuleList([nn.LayerNorm(size) for size in sizes[1:] if has_norms])
        self.activation = ACTIVATIONS[model[f"{stack}_activation"]]
        self.is_relu = not has_norms and model[f"{stack}_activation"] == "relu"
        initialize(self, model, stack)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., size]."""
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear), "they all are"
            x = dense(x, layer.weight, layer.bias, relu=self.is_relu)
            if not self.is_relu:
                x = self.activation(self.norms[i](x) if self.norms else x)
        return x


class ImageEncoder(nn.Module):
    """Convolutions over images [..., H, W, C] or [..., C, H, W] -> [..., size].

    Args:
        shape: of one image; its channels are the smaller of the first and the last dimension.
        model: which convolutions.

    Raises:
        ConfigError: the convolutions leave nothing of an image of this shape.
    """

    def __init__(self, shape: tuple[int, ...], model: ModelConfig) -> None:
        super().__init__()
        self.shape = shape
        self.channels_last = shape[-1] < shape[0]
        channels, *pixels = (shape[-1], *shape[:-1]) if self.channels_last else shape
        self.layers = _convolutions(channels, model)
        initialize(self.layers, model, "conv")
        self.compiled = self._compiled(model)
        self.size = self._size_for(channels, pixels)

    def _compiled(self, model: ModelConfig) -> Convolutions | None:
        is_plain = model.conv_filters is not None or model.encoder != "impala"
        if not is_plain or model.conv_activation != "relu":
            return None
        layers = [each for each in self.layers.modules() if isinstance(each, nn.Conv2d)]
        return Convolutions(layers, self.shape, channels_last=self.channels_last)

    def _size_for(self, channels: int, pixels: list[int]) -> int:
        try:
            with torch.no_grad():
                return int(self.layers(torch.zeros(1, channels, *pixels)).numel())
        except RuntimeError as error:
            raise ConfigError(
                f"these convolutions do not fit an image of shape {self.shape}: {error}; set "
                "conv_filters to smaller ones, [[channels, kernel, stride], ...]"
            ) from None

    def forward(self, images: Tensor) -> Tensor:
        """[..., *shape] -> [..., size]; bytes are scaled to [0, 1]."""
        lead = images.shape[:-3]
        x = images.reshape(prod(lead), *images.shape[-3:])
        if self.compiled is not None and self.compiled.can_do(x):
            return self.compiled(x).reshape(*lead, self.size)
        if self.channels_last:
            x = x.movedim(-1, -3)
        out: Tensor = self.layers(_scaled(x))
        return out.reshape(*lead, self.size)


def compute_images(module: nn.Module, num_threads: int, *, in_16_bits: bool = False) -> None:
    """Say how encoders of images in a module compute, where something is compiled for them.

    Args:
        module: any.
        num_threads: that they may have.
        in_16_bits: whether in bfloat16 even if nothing else does; otherwise under ``autocast``.
    """
    for part in module.modules():
        if isinstance(part, ImageEncoder) and part.compiled is not None:
            part.compiled.num_threads, part.compiled.in_16_bits = num_threads, in_16_bits


def _scaled(images: Tensor) -> Tensor:
    """[B, C, H, W] as floats, of bytes from 0 to 1.

    Channels lie innermost in memory, by which convolutions on CPUs are about 1.4 times as fast, and
    where layers compute in 16 bits the images have as many: no byte loses anything by that.
    """
    device = images.device.type
    is_mixed = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if is_mixed else torch.float32
    if not images.is_contiguous(memory_format=torch.channels_last):
        # The same as ``contiguous(memory_format=...)``, which takes five times as long for bytes.
        images = torch.stack(images.unbind(1), -1).movedim(-1, 1)
    return images.to(dtype).div_(255.0) if images.dtype == torch.uint8 else images.to(dtype)


def _convolutions(channels: int, model: ModelConfig) -> nn.Module:
    if model.conv_filters is None and model.encoder == "impala":
        return _impala(channels)
    layers: list[nn.Module] = []
    for width, kernel, stride in model.conv_filters or NATURE:
        layers += [_orthogonal(nn.Conv2d(channels, width, kernel, stride))]
        layers += [_Activate(model.conv_activation)]
        channels = width
    return nn.Sequential(*layers, nn.Flatten())


class _Activate(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[name]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)


def _impala(channels: int) -> nn.Module:
    sections: list[nn.Module] = []
    for width in IMPALA_CHANNELS:
        sections += [_same_size(channels, width), nn.MaxPool2d(3, stride=2, padding=1)]
        sections += [_Residual(width), _Residual(width)]
        channels = width
    return nn.Sequential(*sections, nn.ReLU(), nn.Flatten())


def _same_size(channels: int, width: int) -> nn.Conv2d:
    return _orthogonal(nn.Conv2d(channels, width, 3, padding=1))


class _Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _same_size(width, width), _same_size(width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.second(torch.relu(self.first(torch.relu(x))))
        return x + inner


class Encoder(nn.Module):
    """All of an observation -> [..., size]: images by convolutions, then everything by an MLP.

    Args:
        observations: what ``ObservationEncoder.encode`` makes of the observation space.
        model: the networks' shape.
        num_more: features beside those of the observations.
    """

    def __init__(
        self, observations: ObservationEncoder, model: ModelConfig, num_more: int = 0
    ) -> None:
        super().__init__()
        self.observations = observations
        self.images = nn.ModuleDict(
            {
                name.replace(".", "_"): ImageEncoder(leaf.space.shape or (), model)
                for name, leaf in observations.images.items()
            }
        )
        self.names = list(observations.images)
        convolved = [int(part.size) for part in self.images.values()]  # type: ignore[arg-type]
        self.num_features = observations.size + num_more
        self.mlp = MLP(self.num_features + sum(convolved), model, "fcnet")
        self.size = self.mlp.size

    def forward(self, obs: Tree) -> Tensor:
        """What ``ObservationEncoder.encode`` gave, as tensors -> [..., size].

        Tensors of the observations as they are will also do.
        """
        obs = as_encoded(self.observations, obs, self.num_features)
        if isinstance(obs, Tensor):
            out: Tensor = self.mlp(obs)
            return out
        parts = [self.images[name.replace(".", "_")](obs[name]) for name in self.names]
        if FEATURES in obs:
            parts.append(obs[FEATURES])
        joined: Tensor = self.mlp(torch.cat(parts, -1) if len(parts) > 1 else parts[0])
        return joined


def as_encoded(
    observations: ObservationEncoder, obs: Tree, num_features: int | None = None
) -> Tree:
    """What ``ObservationEncoder.encode`` makes of tensors of observations, or already made.

    Args:
        observations: how they are encoded.
        obs: encoded or as they are.
        num_features: of those that are encoded, where there are others beside the observations'.
    """
    size = observations.size if num_features is None else num_features
    if not _is_raw(observations, obs, size):
        return obs
    arrays = map_tree(lambda tensor: tensor.cpu().numpy(), obs)
    return encoded_tensors(observations, arrays, first_tensor(obs).device)


def _is_raw(observations: ObservationEncoder, obs: Tree, size: int) -> bool:
    features = obs
    if isinstance(obs, dict):
        if observations.is_flat or not observations.images.keys() <= obs.keys():
            return True
        if not size:
            return False
        features = obs.get(FEATURES)  # may be a part of the environment's of that name
    elif not observations.is_flat:
        return True
    is_plain = isinstance(features, Tensor) and features.dtype == torch.float32
    return not is_plain or features.shape[-1] != size


def encoded_tensors(
    observations: ObservationEncoder, obs: NDArray[Any], device: torch.device | str = "cpu"
) -> Tree:
    """What ``ObservationEncoder.encode`` makes of observations, as tensors."""
    encoded = observations.encode(obs)
    if isinstance(encoded, dict):
        return {name: to_tensors(part).to(device) for name, part in encoded.items()}
    return to_tensors(encoded).to(device)


class Memory(nn.Module):
    """An LSTM (Hochreiter & Schmidhuber 1997) or GRU (Cho et al. 2014) over sequences.

    Args:
        fan_in: D.
        model: which of the two, size of state and output, and how weights are drawn.
    """

    def __init__(self, fan_in: int, model: ModelConfig) -> None:
        super().__init__()
        self.size = model.lstm_cell_size
        cells = nn.LSTM if model.use_lstm else nn.GRU
        self.cells = cells(fan_in, self.size, batch_first=True)
        self.parts = ("h", "c") if model.use_lstm else ("h",)
        for name, parameter in self.cells.named_parameters():
            if "weight" in name:
                nn.init.orthogonal_(parameter)
            else:
                nn.init.zeros_(parameter)
        initialize(self.cells, model, "lstm")

    def initial_state(self) -> State:
        """State of one sequence [size] at the beginning of an episode."""
        return {part: torch.zeros(self.size) for part in self.parts}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """[B, L, D] and state [B, size] -> [B, L, size] and state after the last step.

        A batch of single steps [B, D] -> [B, size].
        """
        sequences = x if x.dim() == 3 else x.unsqueeze(1)
        parts = [state[part].unsqueeze(0).contiguous() for part in self.parts]
        out, after = self.cells(sequences, tuple(parts) if len(parts) > 1 else parts[0])
        after = after if isinstance(after, tuple) else (after,)
        out = out if x.dim() == 3 else out.squeeze(1)
        return out, {part: h.squeeze(0) for part, h in zip(self.parts, after, strict=True)}


def memory_for(fan_in: int, model: ModelConfig) -> Memory | None:
    """The memory that ``model`` asks for, over features of width ``fan_in``."""
    return Memory(fan_in, model) if model.has_memory else None


def is_chain(model: ModelConfig) -> bool:
    """Whether there is nothing but fully connected layers, one after the other."""
    return not (model.has_memory or model.fcnet_use_layernorm or model.head_fcnet_use_layernorm)
