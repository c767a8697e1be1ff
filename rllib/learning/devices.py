"""Where a learner computes, and how minibatches get there.

host:    pin 1 | pin 2 |        | pin 3 |
copies:        [  1  ] [  2  ]          [  3  ]
GPU:                   [ learn from 1 ] [ learn from 2 ] ...
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rllib.config import AlgorithmConfig
from rllib.errors import ConfigError, Problem
from rllib.learning.minibatches import BatchT
from rllib.tensors import Tree, map_tree


def learner_device(config: AlgorithmConfig) -> torch.device:
    """What ``device`` means in this process.

    A learner actor sees the GPUs that the runtime has given it, and takes the first.

    Raises:
        ConfigError: a GPU is asked for, and torch finds none.
    """
    wants_gpu = config.device == "cuda" or config.num_gpus_per_learner > 0
    if config.device == "cpu" or not wants_gpu:
        return torch.device("cpu")
    index = 0 if config.num_learners else config.local_gpu_idx
    if index < torch.cuda.device_count():
        return torch.device("cuda", index)
    key = "device" if config.device == "cuda" else "num_gpus_per_learner"
    found = f"torch {torch.__version__} finds {torch.cuda.device_count()} GPUs"
    raise ConfigError(Problem(f"asks for GPU {index}, but {found}; use device: cpu", key))


def meeting_device(config: AlgorithmConfig, device: torch.device) -> torch.device:
    """Where tensors are when learners exchange them: NCCL wants a GPU for each of them alone."""
    return device if config.num_gpus_per_learner >= 1 else torch.device("cpu")


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def to_device(tree: Tree, device: torch.device) -> Tree:
    """The same tree there; what is there already is not copied."""
    return map_tree(lambda tensor: tensor.to(device), tree)


def _copy(tensor: Tensor, device: torch.device) -> Tensor:
    """Begin a copy that goes on while the host does; only from pinned memory there is such."""
    return tensor if tensor.device == device else tensor.pin_memory().to(device, non_blocking=True)


class Uploads:
    """Copies to a GPU on a stream of their own, beside what the GPU computes.

    Args:
        device: the GPU.
        cuda: torch's interface to it.
        copy: begins a copy of one tensor to a device.
    """

    def __init__(
        self,
        device: torch.device,
        cuda: Any = torch.cuda,
        copy: Callable[[Tensor, torch.device], Tensor] = _copy,
    ) -> None:
        self.device, self.cuda, self.copy = device, cuda, copy
        self.stream = cuda.Stream(device)

    def begin(self, tree: Tree) -> Tree:
        """A tree there that must not be used before ``finish``."""
        with self.cuda.stream(self.stream):
            return map_tree(lambda tensor: self.copy(tensor, self.device), tree)

    def finish(self, tree: Tree) -> Tree:
        """The same tree, for what the GPU is asked to compute from now on."""
        current = self.cuda.current_stream(self.device)
        current.wait_stream(self.stream)

        def keep(tensor: Tensor) -> Tensor:
            # Its memory is of the copies' stream: it must not be reused while this one reads it.
            tensor.record_stream(current)
            return tensor

        return map_tree(keep, tree)


def ahead(batches: Iterable[BatchT], uploads: Uploads) -> Iterator[BatchT]:
    """Each batch on the GPU, with the next one on its way there; equal ones are sent once."""
    source: BatchT | None = None
    coming: Tree = None
    for batch in batches:
        if source is None:
            source, coming = batch, uploads.begin(batch)
            continue
        ready = uploads.finish(coming)
        coming = ready if batch is source else uploads.begin(batch)
        source = batch
        yield ready
    if source is not None:
        yield uploads.finish(coming)
