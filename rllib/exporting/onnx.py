"""A policy as an ONNX file, and the proof that onnxruntime comes to the same actions."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rllib.errors import ConfigError, TrainingError
from rllib.exporting.graph import MEAN, STD, PolicyGraph

MISSING = 'ONNX needs the extra "export": pip install "rllib-scale[export]"'
TOLERANCE = 1e-4


class Parity(NamedTuple):
    """How far onnxruntime and torch are apart.

    Attributes:
        num_rows: observations that were compared.
        same_actions: share of rows with the same action, for real numbers within ``TOLERANCE``.
        difference: largest difference of what actions come from.
    """

    num_rows: int
    same_actions: float
    difference: float

    def __str__(self) -> str:
        share = f"{self.same_actions:.2%} of {self.num_rows:,} observations"
        return f"same action for {share}, outputs within {self.difference:.1e}"


def write_onnx(graph: PolicyGraph, path: Path) -> None:
    """Write the policy as ONNX; any number of rows may go in, under the graph's names.

    The mean and standard deviation of a normaliser are inputs with a default: they need not be
    given, and may be.

    Raises:
        ConfigError: what it takes is not installed.
    """
    if not all(find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
        raise ConfigError(MISSING)
    example = graph.example()
    rows = torch.export.Dim("rows", min=1)
    with _silent():
        program = torch.onnx.export(
            graph,
            example,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes={"inputs": tuple({0: rows} for _ in example)},
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "torch returns the program of a dynamo export"
    model = program.model_proto
    _open_normaliser(model)
    path.write_bytes(model.SerializeToString())


def _open_normaliser(model: Any) -> None:
    """List the normaliser's statistics among the inputs, so that others may be given."""
    from onnx import helper

    for tensor in model.graph.initializer:
        if tensor.name in (MEAN, STD):
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            model.graph.input.append(info)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The exporter tells of its steps, which say nothing to users."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def parity(graph: PolicyGraph, path: Path, obs: Any) -> Parity:
    """Compare the file, run by onnxruntime, with the graph on observations.

    Args:
        graph: that was exported.
        path: of the file.
        obs: packed observations [B, ...].

    Raises:
        TrainingError: they are not the same.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of the normaliser, which may be overridden on purpose
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = graph.tensors(obs, graph.module.initial_state(len(obs)))
    with torch.no_grad():
        expected = [each.numpy() for each in graph(*inputs)]
    wanted = {each.name for each in session.get_inputs()}  # without what the policy does not read
    named = zip(graph.inputs, inputs, strict=True)
    found = session.run(graph.outputs, {k: each.numpy() for k, each in named if k in wanted})
    same = np.abs(found[0] - expected[0]) <= TOLERANCE
    same = same.reshape(len(obs), -1).all(axis=1)
    pairs = zip(found[1:], expected[1:], strict=True)
    difference = max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in pairs)
    result = Parity(len(obs), float(same.mean()), difference)
    if difference > TOLERANCE * max(1.0, float(np.abs(expected[1]).max())):
        raise TrainingError(f"{path}: onnxruntime comes to other outputs than torch: {result}")
    return result
