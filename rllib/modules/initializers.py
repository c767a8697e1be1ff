"""Weights and biases drawn as ``model_config`` says, by functions of ``torch.nn.init``."""

from collections.abc import Callable
from typing import Any

from torch import nn

from rllib.config.model import ModelConfig
from rllib.config.names import nearest
from rllib.errors import ConfigError, Problem

_PARAMETERS = {"kernel": "weight", "bias": "bias"}


def initialize(layers: nn.Module, model: ModelConfig, stack: str) -> None:
    """Draw anew what ``<stack>_kernel_initializer`` and ``<stack>_bias_initializer`` tell of.

    Args:
        layers: of which all weights and biases are meant, but those of a LayerNorm.
        model: the networks' shape.
        stack: ``"fcnet"``, ``"conv"``, ``"head_fcnet"``, ``"lstm"`` or ``"fusionnet"``.

    Raises:
        ConfigError: there is no such function, or it does not fit the parameters.
    """
    for kind, word in _PARAMETERS.items():
        key = f"{stack}_{kind}_initializer"
        draw, arguments = model[key], model[f"{key}_kwargs"] or {}
        if draw is None:
            continue
        function = draw if callable(draw) else _named(draw, key)
        for name, parameter in layers.named_parameters():
            if word in name.rpartition(".")[2] and not _is_of_norm(layers, name):
                try:
                    function(parameter, **arguments)
                except (TypeError, ValueError) as error:
                    text = f"{draw} does not fit {name} {list(parameter.shape)}: {error}"
                    raise ConfigError(Problem(text, f"model_config.{key}")) from error


def _named(name: str, key: str) -> Callable[..., Any]:
    known = [each for each in dir(nn.init) if each.endswith("_") and not each.startswith("_")]
    found = name.lower().removesuffix("_") + "_"
    if found not in known:
        guess = nearest(found, known)
        hint = f"; did you mean {guess!r}?" if guess else ""
        text = f"{name!r} is no function of torch.nn.init{hint}"
        raise ConfigError(Problem(text, f"model_config.{key}"))
    function: Callable[..., Any] = getattr(nn.init, found)
    return function


def _is_of_norm(layers: nn.Module, name: str) -> bool:
    return isinstance(layers.get_submodule(name.rpartition(".")[0]), nn.LayerNorm)
