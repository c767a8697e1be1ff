"""A policy as a program of torch alone (``torch.export``): neither this package nor TorchScript."""

from pathlib import Path
from typing import Any

import torch

from rllib.exporting.graph import PolicyGraph
from rllib.exporting.parity import Parity, compared
from rllib.exporting.silence import silence


def write_program(graph: PolicyGraph, path: Path) -> None:
    """Write the policy, for any number of rows; ``torch.export.load(path).module()`` reads it."""
    with silence():
        program = torch.export.export(graph, graph.example(), dynamic_shapes=graph.dynamic_shapes)
        torch.export.save(program, path)


def parity(graph: PolicyGraph, path: Path, obs: Any) -> Parity:
    """Compare the file, loaded again, with the graph on observations.

    Args:
        graph: that was exported.
        path: of the file.
        obs: packed observations [B, ...].

    Raises:
        TrainingError: they are not the same.
    """
    inputs = graph.tensors(obs, graph.module.initial_state(len(obs)))
    with torch.no_grad():
        found = torch.export.load(path).module()(*inputs)
    return compared("torch.export", path, graph, inputs, [each.numpy() for each in found])
