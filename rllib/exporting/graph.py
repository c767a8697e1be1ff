"""A policy from an environment's observation to its action, as one torch module with named inputs.

::

    observation (or observation.part) --normaliser--> features, images -> module -> action
    state_in.name -----------------------------------------------------'   '-----> state_out.name

What is numpy in training (encoding, normalising, fitting actions) is torch here. Legend: B rows.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rllib.actions.box import BoxHead
from rllib.columns import Columns
from rllib.connectors.base import is_number
from rllib.connectors.filters import MeanStdFilter, NormalizeRewards
from rllib.connectors.rewards import ClipRewards
from rllib.envs.make import Spaces
from rllib.envs.packing import Leaf, Packer
from rllib.errors import ConfigError
from rllib.modules.observations import ACTION_MASK, FEATURES, ObservationEncoder
from rllib.modules.rl_module import RLModule

OBSERVATION, STATE_IN, STATE_OUT = "observation", "state_in.", "state_out."
MEAN, STD = "normaliser_mean", "normaliser_std"
EPSILON = 1e-8


class PolicyGraph(nn.Module):
    """Greedy actions of a policy of this package.

    Args:
        module: with its weights.
        env_spaces: of the environment.
        pipeline: connectors of the policy: none, or a normaliser of observations.

    Attributes:
        inputs: names of ``forward``'s tensors, in their order.
        outputs: names of what it returns.

    Raises:
        ConfigError: a connector, module or action space that has no graph.
    """

    def __init__(self, module: RLModule, env_spaces: Spaces, pipeline: Any) -> None:
        super().__init__()
        self.module = module.eval()
        self.encoder = _encoder_of(module)
        self.packer = Packer(env_spaces.observation)
        self.fit = _Fit(module, env_spaces.action)
        self.clip: float | None = None
        self.is_normalised = False
        self._take_normaliser(list(pipeline))
        self.states = list(module.get_initial_state())
        self.inputs = [*map(name_of, self.packer.leaves), *(STATE_IN + s for s in self.states)]
        self.outputs = ["action", "action_dist_inputs", *(STATE_OUT + s for s in self.states)]

    def _take_normaliser(self, connectors: list[Any]) -> None:
        connectors = [c for c in connectors if not isinstance(c, ClipRewards | NormalizeRewards)]
        others = [type(c).__name__ for c in connectors if not isinstance(c, MeanStdFilter)]
        if others or len(connectors) > 1:
            names = ", ".join(others) or "two normalisers"
            text = f"{names} cannot be exported; of connectors, one MeanStdFilter can"
            raise ConfigError(text)
        for connector in connectors:
            total, self.clip = connector.moments.total, connector.clip
            self.is_normalised = True
            self.register_buffer(MEAN, torch.tensor(total.mean, dtype=torch.float32))
            self.register_buffer(STD, torch.tensor(total.std + EPSILON, dtype=torch.float32))

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of two rows: members of the spaces, and states at the beginning."""
        space = self.packer.space
        space.seed(0)
        rows = [self.packer.pack_one(space.sample())[None] for _ in range(2)]
        return self.tensors(np.concatenate(rows), self.module.initial_state(2))

    @property
    def dynamic_shapes(self) -> dict[str, Any]:
        """What torch's exporters are told: any number of rows may go in."""
        rows = torch.export.Dim("rows", min=1)
        return {"inputs": tuple({0: rows} for _ in self.inputs)}

    def tensors(self, obs: Any, state: Any) -> tuple[Tensor, ...]:
        """What ``forward`` takes, of packed observations [B, ...] and a state [B, ...]."""
        parts = [
            torch.from_numpy(np.ascontiguousarray(leaf.of(obs))) for leaf in self.packer.leaves
        ]
        return (*parts, *(torch.from_numpy(np.asarray(state[name])) for name in self.states))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Actions, what they come from, and the next state; all [B, ...]."""
        count = len(self.packer.leaves)
        parts = {leaf.keys: part for leaf, part in zip(self.packer.leaves, inputs, strict=False)}
        batch: dict[str, Any] = {Columns.OBS: self._encoded(self._normalised(parts))}
        if self.states:
            batch[Columns.OBS] = _in_sequences(batch[Columns.OBS])
            batch[Columns.STATE_IN] = dict(zip(self.states, inputs[count:], strict=True))
        output = self.module.forward_inference(batch)
        rows = output[Columns.ACTION_DIST_INPUTS]
        rows = rows[:, 0] if self.states else rows
        after = output.get(Columns.STATE_OUT, {})
        action = self.fit(self.module.distribution.mode(rows))
        return (action, rows, *(after[name] for name in self.states))

    def _normalised(self, parts: dict[Any, Tensor]) -> dict[Any, Tensor]:
        if not self.is_normalised:
            return parts
        boxes = [leaf for leaf in self.packer.leaves if is_number(leaf)]
        if not boxes[0].keys:
            return {(): self._scaled(parts[()], self.get_buffer(MEAN), self.get_buffer(STD))}
        done, result = 0, dict(parts)
        for leaf in boxes:
            part = parts[leaf.keys]
            width = int(np.prod(leaf.space.shape or ()))
            mean, std = (self.get_buffer(name)[done : done + width] for name in (MEAN, STD))
            flat = self._scaled(part.reshape(part.shape[0], width), mean, std)
            result[leaf.keys] = flat.reshape(part.shape)
            done += width
        return result

    def _scaled(self, part: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        scaled = (part.float() - mean) / std
        return scaled if self.clip is None else scaled.clamp(-self.clip, self.clip)

    def _encoded(self, parts: dict[Any, Tensor]) -> Any:
        """As ``ObservationEncoder.encode`` does it."""
        by_name = {tuple(map(str, keys)): part for keys, part in parts.items()}
        flat = [_features(leaf.space, by_name[leaf.path]) for leaf in self.encoder.flat]
        if self.encoder.is_flat:
            return torch.cat(flat, dim=-1)
        encoded = {name: by_name[leaf.path] for name, leaf in self.encoder.images.items()}
        if flat:
            encoded[FEATURES] = torch.cat(flat, dim=-1)
        if self.encoder.has_mask:
            encoded[ACTION_MASK] = by_name[(ACTION_MASK,)]
        return encoded


def name_of(leaf: Leaf) -> str:
    """Of the input that takes this part of an observation; masks have their own."""
    path = ".".join(map(str, leaf.keys))
    if path == ACTION_MASK:
        return path
    return f"{OBSERVATION}.{path}" if path else OBSERVATION


def _encoder_of(module: RLModule) -> ObservationEncoder:
    encoder = getattr(module, "observations", None)
    if isinstance(encoder, ObservationEncoder):
        return encoder
    text = f"{type(module).__name__} reads observations in its own way, which has no graph here"
    raise ConfigError(f"{text}; it is a torch module, which torch.onnx.export takes")


def _in_sequences(obs: Any) -> Any:
    """[B, 1, ...] sequences of one step."""
    if isinstance(obs, dict):
        return {name: part[:, None] for name, part in obs.items()}
    return obs[:, None]


def _features(space: gym.Space[Any], part: Tensor) -> Tensor:
    """[B, size] float32, as ``observations.Leaf.features`` has it."""
    if isinstance(space, gym.spaces.Discrete):
        return _one_hot(part - int(space.start), int(space.n))
    if isinstance(space, gym.spaces.MultiDiscrete):
        start = torch.as_tensor(np.ravel(space.start))
        choices = part.reshape(part.shape[0], space.nvec.size) - start
        sizes = [int(size) for size in space.nvec.flat]
        return torch.cat([_one_hot(choices[:, i], size) for i, size in enumerate(sizes)], -1)
    return part.reshape(part.shape[0], -1).float()


def _one_hot(choices: Tensor, size: int) -> Tensor:
    return (choices.long()[:, None] == torch.arange(size)).float()


class _Fit(nn.Module):
    """The module's actions as the environment wants them: ``ActionHead.to_env`` in torch."""

    low: Tensor
    high: Tensor
    scale: Tensor
    offset: Tensor
    start: Tensor

    def __init__(self, module: RLModule, space: gym.Space[Any]) -> None:
        super().__init__()
        if not isinstance(space, gym.spaces.Box | gym.spaces.Discrete | gym.spaces.MultiDiscrete):
            text = f"actions {space} cannot be exported; Box, Discrete and MultiDiscrete can"
            raise ConfigError(text)
        self.shape = space.shape or ()
        head = module.head
        self.kind = head.fit if isinstance(head, BoxHead) else "count"
        if isinstance(head, BoxHead):
            scale, offset = head.stretch
            box = head.space
            bounds = {"low": box.low, "high": box.high, "scale": scale, "offset": offset}
            for name, value in bounds.items():
                self.register_buffer(name, torch.as_tensor(np.asarray(value, np.float32)))
        else:
            first = space.low if isinstance(space, gym.spaces.Box) else space.start
            self.register_buffer("start", torch.as_tensor(np.asarray(first, np.int64)))

    def forward(self, actions: Tensor) -> Tensor:
        if self.kind == "count":
            return actions.reshape(actions.shape[0], *self.shape) + self.start
        if self.kind == "stretch":
            actions = actions * self.scale + self.offset
        shaped = actions.reshape(actions.shape[0], *self.shape)
        return shaped if self.kind == "none" else torch.clamp(shaped, self.low, self.high)
