"""Callbacks with custom data of the episode and metrics of one's own."""

import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback


class Angles(RLlibCallback):
    def on_algorithm_init(self, *, algorithm, metrics_logger, **kwargs):
        metrics_logger.log_value("started", 1, reduce="sum")

    def on_episode_created(self, *, episode, env_index, **kwargs):
        assert len(episode) == episode.t == 0
        episode.custom_data["angles"] = []

    def on_episode_start(self, *, episode, env_runner, metrics_logger, env, env_index, **kwargs):
        assert len(episode.get_observations()) == 1

    def on_episode_step(self, *, episode, env, env_index, **kwargs):
        angle = abs(episode.get_observations(-1)[2])
        episode.custom_data["angles"].append(angle)

    def on_episode_end(self, *, episode, metrics_logger, **kwargs):
        angles = episode.custom_data["angles"]
        assert len(angles) == episode.t
        assert episode.is_done
        metrics_logger.log_value("angle_mean", np.mean(angles), window=10)
        metrics_logger.log_dict({"angle": {"max": max(angles)}}, reduce="max")
        metrics_logger.log_value("return_ema", episode.get_return(), ema_coeff=0.1)

    def on_sample_end(self, *, env_runner, metrics_logger, samples, **kwargs):
        metrics_logger.log_value("num_samples", 1, reduce="sum")

    def on_train_result(self, *, algorithm, metrics_logger, result, **kwargs):
        result["callback_ok"] = True
        metrics_logger.log_value(("mine", "iteration"), algorithm.iteration, reduce="max")


if __name__ == "__main__":
    seen = []
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=1, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
        .callbacks(Angles, on_train_result=lambda *, result, **kw: seen.append(len(result)))
    )
    algo = config.build_algo()
    for _ in range(2):
        result = algo.train()
    assert result["callback_ok"]
    assert len(seen) == 2
    assert 0 < result["env_runners"]["angle_mean"] < 0.5
    assert result["env_runners"]["angle"]["max"] > result["env_runners"]["angle_mean"]
    assert result["env_runners"]["num_samples"] >= 1
    algo.stop()
