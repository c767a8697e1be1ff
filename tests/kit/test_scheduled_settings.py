"""Settings that change while training have their value of the moment wherever they are read."""

from typing import Any

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
ON_POLICY = {
    "lr": (0.5, 0.25),
    "gamma": (0.5, 0.25),
    "grad_clip": (0.5, 0.25),
    "num_epochs": (3, 1),
    "minibatch_size": (8, 4),
    "exploration_noise_correlation": (0.5, 0.25),
    "entropy_coeff": (0.5, 0.25),
    "vf_loss_coeff": (0.5, 0.25),
    "lambda_": (0.5, 0.25),
}
PENALISED = {"clip_param": (0.5, 0.25), "kl_coeff": (0.5, 0.25), "kl_target": (0.5, 0.25)}
ASYNCHRONOUS = ON_POLICY | {
    "vtrace_clip_rho_threshold": (2.0, 1.0),
    "vtrace_clip_pg_rho_threshold": (2.0, 1.0),
    "broadcast_interval": (1, 3),
    "max_policy_lag": (50, 10),
}
OFF_POLICY = {
    "gamma": (0.5, 0.25),
    "grad_clip": (0.5, 0.25),
    "tau": (0.5, 0.25),
    "training_intensity": (2.0, 1.0),
    "target_network_update_freq": (2, 4),
    "n_step": (3, 1),
    "exploration_noise_correlation": (0.5, 0.25),
}
ACTOR_CRITIC = OFF_POLICY | {"actor_lr": (0.5, 0.25), "critic_lr": (0.5, 0.25)}
SCHEDULED: dict[type[AlgorithmConfig], dict[str, tuple[float, float]]] = {
    PPOConfig: ON_POLICY | PENALISED | {"vf_clip_param": (0.5, 0.25)},
    IMPALAConfig: ASYNCHRONOUS,
    APPOConfig: ASYNCHRONOUS
    | PENALISED
    | {
        "tau": (0.5, 0.25),
        "target_network_update_freq": (2.0, 1.0),
        "target_worker_clipping": (2.0, 1.0),
    },
    DQNConfig: OFF_POLICY | {"lr": (0.5, 0.25), "epsilon": (0.5, 0.25)},
    SACConfig: ACTOR_CRITIC | {"alpha_lr": (0.5, 0.25), "target_entropy": (0.5, 0.25)},
    TD3Config: ACTOR_CRITIC
    | {
        "policy_delay": (2, 4),
        "target_noise": (0.5, 0.25),
        "target_noise_clip": (0.5, 0.25),
        "exploration_noise": (0.5, 0.25),
    },
}
"""Every setting that may change while training, with two values."""
CASES = [(kind, name) for kind, settings in SCHEDULED.items() for name in settings]


@pytest.fixture(autouse=True)
def inline():
    with core.init(address="inline"):
        yield


def schedule_of(values: tuple[float, float], to: int = TO) -> list[list[float]]:
    return [[0, values[0]], [to, values[1]]]


@pytest.mark.parametrize(("config_class", "name"), CASES)
def test_a_schedule_is_a_value_for_every_timestep(config_class: type[AlgorithmConfig], name: str):
    first, last = SCHEDULED[config_class][name]
    config = config_class(**{name: schedule_of((first, last))})
    assert config.at(0)[name] == first
    middle = (first + last) / 2
    assert config.at(TO // 2)[name] == (round(middle) if isinstance(first, int) else middle)
    assert config.at(2 * TO)[name] == last
    assert type(config.at(TO // 3)[name]) is type(first)
    assert config[name] == ((0, first), (TO, last))
    assert config_class().at(TO // 2)[name] == config_class().at(TO // 2)[name]


def has_number(schema: dict[str, Any]) -> bool:
    """Whether one of the values that a setting may have is a number."""
    kinds = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return any(kind.get("type") in ("integer", "number") for kind in kinds)


@pytest.mark.parametrize("config_class", SCHEDULED)
def test_a_number_without_a_schedule_says_why(config_class: type[AlgorithmConfig]):
    schema = config_class.model_json_schema()["properties"]
    numbers = {name for name, each in schema.items() if has_number(each)}
    fixed = numbers - SCHEDULED[config_class].keys() - SCHEDULED[PPOConfig].keys()
    assert fixed >= {"train_batch_size_per_learner", "num_env_runners", "seed"}
    for name in fixed:
        with pytest.raises(ConfigError, match=f"^{name}: takes no schedule: "):
            config_class(**{name: [[0, 1], [TO, 2]]})


@pytest.mark.parametrize(
    ("config_class", "name", "reason"),
    [
        (SACConfig, "initial_alpha", "where the weight of the entropy begins"),
        (DQNConfig, "num_steps_sampled_before_learning_starts", "one moment"),
        (PPOConfig, "train_batch_size_per_learner", "schedule minibatch_size or num_epochs"),
        (DQNConfig, "train_batch_size_per_learner", "schedule training_intensity"),
        (SACConfig, "train_batch_size_per_learner", "schedule training_intensity"),
        (DQNConfig, "v_max", "what its outputs mean"),
    ],
)
def test_what_can_have_no_schedule_says_why(config_class, name, reason):
    with pytest.raises(ConfigError, match=rf"{name}: takes no schedule: .*{reason}"):
        config_class(**{name: [[0, 1], [TO, 2]]})


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0.9], [TO, 1.5]], "gamma.*less than or equal to 1, got 1.5"),
        ([[5, 0.9]], "begins at timestep 0"),
        ([[0, 0.9], [0, 0.8]], "rise from point to point"),
        ([0.9, 0.8], "gamma"),
    ],
)
def test_every_point_is_within_the_limits_of_the_setting(points, message):
    with pytest.raises(ConfigError, match=message):
        PPOConfig(gamma=points)


