"""Connectors that remember, with several agents: each has its own past, whoever comes and goes."""

import gymnasium as gym
import numpy as np
import pytest

from rllib import core
from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.connectors import (
    Connector,
    FlattenObservations,
    FrameStacking,
    MeanStdFilter,
    NormalizeRewards,
)
from rllib.envs.make import Spaces
from rllib.envs.multi_agent import MultiAgentEnv, make_multi_agent
from rllib.envs.schedules import RandomSchedule
from rllib.errors import ConfigError
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec
from rllib.multi_agent.env_runner import MultiAgentEnvRunner
from rllib.multi_agent.modules import probe_module_spaces
from rllib.sampling.env_runner import EnvRunner

MEMORY = {"use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 3}
PAST = MEMORY | {"lstm_use_prev_action": True, "lstm_use_prev_reward": True}


@pytest.fixture(scope="module", autouse=True)
def inline():
    with core.init(address="inline"):
        yield


class MaskedSchedule(RandomSchedule):
    """The same, with observations of several parts and masks that forbid the last action."""

    def __init__(self, config=None):
        super().__init__(config)
        space = gym.spaces.Dict(
            action_mask=gym.spaces.MultiBinary(4),
            where=gym.spaces.Dict(life=self.observation_spaces[0]),
        )
        self.observation_spaces = dict.fromkeys(self.possible_agents, space)

    def _obs(self, agent):
        mask = np.ones(4, np.int8)
        mask[-1] = 0
        return {"action_mask": mask, "where": {"life": super()._obs(agent)}}

    def step(self, actions):
        assert 3 not in actions.values(), "it is forbidden"
        return super().step(actions)


def config(env=RandomSchedule, algorithm=PPOConfig, policies=("even", "odd"), **model):
    settings = (
        algorithm()
        .environment(env, env_config={"actions": 4, "coded": True})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=3)
        .multi_agent(
            policies=set(policies),
            policy_mapping_fn=lambda agent, episode, **_: policies[agent % len(policies)],
        )
        .rl_module(model_config={"fcnet_hiddens": (8,)} | model)
        .training(train_batch_size_per_learner=60)
    )
    if algorithm is PPOConfig:
        settings.training(minibatch_size=30, num_epochs=1)
    return settings


def runner_of(settings, is_training=True):
    spaces = probe_module_spaces(settings)
    runner = MultiAgentEnvRunner(settings, spaces, 0, is_training)
    with settings.build_algo() as algo:
        runner.set_weights(algo.learner_group.get_weights(), 1)
    return runner


def lives_of(batches, module_id):
    """Of every agent's life, in order: what it saw, did, and was paid, over all fragments."""
    found = {}
    for env_of in [b[module_id] for b in batches if module_id in b]:
        for n in range(env_of.rewards.shape[1]):
            for t in np.flatnonzero(~env_of.reset_rows[:, n]):
                row = (
                    *(env_of.obs[t, n], env_of.actions[t, n], env_of.rewards[t, n]),
                    env_of.action_dist_inputs[t, n],
                )
                life = row[0]["where"]["life"] if "where" in row[0].dtype.names else row[0]["obs"]
                found.setdefault(int(life[0]), []).append((int(life[1]), *row))
    return found


@pytest.mark.parametrize("env", [RandomSchedule, MaskedSchedule])
@pytest.mark.parametrize("policies", [("all",), ("even", "odd")])
@pytest.mark.parametrize("is_training", [True, False])
def test_agents_who_come_go_and_skip_turns_see_their_own_last_action_and_reward(
    env, policies, is_training
):
    # Lives are numbered by environment, so there is one.
    settings = config(env, policies=policies, **PAST).env_runners(num_envs_per_env_runner=1)
    runner = runner_of(settings, is_training)
    batches = [runner.sample()[0] for _ in range(6)]
    runner.stop()
    num_later = 0
    for module_id in policies:
        for rows in lives_of(batches, module_id).values():
            assert [row[0] for row in rows] == list(range(len(rows)))
            done = paid = 0
            for _, obs, action, reward, _ in rows:
                assert (obs["prev_actions"], obs["prev_rewards"]) == ([done], [paid])
                num_later += bool(done) and bool(paid)
                done, paid = action, reward
    assert num_later > 50


