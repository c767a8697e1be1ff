"""A policy as an ONNX file, and the proof that onnxruntime comes to the same actions."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from rllib.errors import ConfigError
from rllib.exporting.graph import MEAN, STD, PolicyGraph
from rllib.exporting.parity import Parity, compared
from rllib.exporting.silence import silence

MISSING = 'ONNX needs the extra "export": pip install "rllib-scale[export]"'


def write_onnx(graph: PolicyGraph, path: Path) -> None:
    """Write the policy as ONNX; any number of rows may go in, under the graph's names.

    The mean and standard deviation of a normaliser are inputs with a default: they need not be
    given, and may be.

    Raises:
        ConfigError: what it takes is not installed.
    """
    if not all(find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
        raise ConfigError(MISSING)
    with silence():
        program = torch.onnx.export(
            graph,
            graph.example(),
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=graph.dynamic_shapes,
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
    wanted = {each.name for each in session.get_inputs()}  # without what the policy does not read
    named = zip(graph.inputs, inputs, strict=True)
    found = session.run(graph.outputs, {k: each.numpy() for k, each in named if k in wanted})
    return compared("onnxruntime", path, graph, inputs, found)
