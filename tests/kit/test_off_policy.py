"""What off-policy algorithms share: exact ratios, random beginnings, priorities, exact copies."""

import json
from fractions import Fraction

import numpy as np
import pytest
from point_env import POINT

from rllib import core
from rllib.algorithm import Algorithm
from rllib.algorithms.dqn import DQNConfig, DQNLearner
from rllib.algorithms.sac import SACConfig
from rllib.algorithms.td3 import TD3Config
from rllib.envs.multi_agent import make_multi_agent
from rllib.errors import CheckpointError, ConfigError
from rllib.off_policy import TD_ERRORS, OffPolicyConfig

SMALL = {"fcnet_hiddens": (8,)}


def dqn(num_env_runners=0, num_learners=0, **settings):
    return (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=num_env_runners, num_envs_per_env_runner=2, rollout_fragment_length=5
        )
        .learners(num_learners=num_learners)
        .training(num_steps_sampled_before_learning_starts=30, train_batch_size_per_learner=16)
        .training(**{"hiddens": (4,), "target_network_update_freq": 20} | settings)
        .rl_module(model_config=SMALL)
        .reporting(min_sample_timesteps_per_iteration=0)
        .debugging(seed=7)
    )


def actor_q(config_class, env, num_env_runners=0, num_learners=0, **settings):
    return (
        config_class()
        .environment(env)
        .env_runners(
            num_env_runners=num_env_runners, num_envs_per_env_runner=2, rollout_fragment_length=5
        )
        .learners(num_learners=num_learners)
        .training(num_steps_sampled_before_learning_starts=30, train_batch_size_per_learner=16)
        .training(actor_lr=1e-3, replay_buffer_config={"capacity": 500}, **settings)
        .rl_module(model_config=SMALL)
        .reporting(min_sample_timesteps_per_iteration=0)
        .debugging(seed=7)
    )


CONFIGS = {
    "dqn": dqn,
    "sac": lambda **given: actor_q(SACConfig, POINT, **given),
    "discrete sac": lambda **given: actor_q(SACConfig, "CartPole-v1", n_step=2, **given),
    "td3": lambda **given: actor_q(TD3Config, POINT, training_intensity=8.0, **given),
    "rainbow": lambda **given: dqn(num_atoms=5, noisy=True, n_step=3, epsilon=0.0, **given),
}


@pytest.fixture(params=CONFIGS)
def make(request):
    return CONFIGS[request.param]


@pytest.fixture
def inline():
    with core.init(address="inline"):
        yield


def train(settings, iterations):
    with settings.build_algo() as algorithm:
        results = [algorithm.train() for _ in range(iterations)]
        return algorithm.params_hash(), results


def learnt(result):
    return result["learners"].get("default_policy", {})


# The golden trace.


@pytest.mark.usefixtures("inline")
def test_twenty_iterations_are_the_same_every_time_and_in_actors(make):
    first, results = train(make(), 20)
    again, _ = train(make(), 20)
    assert first == again
    assert train(make().debugging(seed=8), 20)[0] != first
    for layout in ({"num_env_runners": 1}, {"num_learners": 1}):
        assert train(make(**layout), 20)[0] == first
    json.dumps(results, allow_nan=False)


def test_a_resumed_run_is_the_same_run(make, tmp_path):
    expected, results = train(make(), 12)
    with make().build_algo() as first:
        for _ in range(7):
            first.train()
        path = first.save_to_path(tmp_path / "checkpoint")
    with Algorithm.from_checkpoint(path) as second:
        for before in results[7:]:
            result = second.train()
            for name in ("env_runners", "replay_buffer"):
                counts = {k: v for k, v in before[name].items() if k.startswith("num_")}
                assert counts == {k: result[name][k] for k in counts}
        assert second.params_hash() == expected


def test_a_run_without_its_buffer_fills_a_new_one_before_it_learns(tmp_path):
    settings = dqn(store_buffer_in_checkpoints=False)
    with settings.build_algo() as first:
        for _ in range(7):
            first.train()
        path = first.save_to_path(tmp_path / "checkpoint")
        updates = learnt(first.train())["num_gradient_updates_lifetime"]
    with Algorithm.from_checkpoint(path) as second:
        assert second.replays["default_policy"].num_added_lifetime == 0
        for _ in range(3):
            assert learnt(second.train()) == {}
        second.train()
        assert learnt(second.train())["num_gradient_updates_lifetime"] > updates - 1


def test_a_buffer_of_another_size_is_no_continuation(tmp_path):
    with dqn().build_algo() as first:
        first.train()
        path = first.save_to_path(tmp_path / "checkpoint")
    other = dqn(replay_buffer_config={"capacity": 99})
    with pytest.raises(CheckpointError, match="capacity 50000, this one 99"):
        Algorithm.from_checkpoint(path, other)


