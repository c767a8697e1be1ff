"""A whole algorithm: results, determinism, layouts, going on from checkpoints, errors."""

import json
import os
import shutil
import socket

import numpy as np
import pytest

from rllib import core
from rllib.algorithm import Algorithm
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.connectors import FrameStacking
from rllib.envs.counter import CounterEnv
from rllib.errors import CheckpointError, ConfigError, EnvError, TrainingError


def config(env="CartPole-v1", num_env_runners=0, num_learners=0, **env_config):
    return (
        PPOConfig()
        .environment(env, env_config=env_config)
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=4)
        .learners(num_learners=num_learners)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=2, lr=1e-3)
        .rl_module(model_config={"fcnet_hiddens": (16,)})
        .fault_tolerance(restart_failed_env_runners=False)
        .debugging(seed=7)
    )


@pytest.fixture
def inline():
    with core.init(address="inline"):
        yield


def train(settings, iterations=3):
    with settings.build_algo() as algorithm:
        results = [algorithm.train() for _ in range(iterations)]
        return algorithm.params_hash(), results


def test_the_result_has_rllibs_keys():
    _, results = train(config(), iterations=4)
    result = results[-1]
    assert result["training_iteration"] == 4
    assert result["config"]["lr"] == 1e-3
    assert (result["hostname"], result["pid"]) == (socket.gethostname(), os.getpid())
    assert result["time_total_s"] >= result["time_this_iter_s"] > 0
    runners = result["env_runners"]
    assert runners["episode_return_min"] <= runners["episode_return_mean"]
    assert runners["episode_return_mean"] <= runners["episode_return_max"]
    assert runners["episode_len_mean"] == runners["episode_return_mean"]  # of CartPole
    assert runners["num_episodes_lifetime"] == sum(
        r["env_runners"]["num_episodes"] for r in results
    )
    steps = sum(r["env_runners"]["num_env_steps_sampled"] for r in results)
    assert result["num_env_steps_sampled_lifetime"] == steps
    assert runners["num_env_steps_sampled_lifetime"] == steps
    learner = result["learners"]["default_policy"]
    assert learner["num_module_steps_trained_lifetime"] == steps
    assert learner.keys() >= {
        "total_loss",
        "policy_loss",
        "vf_loss",
        "vf_loss_unclipped",
        "vf_explained_var",
        "entropy",
        "mean_kl_loss",
        "curr_kl_coeff",
        "default_optimizer_learning_rate",
        "gradients_default_optimizer_global_norm",
    }
    timers = result["timers"]
    parts = timers["env_runner_sampling_timer"] + timers["learner_update_timer"]
    assert 0 < parts <= timers["training_iteration"]
    json.dumps(results, allow_nan=False)


@pytest.mark.parametrize(
    "setting", ["min_sample_timesteps_per_iteration", "min_train_timesteps_per_iteration"]
)
def test_an_iteration_has_as_many_training_steps_as_it_takes(setting):
    expected, single = train(config(), iterations=4)
    hashed, (result,) = train(config().reporting(**{setting: 400}), iterations=1)
    assert hashed == expected
    assert result["num_training_step_calls_per_iteration"] == 4
    for name in ("num_episodes", "num_env_steps_sampled"):
        assert result["env_runners"][name] == sum(each["env_runners"][name] for each in single)
    losses = [each["learners"]["default_policy"]["vf_loss"] for each in single]
    learner = result["learners"]["default_policy"]
    assert learner["vf_loss"] == pytest.approx(sum(losses) / 4)
    assert learner["num_module_steps_trained"] == result["num_env_steps_sampled_lifetime"]


def test_an_iteration_may_be_a_number_of_seconds():
    _, (result,) = train(config().reporting(min_time_s_per_iteration=0.1), iterations=1)
    assert result["num_training_step_calls_per_iteration"] > 1
    assert result["time_this_iter_s"] >= 0.1


def test_reset_rows_are_no_env_steps():
    _, results = train(config())
    ended = sum(r["env_runners"]["num_episodes"] for r in results)
    steps = results[-1]["num_env_steps_sampled_lifetime"]
    # CartPole's vector form resets in a row of its own; those of the last row are still to come.
    assert 3 * 128 - ended <= steps <= 3 * 128 - ended + 4


