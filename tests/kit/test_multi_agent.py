"""Several agents: nothing is lost on the way, policies are told apart, and all of it learns."""

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from pettingzoo.utils.conversions import parallel_to_aec

from rllib import core
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.envs.multi_agent import MultiAgentEnv, make_multi_agent
from rllib.envs.pettingzoo import ParallelPettingZooEnv, PettingZooEnv
from rllib.envs.schedules import RandomSchedule
from rllib.errors import ConfigError, EnvError, TrainingError
from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec
from rllib.multi_agent.env_runner import MultiAgentEnvRunner
from rllib.multi_agent.modules import probe_module_spaces


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=4, preload=["torch", "gymnasium", "rllib.algorithms.ppo"]):
        yield


def even_or_odd(agent_id, episode, **kwargs):
    return ("even", "odd")[agent_id % 2]


def config(env=RandomSchedule, num_env_runners=0, **env_config):
    return (
        PPOConfig()
        .environment(env, env_config=env_config)
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=3)
        .multi_agent(policies={"even", "odd"}, policy_mapping_fn=even_or_odd)
        .training(train_batch_size_per_learner=120, minibatch_size=32, num_epochs=2)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
    )


def runner_of(settings):
    spaces = probe_module_spaces(settings)
    runner = MultiAgentEnvRunner(settings, spaces, index=0)
    with settings.build_algo() as algo:
        runner.set_weights(algo.learner_group.get_weights(), 1)
    return runner