def test_no_minibatch_of_a_schedule_is_larger_than_the_batch():
    config = ppo(minibatch_size=[[0, 16], [TO, 64]])
    with pytest.raises(ConfigError, match="minibatch_size: 64 is more than train_batch_size"):
        config.validate()


def test_pairs_that_are_no_schedule_stay_as_they_are():
    config = DQNConfig(n_step=[1, 3], epsilon=0.1)
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
        ("gamma", (0.5, 0.99)),
        ("lambda_", (0.0, 1.0)),
        ("num_epochs", (1, 4)),
        ("minibatch_size", (8, 32)),
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
    penalty = KLPenalty(0.2, is_on=True)
    weights = []
    for kl in (0.03, 0.015, 0.004):
        penalty.adapt(kl, target=0.01)
        weights.append(penalty.at(7))
    assert weights == pytest.approx([0.3, 0.3, 0.15])
    penalty.restore(0.7)
    assert penalty.at(0) == 0.7
    scheduled = KLPenalty(((0, 1.0), (10, 0.0)), is_on=True)
    scheduled.adapt(1.0, target=0.01)
    scheduled.restore(0.7)
    assert [scheduled.at(t) for t in (0, 5, 20)] == [1.0, 0.5, 0.0]
    assert KLPenalty(0.2, is_on=False).at(0) == 0.0


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


def dqn(beta=0.4, **settings):
    return (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(num_steps_sampled_before_learning_starts=8)
        .training(replay_buffer_config={"capacity": 100, "beta": beta})
        .training(**settings)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
        .reporting(min_sample_timesteps_per_iteration=16)
    )


def test_the_exponents_of_prioritised_replay_may_have_schedules():
    exponents = {"alpha": [[0, 0.6], [32, 0.2]], "beta": [[0, 0], [32, 1]]}
    with dqn(replay_buffer_config=exponents).build_algo() as algo:
        found = []
        replay = algo.replays["default_policy"]
        for _ in range(3):
            learnt = algo.train()["learners"]["default_policy"]
            found.append((replay.alpha, replay.beta))
            assert (learnt["curr_alpha"], learnt["curr_beta"]) == found[-1]
    assert found == sorted(found, key=lambda pair: pair[1])
    assert 0.2 < found[0][0] < 0.6
    assert 0.0 < found[0][1] < 1.0
    assert found[-1] == (0.2, 1.0)


def test_what_is_no_schedule_of_a_correction_is_named():
    with pytest.raises(ConfigError, match=r"replay_buffer_config.beta: should be a number from 0"):
        dqn([[5, 0.4]]).validate()


def test_target_networks_move_as_far_as_the_moment_says(monkeypatch):
    moves = []
    monkeypatch.setattr(TargetNetwork, "move", lambda self, tau: moves.append(tau))
    settings = dqn(tau=[[0, 1.0], [32, 0.5]], target_network_update_freq=1)
    with settings.build_algo() as algo:
        for _ in range(3):
            algo.train()
    assert moves == sorted(moves, reverse=True)
    assert 1.0 > moves[0] > moves[-1] == 0.5


def learner_metrics(settings, iterations=3):
    with settings.build_algo() as algo:
        return [algo.train()["learners"]["default_policy"] for _ in range(iterations)]


def test_gradient_steps_per_env_step_follow_their_schedule():
    intensity = [[0, 32.0], [32, 96.0]]  # a batch of 32 for every env step, and for every third
    found = learner_metrics(dqn(training_intensity=intensity), 4)
    totals = [each["num_gradient_updates_lifetime"] for each in found]
    steps = np.diff(totals)
    assert 8 < totals[0] < 3 * 8
    assert steps[1:].tolist() == [3 * 16, 3 * 16]


