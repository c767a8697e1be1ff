"""Weights of a module as a state tree of arrays by parameter name, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib.errors import CheckpointError


def to_array(tensor: Tensor) -> NDArray[Any]:
    """A copy in numpy, from whatever device."""
    array: NDArray[Any] = tensor.numpy(force=True)
    return array.copy()


def get_module_state(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Copies of a state dict, or of a part of one, as arrays by name."""
    return {name: to_array(tensor) for name, tensor in tensors.items()}


def set_module_state(module: nn.Module, state: dict[str, Any]) -> None:
    """Load arrays by name into a module, wherever that is.

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
