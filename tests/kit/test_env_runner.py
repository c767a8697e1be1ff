"""The way of the data from environment to train batch, checked with the counter env."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rllib.algorithms.ppo import PPOConfig, ppo_batch
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env, probe_spaces
from rllib.errors import EnvError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.sampling.env_runner import EnvRunner

ENDINGS = [
    (3, "terminated"),
    (2, "truncated"),
    (1, "truncated"),
    (4, "terminated"),
    (1, "terminated"),
]
GAMMA = 0.5


def config(num_rows=7, **env_config):
    return (
        PPOConfig()
        .environment(CounterEnv, env_config={"endings": ENDINGS} | env_config)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .env_runners(gym_env_vectorize_mode="sync", rollout_fragment_length=num_rows)
        .training(gamma=GAMMA, lambda_=0.0)
        .rl_module(model_config={"fcnet_hiddens": ()})
    )


class Untold(CounterEnv):
    """Does not tell its state: what is derived from one whose state is known may have more."""


def make_runner(settings, mode="sync", autoreset=AutoresetMode.SAME_STEP, make=CounterEnv):
    runner = EnvRunner(settings, probe_spaces(CounterEnv), index=0)
    runner.stop()
    runner.env = make_vector_env(make, 2, mode, settings.env_config, autoreset)
    runner.reset(generation=0)
    runner.set_weights(weights_of(counter_module()), seq_no=1)
    return runner


def counter_module():
    """A network whose value of the observation (episode, t) is 10 * episode + t."""
    spaces = probe_spaces(CounterEnv)
    module = ActorCriticModule(spaces.observation, spaces.action, model_config=config().model)
    with torch.no_grad():
        module.vf.weight.copy_(torch.tensor([[10.0, 1.0]]))
    return module


def weights_of(module):
    return {name: tensor.numpy() for name, tensor in module.policy_state().items()}


def expected_rows(episode):
    """Observation, value target of gamma 0.5 and lambda 0, forever, by arithmetic alone."""
    while True:
        length, ending = ENDINGS[episode % len(ENDINGS)]
        for t in range(length):
            terminated = t + 1 == length and ending == "terminated"
            reward, next_value = 100.0 * episode + t + 1, 10.0 * episode + t + 1
            yield [episode, t], reward + GAMMA * (0.0 if terminated else next_value)
        episode += 1


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_no_train_row_crosses_an_episode_and_every_truncation_is_bootstrapped(mode, autoreset):
    runner = make_runner(config(), mode, autoreset)
    try:
        fragments = [runner.sample() for _ in range(5)]
    finally:
        runner.stop()
    module = counter_module()
    expected = [expected_rows(int(obs[0])) for obs in fragments[0][0].obs[0]]
    num_reset_rows = 0
    for batch, stats in fragments:
        columns = ppo_batch(batch, module, config())
        live = ~batch.reset_rows
        assert stats.num_env_steps == batch.num_env_steps == live.sum() == len(columns.actions)
        num_reset_rows += batch.reset_rows.sum()
        # Rows come in the order of [T, N]; a column of indices tells whose each is.
        owners = np.broadcast_to(np.arange(2), live.shape)[live]
        for row, owner in enumerate(owners):
            observation, target = next(expected[owner])
            assert columns.inputs["obs"][row].tolist() == observation
            assert columns.value_targets[row].item() == pytest.approx(target)
            assert columns.advantages[row].item() == pytest.approx(
                target - 10 * observation[0] - observation[1], rel=1e-5
            )
    assert (num_reset_rows > 0) == (autoreset == AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_episodes_are_followed_across_fragments(autoreset):
    runner = make_runner(config(num_rows=2), autoreset=autoreset)
    episodes = [episode for _ in range(12) for episode in runner.sample()[1].episodes]
    runner.stop()
    # Both environments play the same episodes; the sum of 100 e + t over t = 1 .. length.
    lengths = [length for length, _ in ENDINGS]
    first = int(episodes[0].episode_return // (100 * lengths[0]))
    for n, episode in enumerate(episodes):
        index = first + n // 2
        length = lengths[index % len(lengths)]
        assert episode.length == length
        assert episode.episode_return == 100 * index * length + length * (length + 1) / 2
    assert len(episodes) >= 12


def test_the_batch_says_what_the_policy_did():
    runner = make_runner(config(num_rows=50))
    batch, stats = runner.sample()
    runner.stop()
    assert batch.obs.shape == (50, 2, 2)
    assert batch.actions.shape == batch.action_logp.shape == (50, 2)
    assert batch.weights_seq_no == 1
    assert set(np.unique(batch.actions)) == {0, 1}
    flat = batch.action_dist_inputs.reshape(-1, 2)
    log_p = torch.from_numpy(flat).log_softmax(-1).numpy()
    taken = log_p[np.arange(len(flat)), batch.actions.ravel()]
    np.testing.assert_allclose(batch.action_logp.ravel(), taken, atol=1e-6)
    assert 0 < stats.env_step_s < stats.sample_s


def test_fragments_do_not_share_memory():
    runner = make_runner(config())
    first, _ = runner.sample()
    kept = {name: np.copy(value) for name, value in vars(first).items()}
    runner.sample()
    runner.stop()
    for name, value in kept.items():
        np.testing.assert_array_equal(getattr(first, name), value)


def test_the_index_alone_decides_the_random_numbers():
    settings = config().environment("CartPole-v1", env_config={})
    settings.env_runners(gym_env_vectorize_mode="auto")
    spaces = probe_spaces("CartPole-v1")
    module = ActorCriticModule(spaces.observation, spaces.action, model_config=settings.model)

    def sample(index):
        runner = EnvRunner(settings, spaces, index)
        runner.set_weights(weights_of(module), 1)
        return runner.sample()[0]

    first, twin, other = sample(0), sample(0), sample(1)
    np.testing.assert_array_equal(first.obs, twin.obs)
    np.testing.assert_array_equal(first.actions, twin.actions)
    assert not np.array_equal(first.obs, other.obs)


def test_a_restored_cartpole_runner_goes_on_bit_for_bit():
    settings = config(num_rows=40).environment("CartPole-v1", env_config={})
    settings.env_runners(gym_env_vectorize_mode="auto")
    spaces = probe_spaces("CartPole-v1")
    module = ActorCriticModule(spaces.observation, spaces.action, model_config=settings.model)
    runner, heir = (EnvRunner(settings, spaces, 0) for _ in range(2))
    for each in (runner, heir):
        each.set_weights(weights_of(module), 1)
    runner.sample()
    heir.set_state(runner.get_state(), generation=1)
    for _ in range(3):
        (expected, stats), (actual, heir_stats) = runner.sample(), heir.sample()
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(actual, name), value)
        assert stats.episodes == heir_stats.episodes


def test_without_env_state_a_restore_begins_new_episodes_with_new_seeds():
    runner = make_runner(config(num_rows=2), make=Untold)
    runner.sample()
    before = runner.rng.bit_generator.state
    runner.set_state(runner.get_state(), generation=1)
    _, stats = runner.sample()
    assert runner.rng.bit_generator.state != before
    assert all(episode.length <= 2 for episode in stats.episodes)
    runner.stop()


@pytest.mark.parametrize(
    ("fault", "field", "step"),
    [({"nan_at": 5}, "reward", 5), ({"nan_obs_at": 4}, "obs", 4), ({"nan_obs_at": 7}, "obs", 7)],
)
@pytest.mark.parametrize("autoreset", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_nan_is_named_with_env_step_and_field(fault, field, step, autoreset):
    endless = {"endings": [(100, "terminated")]}
    runner = make_runner(config(**endless, **fault), autoreset=autoreset)
    with pytest.raises(EnvError, match=rf"environment 0 returned {field}.* = nan") as caught:
        runner.sample()
    runner.stop()
    assert (caught.value.env_index, caught.value.step, caught.value.field) == (0, step, field)
    assert np.isnan(caught.value.value)


class NanAtTheEnd(CounterEnv):
    """Only the true last observation, which no row of the batch holds, is NaN."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return (obs * np.nan if truncated else obs), reward, terminated, truncated, info


