"""What stands between environment and module: normalised, stacked, flattened observations."""

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module import FlattenObservations, MeanStdFilter
from ray.rllib.connectors.env_to_module.frame_stacking import FrameStackingEnvToModule
from ray.rllib.connectors.env_to_module.observation_preprocessor import (
    SingleAgentObservationPreprocessor,
)
from ray.rllib.connectors.env_to_module.prev_actions_prev_rewards import PrevActionsPrevRewards
from ray.rllib.connectors.learner.frame_stacking import FrameStackingLearner
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig


class Nested(gym.ObservationWrapper):
    """CartPole's observation as a Dict with a choice in it."""

    def __init__(self, env_config):
        super().__init__(gym.make("CartPole-v1"))
        self.observation_space = gym.spaces.Dict(
            {
                "position": gym.spaces.Box(-10.0, 10.0, (2,), np.float32),
                "rest": gym.spaces.Tuple(
                    [gym.spaces.Box(-10.0, 10.0, (2,), np.float32), gym.spaces.Discrete(2)]
                ),
            }
        )

    def observation(self, obs):
        return {"position": obs[:2], "rest": (obs[2:], int(obs[2] > 0))}


class Positions(SingleAgentObservationPreprocessor):
    """What CartPole observes, without velocities."""

    def recompute_output_observation_space(self, input_observation_space, input_action_space):
        return gym.spaces.Box(-5.0, 5.0, (input_observation_space.shape[0] - 2,), np.float32)

    def preprocess(self, observation, episode):
        return np.array([observation[0], observation[2]], np.float32)


class Screen(gym.Env):
    """A picture that gets brighter."""

    observation_space = gym.spaces.Box(0.0, 1.0, (42, 42, 1), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config=None):
        self.time = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros((42, 42, 1), np.float32), {}

    def step(self, action):
        self.time += 1
        obs = np.full((42, 42, 1), self.time / 5, np.float32)
        return obs, float(action), self.time == 5, False, {}


def small(config):
    return config.env_runners(num_env_runners=0, num_envs_per_env_runner=2).training(
        train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1
    )


def in_features(algo):
    algo.train()
    sizes = [p.shape[1] for p in algo.get_module().parameters() if p.dim() > 1]
    algo.stop()
    return sizes[0]


if __name__ == "__main__":
    config = small(PPOConfig().environment("CartPole-v1"))
    config.env_runners(env_to_module_connector=lambda env, spaces, device: MeanStdFilter())
    assert in_features(config.build_algo()) == 4

    config = small(PPOConfig().environment("CartPole-v1"))
    config.env_runners(env_to_module_connector=lambda env, spaces, device: Positions())
    assert in_features(config.build_algo()) == 2

    config = small(PPOConfig().environment(Screen))
    config.env_runners(
        env_to_module_connector=lambda env, spaces, device: FrameStackingEnvToModule(num_frames=3)
    )
    config.training(learner_connector=lambda obs, act: FrameStackingLearner(num_frames=3))
    config.rl_module(model_config=DefaultModelConfig(conv_filters=[[4, 8, 4], [4, 4, 2]]))
    assert in_features(config.build_algo()) == 3

    config = small(PPOConfig().environment(Nested))
    config.env_runners(
        env_to_module_connector=lambda env, spaces, device: [
            FlattenObservations(),
            MeanStdFilter(clip_by_value=5.0),
        ]
    )
    assert in_features(config.build_algo()) == 6

    config = small(PPOConfig().environment("CartPole-v1"))
    config.env_runners(
        env_to_module_connector=lambda env, spaces, device: [
            PrevActionsPrevRewards(n_prev_rewards=1, n_prev_actions=1),
            FlattenObservations(),
        ]
    )
    assert in_features(config.build_algo()) == 4 + 2 + 1
