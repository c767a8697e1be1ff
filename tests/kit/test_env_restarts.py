"""Environments that are made anew within a fragment: what is learnt from, and what is told."""

import numpy as np
import pytest

from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.callbacks import RLlibCallback
from rllib.checkpoints.torch_state import get_module_state
from rllib.envs.counter import CounterEnv
from rllib.envs.make import probe_spaces
from rllib.envs.multi_agent_cartpole import MultiAgentCartPole
from rllib.errors import ConfigError
from rllib.replay.fragment import read_steps
from rllib.sampling.env_runner import EnvRunner

ENDINGS = [(4, "terminated")]
FAILS = "ignore:environment . is made anew"


class Fails(CounterEnv):
    """The first of them fails in its seventh step, the third one of its second episode."""

    made = 0

    def __init__(self, config):
        super().__init__({"endings": ENDINGS})
        self.is_bad = Fails.made == 1  # the one before only tells its spaces
        Fails.made += 1

    def step(self, action):
        if self.is_bad and self.num_steps == 6:
            raise ZeroDivisionError("as it happens")
        return super().step(action)


@pytest.fixture(autouse=True)
def fresh():
    Fails.made = 0


class Heard(RLlibCallback):
    """The hooks of environment 0, in their order."""

    hooks: list = []  # noqa: RUF012 (of all objects together)

    def on_episode_created(self, *, env_index, **kwargs):
        self._hear("created", env_index)

    def on_episode_start(self, *, env_index, **kwargs):
        self._hear("start", env_index)

    def on_episode_end(self, *, env_index, episode, **kwargs):
        self._hear(f"end after {len(episode)}", env_index)

    def _hear(self, hook, env_index):
        if env_index == 0:
            self.hooks.append(hook)


def config(**settings):
    return (
        PPOConfig()
        .environment(Fails)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=12)
        .training(train_batch_size_per_learner=24, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [4], **settings})
        .fault_tolerance(restart_failed_sub_environments=True)
    )


def sampled(settings):
    runner = EnvRunner(settings, probe_spaces(Fails), 0)
    module = settings.get_rl_module_spec(runner.env_spaces).build()
    runner.set_weights(get_module_state(module.policy_state()), 0)
    try:
        with pytest.warns(RuntimeWarning, match="environment 0 is made anew.*ZeroDivisionError"):
            return runner.sample()
    finally:
        runner.stop()


def test_the_episode_ends_before_the_step_that_failed_and_counts_nowhere():
    Heard.hooks.clear()
    batch, stats = sampled(config().callbacks(Heard))
    # Of environment 0: four steps, two, the failure, four, one.
    np.testing.assert_array_equal(np.flatnonzero(batch.reset_rows[:, 0]), [6])
    np.testing.assert_array_equal(np.flatnonzero(batch.terminateds[:, 0]), [3, 10])
    assert not batch.reset_rows[:, 1].any()
    np.testing.assert_array_equal(batch.obs[5:8, 0], [[1, 1], [1, 2], [0, 0]])
    assert batch.num_env_steps == 23
    assert stats.num_failures == 1
    assert [episode.length for episode in stats.episodes] == [4] * 5
    made = ["created", "start"]
    ended = ["end after 4"]
    assert Heard.hooks == [*made, *ended, *made, *made, *ended, *made]


def test_replay_follows_no_step_across_the_failure():
    batch, _ = sampled(config())
    steps = read_steps(batch)
    lost = [i for i, obs in enumerate(steps.cut_obs) if obs.tolist() == [1, 2]]
    assert steps.obs[steps.cut[lost[0]]].tolist() == [1, 1]
    assert [0, 0] in steps.obs[steps.begins].tolist()


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.filterwarnings(FAILS)
def test_training_goes_on_and_counts_failures(memory, tmp_path):
    settings = config(**({"use_lstm": True, "max_seq_len": 5} if memory else {}))
    with settings.build_algo() as algo:
        results = [algo.train() for _ in range(2)]
        path = algo.save_to_path(tmp_path / "saved")
    assert results[0]["env_runners"]["num_env_step_failures_lifetime"] == 1
    assert results[0]["env_runners"]["episode_len_max"] == 4
    with type(algo).from_checkpoint(path, settings) as heir:
        assert heir.train()["env_runners"]["num_env_step_failures_lifetime"] == 1


@pytest.mark.filterwarnings(FAILS)
def test_whole_episodes_and_replay_take_it():
    whole = config().env_runners(batch_mode="complete_episodes")
    dqn = (
        DQNConfig()
        .environment(Fails)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(num_steps_sampled_before_learning_starts=4, hiddens=[4], n_step=3)
        .reporting(min_sample_timesteps_per_iteration=40)
        .fault_tolerance(restart_failed_sub_environments=True)
    )
    for settings in (whole, dqn):
        Fails.made = 0
        with settings.build_algo() as algo:
            result = algo.train()
        assert result["env_runners"]["num_env_step_failures_lifetime"] == 1
        assert result["env_runners"]["episode_len_max"] == 4


def test_a_backend_without_single_environments_is_refused():
    settings = config().environment("CartPole-v1")
    settings.env_runners(gym_env_vectorize_mode="vector_entry_point")
    with pytest.raises(ConfigError, match="no single one can be made anew"):
        settings.build_algo()


class AgentsFail(MultiAgentCartPole):
    """The first of them fails in its fifth step."""

    made = 0

    def __init__(self, config):
        super().__init__({"num_agents": 2})
        self.is_bad, self.t = AgentsFail.made == 1, 0
        AgentsFail.made += 1

    def step(self, actions):
        self.t += 1
        if self.is_bad and self.t == 5:
            raise ZeroDivisionError("as it happens")
        return super().step(actions)


def test_several_agents_end_before_the_step_that_failed():
    AgentsFail.made = 0
    settings = config().environment(AgentsFail)
    settings.multi_agent(policies={"p"}, policy_mapping_fn=lambda agent, episode: "p")
    seen = []
    settings.callbacks(on_sample_end=lambda samples, **kwargs: seen.append(samples["p"]))
    warned = pytest.warns(RuntimeWarning, match="environment 0 is made anew.*ZeroDivisionError")
    with settings.build_algo() as algo, warned:
        result = algo.train()
    assert result["env_runners"]["num_env_step_failures_lifetime"] == 1
    (batch,) = seen
    # Four steps, of which the last is cut off, by what its agents saw before the failure.
    cut = np.argwhere(batch.truncateds)
    assert {int(t) for t, _ in cut} == {3}
    assert len(cut) == len(batch.final_obs) == 2
    following = batch.obs[4, cut[:, 1]]
    assert not np.isclose(batch.final_obs, following).all()
