"""Values that scripts for RLlib give settings, and that mean here what they mean there."""

import gymnasium as gym
import pytest

from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.dqn import DQN
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.errors import ConfigError

INF = float("inf")


@pytest.mark.parametrize(
    ("config_class", "key", "value", "meant"),
    [
        (PPOConfig, "vf_clip_param", INF, None),
        (PPOConfig, "grad_clip", INF, None),
        (IMPALAConfig, "grad_clip", INF, None),
        (PPOConfig, "sample_timeout_s", None, 1e6),
        (PPOConfig, "evaluation_sample_timeout_s", None, 1e6),
        (SACConfig, "target_entropy", None, "auto"),
        (PPOConfig, "env_config", None, {}),
        (PPOConfig, "min_sample_timesteps_per_iteration", None, 0),
        (IMPALAConfig, "min_sample_timesteps_per_iteration", None, 10_000),
        (PPOConfig, "min_train_timesteps_per_iteration", None, 0),
        (PPOConfig, "num_gpus_per_learner", None, 0),
        (PPOConfig, "num_cpus_per_learner", 0, 0),
        (PPOConfig, "num_cpus_per_learner", 0.5, 0.5),
    ],
)
def test_a_value_means_what_it_means_in_rllib(config_class, key, value, meant):
    config = config_class().environment("CartPole-v1").update_from_dict({key: value})
    assert config[key] == meant
    assert type(config).from_dict(config.to_dict())[key] == meant
    assert config.num_threads_per_learner == 1


@pytest.mark.parametrize("config_class", [IMPALAConfig, APPOConfig])
def test_a_fragment_of_each_env_runner_may_make_a_train_batch(config_class):
    config = (
        config_class()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=5, num_envs_per_env_runner=4, rollout_fragment_length="auto")
    )
    config.validate()
    assert config.get_rollout_fragment_length() == 500 / (5 * 4)
    assert config.fragments_per_update == 5


class OwnPPO(PPO):
    """PPO by another name."""


def test_a_config_is_told_its_algorithm_as_rllibs_is(tmp_path):
    config = PPOConfig(algo_class=OwnPPO).environment("CartPole-v1")
    config.env_runners(num_env_runners=0).training(train_batch_size_per_learner=128)
    assert config.algo_class is config.copy().algo_class is OwnPPO
    with config.build_algo() as algo:
        assert type(algo) is OwnPPO
        path = algo.save_to_path(tmp_path / "checkpoint")
        found = algo.params_hash()
    with OwnPPO.from_checkpoint(path, config=config) as again:
        assert type(again) is OwnPPO
        assert again.params_hash() == found


def test_an_algorithm_of_other_settings_is_refused():
    with pytest.raises(ConfigError, match="algo_class: DQN takes no PPOConfig, but a DQNConfig"):
        PPOConfig(algo_class=DQN)
    with pytest.raises(ConfigError, match="algo_class: Env takes no PPOConfig: it has no"):
        PPOConfig(algo_class=gym.Env)
