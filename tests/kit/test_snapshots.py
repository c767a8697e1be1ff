"""Snapshots of algorithms: copies that training does not touch, also in pieces."""

import os
import signal
from pathlib import Path

import pytest

import rllib.checkpoints.rows
from rllib import core
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.checkpoints.checkpoint import load, saved_rows
from rllib.checkpoints.rows import FILE, SavedRows
from rllib.checkpoints.tree import Encoded
from rllib.preload import PRELOAD


def small(config_class, env="CartPole-v1", **training):
    return (
        config_class()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .debugging(seed=3)
        .training(**training)
    )


def off_policy(config_class, env="CartPole-v1", capacity=300, **training):
    buffer = {"type": training.pop("type", "EpisodeReplayBuffer"), "capacity": capacity}
    return (
        small(config_class, env, replay_buffer_config=buffer, **training)
        .training(num_steps_sampled_before_learning_starts=50, train_batch_size_per_learner=16)
        .reporting(min_sample_timesteps_per_iteration=100)
    )


CONFIGS = {
    "PPO": lambda: small(
        PPOConfig, train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1
    ).env_runners(observation_filter="MeanStdFilter"),
    "DQN": lambda: off_policy(DQNConfig, type="PrioritizedEpisodeReplayBuffer"),
    "SAC": lambda: off_policy(SACConfig),
}


def as_bytes(state):
    encoded = Encoded(state)
    tensors = encoded.tensors | {
        f"{file}{name}": array for file, own in encoded.fresh.items() for name, array in own.items()
    }
    return {name: array.tobytes() for name, array in tensors.items()}, encoded.tree


@pytest.mark.parametrize("name", CONFIGS)
def test_training_does_not_touch_a_snapshot(name):
    with CONFIGS[name]().build_algo() as algo:
        algo.train()
        snapshot = algo.snapshot()
        before = as_bytes(snapshot.state)
        algo.train()
        assert as_bytes(snapshot.state) == before


@pytest.mark.parametrize(("merge_bytes", "most_rows"), [(0, 120), (2**20, 300)])
@pytest.mark.parametrize("name", ["DQN", "SAC"])
def test_a_run_goes_on_from_pieces_as_if_it_had_never_stopped(
    name, merge_bytes, most_rows, tmp_path, monkeypatch
):
    monkeypatch.setattr(rllib.checkpoints.rows, "MERGE_BYTES", merge_bytes)
    make = CONFIGS[name]
    saved, sizes = SavedRows(), []
    with make().build_algo() as algo:
        for number in range(6):
            algo.train()
            path = tmp_path / str(number)
            saved = algo.snapshot(saved).write(path)
            sizes.append(new_rows(path))
        assert algo.replays["default_policy"].statistics().num_env_steps_evicted_lifetime > 0
        algo.train()
        wanted = algo.params_hash(), algo.num_env_steps_sampled_lifetime
    assert max(sizes[1:]) <= most_rows  # an iteration has 100, and the buffer holds 300
    with make().build_algo() as other:
        other.restore_from_path(path)
        other.train()
        assert (other.params_hash(), other.num_env_steps_sampled_lifetime) == wanted


def new_rows(path):
    """Rows in files that this checkpoint was the first to have."""
    new = {each.name for each in path.iterdir() if FILE.fullmatch(each.name)}
    for older in path.parent.iterdir():
        new -= {each.name for each in older.iterdir()} if older != path else set()
    pieces = load(path)[0]["replays"]["default_policy"]["ring"]["rows"]
    names = [each.piece.file for each in saved_rows(path)["default_policy"]]
    counts = dict(zip(names, (len(each["rewards"]) for each in pieces), strict=True))
    return sum(counts[name] for name in new)


@pytest.mark.filterwarnings("ignore:.*died and is started anew")
def test_a_learner_that_dies_while_a_snapshot_is_taken_is_replaced(tmp_path):
    config = (
        CONFIGS["PPO"]().learners(num_learners=1).fault_tolerance(learner_snapshot_every_s=1e-3)
    )
    with core.init(num_cpus=2, preload=PRELOAD), config.build_algo() as algo:
        algo.train()
        (pid,) = algo.learner_group.foreach_learner(lambda learner: os.getpid())
        os.kill(pid, signal.SIGKILL)
        algo.save_to_path(tmp_path / "saved")
        assert algo.learner_group.num_restarts == 1
        assert load(tmp_path / "saved")[1]["params_hash"] == algo.params_hash()
        assert algo.train()["training_iteration"] == 2


def test_a_checkpoint_may_be_anywhere(tmp_path):
    url = f"memory://{Path(tmp_path).name}/saved"
    with CONFIGS["DQN"]().build_algo() as algo:
        algo.train()
        algo.save_to_path(url)
        with type(algo).from_checkpoint(url) as other:
            assert other.params_hash() == algo.params_hash()
            assert len(other.replays["default_policy"]) == len(algo.replays["default_policy"]) > 0
