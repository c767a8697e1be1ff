"""A checkpoint waits for no env runner that is in the middle of something."""

import threading
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from rllib import IMPALAConfig, core
from rllib.algorithm import Algorithm
from rllib.checkpoints.checkpoint import load
from rllib.preload import PRELOAD
from rllib.sampling import later_states


class Gated(gym.Env):
    """Stands still in its every step from the 200th on, unless the gate is open."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        self.gate, self.t = Path(config["gate"]), 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        while self.t >= 200 and not self.gate.exists():
            threading.Event().wait(0.01)
        return np.zeros(2, np.float32), 1.0, self.t % 7 == 0, False, {}

    def get_state(self):
        return {"t": self.t}

    def set_state(self, state):
        self.t = state["t"]


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=3, preload=PRELOAD):
        yield


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "open"


@pytest.fixture
def standing(gate):
    """A run whose env runner stands still."""
    settings = (
        IMPALAConfig()
        .environment(Gated, env_config={"gate": str(gate)})
        .env_runners(num_env_runners=1, num_envs_per_env_runner=1, rollout_fragment_length=20)
        .learners(num_learners=0)
        .training(train_batch_size_per_learner=20)
        .reporting(min_sample_timesteps_per_iteration=180)
        .rl_module(model_config={"fcnet_hiddens": [4]})
    )
    with settings.build_algo() as algo:
        algo.train()
        yield algo
        gate.touch()


def test_it_is_written_when_the_env_runner_has_told(standing, gate, tmp_path):
    snapshot = standing.snapshot()
    writing = threading.Thread(target=snapshot.write, args=(tmp_path / "saved",))
    writing.start()
    gate.touch()
    writing.join()
    (runner,) = load(tmp_path / "saved")[0]["env_runners"].values()
    assert runner["env"]["env"]["singles"][0]["parts"][-1]["is"]["t"] >= 200
    with Algorithm.from_checkpoint(tmp_path / "saved", standing.config) as heir:
        assert heir.env_runner_group.resumed == {0}


def test_where_there_is_no_time_it_is_written_without(standing, tmp_path, monkeypatch):
    monkeypatch.setattr(later_states, "HURRIED_S", 0.1)
    hurry = threading.Event()
    hurry.set()
    standing.snapshot().write(tmp_path / "saved", hurry)
    assert load(tmp_path / "saved")[0]["env_runners"] == {"0": {}}


def test_one_that_dies_meanwhile_has_nothing_to_tell(standing, tmp_path):
    snapshot = standing.snapshot()
    standing.env_runner_group.workers[0].end()
    snapshot.write(tmp_path / "saved")
    assert load(tmp_path / "saved")[0]["env_runners"] == {"0": {}}
