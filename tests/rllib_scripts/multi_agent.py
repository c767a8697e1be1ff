"""An environment of two players, a policy for each, only one of which learns."""

import gymnasium as gym
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module.flatten_observations import FlattenObservations
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.tune.registry import register_env


class RockPaperScissors(MultiAgentEnv):
    def __init__(self, config=None):
        super().__init__()
        self.num_rounds = (config or {}).get("num_rounds", 10)
        self.agents = self.possible_agents = ["player1", "player2"]
        self.observation_spaces = self.action_spaces = {
            "player1": gym.spaces.Discrete(3),
            "player2": gym.spaces.Discrete(3),
        }

    def reset(self, *, seed=None, options=None):
        self.rounds = 0
        return {"player1": 0, "player2": 0}, {}

    def step(self, action_dict):
        self.rounds += 1
        move1, move2 = action_dict["player1"], action_dict["player2"]
        reward = [0, 1, -1][(move1 - move2) % 3]
        rewards = {"player1": reward, "player2": -reward}
        terminateds = {"__all__": self.rounds >= self.num_rounds}
        return {"player1": move2, "player2": move1}, rewards, terminateds, {}, {}


def policy_mapping_fn(agent_id, episode, **kwargs):
    return "learns" if agent_id == "player1" else "stays"


if __name__ == "__main__":
    register_env("rps", lambda cfg: RockPaperScissors(cfg))
    config = (
        PPOConfig()
        .environment("rps", env_config={"num_rounds": 8})
        .env_runners(
            num_env_runners=1,
            env_to_module_connector=lambda env, spaces, device: FlattenObservations(
                multi_agent=True
            ),
        )
        .multi_agent(
            policies={"learns", "stays"},
            policy_mapping_fn=policy_mapping_fn,
            policies_to_train=["learns"],
        )
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
        .rl_module(
            rl_module_spec=MultiRLModuleSpec(
                rl_module_specs={
                    "learns": RLModuleSpec(model_config=DefaultModelConfig(fcnet_hiddens=[8])),
                    "stays": RLModuleSpec(model_config=DefaultModelConfig(fcnet_hiddens=[4])),
                }
            )
        )
    )
    algo = config.build_algo()
    result = algo.train()
    returns = result["env_runners"]["module_episode_returns_mean"]
    assert returns["learns"] == -returns["stays"]
    assert set(result["env_runners"]["agent_episode_returns_mean"]) == {"player1", "player2"}
    assert "policy_loss" in result["learners"]["learns"]
    assert "policy_loss" not in result["learners"].get("stays", {})
    sizes = [p.shape[0] for p in algo.get_module("stays").parameters() if p.dim() == 2]
    assert sizes[0] == 4
    algo.stop()