def test_a_single_agent_is_counted_under_rllibs_names():
    _, (result,) = train(config(), iterations=1)
    runners, timers = result["env_runners"], result["timers"]
    steps = runners["num_env_steps_sampled"]
    assert runners["num_agent_steps_sampled"] == {"default_agent": steps}
    assert runners["num_module_steps_sampled"] == {"default_policy": steps}
    mean = runners["episode_return_mean"]
    assert runners["agent_episode_returns_mean"] == {"default_agent": mean}
    assert runners["module_episode_returns_mean"] == {"default_policy": mean}
    total = result["learners"]["__all_modules__"]
    assert total["num_env_steps_trained"] == total["num_module_steps_trained"] == steps
    assert total["num_env_steps_trained_lifetime"] == steps
    assert 0.0 < timers["training_step"] <= timers["training_iteration"]
    assert result["node_ip"].count(".") == 3


def test_before_the_first_episode_ends_there_is_no_mean():
    settings = config(CounterEnv, endings=[(1000, "truncated")])
    _, (result,) = train(settings, iterations=1)
    assert "episode_return_mean" not in result["env_runners"]
    assert result["env_runners"]["num_episodes_lifetime"] == 0


def test_the_same_seed_learns_the_same_and_another_does_not():
    first, _ = train(config())
    again, _ = train(config())
    other, _ = train(config().debugging(seed=8))
    assert first == again != other


@pytest.mark.parametrize(("num_env_runners", "num_learners"), [(1, 0), (0, 1), (1, 1)])
@pytest.mark.usefixtures("inline")
def test_actors_learn_the_same_as_the_main_process(num_env_runners, num_learners):
    local, local_results = train(config())
    remote, remote_results = train(config("CartPole-v1", num_env_runners, num_learners))
    assert remote == local
    assert remote_results[-1]["env_runners"].keys() == local_results[-1]["env_runners"].keys()
    for name in ("episode_return_mean", "num_env_steps_sampled_lifetime", "weights_seq_no"):
        assert remote_results[-1]["env_runners"][name] == local_results[-1]["env_runners"][name]


@pytest.mark.usefixtures("inline")
def test_two_env_runners_share_the_batch():
    _, results = train(config(num_env_runners=2, num_learners=1))
    assert 128 * 3 * 0.8 < results[-1]["num_env_steps_sampled_lifetime"] <= 128 * 3


@pytest.mark.parametrize("layout", [(0, 0), (2, 1)])
@pytest.mark.usefixtures("inline")
def test_a_resumed_run_is_the_same_run(tmp_path, layout):
    expected, results = train(config("CartPole-v1", *layout), iterations=6)
    with config("CartPole-v1", *layout).build_algo() as first:
        for _ in range(3):
            first.train()
        path = first.save_to_path(tmp_path / "checkpoint")
        half = first.params_hash()
    with PPO.from_checkpoint(path) as second:
        assert second.params_hash() == half
        resumed = [second.train() for _ in range(3)]
        assert second.params_hash() == expected
    assert resumed[-1]["training_iteration"] == 6
    assert resumed[-1]["time_total_s"] > resumed[-1]["time_this_iter_s"]
    assert resumed[-1]["env_runners"]["weights_seq_no"] == 7
    for name in ("episode_return_mean", "num_episodes_lifetime", "num_env_steps_sampled_lifetime"):
        assert resumed[-1]["env_runners"][name] == results[-1]["env_runners"][name]


class Mine(PPO):
    """An algorithm that is registered nowhere."""


def test_a_checkpoint_is_read_by_the_class_that_wrote_it(tmp_path):
    settings = config()
    settings._algo_name = "some_package.module:Mine"  # as the command line names it
    with Mine(settings) as algorithm:
        path = algorithm.save_to_path(tmp_path / "mine")
        with Mine.from_checkpoint(path) as twin:
            assert twin.params_hash() == algorithm.params_hash()
    with pytest.raises(CheckpointError, match="written by Mine, not PPO"):
        PPO.from_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"module:Mine; call from_checkpoint on that class"):
        Algorithm.from_checkpoint(path)


def test_a_checkpoint_has_a_place_and_a_reader_by_default():
    with config().build_algo() as algorithm:
        path = algorithm.save_to_path()
        with Algorithm.from_checkpoint(path) as twin:
            assert type(twin) is PPO
            assert twin.params_hash() == algorithm.params_hash()
    shutil.rmtree(path)