@pytest.mark.parametrize("precision", ["bfloat16", None])
def test_values_are_float32_whatever_the_layers_compute_in(make, precision):
    settings = make().learners(mixed_precision=precision)
    _, results = train(settings, 8)
    assert np.isfinite(learnt(results[-1])["qf_mean"])


# The ratio of env steps to gradient steps.


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 10),  # one batch for each round of samples, 5 rows of 2 environments
        ({"training_intensity": 8.0}, 2),
        ({"training_intensity": 0.3}, Fraction(160, 3)),
        ({"training_intensity": 16.0}, 1),
    ],
)
def test_a_gradient_step_stands_for_so_many_env_steps(settings, steps):
    config = dqn(**settings)
    assert config.env_steps_per_update == steps
    _, results = train(config, 15)
    counted = 0
    for result in results:
        begun = result["num_env_steps_sampled_lifetime"]
        if begun > 30:
            counted += result["env_runners"]["num_env_steps_sampled"]
        updates = learnt(result).get("num_gradient_updates_lifetime")
        assert updates is None or updates == counted // steps
    assert counted > 80


def test_auto_samples_as_many_rows_as_rewards_are_added_up():
    for n_step, length in ((1, 1), (3, 3), ((2, 5), 5)):
        settings = dqn(n_step=n_step).env_runners(rollout_fragment_length="auto")
        assert settings.get_rollout_fragment_length() == length


@pytest.mark.parametrize(
    ("freq", "intensity", "moves"),
    [
        (0, 8.0, [True] * 6),
        (1, 8.0, [True] * 6),
        (2, 8.0, [True] * 6),
        (4, 8.0, [False, True] * 3),
        (5, 8.0, [False, False, True, False, True, False]),
    ],
)
def test_the_target_network_moves_by_env_steps(freq, intensity, moves):
    config = dqn(target_network_update_freq=freq, training_intensity=intensity)
    with config.build_algo() as algorithm:
        learner = algorithm.learner_group.workers[0].target
        assert [learner.is_time_to_move() for _ in range(6)] == moves


# Experience.


def test_before_learning_starts_actions_are_random_and_nothing_is_learnt():
    with dqn(epsilon=0.0).build_algo() as algorithm:
        runner = algorithm.env_runner_group.workers[0].target
        greedy = []
        for _ in range(8):
            result = algorithm.train()
            batch = runner.buffer.columns
            best = batch["policy_rows"].argmax(-1)
            greedy.append((batch["actions"] == best)[~batch["reset_rows"]].all())
            if result["num_env_steps_sampled_lifetime"] <= 30:
                assert learnt(result) == {}
        assert learnt(result)["num_gradient_updates_lifetime"] > 0
    assert not all(greedy[:3])
    assert all(greedy[4:])


@pytest.mark.usefixtures("inline")
def test_everybodys_steps_are_kept_and_reset_rows_are_not():
    _, results = train(dqn(num_env_runners=2), 6)
    sampled = results[-1]["num_env_steps_sampled_lifetime"]
    assert sampled == results[-1]["replay_buffer"]["num_env_steps_added_lifetime"]
    drawn = results[-1]["replay_buffer"]["num_env_steps_sampled_lifetime"]
    assert drawn == 16 * learnt(results[-1])["num_gradient_updates_lifetime"]


class Telltale(DQNLearner):
    """Its errors tell the row: they are the first number of what was observed."""

    def compute_loss(self, minibatch):
        loss = super().compute_loss(minibatch)
        rows = minibatch.inputs["obs"][:, 0]
        return loss._replace(arrays=loss.arrays | {TD_ERRORS: rows})


@pytest.mark.parametrize("num_learners", [0, 1, 2])
def test_td_errors_find_the_rows_that_they_are_of(num_learners):
    """Several gradient steps share one draw, and each learner has a draw of its own."""
    config = dqn(training_intensity=16.0, num_learners=num_learners, learner_class=Telltale)
    engine = {"num_cpus": 2} if num_learners > 1 else {"address": "inline"}
    with core.init(**engine), config.build_algo() as algorithm:
        for _ in range(5):
            algorithm.collect()
        replay = algorithm.replays["default_policy"]
        told, update = [], replay.update_priorities

        def note(indices, td_errors):
            told.extend(zip(indices.tolist(), td_errors.tolist(), strict=True))
            update(indices, np.abs(td_errors))

        replay.update_priorities = note
        drawn, sample = [], replay.sample

        def remember(*args, **kwargs):
            draw = sample(*args, **kwargs)
            drawn.extend(zip(draw.indices.tolist(), draw.obs[:, 0].tolist(), strict=True))
            return draw

        replay.sample = remember
        algorithm.learn(4)
        assert len(told) == 4 * 16 * max(1, num_learners)
        assert len({row for _, row in told}) > 16
        assert sorted(told) == sorted(drawn)


