"""All files of one run's policy: ONNX, a program of torch, weights, and a card."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from rllib.exporting import onnx, program
from rllib.exporting.card import card
from rllib.exporting.graph import PolicyGraph
from rllib.exporting.parity import Parity
from rllib.results.evaluate import Evaluation, evaluate_run
from rllib.results.play import Player
from rllib.results.saved import SavedRun

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm

FORMATS = ("onnx", "torch", "safetensors", "card")
FOLDER = "export"
ROWS = 256
"""Observations of the policy's own play by which files are compared with it."""
_GRAPHS = {
    "onnx": ("onnx", onnx.write_onnx, onnx.parity),
    "torch": ("pt2", program.write_program, program.parity),
}
"""Formats of the whole graph: the ending of the file, what writes it, and what compares it."""


def export(
    run: SavedRun,
    folder: Path | None = None,
    formats: Collection[str] = FORMATS,
    episodes: int = 20,
    iteration: int | None = None,
    say: Callable[[str], Any] = print,
) -> Path:
    """Write what others need to act by a run's policies.

    Args:
        run: whose.
        folder: where; by default ``export`` in the run's own.
        formats: some of ``FORMATS``; the card evaluates the policy.
        episodes: of that evaluation.
        iteration: of the checkpoint; by default the latest.
        say: is told of each file.

    Returns:
        The folder.

    Raises:
        ConfigError: the policy has no graph, or an extra is not installed.
        TrainingError: an exported file does not come to the same as the policy.
    """
    folder = folder or run.path / FOLDER
    with run.load(iteration) as algo:
        of_graphs = [each for each in _GRAPHS if each in formats]
        graphs = _graphs(algo) if of_graphs or "card" in formats else {}
        folder.mkdir(parents=True, exist_ok=True)
        parities = _write_graphs(algo, graphs, of_graphs, folder, say) if of_graphs else {}
        if "safetensors" in formats:
            _safetensors(algo, folder, say)
    if "card" in formats:
        played = evaluate_run(run, episodes, iteration=iteration)
        _write_card(run, folder, graphs, parities, played, say)
    return folder


def _safetensors(algo: "Algorithm", folder: Path, say: Callable[[str], Any]) -> None:
    """The weights that acting needs, by name."""
    for stem, module_id in _stems(algo).items():
        path = folder / f"{stem}.safetensors"
        weights = algo.get_module(module_id).get_state(inference_only=True)
        save_file({name: np.ascontiguousarray(part) for name, part in weights.items()}, path)
        say(f"{path}: {sum(part.size for part in weights.values()):,} numbers")


def _stems(algo: "Algorithm") -> dict[str, str]:
    """Names of files by which modules go, to the modules' ids."""
    ids = algo.interface.module_ids
    return {"policy": ids[0]} if len(ids) == 1 else {f"policy_{name}": name for name in ids}


def _graphs(algo: "Algorithm") -> dict[str, PolicyGraph]:
    interface = algo.interface
    return {
        stem: PolicyGraph(
            algo.get_module(module_id),
            interface.env_spaces_of(module_id),
            interface.pipeline_of(module_id),
        )
        for stem, module_id in _stems(algo).items()
    }


def _write_graphs(
    algo: "Algorithm",
    graphs: dict[str, PolicyGraph],
    formats: Collection[str],
    folder: Path,
    say: Callable[[str], Any],
) -> dict[str, Parity]:
    """Files of all policies in these formats, compared with them; parities by name of the file."""
    seen, parities = observations(algo, ROWS), {}
    for stem, graph in graphs.items():
        rows = [graph.packer.pack_one(obs)[None] for obs in seen[_stems(algo)[stem]]]
        for ending, write, parity in (_GRAPHS[each] for each in formats):
            path = folder / f"{stem}.{ending}"
            write(graph, path)
            parities[path.name] = parity(graph, path, np.concatenate(rows))
            say(f"{path}: {parities[path.name]}")
    return parities


def _write_card(
    run: SavedRun,
    folder: Path,
    graphs: dict[str, PolicyGraph],
    parities: dict[str, Parity],
    played: Evaluation,
    say: Callable[[str], Any],
) -> None:
    (folder / "README.md").write_text(card(run, graphs, parities, played), encoding="utf-8")
    (folder / "config.yaml").write_text(run.plan.to_yaml(), encoding="utf-8")
    what = f"mean return {played.mean.estimate:.6g}, how it was trained, how the files are used"
    say(f"{folder / 'README.md'}: {what}")


class _Recorder(Player):
    """Keeps what the policies see while they play."""

    def __init__(self, algo: "Algorithm") -> None:
        super().__init__(algo, explore=True)
        self.seen: dict[str, list[Any]] = {name: [] for name in algo.interface.module_ids}

    def _act(self, episode: Any, observation: Any, reward: float) -> Any:
        self.seen[episode.policy_id].append(observation)
        return super()._act(episode, observation, reward)


def observations(algo: "Algorithm", count: int) -> dict[str, list[Any]]:
    """At least so many observations of every module, unless it has a part in none, of its play."""
    with _Recorder(algo) as player:
        seed = 0
        while min(map(len, player.seen.values())) < count and seed < count:
            player.play(seed)
            seed += 1
        return {name: seen[:count] for name, seen in player.seen.items()}
