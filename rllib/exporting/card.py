"""The model card: what a policy is, how it was trained, and how good it is."""

from collections.abc import Iterable, Iterator

import torch

import rllib
from rllib.exporting.graph import PolicyGraph
from rllib.exporting.parity import Parity
from rllib.results.evaluate import Evaluation
from rllib.results.saved import SavedRun
from rllib.results.statistics import Interval
from rllib.runs.record import ENV_STEPS
from rllib.runs.starts import words


def card(
    run: SavedRun, graphs: dict[str, PolicyGraph], parities: dict[str, Parity], played: Evaluation
) -> str:
    """Markdown with the front matter that model hubs read.

    Args:
        run: whose policy it is.
        graphs: by file stem.
        parities: of the files, by name.
        played: its evaluation.
    """
    return "\n".join(
        [
            *_front_matter(run, played),
            f"# {run.plan.config.algo_name} in {run.plan.config.env}",
            "",
            *_results(played),
            *_files(graphs, parities),
            *_use(graphs, parities),
            *_training(run),
        ]
    )


def _front_matter(run: SavedRun, played: Evaluation) -> Iterator[str]:
    config = run.plan.config
    yield from ("---", "library_name: rllib-scale", "tags:", "- reinforcement-learning")
    yield from (f"- {config.algo_name}", "model-index:", f"- name: {config.algo_name}")
    yield from ("  results:", "  - task: {type: reinforcement-learning}")
    yield f"    dataset: {{name: '{config.env}', type: '{config.env}'}}"
    yield f"    metrics: [{{type: mean_reward, value: {played.mean.estimate:.6g}}}]"
    yield from ("---", "")


def _results(played: Evaluation) -> Iterator[str]:
    first, last = played.episodes[0].seed, played.episodes[-1].seed
    how = "drawn actions" if played.explore else "most likely actions"
    yield f"Evaluated over {len(played.episodes)} episodes (seeds {first} to {last}, {how}):"
    yield ""
    yield "| | return | 95 % interval |"
    yield "|---|---:|---|"
    yield _figure("mean", played.mean)
    yield _figure("interquartile mean", played.iqm)
    yield ""


def _figure(name: str, interval: Interval) -> str:
    return f"| {name} | {interval.estimate:.6g} | {interval.low:.6g} to {interval.high:.6g} |"


def _files(graphs: dict[str, PolicyGraph], parities: dict[str, Parity]) -> Iterator[str]:
    yield from ("## Files", "")
    for stem, graph in graphs.items():
        for name, kind in {f"{stem}.onnx": "ONNX", f"{stem}.pt2": "`torch.export.load`"}.items():
            if name in parities:
                yield f"- `{name}` ({kind}): from {_listed(graph.inputs)} to"
                yield f"  {_listed(graph.outputs)}, any number of rows. Beside the policy:"
                yield f"  {parities[name]}."
        if graph.is_normalised and f"{stem}.onnx" in parities:
            yield "  The normaliser's mean and standard deviation are inputs of the ONNX file"
            yield "  with a default."
        yield f"- `{stem}.safetensors`: the weights by name."
    yield ""


def _use(graphs: dict[str, PolicyGraph], parities: dict[str, Parity]) -> Iterator[str]:
    """A program for each kind of file, with inputs as the first policy takes them."""
    stem = next(iter(graphs), "")
    programs = {f"{stem}.onnx": _by_onnxruntime, f"{stem}.pt2": _by_torch}
    found = {name: program for name, program in programs.items() if name in parities}
    if found:
        yield from ("## Use", "", "One row for each observation, as the environment gives it:", "")
    for name, program in found.items():
        yield from ("```python", *program(name, graphs[stem]), "```", "")


def _by_onnxruntime(name: str, graph: PolicyGraph) -> Iterator[str]:
    yield from ("import numpy as np", "import onnxruntime", "")
    yield f'policy = onnxruntime.InferenceSession("{name}")'
    yield "inputs = {"
    for key, array in zip(graph.inputs, graph.example(), strict=True):
        shape = (1, *array.shape[1:])
        yield f'    "{key}": np.zeros({shape}, np.{array.numpy().dtype}),'
    yield from ("}", "action, *others = policy.run(None, inputs)")


def _by_torch(name: str, graph: PolicyGraph) -> Iterator[str]:
    yield from ("import torch", "")
    yield f'policy = torch.export.load("{name}").module()'
    arrays = [
        f"torch.zeros({(1, *each.shape[1:])}, dtype={each.dtype})" for each in graph.example()
    ]
    yield f"action, *others = policy({', '.join(arrays)})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _training(run: SavedRun) -> Iterator[str]:
    last = run.rows[-1] if run.rows else {}
    yield from ("## Training", "")
    yield f"{last.get(ENV_STEPS, 0):,.0f} env steps in {last.get('time_total_s', 0):,.1f} seconds,"
    yield f"seed {run.plan.config.seed}, rllib {rllib.__version__}, torch {torch.__version__}."
    for start in run.starts:
        yield from ("", f"From iteration {start['iteration']} on {words(start)}:")
        yield from ("", "```", start["command"], "```")
    yield from (
        "",
        "The same again: `rllib train --config config.yaml`, with `config.yaml`:",
        "",
    )
    yield from ("```yaml", run.plan.to_yaml().rstrip(), "```", "")
