"""How good each preset is after the env steps that somebody else has published a result for.

Each run trains for that many env steps, whatever the threshold in the preset, and then plays
episodes without exploration, as the others did. Rows are added to those already in the result
file::

    python -m benchmarks.learning_published                    # all rows that are not there yet
    python -m benchmarks.learning_published ppo_acrobot --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NamedTuple

from benchmarks import facts
from benchmarks.learning import STEPS
from rllib.config.file import load_plan

RESULT_FILE = "learning_published"
EPISODES = 100
"""Played at the end."""

_ZOO = "[SB3 zoo](https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md)"


class Published(NamedTuple):
    """What others have reached.

    Attributes:
        episode_return: mean return of greedy episodes after training.
        env_steps: that the training took.
        source: where it stands, as a link in Markdown.
    """

    episode_return: float
    env_steps: int
    source: str


PUBLISHED = {
    "ppo_cartpole": Published(500, 100_000, _ZOO),
    "dqn_cartpole": Published(500, 50_000, _ZOO),
    "ppo_pendulum": Published(-172, 100_000, _ZOO),
    "sac_pendulum": Published(-157, 20_000, _ZOO),
    "td3_pendulum": Published(-152, 20_000, _ZOO),
    "ppo_lunarlander": Published(242, 1_000_000, f"{_ZOO}, v2"),
    "ppo_acrobot": Published(-74, 1_000_000, _ZOO),
    "ppo_mountaincar_continuous": Published(88, 20_000, _ZOO),
    "ppo_halfcheetah": Published(5_819, 1_000_000, f"{_ZOO}, v3"),
    "sac_halfcheetah": Published(9_535, 1_000_000, f"{_ZOO}, v3"),
}
"""By preset."""


def main() -> None:
    """Run, print, and add to the JSON file after every row."""
    arguments = _arguments()
    if arguments.child:
        json.dump(train(arguments.child, arguments.seeds[0]), sys.stdout)
        return
    for preset in arguments.presets or [
        name for name in PUBLISHED if name not in facts.known_results(RESULT_FILE)
    ]:
        runs = {}
        for seed in arguments.seeds:
            runs[f"seed {seed}"] = run = facts.run_child(
                "benchmarks.learning_published", "--child", preset, "--seeds", str(seed)
            )
            print(f"{preset:32} seed {seed}: {_line(preset, run)}", flush=True)
        results = facts.known_results(RESULT_FILE) | {preset: _row(preset, runs)}
        facts.write(RESULT_FILE, dict(sorted(results.items())), episodes=EPISODES)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", metavar="preset", choices=[*PUBLISHED, []])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _row(preset: str, runs: dict[str, Any]) -> dict[str, Any]:
    return {
        "published": PUBLISHED[preset]._asdict(),
        "episode_return": facts.summary([run["episode_return"] for run in runs.values()]),
        "seconds": facts.summary([run["seconds"] for run in runs.values()]),
        "commit": facts.facts()["commit"],
        "runs": runs,
    }


def _line(preset: str, run: dict[str, Any]) -> str:
    others = PUBLISHED[preset]
    return (
        f"{run['episode_return']:.2f} after {run['env_steps']:,} env steps "
        f"(published: {others.episode_return:g}) in {run['seconds']:.1f} s"
    )


def train(preset: str, seed: int) -> dict[str, Any]:
    """Train for the published env steps, then play."""
    config = load_plan(preset, [f"seed={seed}"]).config
    config.evaluation(
        evaluation_interval=0,
        evaluation_duration=EPISODES,
        evaluation_config={"explore": False},
        evaluation_sample_timeout_s=600,
    )
    with config.build_algo() as algo:
        steps = 0
        while steps < PUBLISHED[preset].env_steps:
            steps = int(algo.train()[STEPS])
        played = algo.evaluate()["env_runners"]
    return {
        "env_steps": steps,
        "episode_return": round(float(played["episode_return_mean"]), 2),
        "episode_return_min": round(float(played["episode_return_min"]), 2),
    }


if __name__ == "__main__":
    main()