def test_what_a_truncated_agent_saw_last_tells_what_it_did():
    settings = config(policies=("all",), **PAST).env_runners(num_envs_per_env_runner=1)
    runner = runner_of(settings)
    for _ in range(4):
        batch = runner.sample()[0]["all"]
        assert len(batch.final_obs) > 0
        rows = batch.actions.shape[1]
        for index, obs in zip(batch.final_index, batch.final_obs, strict=True):
            t, n = divmod(int(index), rows)
            assert obs["prev_actions"] == [batch.actions[t, n]]
            assert obs["prev_rewards"] == [batch.rewards[t, n]]
    runner.stop()


@pytest.mark.parametrize("algorithm", [PPOConfig, APPOConfig, DQNConfig])
def test_algorithms_learn_and_evaluate_with_the_past_of_several_agents(algorithm):
    settings = config(MaskedSchedule, algorithm, **PAST)
    if algorithm is DQNConfig:
        settings.training(
            num_steps_sampled_before_learning_starts=20, train_batch_size_per_learner=8
        )
        settings.reporting(min_sample_timesteps_per_iteration=40)
    if algorithm is APPOConfig:
        settings.training(circular_buffer_num_batches=1)
        settings.reporting(min_sample_timesteps_per_iteration=300)
    settings.evaluation(evaluation_interval=1, evaluation_duration=2)
    with settings.build_algo() as algo:
        result = [algo.train() for _ in range(2)][-1]
        assert result["learners"]["even"]["num_module_steps_trained_lifetime"] > 0
        assert result["evaluation"]["env_runners"]["num_episodes"] == 2
        space = algo.get_module("odd").observation_space
        assert {"action_mask", "where", "prev_actions", "prev_rewards"} == set(space.spaces)


def test_learners_see_in_sequences_what_env_runners_acted_on():
    """Before the first step of the optimiser a learner's policy is the one that acted."""
    settings = config(MaskedSchedule, **PAST)
    settings.training(minibatch_size=None, num_epochs=1, lr=0.0)
    with settings.build_algo() as algo:
        for _ in range(2):
            learnt = algo.train()["learners"]
            for module_id in ("even", "odd"):
                assert abs(learnt[module_id]["mean_kl_loss"]) < 1e-6


class Hidden(gym.Env):
    """Observations tell nothing of the action before, and rewards do."""

    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, config):
        self.action_space = config["action_space"]
        self.num_steps = config.get("num_steps", 7)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        self.t += 1
        over = self.t == self.num_steps
        obs = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return obs, float(np.sum(action)) + self.t / 8, over and self.t % 2 == 0, over, {}


class Alone(MultiAgentEnv):
    """One agent of several agents' kind, in the same environment."""

    def __init__(self, config):
        self.env = Hidden(config)
        self.agents = self.possible_agents = ["it"]
        self.observation_spaces = {"it": self.env.observation_space}
        self.action_spaces = {"it": self.env.action_space}

    def reset(self, *, seed=None, options=None):
        obs, info = self.env.reset(seed=seed)
        return {"it": obs}, {"it": info}

    def step(self, actions):
        obs, reward, terminated, truncated, info = self.env.step(actions["it"])
        flags = ({"it": each, "__all__": each} for each in (terminated, truncated))
        return {"it": obs}, {"it": reward}, *flags, {"it": info}


SPACES = [
    gym.spaces.Discrete(3),
    gym.spaces.Box(-1, 1, (2,)),
    gym.spaces.MultiDiscrete([2, 3]),
]


