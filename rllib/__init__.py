"""Reinforcement learning that scales from a laptop to a cluster with one config and one command.

Names are loaded on first use (PEP 562): ``import rllib.core`` runs this file first, and the
runtime must not pay for torch.
"""

from importlib import import_module
from typing import Any

from rllib.compat import import_hook

__version__ = "0.1.0"

_HOME = {
    "APPO": "rllib.algorithms.appo",
    "APPOConfig": "rllib.algorithms.appo",
    "Algorithm": "rllib.algorithm",
    "AlgorithmConfig": "rllib.config",
    "DQN": "rllib.algorithms.dqn",
    "DQNConfig": "rllib.algorithms.dqn",
    "IMPALA": "rllib.algorithms.impala",
    "IMPALAConfig": "rllib.algorithms.impala",
    "PPO": "rllib.algorithms.ppo",
    "PPOConfig": "rllib.algorithms.ppo",
    "SAC": "rllib.algorithms.sac",
    "SACConfig": "rllib.algorithms.sac",
    "TD3": "rllib.algorithms.td3",
    "TD3Config": "rllib.algorithms.td3",
}

__all__ = [
    "APPO",
    "DQN",
    "IMPALA",
    "PPO",
    "SAC",
    "TD3",
    "APPOConfig",
    "Algorithm",
    "AlgorithmConfig",
    "DQNConfig",
    "IMPALAConfig",
    "PPOConfig",
    "SACConfig",
    "TD3Config",
    "__version__",
]


import_hook.install()


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'rllib' has no attribute {name!r}")
    if name not in _HOME:
        from rllib.compat.unknown import what_instead

        raise AttributeError(what_instead(__name__, name))
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
