"""How many env steps and seconds each preset needs until it has learnt.

A row is a preset with its own ``stop``: a threshold, and the env steps within which it is to be
reached, by the mean of the last 100 episodes unless the threshold is one of evaluation. Each run is
a process of its own; seconds count from its start, imports included. Rows are added to those
already in the result file, so that it can be made in several sittings::

    python -m benchmarks.learning                            # all rows that are not there yet
    python -m benchmarks.learning ppo_cartpole --seeds 1 2 3  # these, again
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks import facts
from rllib.config import AlgorithmConfig
from rllib.config.file import load_plan
from rllib.runs.record import flatten
from rllib.runs.stopping import reached

STEPS = "num_env_steps_sampled_lifetime"

PRESETS = (
    "ppo_cartpole",
    "appo_cartpole",
    "impala_cartpole",
    "dqn_cartpole",
    "rainbow_cartpole",
    "ppo_stateless_cartpole",
    "ppo_pendulum",
    "sac_pendulum",
    "td3_pendulum",
    "ppo_lunarlander",
    "ppo_acrobot",
    "ppo_mountaincar_continuous",
    "ppo_halfcheetah",
    "sac_halfcheetah",
    "ppo_multi_agent_cartpole",
    "ppo_masked_walk",
    "dqn_frozenlake",
    "sac_frozenlake",
    "rainbow_minatar_breakout",
    "ppo_minatar_breakout",
)

MAX_POINTS = 200
"""Of each curve."""


def main() -> None:
    """Run, print, and add to the JSON file after every row."""
    arguments = _arguments()
    if arguments.child:
        json.dump(train(arguments.child, arguments.seeds[0], arguments.set), sys.stdout)
        return
    for preset in arguments.presets or [
        name for name in PRESETS if name not in facts.known_results("learning")
    ]:
        runs = {}
        for seed in arguments.seeds:
            runs[f"seed {seed}"] = _run_child(preset, seed, arguments.set)
            print(f"{preset:32} seed {seed}: {_line(runs[f'seed {seed}'])}", flush=True)
        if not arguments.dry:
            results = facts.known_results("learning") | {preset: _row(preset, runs)}
            facts.write("learning", dict(sorted(results.items())))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", metavar="preset")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", nargs="*", default=[], help="key=value, as for rllib train")
    parser.add_argument("--dry", action="store_true", help="write no file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_child(preset: str, seed: int, settings: list[str]) -> dict[str, Any]:
    arguments = ("--child", preset, "--seeds", str(seed), "--set", *settings)
    return facts.run_child("benchmarks.learning", *arguments)


def _row(preset: str, runs: dict[str, Any]) -> dict[str, Any]:
    stop = dict(load_plan(preset).stop)
    budget = stop.pop(STEPS)
    about = facts.facts()
    return {
        "threshold": stop,
        "budget": budget,
        "reached": sum(run["reached"] for run in runs.values()),
        "env_steps": facts.summary([run["env_steps"] for run in runs.values()]),
        "seconds": facts.summary([run["seconds"] for run in runs.values()]),
        "commit": about["commit"],
        "cores": about["machine"]["cores"],
        "runs": runs,
    }


def _line(run: dict[str, Any]) -> str:
    verdict = "reached" if run["reached"] else "NOT reached"
    return f"{verdict} {run['values']} at {run['env_steps']:,} env steps in {run['seconds']:.1f} s"


# -- in a process of its own -----------------------------------------------------------------------


def train(preset: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """Train until the threshold or the budget is reached; what came of it, and the curve."""
    plan = load_plan(preset, [f"seed={seed}", *settings])
    threshold = {name: value for name, value in plan.stop.items() if name != STEPS}
    points: list[tuple[int, float]] = []
    with plan.config.build_algo() as algo:
        while True:
            result = algo.train()
            steps = int(result[STEPS])
            returns = flatten(result)
            if (value := returns.get(_curve_of(threshold))) is not None:
                points.append((steps, round(float(value), 2)))
            reason = reached(threshold, result) if _is_full(plan.config, returns) else None
            if reason or steps >= plan.stop[STEPS]:
                break
    return {
        "reached": reason is not None,
        "env_steps": steps,
        "training_seconds": round(result["time_total_s"], 1),
        "values": {name: round(float(returns.get(name, "nan")), 2) for name in threshold},
        "curve": points[:: -(-len(points) // MAX_POINTS) or 1],
    }


def _is_full(config: AlgorithmConfig, result: dict[str, Any]) -> bool:
    """Whether the mean is over a whole window: the first episodes to end are the short ones."""
    episodes = result.get("env_runners/num_episodes_lifetime", 0)
    return bool(episodes >= config.metrics_num_episodes_for_smoothing)


def _curve_of(threshold: dict[str, Any]) -> str:
    return next(iter(threshold))


if __name__ == "__main__":
    main()
