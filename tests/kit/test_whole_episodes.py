"""``batch_mode="complete_episodes"``: fragments have whole episodes, and nothing but them."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib import core
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig, ppo_batch
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env, probe_spaces
from rllib.envs.schedules import RandomSchedule
from rllib.multi_agent.env_runner import MultiAgentEnvRunner
from rllib.multi_agent.modules import probe_module_spaces
from rllib.sampling.env_runner import EnvRunner
from rllib.sampling.whole_episodes import EpisodeCount

ENDINGS = [(3, "terminated"), (2, "truncated"), (1, "truncated"), (4, "terminated")]
MODES = pytest.mark.parametrize("autoreset", list(AutoresetMode))


@pytest.fixture(autouse=True)
def inline():
    with core.init(address="inline"):
        yield


def config(config_class=PPOConfig, num_rows=4, **model):
    return (
        config_class()
        .environment(CounterEnv, env_config={"endings": ENDINGS})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, gym_env_vectorize_mode="sync")
        .env_runners(batch_mode="complete_episodes", rollout_fragment_length=num_rows)
        .training(gamma=0.5)
        .rl_module(model_config={"fcnet_hiddens": (8,)} | model)
    )


def module_of(settings, spaces):
    return settings.get_rl_module_spec(spaces).build()


def runner_of(settings, autoreset=AutoresetMode.SAME_STEP):
    spaces = probe_spaces(CounterEnv)
    runner = EnvRunner(settings, spaces, index=0)
    runner.stop()
    runner.env = make_vector_env(CounterEnv, 2, "sync", settings.env_config, autoreset)
    runner.reset(generation=0)
    state = module_of(settings, spaces).policy_state()
    runner.set_weights({name: part.numpy() for name, part in state.items()}, 1)
    return runner


@given(
    lengths=st.lists(st.lists(st.integers(1, 9), min_size=1), min_size=1, max_size=4),
    wanted=st.integers(1, 20),
)
@settings(max_examples=200, deadline=None)
def test_an_environment_closes_with_the_first_episode_that_makes_it_enough(lengths, wanted):
    count = EpisodeCount(wanted, len(lengths))
    over = [np.cumsum(each * 20) for each in lengths]
    closed_at = [next(int(t) for t in each if t >= wanted) for each in over]
    for t in range(1, max(closed_at) + 1):
        closed = count.add(np.ones(len(lengths), int), np.array([t in each for each in over]))
        assert closed.tolist() == [t == at for at in closed_at]
        assert count.is_open.tolist() == [t < at for at in closed_at]


@MODES
@pytest.mark.parametrize("num_rows", [1, 4, 7])
def test_every_column_is_of_whole_episodes_and_the_last_makes_it_enough(autoreset, num_rows):
    runner = runner_of(config(num_rows=num_rows), autoreset)
    for _ in range(4):
        batch, stats = runner.sample()
        assert stats.num_env_steps == batch.num_env_steps
        assert len(stats.episodes) == batch.dones.sum()
        assert sum(episode.length for episode in stats.episodes) == batch.num_env_steps
        assert len(batch.final_obs) == batch.truncateds.sum()
        for n in range(2):
            live = ~batch.reset_rows[:, n]
            done = batch.dones[live, n]
            ends = np.flatnonzero(done)
            assert ends[-1] == len(done) - 1  # whole, and nothing after the last end
            assert len(done) >= num_rows > (ends[-2] + 1 if len(ends) > 1 else 0)
            t = batch.obs[live, n, 1]
            np.testing.assert_array_equal(t, np.where(np.append(True, done[:-1]), 0, t))
            np.testing.assert_array_equal(np.diff(t)[~done[:-1]], 1)
            rewards = 100 * batch.obs[live, n, 0] + t + 1
            np.testing.assert_array_equal(batch.rewards[live, n], rewards)
            assert not batch.rewards[~live, n].any()
            assert not batch.dones[~live, n].any()
    runner.stop()


@MODES
def test_final_observations_are_those_of_the_episodes_that_count(autoreset):
    runner = runner_of(config(num_rows=5), autoreset)
    for _ in range(4):
        batch, _ = runner.sample()
        last = batch.obs.reshape(-1, 2)[batch.final_index]
        assert batch.truncateds.reshape(-1)[batch.final_index].all()
        np.testing.assert_array_equal(batch.final_obs, last + np.array([0, 1]))
    runner.stop()


@MODES
@pytest.mark.parametrize("memory", [{}, {"use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 3}])
def test_advantages_are_those_of_each_episode_alone(autoreset, memory):
    settings = config(num_rows=4, **memory).training(lambda_=1.0)
    runner = runner_of(settings, autoreset)
    module = module_of(settings, probe_spaces(CounterEnv))
    for _ in range(3):
        batch, _ = runner.sample()
        targets, steps = ppo_batch(batch, module, settings).value_targets, batch.num_env_steps
        if memory:
            mask = ppo_batch(batch, module, settings).mask
            assert int(mask.sum()) == steps
        else:
            assert len(targets) == steps
            rows = batch.obs[~batch.reset_rows]
            for (episode, t), target in zip(rows, targets.tolist(), strict=True):
                length, ending = ENDINGS[int(episode) % len(ENDINGS)]
                left = np.arange(t + 1, length + 1)
                expected = sum(0.5 ** (k - t - 1) * (100 * episode + k) for k in left)
                if ending == "terminated":
                    assert target == pytest.approx(expected, rel=1e-5)
    runner.stop()


def test_a_restored_runner_goes_on_bit_for_bit():
    settings = config().environment("CartPole-v1", env_config={})
    settings.env_runners(gym_env_vectorize_mode="auto")
    spaces = probe_spaces("CartPole-v1")
    weights = {k: v.numpy() for k, v in module_of(settings, spaces).policy_state().items()}
    runner, heir = (EnvRunner(settings, spaces, 0) for _ in range(2))
    for each in (runner, heir):
        each.set_weights(weights, 1)
    runner.sample()
    heir.set_state(runner.get_state(), generation=1)
    for _ in range(3):
        (expected, _), (actual, _) = runner.sample(), heir.sample()
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(actual, name), value)
    assert not np.array_equal(runner.sample()[0].obs[0], expected.obs[0])  # other episodes


@pytest.mark.parametrize("memory", [{}, {"use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 3}])
@pytest.mark.parametrize("config_class", [PPOConfig, IMPALAConfig, DQNConfig])
def test_algorithms_learn_from_them(config_class, memory):
    settings = config(config_class, **memory).training(train_batch_size_per_learner=16)
    settings.learners(num_learners=0)
    settings.reporting(min_sample_timesteps_per_iteration=50)
    if config_class is PPOConfig:
        settings.training(minibatch_size=8, num_epochs=1)
    if config_class is DQNConfig:
        settings.training(num_steps_sampled_before_learning_starts=10)
        settings.training(replay_buffer_config={"capacity": 60})
    with settings.build_algo() as algo:
        results = [algo.train() for _ in range(2)]
    runners = results[-1]["env_runners"]
    assert runners["num_env_steps_sampled_lifetime"] >= 100
    assert np.isfinite(results[-1]["learners"]["default_policy"]["total_loss"])


@pytest.mark.parametrize("unit", ["env_steps", "agent_steps"])
def test_with_several_agents_environments_rest_until_all_have_played_enough(unit):
    settings = (
        PPOConfig()
        .environment(RandomSchedule, env_config={"length": 9})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=3, rollout_fragment_length=12)
        .env_runners(batch_mode="complete_episodes")
        .multi_agent(policies={"even", "odd"}, count_steps_by=unit)
        .multi_agent(policy_mapping_fn=lambda agent, episode: ("even", "odd")[agent % 2])
        .rl_module(model_config={"fcnet_hiddens": (8,)})
    )
    runner = MultiAgentEnvRunner(settings, probe_module_spaces(settings), index=0)
    with settings.build_algo() as algo:
        runner.set_weights(algo.learner_group.get_weights(), 1)
    acted = paid = num_steps = 0
    for _ in range(4):
        batches, stats = runner.sample()
        assert all(episode.length == 0 for episode in runner.episodes)
        assert sum(episode.length for episode in stats.episodes) == stats.num_env_steps
        acted += sum(batch.num_env_steps for batch in batches.values())
        paid += sum(float(batch.rewards.sum()) for batch in batches.values())
        num_steps += stats.num_env_steps if unit == "env_steps" else 0
    assert acted == sum(env.acted for env in runner.env.envs)
    assert paid == pytest.approx(sum(env.paid for env in runner.env.envs))
    assert unit == "agent_steps" or num_steps >= 4 * 3 * 12
    runner.stop()
