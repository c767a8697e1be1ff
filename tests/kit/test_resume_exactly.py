"""A run that was saved and restored is the run that went through, wherever environments tell their
state: single ones of one process or of several, and those of several agents."""

import ast

import gymnasium as gym
import numpy as np
import pytest

from rllib import DQNConfig, IMPALAConfig, PPOConfig, SACConfig, TD3Config, core
from rllib.algorithm import Algorithm
from rllib.connectors import FrameStacking, MeanStdFilter, NormalizeRewards
from rllib.envs.multi_agent import MultiAgentEnv
from rllib.envs.multi_agent_cartpole import MultiAgentCartPole


def ppo(env, **env_runners):
    settings = {"num_envs_per_env_runner": 2, "rollout_fragment_length": 24} | env_runners
    return (
        PPOConfig()
        .environment(env)
        .env_runners(**{"num_env_runners": 0} | settings)
        .training(train_batch_size_per_learner=48, minibatch_size=16, num_epochs=2)
        .rl_module(model_config={"fcnet_hiddens": [8]})
    )


def off_policy(config, env):
    return (
        config()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=8, num_steps_sampled_before_learning_starts=20)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .reporting(min_sample_timesteps_per_iteration=30)
    )


def remembered(config):
    return config.rl_module(
        model_config={"fcnet_hiddens": [8], "use_gru": True, "lstm_cell_size": 4, "max_seq_len": 5}
    )


def made_anew(mode):
    return ppo("Pendulum-v1", gym_env_vectorize_mode=mode).fault_tolerance(
        restart_failed_sub_environments=True
    )


SINGLE = {
    "PPO Acrobot": lambda: ppo("Acrobot-v1"),
    "PPO apart": lambda: ppo("CartPole-v1", gym_env_vectorize_mode="async"),
    "PPO made anew": lambda: made_anew("sync"),
    "PPO made anew apart": lambda: made_anew("async"),
    "PPO actors": lambda: ppo("Pendulum-v1", num_env_runners=2, rollout_fragment_length=12),
    "IMPALA": lambda: (
        IMPALAConfig()
        .environment("MountainCar-v0")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=10)
        .training(train_batch_size_per_learner=20)
        .learners(num_learners=0)
        .rl_module(model_config={"fcnet_hiddens": [8]})
    ),
    "DQN": lambda: off_policy(DQNConfig, "FrozenLake-v1"),
    "SAC": lambda: off_policy(SACConfig, "Pendulum-v1"),
    "TD3": lambda: off_policy(TD3Config, "MountainCarContinuous-v0"),
    "TD3, memory": lambda: remembered(off_policy(TD3Config, "Pendulum-v1")),
}


class Turns(MultiAgentEnv):
    """Two agents act in turn, a third comes and goes, and one is paid for what another does."""

    possible_agents = ("a", "b", "late")

    def __init__(self, config=None):
        self.agents = ["a", "b"]
        box, two = gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(2)
        self.observation_spaces = dict.fromkeys(self.possible_agents, box)
        self.action_spaces = dict.fromkeys(self.possible_agents, two)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return {"a": self._look()}, {}

    def _look(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def step(self, actions):
        self.t += 1
        rewards = {"a": float(sum(actions.values())), "b": 0.5 * self.t}
        ends = {"__all__": self.t == 11}
        obs = {"ab"[self.t % 2]: self._look()}
        if self.t % 5 in (2, 3):
            obs["late"] = self._look()
        if self.t % 5 == 4 and "late" in actions:
            ends["late"] = True
        return obs, rewards, ends, {"__all__": False}, {}

    def get_state(self):
        return {"t": self.t, "rng": repr(self.np_random.bit_generator.state)}

    def set_state(self, state):
        self.t = state["t"]
        self.np_random.bit_generator.state = ast.literal_eval(state["rng"])


def by_name(agent_id, episode, **kwargs):
    return "odd" if str(agent_id) in ("1", "b") else "even"


def several(env, **model):
    return (
        ppo(env)
        .multi_agent(policies={"odd", "even"}, policy_mapping_fn=by_name)
        .rl_module(model_config={"fcnet_hiddens": [8], **model})
    )


def remembering(env):
    connectors = lambda *args, **kwargs: [FrameStacking(2), MeanStdFilter(), NormalizeRewards()]  # noqa: E731
    return several(env, use_lstm=True, lstm_cell_size=4, max_seq_len=5).env_runners(
        env_to_module_connector=connectors
    )


def by_two(env):
    return several(env).env_runners(num_env_runners=2, rollout_fragment_length=12)


SEVERAL = {
    "MultiAgentCartPole": lambda: several(MultiAgentCartPole),
    "turns": lambda: several(Turns),
    "turns, actors": lambda: by_two(Turns),
    "turns, memory": lambda: remembering(Turns),
    "turns, made anew": lambda: several(Turns).fault_tolerance(
        restart_failed_sub_environments=True
    ),
    "turns, DQN": lambda: off_policy(DQNConfig, Turns).multi_agent(
        policies={"odd", "even"}, policy_mapping_fn=by_name
    ),
    "turns, SAC, memory": lambda: remembered(off_policy(SACConfig, Turns)).multi_agent(
        policies={"odd", "even"}, policy_mapping_fn=by_name
    ),
}


@pytest.fixture(autouse=True)
def inline():
    with core.init(address="inline"):
        yield


@pytest.mark.parametrize("name", [*SINGLE, *SEVERAL])
def test_a_resumed_run_is_the_same_run(name, tmp_path):
    make = (SINGLE | SEVERAL)[name]
    with make().build_algo() as whole:
        for _ in range(6):
            expected = whole.train()
        hashed = whole.params_hash()
    with make().build_algo() as first:
        for _ in range(3):
            first.train()
        path = first.save_to_path(tmp_path / "saved")
    with Algorithm.from_checkpoint(path, make()) as second:
        for _ in range(3):
            result = second.train()
        assert second.params_hash() == hashed
    assert (
        result["env_runners"]["num_episodes_lifetime"]
        == (expected["env_runners"]["num_episodes_lifetime"])
    )
    assert result["env_runners"].get("episode_return_mean") == (
        expected["env_runners"].get("episode_return_mean")
    )


def test_agents_of_one_policy_go_on_by_the_checkpoint_alone(tmp_path):
    named = ppo("MultiAgentCartPole").multi_agent(policies={"default_policy"})
    with named.build_algo() as first:
        first.train()
        path = first.save_to_path(tmp_path / "saved")
    with Algorithm.from_checkpoint(path) as second:
        assert second.env_runner_group.resumed == {0}