def test_the_rows_of_a_gradient_step_are_from_all_over_the_draw():
    with dqn().build_algo() as algorithm:
        for _ in range(5):
            algorithm.train()
        learner = algorithm.learner_group.workers[0].target
        (draw,) = [algorithm.draws(3)["default_policy"]]
        batch = learner.build_train_batch((draw,))
        parts = [np.asarray(part.rewards) for part in learner.minibatches(batch)]
        assert [len(part) for part in parts] == [16, 16, 16]
        np.testing.assert_array_equal(np.stack(parts, axis=1).reshape(-1), draw.rewards)


# Settings.


def test_a_buffer_keeps_its_defaults_if_its_type_stays():
    alpha = DQNConfig().training(replay_buffer_config={"alpha": 0.5})
    expected = {"type": "PrioritizedEpisodeReplayBuffer", "capacity": 50_000, "beta": 0.4}
    assert alpha.replay_buffer_config == expected | {"alpha": 0.5}
    uniform = DQNConfig().training(replay_buffer_config={"type": "EpisodeReplayBuffer"})
    assert uniform.replay_buffer_config == {"type": "EpisodeReplayBuffer"}
    assert OffPolicyConfig().replay_buffer_config["type"] == "EpisodeReplayBuffer"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replay_buffer_config": {"alhpa": 1}}, "replay_buffer_config.alhpa.*'alpha'"),
        ({"replay_buffer_config": {"type": "Ring"}}, "replay_buffer_config.type.*'Ring'"),
        ({"n_step": (3, 2)}, r"n_step: the first is at most the second, got \[3, 2\]"),
        ({"num_atoms": 3, "v_min": 1.0, "v_max": 1.0}, "v_max: should be more than v_min"),
        ({"burn_in_len": 3}, "burn_in_len: a burn-in is for memory"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        dqn(**settings).build_algo()


def test_what_is_learnt_is_reported_by_rllibs_names():
    _, results = train(dqn(), 8)
    found = learnt(results[-1])
    assert found.keys() >= {
        "qf_loss",
        "qf_mean",
        "qf_min",
        "qf_max",
        "td_error_mean",
        "total_loss",
        "default_optimizer_learning_rate",
        "gradients_default_optimizer_global_norm",
        "num_module_steps_trained_lifetime",
    }
    assert found["qf_min"] <= found["qf_mean"] <= found["qf_max"]
    assert TD_ERRORS not in found
    assert results[-1]["replay_buffer"].keys() == {
        "num_env_steps_stored",
        "num_episodes_stored",
        "num_env_steps_added_lifetime",
        "num_env_steps_evicted_lifetime",
        "num_env_steps_sampled_lifetime",
    }


# Several agents.


def test_every_module_that_learns_has_a_buffer_of_its_own():
    settings = dqn().environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 3})
    settings.multi_agent(
        policies=["one", "two", "fixed"],
        policy_mapping_fn=lambda agent, episode: ("one", "two", "fixed")[int(agent)],
        policies_to_train=["one", "two"],
        algorithm_config_overrides_per_module={"two": {"train_batch_size_per_learner": 8}},
    )
    _, first = train(settings, 10)
    assert first[-1]["learners"].keys() == {"__all_modules__", "one", "two"}
    one, two = (first[-1]["learners"][name] for name in ("one", "two"))
    updates = one["num_gradient_updates_lifetime"]
    assert updates == two["num_gradient_updates_lifetime"] > 3
    assert one["num_module_steps_trained_lifetime"] == 16 * updates
    assert two["num_module_steps_trained_lifetime"] == 8 * updates
    by_agent = first[-1]["env_runners"]["num_agent_steps_sampled"]
    assert by_agent.keys() == {"0", "1", "2"}
    _, results = train(settings, 10)
    assert results[-1]["replay_buffer"] == first[-1]["replay_buffer"]


@pytest.mark.parametrize("config_class", [DQNConfig, SACConfig, TD3Config])
def test_settings_of_passes_over_a_batch_are_refused_with_what_there_is_instead(config_class):
    config = config_class().environment("CartPole-v1")
    config.training(num_epochs=4, minibatch_size=8, shuffle_batch_per_epoch=True)
    found = {problem.key: problem.text for problem in config.problems()}
    assert "training_intensity" in found["num_epochs"]
    assert "train_batch_size_per_learner" in found["minibatch_size"]
    assert "replay buffer" in found["shuffle_batch_per_epoch"]
    assert not list(config.training(num_epochs=1, minibatch_size=None).problems())[1:]
