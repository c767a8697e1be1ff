"""Training on several nodes: whether PPO and IMPALA learn there, and how sampling scales with them.

Each node is a process of its own with an env runner in it, at an address 127.0.0.N, and shares no
memory with the others. Learning is the real command on a preset until the return is 475. Sampling
is the row of `benchmarks.scaling`, an environment that sleeps, with one env runner on each node.
With TLS and without it IMPALA learns from fragments of images, of 14 MiB each.
All nodes are on one machine: what the network between real ones costs is not in the figures::

    python -m benchmarks.many_nodes
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks import facts, scaling
from benchmarks.nodes import certify
from rllib import IMPALAConfig, core
from rllib.core.testing import Cluster

PRESETS = ("ppo_cartpole", "impala_cartpole")
GOAL_RETURN = 475
GOAL_SHARE = 0.9


def main() -> None:
    """Measure, print, write the JSON file."""
    arguments = _arguments()
    results = facts.known_results("many_nodes")
    if "sampling" in arguments.parts:
        results["sampling"] = sampling(arguments.nodes_sampling, arguments.repeats)
    if "learning" in arguments.parts:
        results["learning"] = {
            preset: {
                f"{nodes} nodes": learning(preset, nodes) for nodes in arguments.nodes_learning
            }
            for preset in PRESETS
        }
    if "tls" in arguments.parts:
        results["tls"] = with_and_without_tls(arguments.repeats)
    print(json.dumps(results, indent=1))
    if not arguments.dry:
        goals = {"goal_return": GOAL_RETURN, "goal_share_of_linear": GOAL_SHARE}
        facts.write("many_nodes", results, about=_ABOUT, **goals)


_ABOUT = (
    "nodes on one machine, one env runner on each; learning: env steps and seconds, process starts "
    "included, until the mean return; sampling: env steps per second of sampling alone with an "
    f"environment that sleeps {scaling.SLEEP_S * 1e3:.0f} ms, beside so many times one node; tls: "
    "env steps per second of IMPALA on images of 84 x 84 x 4 bytes from two nodes"
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--parts", nargs="+", default=["sampling", "learning", "tls"])
    parser.add_argument("--nodes-sampling", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--nodes-learning", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args()


def sampling(counts: list[int], repeats: int, seconds: float = 4.0) -> dict[str, Any]:
    """Env steps per second by number of nodes, and the share of linear."""
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count in counts:
            with _cluster(count):
                speeds[count].append(scaling.measure(count, seconds))
    results = {str(count): facts.summary(values) for count, values in speeds.items()}
    for count, share in scaling.efficiencies(results).items():
        results[str(count)]["share_of_linear"] = share
    return results


class _cluster:
    """A head without CPUs and so many nodes with one, to which this process is a driver."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> Cluster:
        self._cluster = Cluster(head={"num_cpus": 0})
        for _ in range(self._count):
            self._cluster.add_node(num_cpus=1)
        core.init(address=self._cluster.address, log_to_driver=False)
        return self._cluster

    def __exit__(self, *exc: object) -> None:
        self._cluster.shutdown()


def learning(preset: str, count: int) -> dict[str, Any]:
    """Seconds and env steps until the goal, with one env runner on each node."""
    with _cluster(count) as cluster, tempfile.TemporaryDirectory() as folder:
        core.shutdown()  # the command is a driver of its own
        command = [sys.executable, "-m", "rllib", "train", "--config", preset, "--runs-dir", folder]
        settings = [f"num_env_runners={count}", "num_learners=0", "--address", cluster.address]
        goal = ["--stop", f"env_runners/episode_return_mean={GOAL_RETURN}"]
        began = time.perf_counter()
        subprocess.run(
            [*command, *settings, *goal],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(facts.ROOT)},
        )
        elapsed = time.perf_counter() - began
        written = Path(folder, preset, "progress.jsonl").read_text().splitlines()
    last = json.loads(written[-1])
    return {
        "seconds": round(elapsed, 1),
        "env_steps": last["num_env_steps_sampled_lifetime"],
        "episode_return_mean": round(last["env_runners/episode_return_mean"], 1),
        "reached": last["env_runners/episode_return_mean"] >= GOAL_RETURN,
    }


class Images(gym.Env[Any, Any]):
    """Observations of the size of Atari's, which cost nothing and say nothing."""

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)
        self.action_space = gym.spaces.Discrete(4)
        self._images = np.random.default_rng(1).integers(0, 256, (16, 84, 84, 4), np.uint8)
        self._count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """The first image."""
        return self._images[0], {}

    def step(self, action: Any) -> Any:
        """The next image."""
        self._count += 1
        return self._images[self._count % 16], 1.0, False, self._count % 200 == 0, {}


def with_and_without_tls(repeats: int) -> dict[str, Any]:
    """Env steps per second that are sampled and learnt from, and what TLS leaves of them."""
    speeds: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            speeds["without"].append(_on_images())
            with _secured(Path(folder)):
                speeds["with"].append(_on_images())
    found: dict[str, Any] = {name: facts.summary(values) for name, values in speeds.items()}
    share = found["with"]["median"] / found["without"]["median"]
    return found | {"share_with": round(share, 3)}


@contextmanager
def _secured(folder: Path) -> Iterator[None]:
    """Nodes that are started here speak TLS."""
    before = dict(os.environ)
    certify(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _on_images(count: int = 2, seconds: float = 8.0) -> float:
    config = (
        IMPALAConfig()
        .environment(Images)
        .env_runners(num_env_runners=count, num_envs_per_env_runner=8, rollout_fragment_length=64)
        .training(train_batch_size_per_learner=512)
        .learners(num_learners=0)
        .rl_module(model_config={"conv_filters": [[16, 8, 4], [32, 4, 2]]})
    )
    with _cluster(count), config.build_algo() as algo:
        algo.train()
        began, before = time.perf_counter(), algo.num_env_steps_sampled_lifetime
        while time.perf_counter() - began < seconds:
            algo.train()
        sampled = algo.num_env_steps_sampled_lifetime - before
        return sampled / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