def resume_twice(path, settings):
    hashes = []
    for _ in range(2):
        with settings.build_algo() as algorithm:
            algorithm.restore_from_path(path)
            result = algorithm.train()
            hashes.append(algorithm.params_hash())
    assert hashes[0] == hashes[1]
    return result


class Untold(CounterEnv):
    """Does not tell its state: what is derived from one whose state is known may have more."""


def test_without_env_state_a_resumed_run_is_still_reproducible(tmp_path):
    settings = config(Untold, endings=[(50, "truncated")])
    with settings.build_algo() as algorithm:
        algorithm.train()
        path = algorithm.save_to_path(tmp_path / "checkpoint")
    result = resume_twice(path, settings)
    # 32 rows before and 32 after would make an episode of 50, had the unfinished ones been kept.
    assert result["env_runners"]["num_episodes_lifetime"] == 0
    assert result["num_env_steps_sampled_lifetime"] == 256


def test_another_layout_goes_on_with_the_same_weights(tmp_path):
    with config().build_algo() as algorithm:
        algorithm.train()
        path = algorithm.save_to_path(tmp_path / "checkpoint")
        expected = algorithm.params_hash()
    wider = config().env_runners(num_envs_per_env_runner=8)
    with wider.build_algo() as algorithm:
        algorithm.restore_from_path(path)
        assert algorithm.params_hash() == expected
        assert algorithm.train()["training_iteration"] == 2


def test_a_checkpoint_of_another_network_or_kind_is_refused(tmp_path):
    with config().build_algo() as algorithm:
        path = algorithm.save_to_path(tmp_path / "checkpoint")
        with pytest.raises(CheckpointError, match="does not hold what PPO needs"):
            algorithm.set_state({"iteration": 1})
    deeper = config().rl_module(model_config={"fcnet_hiddens": (16, 16)})
    with deeper.build_algo() as algorithm, pytest.raises(CheckpointError, match="other settings"):
        algorithm.restore_from_path(path)


def stacks(num_frames):
    return lambda env: FrameStacking(num_frames)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda c: c.rl_module(model_config=c.model.updated({"fcnet_activation": "relu"})),
            "model_config.fcnet_activation was 'tanh', is 'relu'",
        ),
        (
            lambda c: c.env_runners(observation_filter="MeanStdFilter"),
            r"connectors was \[\], is \['MeanStdFilter\(clip=10.0\)'\]",
        ),
        (
            lambda c: c.rl_module(model_config=c.model.updated({"fcnet_hiddens": (8, 8)})),
            r"model_config.fcnet_hiddens was \[.*\], is \[8, 8\]",
        ),
        (
            lambda c: c.env_runners(env_to_module_connector=stacks(1)),
            r"connectors was \[\], is \['FrameStacking\(num_frames=1\)'\]",
        ),
        (lambda c: c.environment(normalize_actions=False), r"\(normalize_actions, clip_actions\)"),
    ],
)
def test_a_checkpoint_whose_weights_would_mean_something_else_is_refused(tmp_path, change, told):
    with config().build_algo() as algorithm:
        path = algorithm.save_to_path(tmp_path / "checkpoint")
    with change(config()).build_algo() as algorithm:
        before = algorithm.params_hash()
        with pytest.raises(CheckpointError, match=told):
            algorithm.restore_from_path(path)
        assert algorithm.params_hash() == before


def test_settings_that_change_nothing_of_what_weights_mean_may_differ(tmp_path):
    with config().build_algo() as algorithm:
        path = algorithm.save_to_path(tmp_path / "checkpoint")
        expected = algorithm.params_hash()
    other = config().training(lr=0.5, gamma=0.5)
    other.rl_module(model_config=other.model.updated({"fcnet_kernel_initializer": "zeros_"}))
    with other.build_algo() as algorithm:
        algorithm.restore_from_path(path)
        assert algorithm.params_hash() == expected


def test_acting_with_the_trained_policy():
    with config().build_algo() as algorithm:
        algorithm.train()
        observation = np.zeros(4, np.float32)
        action = algorithm.compute_single_action(observation)
        assert action == algorithm.get_module().act(observation[None])[0]
        assert algorithm.interface.spaces.action.contains(action)


