"""A callback that makes the environment harder, and functions that run in the env runners."""

import gymnasium as gym
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EPISODE_RETURN_MEAN


class Corridor(gym.Env):
    def __init__(self, config=None):
        self.end = (config or {}).get("length", 4)
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(0.0, 100.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self.observation_space.low * 0 + self.place, {}

    def step(self, action):
        self.place = max(0, self.place + (1 if action else -1))
        terminated = self.place >= self.end
        obs = self.observation_space.low * 0 + self.place
        return obs, 1.0 if terminated else -0.1, terminated, False, {}

    def set_length(self, length):
        self.end = length


def lengthen(env_runner):
    for env in env_runner.env.unwrapped.envs:
        env.unwrapped.set_length(6)


def make_anew(env_runner):
    env_runner.config.environment(env_config={"length": 1})
    env_runner.make_env()


class Curriculum(RLlibCallback):
    def on_algorithm_init(self, *, algorithm, **kwargs):
        algorithm.stage = 0

    def on_train_result(self, *, algorithm, metrics_logger, result, **kwargs):
        if algorithm.stage == 0 and result[ENV_RUNNER_RESULTS][EPISODE_RETURN_MEAN] > -100.0:
            algorithm.stage = 1
            algorithm.env_runner_group.foreach_env_runner(func=lengthen, local_env_runner=False)
        metrics_logger.log_value("stage", algorithm.stage, reduce="max")


if __name__ == "__main__":
    config = (
        PPOConfig()
        .environment(Corridor, env_config={"length": 2})
        .env_runners(num_env_runners=1, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=256, minibatch_size=64, num_epochs=2)
        .callbacks(callbacks_class=Curriculum)
    )
    algo = config.build_algo()
    assert algo.train()[ENV_RUNNER_RESULTS]["episode_len_min"] == 2
    algo.train()
    assert algo.stage == 1
    ends = algo.env_runner_group.foreach_env_runner(
        lambda env_runner: [env.unwrapped.end for env in env_runner.env.unwrapped.envs],
        local_env_runner=False,
    )
    assert ends == [[6, 6]]

    algo.env_runner_group.foreach_env_runner(make_anew, local_env_runner=False)
    assert algo.train()[ENV_RUNNER_RESULTS]["episode_len_min"] == 1
    algo.stop()
