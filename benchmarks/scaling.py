"""How sampling scales with env runners whose environment waits: 1, 2, 4 and 8 of them.

Each step of the environment sleeps for 2 ms, as one that asks a simulator elsewhere does, so that
env runners share no core worth speaking of. Linear is so many times the speed of one env runner::

    python -m benchmarks.scaling
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from benchmarks import facts
from rllib import PPOConfig
from rllib.algorithm import Algorithm

SLEEP_S = 2e-3
ROWS = 250
GOAL = 0.9


class Sleeping(CartPoleEnv):
    """CartPole whose every step sleeps first."""

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        super().__init__()

    def step(self, action: Any) -> Any:
        """Sleep, then step."""
        time.sleep(SLEEP_S)
        return super().step(action)


def main() -> None:
    """Measure in turns, print, write the JSON file."""
    arguments = _arguments()
    speeds: dict[int, list[float]] = {count: [] for count in arguments.runners}
    for _ in range(arguments.repeats):
        for count in arguments.runners:
            speeds[count].append(measure(count, arguments.seconds))
    results = {str(count): facts.summary(values) for count, values in speeds.items()}
    for count, share in efficiencies(results).items():
        results[str(count)]["share_of_linear"] = share
        median = results[str(count)]["median"]
        print(f"{count} env runners: {median:,.0f} env steps/s, {share:.1%} of linear")
    if not arguments.dry:
        facts.write("scaling", results, about=_ABOUT, goal=GOAL)


_ABOUT = (
    f"env steps per second of sampling alone, an environment that sleeps {SLEEP_S * 1e3:.0f} ms in "
    f"each env runner, fragments of {ROWS} steps; share_of_linear: beside so many times one runner"
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--runners", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args()


def measure(num_env_runners: int, seconds: float) -> float:
    """Env steps per second, after one fragment of each that does not count."""
    with _config(num_env_runners).build_algo() as algo:
        algo.env_runner_group.sample()
        return _speed(algo, seconds)


def _config(num_env_runners: int) -> PPOConfig:
    return (
        PPOConfig()
        .environment(Sleeping)
        .env_runners(num_env_runners=num_env_runners, rollout_fragment_length=ROWS)
        .training(train_batch_size_per_learner=ROWS * max(1, num_env_runners), minibatch_size=None)
    )


def _speed(algo: Algorithm, seconds: float) -> float:
    num_steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        samples = algo.env_runner_group.sample()
        num_steps += sum(each.num_env_steps for each in samples.stats)
    return num_steps / elapsed


def efficiencies(results: Mapping[str, Mapping[str, Any]]) -> dict[int, float]:
    """Share of linear by number of env runners, from medians; linear is by the smallest number."""
    medians = {int(count): float(result["median"]) for count, result in results.items()}
    fewest = min(medians)
    return {
        count: round(median / (medians[fewest] * count / fewest), 4)
        for count, median in medians.items()
    }


if __name__ == "__main__":
    main()
