"""How good a trained policy is: exactly so many episodes, and how sure the figures are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib.results.play import Episode, Player
from rllib.results.saved import SavedRun
from rllib.results.statistics import Interval, bootstrap, iqm_of_rows


@dataclass(frozen=True)
class Evaluation:
    """Episodes of one checkpoint.

    Attributes:
        run: name of the run.
        checkpoint: which was played.
        explore: whether actions were drawn.
        episodes: all of them, in the order of their seeds.
    """

    run: str
    checkpoint: str
    explore: bool
    episodes: Sequence[Episode]

    @property
    def returns(self) -> list[float]:
        """Of all episodes."""
        return [episode.episode_return for episode in self.episodes]

    @property
    def mean(self) -> Interval:
        """Mean return, with its 95 % bootstrap interval."""
        return bootstrap(self.returns)

    @property
    def iqm(self) -> Interval:
        """Interquartile mean of returns, with its 95 % bootstrap interval."""
        return bootstrap(self.returns, iqm_of_rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the figures, and every episode."""
        returns = np.asarray(self.returns)
        return {
            "run": self.run,
            "checkpoint": self.checkpoint,
            "explore": self.explore,
            "num_episodes": len(self.episodes),
            "mean": self.mean._asdict(),
            "iqm": self.iqm._asdict(),
            "std": float(returns.std()),
            "min": float(returns.min()),
            "max": float(returns.max()),
            "episode_len_mean": float(np.mean([each.length for each in self.episodes])),
            "num_truncated": sum(each.truncated for each in self.episodes),
            "episodes": [each._asdict() for each in self.episodes],
        }

    def _repr_html_(self) -> str:
        from rllib.results.cells import evaluation_html

        return evaluation_html(self)

    def __str__(self) -> str:
        facts, first, last = self.to_dict(), self.episodes[0], self.episodes[-1]
        how = "actions drawn" if self.explore else "most likely actions"
        return "\n".join(
            [
                f"{self.checkpoint}: {len(self.episodes)} episodes, seeds {first.seed} to "
                f"{last.seed}, {how}",
                f"  mean    {_shown(self.mean)}",
                f"  IQM     {_shown(self.iqm)}",
                f"  range   {facts['min']:.6g} to {facts['max']:.6g}, "
                f"standard deviation {facts['std']:.4g}",
                f"  length  {facts['episode_len_mean']:.1f} env steps; "
                f"{facts['num_truncated']} of {len(self.episodes)} ended by a time limit",
            ]
        )


def _shown(interval: Interval) -> str:
    estimate, low, high = interval
    return f"{estimate:.6g}  (95 % interval {low:.6g} to {high:.6g})"


def evaluate_run(
    run: SavedRun,
    episodes: int = 100,
    seed: int = 0,
    explore: bool = False,
    iteration: int | None = None,
) -> Evaluation:
    """Play a run's policy.

    Args:
        run: whose.
        episodes: how many, at least 1.
        seed: of the first episode; each further one has the next seed.
        explore: whether actions are drawn; otherwise the most likely ones are taken.
        iteration: of the checkpoint; by default the latest.

    Raises:
        RunError, CheckpointError: there is no checkpoint, or it cannot be read.
        EnvError: the environment raised.
    """
    with run.load(iteration) as algo, Player(algo, explore) as player:
        played = list(player.episodes(episodes, seed))
    return Evaluation(run.name, str(run.checkpoint(iteration)), explore, played)