def alone(env, space, num_steps, connectors, **settings):
    return (
        PPOConfig()
        .environment(env, env_config={"action_space": space, "num_steps": num_steps}, **settings)
        .env_runners(
            num_env_runners=0,
            env_to_module_connector=connectors,
            gym_env_vectorize_mode="sync",
            explore=False,
        )
        .training(train_batch_size_per_learner=40, minibatch_size=20, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (8,)} | PAST)
    )


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("num_steps", [7, 8])
def test_one_agent_of_several_agents_kind_sees_and_learns_what_a_single_one_does(space, num_steps):
    def connectors(env):
        return [NormalizeRewards(), FrameStacking(2)]

    runs = []
    for env, limit in ((Hidden, 2.0), (Alone, 2.0)):
        settings = alone(env, space, num_steps, connectors, clip_rewards=limit)
        if env is Alone:
            settings.multi_agent(policies={"default_policy"})
            spaces = probe_module_spaces(settings)
            runner = MultiAgentEnvRunner(settings, spaces, 0)
        else:
            spaces = Spaces(Hidden.observation_space, space)
            runner = EnvRunner(settings, spaces, 0)
        seen = runner.get_spaces()["default_policy"]
        weights = settings.get_rl_module_spec(seen).build()
        policys = {
            name: np.full_like(each.numpy(), 0.03) for name, each in weights.policy_state().items()
        }
        runner.set_weights({"default_policy": policys} if env is Alone else policys, 1)
        samples = [runner.sample()[0] for _ in range(3)]
        if env is Alone:
            samples = [each["default_policy"] for each in samples]
        live = [~each.reset_rows for each in samples]
        runs.append(
            {
                name: np.concatenate(
                    [getattr(each, name)[rows] for each, rows in zip(samples, live, strict=True)]
                )
                for name in ("obs", "actions", "rewards", "terminateds", "action_dist_inputs")
            }
        )
        runner.stop()
    single, several = runs
    num = min(len(single["rewards"]), len(several["rewards"]))
    assert num > 90
    for name in single:
        assert (single[name][:num] == several[name][:num]).all(), name


def test_an_agent_is_asked_one_by_one_as_env_runners_ask_it():
    """``compute_single_action``, ``module.act`` and the sampled rows say the same."""
    settings = config(policies=("all",), **PAST)
    settings.env_runners(num_envs_per_env_runner=1, explore=False)
    runner = runner_of(settings)
    batches = [runner.sample()[0] for _ in range(3)]
    runner.stop()
    with settings.build_algo() as algo:
        module = algo.get_module("all")
        for rows in lives_of(batches, "all").values():
            episode, reward, state = algo.begin_episode("all"), 0.0, module.initial_state(1)
            known, done = module.get_initial_state(), {}
            for _, obs, action, paid, logits in rows:
                how = {"episode": episode, "prev_reward": reward, "full_fetch": True}
                asked = algo.compute_single_action(obs["obs"], **how)
                acted, state = module.act(obs[None], state)
                assert asked[0] == acted[0] == action
                np.testing.assert_allclose(asked[2]["action_dist_inputs"], logits, rtol=1e-4)
                _, known, extra = algo.compute_single_action(
                    obs["obs"], known, policy_id="all", **done
                )
                np.testing.assert_allclose(extra["action_dist_inputs"], logits, rtol=1e-4)
                reward, done = paid, {"prev_action": action, "prev_reward": paid}


