"""The first program of everybody: configure, train, evaluate, save, restore."""

import tempfile
from pprint import pprint

import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPO, PPOConfig

if __name__ == "__main__":
    ray.init(ignore_reinit_error=True)
    config = (
        PPOConfig()
        .api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True)
        .environment("CartPole-v1")
        .framework("torch")
        .env_runners(num_env_runners=1, num_envs_per_env_runner=4)
        .training(
            gamma=0.9,
            lr=0.01,
            train_batch_size_per_learner=256,
            minibatch_size=64,
            num_epochs=2,
            kl_coeff=0.3,
        )
        .learners(num_learners=0, num_gpus_per_learner=0)
        .evaluation(evaluation_num_env_runners=1, evaluation_interval=1)
        .debugging(log_level="WARN", seed=3)
    )
    config.rollout_fragment_length = "auto"
    assert config["gamma"] == 0.9

    algo = config.build_algo()
    for i in range(2):
        result = algo.train()
        print(i, result["env_runners"]["episode_return_mean"])
    result.pop("config")
    pprint(result)
    assert result["training_iteration"] == 2
    assert 400 < result["num_env_steps_sampled_lifetime"] <= 520
    assert result["evaluation"]["env_runners"]["episode_return_mean"] > 0
    assert result["learners"]["default_policy"]["policy_loss"] < 1.0

    path = algo.save_to_path(tempfile.mkdtemp())
    algo.stop()

    same = Algorithm.from_checkpoint(path)
    assert isinstance(same, PPO)
    assert same.iteration == 2
    assert same.config.gamma == 0.9
    same.train()
    same.restore_from_path(path)
    assert same.iteration == 2
    pprint(same.evaluate())
    same.stop()