def test_the_target_networks_moves_come_as_often_as_the_moment_says(monkeypatch):
    moves = []
    monkeypatch.setattr(TargetNetwork, "move", lambda self, tau: moves.append(tau))
    counts = []
    freq = [[0, 1], [32, 8]]
    with dqn(target_network_update_freq=freq, training_intensity=32.0).build_algo() as algo:
        for _ in range(5):
            algo.train()
            counts.append(len(moves))
    assert 1 < counts[0] < 8
    assert np.diff(counts)[1:].tolist() == [2, 2, 2]


def test_rewards_are_added_up_over_as_many_steps_as_the_moment_says():
    settings = dqn(n_step=[[0, 3], [32, 1]], training_intensity=32.0)
    assert settings.get_rollout_fragment_length() == settings.at(64).get_rollout_fragment_length()
    seen = []
    with settings.build_algo() as algo:
        for _ in range(3):
            algo.train()
            seen.append(set(algo.draws(8)["default_policy"].n.tolist()))
    assert max(seen[0]) == 2
    assert seen[-1] == {1}


def test_the_actors_turns_come_as_often_as_the_moment_says():
    from point_env import ACTIONS, OBS

    settings = TD3Config(policy_delay=[[0, 2], [TO, 4]])
    spaces = Spaces(OBS, ACTIONS)
    learner = TD3Learner(settings.rl_module(model_config={"fcnet_hiddens": [4]}), spaces)
    assert [learner.is_time_to_move() for _ in range(6)] == [False, True] * 3
    learner.now = settings.at(TO)
    learner.is_time_to_move()
    heir = TD3Learner(settings, spaces)
    heir.turns.set_state(learner.turns.get_state())
    heir.now = learner.now
    turns = [learner.is_time_to_move() for _ in range(7)]
    assert turns == [False, False, True, False, False, False, True]
    assert [heir.is_time_to_move() for _ in range(7)] == turns


EVERYTHING: dict[type[AlgorithmConfig], dict[str, Any]] = {
    PPOConfig: {"train_batch_size_per_learner": 32, "use_kl_loss": True},
    IMPALAConfig: {"train_batch_size_per_learner": 32},
    APPOConfig: {
        "train_batch_size_per_learner": 32,
        "circular_buffer_num_batches": 1,
        "use_kl_loss": True,
    },
    **{
        kind: {"train_batch_size_per_learner": 4, "num_steps_sampled_before_learning_starts": 16}
        for kind in (DQNConfig, SACConfig, TD3Config)
    },
}
CONTINUOUS = (IMPALAConfig, APPOConfig, TD3Config)


def everything(config_class: type[AlgorithmConfig]) -> AlgorithmConfig:
    """All that may have a schedule has one that ends in the fourth iteration."""
    schedules = {
        name: schedule_of(values, 250)
        for name, values in SCHEDULED[config_class].items()
        if name != "exploration_noise_correlation" or config_class in CONTINUOUS
    }
    config = config_class(**schedules).environment("CartPole-v1")
    if config_class in CONTINUOUS:
        config.environment("Pendulum-v1", env_config={"max_episode_steps": 20})
    return (
        config.env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .learners(num_learners=0)
        .training(**EVERYTHING[config_class])
        .rl_module(model_config={"fcnet_hiddens": (8,)})
        .reporting(min_sample_timesteps_per_iteration=64)
    )


@pytest.mark.parametrize("config_class", EVERYTHING)
def test_everything_may_have_a_schedule_at_once(config_class, tmp_path):
    config = everything(config_class).env_runners(rollout_fragment_length=8)
    with config.build_algo() as algo:
        for _ in range(2):
            algo.train()
        path = algo.save_to_path(tmp_path / "half")
        results = [algo.train() for _ in range(3)]
        params_hash = algo.params_hash()
    learnt = results[-1]["learners"]["default_policy"]
    for name in config.schedules:
        assert learnt[f"curr_{name}"] == SCHEDULED[config_class][name][1]
    with config_class().algo_class.from_checkpoint(path) as algo:
        again = [algo.train() for _ in range(3)]
        if config_class not in CONTINUOUS:  # CartPole's state can be saved, Pendulum's cannot
            assert algo.params_hash() == params_hash
    for first, second in zip(results, again, strict=True):
        told = [each["learners"]["default_policy"] for each in (first, second)]
        scheduled = [{k: v for k, v in each.items() if k.startswith("curr_")} for each in told]
        assert scheduled[0] == scheduled[1]
        assert len(scheduled[0]) >= len(config.schedules)
