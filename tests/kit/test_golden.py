"""Golden traces: twenty small iterations of every algorithm, seeded.

Of synchronous algorithms the weights are the same to the last bit in every run, and whether env
runner and learner are in this process or actors, on every engine. Across machines, whose arithmetic
differs in the last bits, ``golden.json`` has returns and losses to three significant digits; it is
written by ``python tests/kit/test_golden.py``, and a change of it is a change of learning.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import engines
import leaks
import pytest

from rllib import core
from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.algorithms.td3 import TD3Config
from rllib.checkpoints.snapshot import flat
from rllib.config import AlgorithmConfig
from rllib.preload import PRELOAD

GOLDEN = Path(__file__).with_name("golden.json")
ITERATIONS = 20
SHOWN = slice(4, None, 5)
"""Of the iterations, those that stand in the file."""
ENGINES = {
    "native": {"num_cpus": 2, "preload": PRELOAD},
    "inline": {"address": "inline"},
    "ray": {"address": "ray"},
}


def ppo(env: str, **env_config: Any) -> AlgorithmConfig:
    return (
        PPOConfig()
        .environment(env, env_config=env_config)
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=2)
        .training(lr=3e-3, vf_clip_param=None)
    )


def lstm(config: AlgorithmConfig) -> AlgorithmConfig:
    memory = {"use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 8}
    return config.rl_module(model_config=config.model.updated(memory))


def agents(config: AlgorithmConfig) -> AlgorithmConfig:
    return config.multi_agent(
        policies={"even", "odd"},
        policy_mapping_fn=lambda agent, episode: "odd" if agent % 2 else "even",
    )


def dqn() -> AlgorithmConfig:
    return (
        DQNConfig()
        .environment("CartPole-v1")
        .training(num_steps_sampled_before_learning_starts=32, target_network_update_freq=50)
        .training(epsilon=[[0, 1.0], [500, 0.1]], n_step=3, replay_buffer_config={"capacity": 400})
        .reporting(min_sample_timesteps_per_iteration=32)
    )


def rainbow() -> AlgorithmConfig:
    return dqn().training(num_atoms=11, v_min=0.0, v_max=50.0, noisy=True, hiddens=[16])


def actor_critic(config: AlgorithmConfig, env: str, **env_config: Any) -> AlgorithmConfig:
    return (
        config.environment(env, env_config=env_config)
        .training(
            num_steps_sampled_before_learning_starts=32, replay_buffer_config={"capacity": 400}
        )
        .training(train_batch_size_per_learner=32)
        .reporting(min_sample_timesteps_per_iteration=32)
    )


def asynchronous(config: AlgorithmConfig) -> AlgorithmConfig:
    return (
        config.environment("CartPole-v1")
        .env_runners(rollout_fragment_length=16)
        .training(train_batch_size_per_learner=64)
        .reporting(min_sample_timesteps_per_iteration=64)
    )


SYNCHRONOUS: dict[str, Callable[[], AlgorithmConfig]] = {
    "PPO discrete": lambda: ppo("CartPole-v1"),
    "PPO continuous": lambda: ppo("Pendulum-v1", max_episode_steps=20),
    "PPO rounds": lambda: ppo("CartPole-v1").env_runners(rollout_fragment_length=8),
    "PPO LSTM": lambda: lstm(ppo("rllib.envs.stateless_cartpole:StatelessCartPole-v0")),
    "PPO masked Dict": lambda: ppo("rllib.envs.masked_walk:MaskedWalk-v0"),
    "PPO multi-agent": lambda: agents(ppo("MultiAgentCartPole", num_agents=3)),
    "DQN": dqn,
    "Rainbow": rainbow,
    "SAC": lambda: actor_critic(SACConfig(), "Pendulum-v1", max_episode_steps=20),
    "SAC discrete": lambda: actor_critic(SACConfig(), "CartPole-v1"),
    "SAC LSTM": lambda: lstm(actor_critic(SACConfig(), "Pendulum-v1", max_episode_steps=20)),
    "TD3": lambda: actor_critic(TD3Config(), "Pendulum-v1", max_episode_steps=20),
}
ASYNCHRONOUS: dict[str, Callable[[], AlgorithmConfig]] = {
    "IMPALA": lambda: asynchronous(IMPALAConfig()),
    "APPO": lambda: asynchronous(APPOConfig()),
}
"""Reproducible only where everything is in one process."""
ALL = SYNCHRONOUS | ASYNCHRONOUS


class Trace(NamedTuple):
    """What became of a run: its weights, and what it told of them on the way."""

    params_hash: str
    metrics: dict[str, list[float]]


def trace(name: str, num_actors: int = 0) -> Trace:
    config = ALL[name]()
    config.env_runners(num_env_runners=num_actors, num_envs_per_env_runner=4)
    config.learners(num_learners=num_actors).debugging(seed=3)
    config.rl_module(model_config=config.model.updated({"fcnet_hiddens": [16]}))
    with config.build_algo() as algo:
        results = [algo.train() for _ in range(ITERATIONS)]
        return Trace(algo.params_hash(), told(results[SHOWN]))


def told(results: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Returns, and all that losses report."""
    rows = [
        {"episode_return_mean": result["env_runners"]["episode_return_mean"]}
        | {
            key: value
            for key, value in flat(result["learners"])
            if key.endswith(("loss", "entropy"))
        }
        for result in results
    ]
    return {key: [float(f"{row[key]:.3g}") for row in rows] for key in rows[0]}


@cache
def first(name: str) -> Trace:
    """The run that all others of a name are compared to."""
    return trace(name)


@pytest.mark.parametrize("name", ALL)
def test_a_second_run_is_the_first_run(name: str) -> None:
    assert trace(name) == first(name)


@pytest.mark.parametrize("name", ALL)
def test_learning_is_as_it_was(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert golden.keys() == ALL.keys()
    metrics = first(name).metrics
    assert metrics.keys() == golden[name].keys()
    for key, values in golden[name].items():
        assert metrics[key] == pytest.approx(values, rel=6e-3, abs=5e-4), key


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[object]:
    if request.param == engines.CLIENT:
        yield from engines.running(request.param, request)
        return
    if request.param == "ray":
        pytest.importorskip("ray", reason='Ray is not installed: pip install "rllib-scale[ray]"')
    with leaks.ray_at_work() if request.param == "ray" else nullcontext():
        if request.param == "ray":
            request.getfixturevalue("shared_ray")
        with core.init(**ENGINES[request.param]):
            yield


@pytest.mark.parametrize("engine", ["native", "inline"], indirect=True)
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_actors_learn_what_one_process_learns(name: str, engine: None) -> None:
    assert trace(name, num_actors=1) == first(name)


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_actors_on_ray_learn_what_one_process_learns(name: str, engine: None) -> None:
    assert trace(name, num_actors=1) == first(name)


@pytest.mark.parametrize("engine", [engines.CLIENT], indirect=True)
def test_a_driver_away_from_ray_learns_what_one_process_learns(engine: None) -> None:
    name = "PPO discrete"
    assert trace(name, num_actors=1) == first(name)


if __name__ == "__main__":
    rows = [f'"{name}": {json.dumps(first(name).metrics)}' for name in ALL]
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")