def test_nan_in_a_final_observation_is_named():
    settings = config(endings=[(4, "truncated")]).environment(NanAtTheEnd)
    runner = EnvRunner(settings, probe_spaces(CounterEnv), index=0)
    runner.set_weights(weights_of(counter_module()), seq_no=1)
    with pytest.raises(EnvError, match=r"final obs\[0\] = nan at vector step 4"):
        runner.sample()
    runner.stop()


def test_nan_in_an_earlier_fragment_is_not_needed_to_name_a_failure():
    runner = make_runner(config(num_rows=3, fail_at=5))
    runner.sample()
    with pytest.raises(EnvError, match="environment 0 raised ZeroDivisionError") as caught:
        runner.sample()
    runner.stop()
    assert caught.value.step == 5
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_env_that_raises_because_it_returned_nan_before_is_told_by_the_nan():
    runner = make_runner(config(nan_obs_at=2, fail_at=3))
    with pytest.raises(EnvError, match=r"obs\[1\] = nan at vector step 2"):
        runner.sample()
    runner.stop()


def test_infinity_is_told_also_where_rewards_are_clipped():
    settings = config(reward_scale=np.inf).environment(clip_rewards=True)
    runner = make_runner(settings)
    with pytest.raises(EnvError, match=r"environment 0 returned reward = inf at vector step 1"):
        runner.sample()
    runner.stop()


def test_environments_made_anew_are_as_the_config_says_by_then():
    settings = config().freeze()
    runner = EnvRunner(settings, probe_spaces(CounterEnv), index=0)
    runner.set_weights(weights_of(counter_module()), seq_no=1)
    try:
        first = runner.env
        runner.config.environment(env_config={"endings": [(2, "terminated")]})
        runner.make_env()
        batch, _ = runner.sample()
        assert runner.env is not first
    finally:
        runner.stop()
    np.testing.assert_array_equal(batch.terminateds[:, 0], [False, True] * 3 + [False])
    assert settings.env_config == {"endings": ENDINGS}, "that of others"