@pytest.mark.parametrize("memory", [{}, {"use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 3}])
@pytest.mark.parametrize("seed", range(6))
def test_rewards_and_steps_are_conserved_over_random_schedules(seed, memory):
    settings = config(length=7 + seed).debugging(seed=seed)
    settings.rl_module(model_config={"fcnet_hiddens": (8,)} | memory)
    runner = runner_of(settings)
    fragments = [runner.sample() for _ in range(12)]
    acted = sum(env.acted for env in runner.env.envs)
    paid = sum(env.paid for env in runner.env.envs)
    open_rows = [c.acted for a in runner.actors.values() for c in a.trajectories.columns.values()]
    early = [
        c.early_reward for a in runner.actors.values() for c in a.trajectories.columns.values()
    ]
    batches = [(name, batch) for fragment, _ in fragments for name, batch in fragment.items()]
    rows = sum(batch.num_env_steps for _, batch in batches)
    received = sum(float(batch.rewards.sum()) for _, batch in batches)
    waiting = [acted_on for acted_on in open_rows if acted_on is not None]
    assert rows + len(waiting) == acted
    assert received + sum(row.reward for row in waiting) + sum(early) == pytest.approx(paid)
    counted = sum(sum(stats.agents.by_module.values()) for _, stats in fragments)
    assert counted == acted
    ended = sum(episode.episode_return for _, stats in fragments for episode in stats.episodes)
    assert ended <= paid
    runner.stop()


def test_every_row_is_of_an_agent_of_its_module_and_followed_by_its_own_next_one():
    # Lives are numbered by environment, so there is one.
    runner = runner_of(config().env_runners(num_envs_per_env_runner=1))
    for _ in range(6):
        batches, _ = runner.sample()
        for batch in batches.values():
            for column in np.arange(batch.rewards.shape[1]):
                live = ~batch.reset_rows[:, column]
                lives, steps = batch.obs[live, column].T
                done = batch.dones[live, column][:-1]
                same = lives[1:] == lives[:-1]
                np.testing.assert_array_equal(same, ~done)
                np.testing.assert_array_equal(np.diff(steps)[same], 1)
    runner.stop()


def test_a_fragment_has_the_asked_number_of_env_steps():
    runner = runner_of(config())
    batches, stats = runner.sample()
    assert stats.num_env_steps == 120
    assert batches.keys() == {"even", "odd"}
    assert set(stats.agents.by_agent) <= {"0", "1", "2", "3", "4"}
    runner.stop()


@pytest.mark.parametrize("num_env_runners", [0, 2])
def test_the_same_seed_is_the_same_run_wherever_the_runners_are(num_env_runners):
    hashes = []
    for _ in range(2):
        with config(num_env_runners=num_env_runners).build_algo() as algo:
            for _ in range(2):
                algo.train()
            hashes.append(algo.params_hash())
    assert hashes[0] == hashes[1]


def test_results_tell_agents_and_modules_apart():
    with config().build_algo() as algo:
        result = [algo.train() for _ in range(2)][-1]
    runners = result["env_runners"]
    assert runners["num_env_steps_sampled_lifetime"] == 240
    assert result["learners"].keys() == {"__all_modules__", "even", "odd"}
    steps = runners["num_module_steps_sampled"]
    assert sum(runners["num_agent_steps_sampled"].values()) == steps["even"] + steps["odd"]
    assert runners["module_episode_returns_mean"].keys() == {"even", "odd"}
    assert len(means := runners["agent_episode_returns_mean"]) == 5
    assert runners["least_agent_episode_return_mean"] == min(means.values())


def test_policies_that_are_not_to_be_trained_stay_as_they_are():
    settings = config().multi_agent(policies_to_train=["odd"])
    with settings.build_algo() as algo:
        before = algo.learner_group.get_module_state()
        result = algo.train()
        after = algo.learner_group.get_module_state()
    assert result["learners"].keys() == {"__all_modules__", "odd"}
    assert all(np.array_equal(before["even"][name], after["even"][name]) for name in before["even"])
    assert not np.array_equal(before["odd"]["pi.weight"], after["odd"]["pi.weight"])


def test_modules_begin_with_weights_of_their_own():
    with config().build_algo() as algo:
        state = algo.learner_group.get_module_state()
    assert not np.array_equal(state["even"]["pi.weight"], state["odd"]["pi.weight"])


def test_settings_of_one_policy_are_its_own():
    settings = config().multi_agent(
        algorithm_config_overrides_per_module={"odd": PPOConfig.overrides(lr=0.0)}
    )
    with settings.build_algo() as algo:
        before = algo.get_module("odd").state_dict()
        algo.train()
        after = algo.get_module("odd").state_dict()
    assert all(before[name].equal(after[name]) for name in before)


def test_a_checkpoint_brings_all_modules_back(tmp_path):
    with config().build_algo() as algo:
        algo.train()
        path = algo.save_to_path(tmp_path / "saved")
        expected = algo.params_hash()
    with PPO.from_checkpoint(path, config=config()) as heir:
        assert heir.params_hash() == expected
        assert heir.train()["training_iteration"] == 2


def test_several_learners_share_the_steps_of_every_module():
    settings = config(num_env_runners=2).learners(num_learners=2)
    with settings.build_algo() as algo:
        for _ in range(2):
            result = algo.train()
        states = [
            core.get(worker.call("get_module_state")) for worker in algo.learner_group.workers
        ]
    assert result["learners"].keys() == {"__all_modules__", "even", "odd"}
    steps = result["env_runners"]["num_module_steps_sampled"]
    trained = result["learners"]["__all_modules__"]["num_module_steps_trained"]
    each = [result["learners"][name]["num_module_steps_trained"] for name in ("even", "odd")]
    assert trained == sum(each) == pytest.approx(sum(steps.values()), abs=30)
    first, second = states
    for module_id in first:
        for name, array in first[module_id].items():
            np.testing.assert_array_equal(array, second[module_id][name])


def test_an_agent_whose_reward_is_nan_is_named():
    with (
        config(nan_agent=3).build_algo() as algo,
        pytest.raises(EnvError, match=r"environment \d returned reward of agent 3 = nan") as caught,
    ):
        algo.train()
    assert (caught.value.field, caught.value.agent) == ("reward", 3)


class Wrong(RandomSchedule):
    """Observes what is not in its space."""

    def _obs(self, agent):
        return np.zeros(3, np.float32)


def test_an_observation_outside_of_its_space_is_named_with_agent_and_env():
    with pytest.raises(EnvError, match=r"environment 0 returned obs of agent \d.*of shape \(2,\)"):
        config(Wrong).build_algo()


def test_mistakes_in_the_mapping_are_told():
    settings = config().multi_agent(policy_mapping_fn=lambda agent_id, episode: "neither")
    with pytest.raises(ConfigError, match="gave 'neither' for agent 0; policies are even, odd"):
        settings.build_algo()
    settings = config().multi_agent(policy_mapping_fn=lambda agent_id, episode: {}["x"])
    with pytest.raises(ConfigError, match="policy_mapping_fn: raised KeyError for agent 0: 'x'"):
        settings.build_algo()
    late = config().multi_agent(
        policy_mapping_fn=lambda agent, episode: 1 if episode is not None else even_or_odd(agent, 0)
    )
    with pytest.raises(ConfigError, match="policy_mapping_fn: gave 1 for agent"):
        late.build_algo()
    with pytest.raises(ConfigError, match="'CartPole-v1' is an environment of a single agent"):
        config("CartPole-v1").build_algo()
    with pytest.raises(ConfigError, match="which is none of several agents"):
        config(lambda env_config: gym.make("CartPole-v1")).build_algo()


def test_a_spec_of_a_module_that_nobody_acts_by_is_refused():
    specs = {"even": RLModuleSpec(), "ood": RLModuleSpec(model_config={"fcnet_hiddens": [2]})}
    settings = config().rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=specs))
    with pytest.raises(ConfigError, match="rl_module_spec: there is no policy 'ood'; there are"):
        settings.validate()


def test_an_action_space_that_a_module_cannot_do_is_told_with_the_module():
    settings = DQNConfig().environment(make_multi_agent("Pendulum-v1"))
    settings.multi_agent(policies={"only"}, policy_mapping_fn=lambda agent, episode: "only")
    with pytest.raises(ConfigError, match="module 'only': action space Box"):
        settings.env_runners(num_env_runners=0).build_algo()


def test_evaluation_plays_whole_episodes_of_all_agents():
    settings = config().evaluation(evaluation_interval=1, evaluation_duration=5)
    with settings.build_algo() as algo:
        metrics = algo.train()["evaluation"]["env_runners"]
    assert metrics["num_episodes"] == 5
    assert metrics["episode_len_mean"] == 12
    assert metrics["module_episode_returns_mean"].keys() == {"even", "odd"}


def test_a_name_may_stand_for_an_environment_of_several_agents():
    settings = PPOConfig().environment("MultiAgentCartPole", env_config={"num_agents": 2})
    settings.env_runners(num_env_runners=0).training(train_batch_size_per_learner=16)
    with settings.training(minibatch_size=None, num_epochs=1).build_algo() as algo:
        result = algo.train()
    assert result["learners"].keys() == {"__all_modules__", "default_policy"}
    assert result["env_runners"]["num_agent_steps_sampled"].keys() == {"0", "1"}


def test_normalised_observations_have_statistics_per_module():
    settings = config(num_env_runners=2).env_runners(observation_filter="MeanStdFilter")
    with settings.build_algo() as algo:
        algo.train()
        statistics = algo.interface.pipeline.get_statistics()
    assert statistics.keys() == {"even", "odd"}
    assert statistics["even"]["0"]["count"] > 50


class OwnMoves(MultiAgentEnv):
    """Two agents with masks, memory and nested observations: only even t allow action 0."""

    def __init__(self, config=None):
        self.possible_agents = ["a", "b"]
        space = gym.spaces.Dict(
            {"action_mask": gym.spaces.MultiBinary(3), "t": gym.spaces.Box(0, 9, (1,))}
        )
        self.observation_spaces = dict.fromkeys(self.possible_agents, space)
        self.action_spaces = dict.fromkeys(self.possible_agents, gym.spaces.Discrete(3))

    def _all(self):
        mask = np.int8([self.t % 2 == 0, 1, 0])
        obs = {"action_mask": mask, "t": np.float32([self.t])}
        return dict.fromkeys(self.possible_agents, obs)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self._all(), {}

    def step(self, actions):
        if any(not self._all()[agent]["action_mask"][action] for agent, action in actions.items()):
            raise RuntimeError("a forbidden action")
        self.t += 1
        over = self.t == 6
        flags = {"__all__": over}
        return self._all(), dict.fromkeys(actions, 1.0), flags, {"__all__": False}, {}


def test_masks_memory_nested_observations_and_several_agents_go_together():
    settings = (
        config(OwnMoves)
        .multi_agent(policies=["all"], policy_mapping_fn=lambda agent_id, episode: "all")
        .rl_module(model_config={"use_lstm": True, "lstm_cell_size": 8, "fcnet_hiddens": (8,)})
    )
    with settings.build_algo() as algo:
        for _ in range(2):
            result = algo.train()
    assert result["env_runners"]["episode_return_mean"] == 12
    assert result["env_runners"]["episode_len_mean"] == 6


@pytest.mark.parametrize("mode", ["async", "vector_entry_point", "ale"])
def test_a_way_to_make_vectors_is_for_environments_of_one_agent(mode):
    settings = config().env_runners(gym_env_vectorize_mode=mode)
    with pytest.raises(ConfigError, match=r"gym_env_vectorize_mode: .*one agent.*num_env_runners"):
        settings.build_algo()
    with config().env_runners(gym_env_vectorize_mode="sync").build_algo():
        pass


def test_a_limit_of_steps_is_for_environments_of_one_agent():
    settings = config().fault_tolerance(
        restart_failed_sub_environments=True, sub_environment_timeout_s=2.0
    )
    with pytest.raises(
        ConfigError, match=r"sub_environment_timeout_s: .*one agent.*sample_timeout_s"
    ):
        settings.build_algo()
    with settings.fault_tolerance(sub_environment_timeout_s=30.0).build_algo():
        pass


class Saying(OwnMoves):
    """The same, with something in the infos of ``b``."""

    def __init__(self, config):
        super().__init__(config)
        self.said = config["said"]

    def step(self, actions):
        return *super().step(actions)[:4], {"b": self.said}


def test_an_info_may_be_none_but_nothing_else_than_a_dict():
    def saying(said):
        return config(Saying, said=said).multi_agent(
            policies=["all"], policy_mapping_fn=lambda agent_id, episode: "all"
        )

    with saying(None).build_algo() as algo:
        algo.train()
    message = r"infos of agent 'b' = 'hm' at its env step 1; it should be a dict, or None"
    with (
        saying("hm").build_algo() as algo,
        pytest.raises(EnvError, match=message) as e,
    ):
        algo.train()
    assert (e.value.env_index, e.value.agent) == (0, "b")


class Stuck(OwnMoves):
    """From t = 3 on nobody may do anything."""

    def _all(self):
        obs = super()._all()
        if self.t == 3:
            obs = {
                agent: each | {"action_mask": np.zeros(3, np.int8)} for agent, each in obs.items()
            }
        return obs


def test_a_mask_that_forbids_everything_is_told_with_its_agent():
    settings = config(Stuck).multi_agent(
        policies=["all"], policy_mapping_fn=lambda agent_id, episode: "all"
    )
    with (
        settings.build_algo() as algo,
        pytest.raises(EnvError, match="environment 0, agent 'a', forbids every action") as caught,
    ):
        algo.train()
    assert caught.value.step == 3


@pytest.mark.learning
def test_two_policies_learn_cartpole_for_four_agents():
    settings = (
        config(make_multi_agent("CartPole-v1"), num_agents=4)
        .training(lr=2e-3, gamma=0.98, lambda_=0.95, train_batch_size_per_learner=512)
        .training(num_epochs=6, minibatch_size=256, vf_clip_param=None, use_kl_loss=False)
        .rl_module(model_config={"fcnet_hiddens": (64, 64)})
    )
    with settings.build_algo() as algo:
        for _ in range(40):
            returns = algo.train()["env_runners"].get("agent_episode_returns_mean", {"0": 0})
            if min(returns.values()) > 100:
                break
    assert min(returns.values()) > 100


class Matching(pettingzoo.ParallelEnv):
    """Two players show one of two sides; the first wins if they match, the second otherwise."""

    metadata = {"name": "matching", "is_parallelizable": True}  # noqa: RUF012 (PettingZoo's shape)
    render_mode = None
    possible_agents = ["player_0", "player_1"]  # noqa: RUF012

    def observation_space(self, agent):
        return gym.spaces.Discrete(3)

    def action_space(self, agent):
        return gym.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        return dict.fromkeys(self.agents, 2), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.t += 1
        first, second = (int(actions[agent]) for agent in self.possible_agents)
        win = 1.0 if first == second else -1.0
        obs = {"player_0": second, "player_1": first}
        rewards = {"player_0": win, "player_1": -win}
        truncateds = dict.fromkeys(self.agents, self.t == 8)
        infos = {agent: {} for agent in self.agents}
        terminateds = dict.fromkeys(self.agents, False)
        if self.t == 8:
            self.agents = []
        return obs, rewards, terminateds, truncateds, infos


@pytest.mark.parametrize(
    "make",
    [
        lambda config: ParallelPettingZooEnv(Matching()),
        lambda config: PettingZooEnv(parallel_to_aec(Matching())),
    ],
    ids=["parallel", "aec"],
)
def test_pettingzoo_environments_train(make):
    settings = config(make).multi_agent(
        policies=["first", "second"],
        policy_mapping_fn=lambda agent_id, episode: "first" if "0" in agent_id else "second",
    )
    with settings.build_algo() as algo:
        result = algo.train()
    runners = result["env_runners"]
    assert runners["episode_return_mean"] == 0  # what one wins the other loses
    first, second = (runners["agent_episode_returns_mean"][f"player_{n}"] for n in (0, 1))
    assert first == -second
    steps = runners["num_agent_steps_sampled"]
    assert steps["player_0"] == pytest.approx(steps["player_1"], abs=3)
    assert result["learners"].keys() == {"__all_modules__", "first", "second"}


def test_batches_can_be_counted_in_steps_of_agents():
    settings = config().multi_agent(count_steps_by="agent_steps")
    runner = runner_of(settings)
    _, stats = runner.sample()
    taken = sum(stats.agents.by_agent.values())
    assert 120 <= taken < 120 + 15  # no more than all agents of one vector step too many
    assert stats.num_env_steps < 120
    runner.stop()


def test_what_is_not_finite_is_told_with_its_module():
    class Huge(RandomSchedule):
        def step(self, action_dict):
            obs, rewards, *rest = super().step(action_dict)
            return obs, {agent: 1e30 * (agent % 2) for agent in rewards}, *rest

    with (
        config(Huge).training(vf_clip_param=None).build_algo() as algo,
        pytest.raises(TrainingError, match="module 'odd': not finite in gradient step 1: "),
    ):
        algo.train()
