"""Metrics of several updates as those of one iteration."""

import numpy as np

from rllib.metrics.update_metrics import reduce_updates


def test_each_kind_of_metric_is_put_together_in_its_own_way():
    first = {
        "vf_loss": 1.0,
        "num_module_steps_trained": 10,
        "num_module_steps_trained_lifetime": 110,
        "num_trainable_parameters": 5,
        "curr_kl_coeff": 0.2,
        "default_optimizer_learning_rate": 0.1,
        "learner_update_s": 0.5,
        "policy_lag_max": 3,
        "reward_min": -1.0,
        "td_error": np.ones(3),
    }
    second = {
        "vf_loss": 4.0,
        "num_module_steps_trained": 20,
        "num_module_steps_trained_lifetime": 130,
        "num_trainable_parameters": 5,
        "curr_kl_coeff": 0.3,
        "default_optimizer_learning_rate": 0.05,
        "learner_update_s": 0.25,
        "policy_lag_max": 2,
        "reward_min": -2.0,
        "alpha_loss": 7.0,
    }
    assert reduce_updates([first, second]) == {
        "vf_loss": 2.5,
        "num_module_steps_trained": 30,
        "num_module_steps_trained_lifetime": 130,
        "num_trainable_parameters": 5,
        "curr_kl_coeff": 0.3,
        "default_optimizer_learning_rate": 0.05,
        "learner_update_s": 0.75,
        "policy_lag_max": 3,
        "reward_min": -2.0,
        "alpha_loss": 7.0,
    }


def test_one_update_is_what_it_is_and_none_is_nothing():
    assert reduce_updates([{"vf_loss": 1, "num_steps": 3}]) == {"vf_loss": 1, "num_steps": 3}
    assert reduce_updates([]) == {}