def test_acting_beside_training_leaves_no_trace_in_normalisers():
    hashes = []
    for num_acts in (0, 5):
        settings = config().env_runners(observation_filter="MeanStdFilter")
        with settings.build_algo() as algorithm:
            algorithm.train()
            strange = np.full(4, 100.0, np.float32)
            assert len({algorithm.compute_single_action(strange) for _ in range(num_acts)}) <= 1
            algorithm.train()
            algorithm.train()
            hashes.append(algorithm.params_hash())
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("num_env_runners", [0, 1])
@pytest.mark.usefixtures("inline")
def test_an_env_that_fails_ends_training_with_its_own_traceback(num_env_runners):
    settings = config(CounterEnv, num_env_runners, num_env_runners, fail_at=40)
    with settings.build_algo() as algorithm:
        algorithm.train()
        with pytest.raises(EnvError, match="ZeroDivisionError: the counter fails here") as caught:
            algorithm.train()
    assert (caught.value.env_index, caught.value.step) == (0, 40)


@pytest.mark.parametrize("num_env_runners", [0, 1])
@pytest.mark.usefixtures("inline")
def test_nan_from_an_env_ends_training_before_it_reaches_the_weights(num_env_runners):
    with config(CounterEnv, num_env_runners, nan_at=40).build_algo() as algorithm:
        algorithm.train()
        before = algorithm.params_hash()
        with pytest.raises(EnvError, match="reward = nan at vector step 40"):
            algorithm.train()
        assert algorithm.params_hash() == before


@pytest.mark.parametrize("num_learners", [0, 1])
@pytest.mark.usefixtures("inline")
def test_a_loss_that_overflows_is_a_training_error(num_learners):
    settings = config(CounterEnv, 0, num_learners, reward_scale=1e30)
    settings.training(vf_clip_param=None)
    with settings.build_algo() as algorithm, pytest.raises(TrainingError, match="vf_loss = inf"):
        algorithm.train()


def test_settings_that_cannot_work_are_refused_with_the_reason():
    with pytest.raises(ConfigError, match="did you mean 'CartPole-v1'"):
        PPO(config("CartPole-v7").copy())
    with pytest.raises(ConfigError, match="unexpected keyword argument 'gravity'"):
        PPO(config("CartPole-v1", gravity=3))
    with pytest.raises(ConfigError, match=r"rollout_fragment_length.* make it at least 2"):
        config().training(train_batch_size_per_learner=4, minibatch_size=4).build_algo()


def test_stopping_twice_is_fine():
    algorithm = config().build_algo()
    algorithm.stop()
    algorithm.stop()


def test_continuous_actions_train():
    settings = config("Pendulum-v1")
    first, results = train(settings)
    again, _ = train(settings)
    assert first == again
    assert np.isfinite(results[-1]["learners"]["default_policy"]["total_loss"])


def test_an_algorithm_takes_settings_of_its_own_and_an_environment():
    with pytest.raises(ConfigError, match=r"config: is a DQNConfig; PPO takes a PPOConfig$"):
        PPO(DQNConfig().environment("CartPole-v1"))
    with pytest.raises(ConfigError, match=r"is a dict; PPO takes a PPOConfig; PPOConfig.from_dict"):
        PPO({"env": "CartPole-v1"})
    settings = config(env="Nothing-v0")
    with PPO(settings, env="CartPole-v1") as algorithm:
        assert algorithm.config.env == "CartPole-v1"
    assert settings.env == "Nothing-v0"


def test_rllibs_switches_that_are_always_on_may_be_said():
    config().training(use_gae=True, use_critic=True).validate()
    with pytest.raises(ConfigError, match=r"use_gae: there is nothing else.*\n.*use_critic: there"):
        config().training(use_gae=False, use_critic=False).validate()


@pytest.mark.parametrize("num_env_runners", [0, 1])
@pytest.mark.usefixtures("inline")
def test_what_was_stopped_does_not_begin_again(num_env_runners):
    algorithm = config(num_env_runners=num_env_runners).build_algo()
    algorithm.train()
    algorithm.stop()
    algorithm.stop()
    for again in (algorithm.train, algorithm.evaluate):
        with pytest.raises(TrainingError, match="this algorithm was stopped: build another one"):
            again()
