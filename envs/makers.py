"""What makes an environment gets ``env_config`` whole, as RLlib gives it, or as gymnasium does: by
keyword."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rllib.envs.context import EnvContext

_CONFIGS = ("config", "cfg", "context", "ctx")
_RENDER_MODE = "render_mode"


def make_from(maker: Callable[..., Any], env_config: Mapping[str, Any]) -> Any:
    """Call a class or function with ``env_config`` in the way that its parameters ask for."""
    config = EnvContext.of(env_config)
    return maker(**config) if takes_keywords(maker) else maker(config)


def takes_keywords(maker: Callable[..., Any]) -> bool:
    """Whether the first parameter is one setting among others, or there is none at all.

    It is the whole config if it must be given, is called so, or is a mapping or ``None`` by
    default.
    """
    try:
        parameters = list(inspect.signature(maker).parameters.values())
    except (TypeError, ValueError):  # of C, without a signature
        return False
    if not parameters or parameters[0].kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    ):
        return True
    first = parameters[0]
    if first.default is inspect.Parameter.empty or any(word in first.name for word in _CONFIGS):
        return False
    return first.name == _RENDER_MODE or not (
        first.default is None or isinstance(first.default, Mapping)
    )
