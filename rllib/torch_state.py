"""Weights and optimiser as state trees of arrays by parameter name, and back."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from rllib.errors import CheckpointError


def set_module_state(module: nn.Module, state: dict[str, Any]) -> None:
    """Load arrays by name into a module.

    Raises:
        CheckpointError: names or shapes differ; says which.
    """
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint's weights do not fit this network; was it made with another "
            f"model_config or environment? {error}"
        ) from None


def get_optimizer_state(optimizer: Optimizer, module: nn.Module) -> dict[str, Any]:
    """State tree: for each parameter's name, the optimiser's arrays."""
    return {
        name: {key: _array(value) for key, value in optimizer.state[parameter].items()}
        for name, parameter in module.named_parameters()
        if parameter in optimizer.state
    }


def set_optimizer_state(optimizer: Optimizer, module: nn.Module, state: dict[str, Any]) -> None:
    """Load ``get_optimizer_state``; settings such as the learning rate stay those of the config.

    Raises:
        CheckpointError: names of parameters differ.
    """
    parameters = dict(module.named_parameters())
    if unknown := state.keys() - parameters.keys():
        raise CheckpointError(
            f"the checkpoint's optimiser knows parameters that the network lacks: {sorted(unknown)}"
        )
    optimizer.state.clear()
    for name, entries in state.items():
        optimizer.state[parameters[name]] = {
            key: torch.from_numpy(np.array(value)) for key, value in entries.items()
        }


def _array(value: Any) -> Any:
    return value.detach().numpy().copy() if isinstance(value, torch.Tensor) else value
