"""Replay buffers from settings with RLlib's names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import NonNegativeFloat, TypeAdapter, ValidationError

from rllib.config.names import nearest
from rllib.config.types import ScheduleOr
from rllib.errors import ConfigError, Problem
from rllib.replay.frame_stack import FrameStack
from rllib.replay.prioritized import PrioritizedReplay
from rllib.replay.replay import Replay, UniformReplay
from rllib.schedules import Points

# Those for many agents are the same: each module has a buffer of its own.
TYPES: dict[str, type[Replay]] = {
    "EpisodeReplayBuffer": UniformReplay,
    "MultiAgentEpisodeReplayBuffer": UniformReplay,
    "PrioritizedEpisodeReplayBuffer": PrioritizedReplay,
    "MultiAgentPrioritizedEpisodeReplayBuffer": PrioritizedReplay,
    "UniformReplay": UniformReplay,
    "PrioritizedReplay": PrioritizedReplay,
}
_KEYS: dict[type[Replay], frozenset[str]] = {
    UniformReplay: frozenset({"capacity"}),
    PrioritizedReplay: frozenset({"capacity", "alpha", "beta"}),
}
_EXPONENT: TypeAdapter[float | Points] = TypeAdapter(ScheduleOr[NonNegativeFloat])
DEFAULTS = {"type": "EpisodeReplayBuffer", "capacity": 10_000}


def make_replay(
    config: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    frame_stack: FrameStack | None = None,
    max_seq_len: int = 1,
    burn_in_len: int = 0,
) -> Replay:
    """The buffer that a ``replay_buffer_config`` describes.

    Args:
        config: ``"type"`` (one of ``TYPES``, or a class), ``"capacity"`` in env steps, and for
            prioritised ones ``"alpha"`` and ``"beta"``, which may be schedules.
        rng: what is drawn from.
        frame_stack: how observations are stacked from frames.
        max_seq_len: steps of the sequences that are drawn, beside the burn-in.
        burn_in_len: steps of that.

    Raises:
        ConfigError: lists every wrong key and value.
    """
    settings = {**DEFAULTS, **config}
    kind = _kind(settings.pop("type"))
    unknown = sorted(settings.keys() - _KEYS[kind])
    if unknown:
        raise ConfigError(_explain(key, kind) for key in unknown)
    for name in settings.keys() & {"alpha", "beta"}:
        settings[name] = _exponent(name, settings[name])
    return kind(
        rng=rng,
        frame_stack=frame_stack,
        max_seq_len=max_seq_len,
        burn_in_len=burn_in_len,
        **settings,
    )


def _exponent(name: str, value: Any) -> float | Points:
    try:
        return _EXPONENT.validate_python(value)
    except ValidationError as error:
        text = f"should be a number from 0 on, or [[timestep, number], ...]; got {value!r}"
        raise ConfigError(Problem(text, name)) from error


def _kind(name: Any) -> type[Replay]:
    if isinstance(name, type) and name in _KEYS:
        return name
    if name not in TYPES:
        guess = nearest(str(name), TYPES)
        known = f"did you mean {guess!r}?" if guess else f"known are {', '.join(TYPES)}"
        raise ConfigError(Problem(f"no replay buffer is called {name!r}; {known}", "type"))
    return TYPES[name]


def _explain(key: str, kind: type[Replay]) -> Problem:
    known = _KEYS[kind]
    guess = nearest(key, known)
    hint = f"did you mean {guess!r}?" if guess else f"known are {', '.join(sorted(known))}"
    return Problem(f"unknown key of a {kind.__name__}; {hint}", key)