class Grow(MultiAgentEnv):
    """Two who take turns: what is paid in between is for what was done last."""

    def __init__(self, config=None):
        self.agents = self.possible_agents = ["a", "b"]
        space = gym.spaces.Box(0, 9, (1,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, space)
        self.action_spaces = dict.fromkeys(self.agents, gym.spaces.Discrete(2))

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return {"a": np.float32([0])}, {}

    def step(self, actions):
        self.t += 1
        obs = {"ab"[self.t % 2]: np.float32([self.t])}
        return obs, {"a": 1.0, "b": 0.25}, {"__all__": self.t == 6}, {"__all__": False}, {}


def test_players_of_results_tell_agents_all_that_they_were_paid_in_between():
    from rllib.results.play import Player

    settings = config(Grow, policies=("all",), **PAST).environment(env_config={})
    settings.multi_agent(policy_mapping_fn=lambda agent, episode, **_: "all")
    with settings.build_algo() as algo:
        told = []
        asked = algo.compute_single_action

        def noting(obs, *, prev_reward, **others):
            told.append((float(obs[0]), prev_reward))
            return asked(obs, prev_reward=prev_reward, **others)

        algo.compute_single_action = noting
        with Player(algo) as player:
            player.play(0)
    # ``b`` was paid once before it was asked for the first time, which counts for its first action.
    assert told == [(0.0, 0.0), (1.0, 0.0), (2.0, 2.0), (3.0, 0.75), (4.0, 2.0), (5.0, 0.5)]


def test_frames_are_stacked_per_agent():
    def connectors(env):
        return FrameStacking(2)

    settings = config(policies=("all",)).env_runners(
        num_envs_per_env_runner=1, env_to_module_connector=connectors
    )
    runner = runner_of(settings)
    batch = runner.sample()[0]["all"]
    runner.stop()
    for stack in batch.obs[~batch.reset_rows]:
        (old_life, old_k), (life, k) = stack.reshape(2, 2)
        assert (old_life, old_k) == ((life, k - 1) if k else (0, 0))


class Counting(Connector):
    """A connector of one's own that knows how many steps an episode has had."""

    def connect(self, spaces, num_envs):
        self.steps = np.zeros(num_envs, np.int64)
        return spaces

    def on_reset(self, obs):
        self.steps[:] = 0
        return self._told(obs)

    def on_step(self, step, actions):
        self.steps += 1
        return step

    def _told(self, obs):
        return obs


class Telling(Counting):
    def get_memory(self):
        return {"steps": self.steps}

    def set_memory(self, memory):
        self.steps = memory["steps"]


def test_a_connector_of_ones_own_works_if_it_tells_what_it_remembers():
    settings = config(policies=("all",)).env_runners(
        num_envs_per_env_runner=1, env_to_module_connector=lambda env: Telling()
    )
    runner = runner_of(settings)
    runner.sample()
    actor = runner.actors["all"]
    lives = {agent: memory["0.steps"] for agent, memory in actor.memories.rows.items()}
    now = {agent.agent_id: steps for agent, steps in lives.items()}
    assert now == {agent: k for agent, (_, k) in runner.env.envs[0].lives.items() if agent in now}
    assert now
    runner.stop()


def test_a_connector_that_does_not_tell_is_refused_with_what_to_do():
    settings = config().env_runners(env_to_module_connector=lambda env: Counting())
    with pytest.raises(ConfigError, match=r"Counting .*get_memory.*set_memory.*is_rowwise"):
        settings.build_algo()


def test_an_agent_whose_environment_failed_begins_without_a_past():
    settings = config(policies=("all",), **PAST)
    runner = runner_of(settings)
    runner.sample()
    actor = runner.actors["all"]
    agent = next(iter(actor.memories.rows))
    actor.lose(agent)
    assert agent not in actor.memories.rows
    runner.reset(generation=1)
    assert all(
        not np.any(each["prev_actions"])
        for memory in actor.memories.rows.values()
        for each in [{k.split(".")[1]: v for k, v in memory.items()}]
    )
    runner.stop()


@pytest.mark.parametrize("is_multi", [False, True])
def test_a_spec_of_a_module_may_ask_for_the_past_too(is_multi):
    spec = RLModuleSpec(model_config={"fcnet_hiddens": (8,)} | PAST)
    if is_multi:
        settings = config(policies=("even", "odd"))
        settings.rl_module(rl_module_spec=MultiRLModuleSpec({"even": spec, "odd": RLModuleSpec()}))
    else:
        settings = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
        settings.rl_module(rl_module_spec=spec).training(train_batch_size_per_learner=128)
    with settings.build_algo() as algo:
        algo.train()
        module: RLModule = algo.get_module("even" if is_multi else None)
        assert {"prev_actions", "prev_rewards"} < set(module.observation_space.spaces)
        if is_multi:
            assert isinstance(algo.get_module("odd").observation_space, gym.spaces.Box)


class Steady(RandomSchedule):
    """The same, with continuous actions."""

    def __init__(self, config=None):
        super().__init__(config)
        self.action_spaces = dict.fromkeys(self.possible_agents, gym.spaces.Box(-1, 1, (1,)))


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_noise_keeps_its_direction_by_agent(correlation):
    settings = config(Steady, policies=("all",)).environment(env_config={"length": 60})
    settings.env_runners(
        num_envs_per_env_runner=1, exploration_noise_correlation=correlation
    ).training(train_batch_size_per_learner=2000)
    runner = runner_of(settings)
    drawn: dict = {}
    act = runner.actors["all"].trajectories.act

    def noting(agent, obs, action, row, state):
        drawn.setdefault(agent, []).append(float((action[0] - row[0]) / np.exp(row[1])))
        act(agent, obs, action, row, state)

    runner.actors["all"].trajectories.act = noting
    runner.sample()
    actor = runner.actors["all"]
    assert bool(actor.noises) == (correlation > 0)
    for agent in list(actor.noises):
        actor.lose(agent)
    assert not actor.noises  # whoever comes next begins anew
    runner.stop()
    assert len(drawn) == 5
    for noise in drawn.values():
        assert len(noise) > 200
        assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(correlation, abs=0.2)
        assert np.std(noise) == pytest.approx(1.0, abs=0.4)


def test_noise_of_choices_cannot_be_correlated_for_several_agents_either():
    settings = config().env_runners(exploration_noise_correlation=0.5)
    with pytest.raises(ConfigError, match="exploration_noise_correlation: is for normal"):
        settings.build_algo()


@pytest.mark.parametrize("algorithm", [PPOConfig, DQNConfig])
def test_everything_goes_together(algorithm):
    """Masks, nested Dicts, a GRU that reads its past, stacks, normalisers and several agents."""

    def connectors(env):
        return [MeanStdFilter(), FrameStacking(2), NormalizeRewards()]

    memory = PAST | {"use_lstm": False, "use_gru": True}
    settings = config(MaskedSchedule, algorithm, **memory)
    settings.env_runners(env_to_module_connector=connectors).environment(clip_rewards=True)
    settings.evaluation(evaluation_interval=1, evaluation_duration=1)
    if algorithm is DQNConfig:
        settings.training(num_steps_sampled_before_learning_starts=20)
        settings.training(train_batch_size_per_learner=8)
    with settings.build_algo() as algo:
        for _ in range(2):
            result = algo.train()
        assert result["learners"]["odd"]["num_module_steps_trained_lifetime"] > 0
        space = algo.get_module("odd").observation_space
        assert space["where"]["life"].shape == (4,)
        assert "prev_rewards" in space.spaces
        mask = {"action_mask": np.int8([0, 0, 1, 0]), "where": {"life": np.zeros(2, np.float32)}}
        episode = algo.begin_episode("odd")
        for _ in range(3):
            assert algo.compute_single_action(mask, episode=episode, prev_reward=1.0) == 2


@pytest.mark.parametrize("kind", ["flat", "stacked"])
def test_flattened_observations_of_several_agents_keep_their_mask(kind):
    def connectors(env):
        return [FlattenObservations(), *([FrameStacking(2)] if kind == "stacked" else [])]

    settings = config(MaskedSchedule, **PAST).env_runners(env_to_module_connector=connectors)
    with settings.build_algo() as algo:
        algo.train()
        space = algo.get_module("odd").observation_space
        assert list(space) == ["action_mask", "features", "prev_actions", "prev_rewards"]


def test_same_seed_same_run_with_memory():
    hashes = []
    for _ in range(2):
        with config(MaskedSchedule, **PAST).build_algo() as algo:
            algo.train()
            algo.train()
            hashes.append(algo.params_hash())
    assert hashes[0] == hashes[1]


def test_make_multi_agent_environments_take_the_past():
    settings = config(make_multi_agent("CartPole-v1"), policies=("all",), **PAST)
    settings.environment(env_config={"num_agents": 2})
    with settings.build_algo() as algo:
        algo.train()
