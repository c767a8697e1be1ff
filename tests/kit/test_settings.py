"""Settings that reach training from afar: by schedule, by name, by a spec."""

from rllib.algorithms.ppo import PPOConfig
from rllib.schedules import value_at


def small() -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .training(train_batch_size_per_learner=64, minibatch_size=64, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
    )


def test_a_learning_rate_follows_its_schedule() -> None:
    schedule = ((0, 1.0), (128, 0.5))
    with small().training(lr=schedule).build_algo() as algorithm:
        results = [algorithm.train() for _ in range(4)]
    sampled = [0, *(result["num_env_steps_sampled_lifetime"] for result in results)]
    rates = [r["learners"]["default_policy"]["default_optimizer_learning_rate"] for r in results]
    assert rates == [value_at(schedule, steps) for steps in sampled[:-1]]
    assert rates[0] == 1.0 > rates[1] > rates[-1] == 0.5
