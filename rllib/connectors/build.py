"""The connectors that a configuration asks for."""

from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from typing import Any

from rllib.config import AlgorithmConfig
from rllib.config.sections import ModelConfig
from rllib.connectors.base import Connector, Pipeline
from rllib.connectors.filters import MeanStdFilter
from rllib.connectors.observations import MaskFrom
from rllib.connectors.past import PrevActionsPrevRewards
from rllib.connectors.rewards import ClipRewards
from rllib.errors import ConfigError, Problem
from rllib.modules.observations import ACTION_MASK


def build_pipeline(config: AlgorithmConfig) -> Pipeline:
    """A new pipeline, without any memory of others.

    Raises:
        ConfigError: a function in the settings did not return connectors.
    """
    return Pipeline(
        [
            *_of(config.module_to_env_connector, "module_to_env_connector"),
            *_mask_from(config.action_mask_key),
            *_clip_rewards(config.clip_rewards),
            *_of(config.env_to_module_connector, "env_to_module_connector"),
            *([MeanStdFilter()] if config.observation_filter == "MeanStdFilter" else []),
            *_past(config),
        ]
    )


def _mask_from(key: str) -> Iterable[Connector]:
    return [] if key == ACTION_MASK else [MaskFrom(key)]


def _clip_rewards(limit: bool | float | None) -> Iterable[Connector]:
    if limit is None or limit is False:
        return []
    return [ClipRewards(None if limit is True else limit)]


def _past(config: AlgorithmConfig) -> Iterable[Connector]:
    actions, rewards = (_of_model(config, f"lstm_use_prev_{each}") for each in ("action", "reward"))
    return [PrevActionsPrevRewards(int(actions), int(rewards))] if actions or rewards else []


def _of_model(config: AlgorithmConfig, name: str) -> Any:
    """A setting of the module's networks: what its spec says goes before ``model_config``."""
    said = getattr(config.module_spec, "model_config", None) or {}
    model = config.model.updated(said if isinstance(said, ModelConfig) else _only(said, name))
    return model[name]


def _only(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: settings[name]} if name in settings else {}


def _of(make: Callable[..., Any] | None, key: str) -> list[Connector]:
    """What the function of the setting ``key`` makes, called without what RLlib gives it.

    Raises:
        ConfigError: it returned something else.
    """
    connectors = [] if make is None else made_by(make)
    for connector in connectors:
        if not isinstance(connector, Connector):
            text = f"should return a Connector or a list of them, returned {connector!r}"
            raise ConfigError(Problem(text, key))
    return connectors


def made_by(make: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function returns, or each of what it does.

    Args:
        make: takes as many of ``arguments`` as it needs, and ``None`` for what is not there.
        arguments: as RLlib gives them.
    """
    required = _num_required(make)
    made = make(*[*arguments, *[None] * required][:required])
    return list(made) if isinstance(made, list | tuple | Pipeline) else [made]


def _num_required(make: Callable[..., Any]) -> int:
    required = [each for each in signature(make).parameters.values() if each.default is each.empty]
    return sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in required)
