"""Settings that change while training have their value of the moment wherever they are read."""

import numpy as np
import pytest
import torch

from rllib import core
from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.algorithms.sac import SACConfig
from rllib.algorithms.td3 import TD3Config, TD3Learner
from rllib.config import AlgorithmConfig
from rllib.envs.make import Spaces, probe_spaces
from rllib.errors import ConfigError
from rllib.learning.kl_penalty import KLPenalty
from rllib.learning.target_network import TargetNetwork

SPACES = probe_spaces("CartPole-v1")
TO = 1000
"""Schedules go from their first value to the second in so many env steps."""
CASES = [
    *((PPOConfig, name) for name in ("clip_param", "vf_clip_param", "vf_loss_coeff", "kl_coeff")),
    *((IMPALAConfig, name) for name in ("vf_loss_coeff", "entropy_coeff")),
    *((APPOConfig, name) for name in ("clip_param", "vf_loss_coeff", "kl_coeff", "tau")),
    *((kind, "grad_clip") for kind in (PPOConfig, IMPALAConfig, DQNConfig, SACConfig)),
    *((kind, "tau") for kind in (DQNConfig, SACConfig, TD3Config)),
    *((TD3Config, name) for name in ("target_noise", "target_noise_clip", "exploration_noise")),
    (DQNConfig, "epsilon"),
]


@pytest.fixture(autouse=True)
def inline():
    with core.init(address="inline"):
        yield


@pytest.mark.parametrize(("config_class", "name"), CASES)
def test_a_schedule_is_a_value_for_every_timestep(config_class: type[AlgorithmConfig], name: str):
    config = config_class(**{name: [[0, 0.5], [TO, 0.25]]})
    assert config.at(0)[name] == 0.5
    assert config.at(TO // 2)[name] == 0.375
    assert config.at(2 * TO)[name] == 0.25
    assert config[name] == ((0, 0.5), (TO, 0.25))
    assert config_class().at(TO // 2)[name] == config_class().at(TO // 2)[name]


def test_pairs_that_are_no_schedule_stay_as_they_are():
    config = DQNConfig(n_step=(1, 3), epsilon=0.1)
    assert config.at(500) is config


def fragment(settings):
    from rllib.sampling.env_runner import EnvRunner

    runner = EnvRunner(settings, SPACES, 0)
    module = settings.get_rl_module_spec(SPACES).build()
    runner.set_weights({k: v.numpy() for k, v in module.policy_state().items()}, 1)
    batch, _ = runner.sample()
    runner.stop()
    return batch


def ppo(**settings):
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=16)
        .training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=3, lr=1e-2)
        .training(**settings)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("clip_param", (0.01, 0.3)),
        ("vf_clip_param", (0.5, 20.0)),
        ("vf_loss_coeff", (0.1, 2.0)),
        ("entropy_coeff", (0.0, 1.0)),
        ("kl_coeff", (0.1, 3.0)),
        ("grad_clip", (0.01, 1.0)),
    ],
)
def test_an_update_goes_by_the_value_of_its_timestep(name, values):
    batch = fragment(ppo())

    def learnt(timestep, **settings):
        learner = PPOLearner(ppo(**settings), SPACES)
        learner.update(batch, timestep=timestep)
        return learner.get_module_state()

    schedule = {name: [[0, values[0]], [TO, values[1]]]}
    for timestep, value in ((0, values[0]), (TO, values[1])):
        expected = learnt(timestep, **{name: value})
        for key, array in learnt(timestep, **schedule).items():
            np.testing.assert_array_equal(array, expected[key])
    middle = learnt(TO // 2, **schedule)
    assert any((array != learnt(0, **schedule)[key]).any() for key, array in middle.items())


def test_a_kl_penalty_adapts_unless_it_has_a_schedule():
    penalty = KLPenalty(0.2, target=0.01, is_on=True)
    weights = []
    for kl in (0.03, 0.015, 0.004):
        penalty.adapt(kl)
        weights.append(penalty.at(7))
    assert weights == pytest.approx([0.3, 0.3, 0.15])
    penalty.restore(0.7)
    assert penalty.at(0) == 0.7
    scheduled = KLPenalty(((0, 1.0), (10, 0.0)), target=0.01, is_on=True)
    scheduled.adapt(1.0)
    scheduled.restore(0.7)
    assert [scheduled.at(t) for t in (0, 5, 20)] == [1.0, 0.5, 0.0]
    assert KLPenalty(0.2, 0.01, is_on=False).at(0) == 0.0


def test_target_actions_are_smoothed_by_the_noise_of_the_moment():
    from point_env import ACTIONS, OBS

    settings = TD3Config(target_noise=[[0, 0.0], [TO, 0.4]], target_noise_clip=0.2)
    learner = TD3Learner(
        settings.rl_module(model_config={"fcnet_hiddens": [4]}), Spaces(OBS, ACTIONS)
    )
    inputs, noise = torch.zeros(1, 1), torch.ones(1, 1)
    assert learner.smoothing.sample(inputs, noise) == 0.0
    learner.now = settings.at(TO // 4)
    assert learner.smoothing.sample(inputs, noise).item() == pytest.approx(0.1)
    learner.now = settings.at(TO)
    assert learner.smoothing.sample(inputs, noise).item() == pytest.approx(0.2)


def dqn(beta, **settings):
    return (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(num_steps_sampled_before_learning_starts=8, **settings)
        .training(replay_buffer_config={"capacity": 100, "beta": beta})
        .rl_module(model_config={"fcnet_hiddens": (8,)})
        .reporting(min_sample_timesteps_per_iteration=16)
    )


def test_the_correction_of_prioritised_replay_may_have_a_schedule():
    with dqn([[0, 0.4], [32, 1.0]]).build_algo() as algo:
        betas = []
        replay = algo.replays["default_policy"]
        sample = replay.sample
        replay.sample = lambda *args, beta, **more: (
            betas.append(beta) or sample(*args, beta=beta, **more)
        )
        for _ in range(3):
            algo.train()
    assert betas == sorted(betas)
    assert 0.4 < betas[0] < 0.7
    assert betas[-1] == 1.0


def test_what_is_no_schedule_of_a_correction_is_named():
    with pytest.raises(ConfigError, match=r"replay_buffer_config.beta: should be a number from 0"):
        dqn([[5, 0.4]]).validate()


def test_target_networks_move_as_far_as_the_moment_says(monkeypatch):
    moves = []
    monkeypatch.setattr(TargetNetwork, "move", lambda self, tau: moves.append(tau))
    settings = dqn(0.4, tau=[[0, 1.0], [32, 0.5]], target_network_update_freq=1)
    with settings.build_algo() as algo:
        for _ in range(3):
            algo.train()
    assert moves == sorted(moves, reverse=True)
    assert 1.0 > moves[0] > moves[-1] == 0.5
