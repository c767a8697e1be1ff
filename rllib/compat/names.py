"""RLlib's names of what stands in results, and of agents, policies and modules.

Each constant's value is the key itself. The documentation of results says what the keys hold.
"""

from rllib.metrics.names import ALL_MODULES as ALL_MODULES
from rllib.metrics.names import DEFAULT_AGENT_ID as DEFAULT_AGENT_ID

DEFAULT_POLICY_ID = "default_policy"
DEFAULT_MODULE_ID = DEFAULT_POLICY_ID
ENV_STATE = "state"

_SAME_AS_THEIR_NAMES = """
    actual_n_step agent_actual_n_step env_to_module_connector env_reset_timer env_step_timer
    episode_duration_sec_mean episode_len_max episode_len_mean episode_len_min episode_return_max
    episode_return_mean episode_return_min env_runner_sampling_timer last_target_update_ts
    learner_connector learner_update_timer module_sample_batch_size_mean
    module_to_env_connector module_train_batch_size_mean num_agent_steps_sampled
    num_agent_steps_sampled_lifetime num_agent_steps_trained num_agent_steps_trained_lifetime
    num_env_steps_added num_env_steps_added_lifetime num_env_steps_evicted
    num_env_steps_evicted_lifetime num_env_steps_per_sample num_env_steps_per_sample_lifetime
    num_env_steps_sampled num_env_steps_sampled_lifetime num_env_steps_stored
    num_env_steps_trained num_env_steps_trained_lifetime num_episodes num_episodes_added
    num_episodes_added_lifetime num_episodes_evicted num_episodes_evicted_lifetime
    num_episodes_lifetime num_episodes_per_sample num_episodes_stored num_grad_updates_lifetime
    num_module_steps_sampled num_module_steps_sampled_lifetime num_module_steps_trained
    num_module_steps_trained_lifetime num_non_trainable_parameters num_target_updates
    num_trainable_parameters num_training_step_calls_per_iteration replay_buffer_add_data_timer
    replay_buffer_update_prios_timer rlmodule_inference_timer time_between_sampling timers
    weights_seq_no diff_num_grad_updates_vs_sampler_policy
"""
_OTHERS = {
    "AGGREGATOR_ACTOR_RESULTS": "aggregator_actors",
    "ENV_RUNNER_RESULTS": "env_runners",
    "EPISODE_AGENT_RETURN_MEAN": "agent_episode_returns_mean",
    "EPISODE_AGENT_STEPS": "agent_steps",
    "EPISODE_MODULE_RETURN_MEAN": "module_episode_returns_mean",
    "EVALUATION_ITERATION_TIMER": "evaluation_iteration",
    "EVALUATION_RESULTS": "evaluation",
    "FAULT_TOLERANCE_STATS": "fault_tolerance",
    "LEARNER_RESULTS": "learners",
    "NUM_SYNCH_WORKER_WEIGHTS": "num_weight_broadcasts",
    "REPLAY_BUFFER_RESULTS": "replay_buffer",
    "REPLAY_BUFFER_SAMPLE_TIMER": "replay_buffer_sampling_timer",
    "RESTORE_ENV_RUNNERS_TIMER": "restore_env_runners",
    "RESTORE_EVAL_ENV_RUNNERS_TIMER": "restore_eval_env_runners",
    "SAMPLE_TIMER": "sample",
    "SYNCH_WORKER_WEIGHTS_TIMER": "synch_weights",
    "TD_ERROR_KEY": "td_error",
    "TRAINING_ITERATION_TIMER": "training_iteration",
    "TRAINING_STEP_TIMER": "training_step",
}
METRICS = {name.upper(): name for name in _SAME_AS_THEIR_NAMES.split()} | _OTHERS
"""Constant of ``ray.rllib.utils.metrics`` to the key in a result."""

TUNE_RESULT = {
    "TIME_TOTAL_S": "time_total_s",
    "TRAINING_ITERATION": "training_iteration",
}
"""Constant of ``ray.tune.result`` to the key in a result."""

PPO_RESULTS = {
    "LEARNER_RESULTS_CURR_ENTROPY_COEFF_KEY": "curr_entropy_coeff",
    "LEARNER_RESULTS_CURR_KL_COEFF_KEY": "curr_kl_coeff",
    "LEARNER_RESULTS_KL_KEY": "mean_kl_loss",
    "LEARNER_RESULTS_VF_EXPLAINED_VAR_KEY": "vf_explained_var",
    "LEARNER_RESULTS_VF_LOSS_UNCLIPPED_KEY": "vf_loss_unclipped",
}
"""Constant of ``ray.rllib.algorithms.ppo.ppo`` to the key in a learner's result."""

COMPONENTS = {
    f"COMPONENT_{name.upper()}": name
    for name in (
        *("env_runner", "env_to_module_connector", "eval_env_runner", "learner", "learner_group"),
        *("metrics_logger", "module_to_env_connector", "optimizer", "rl_module"),
    )
}
"""Constant of ``ray.rllib.core`` to a part of a checkpoint's path."""


__all__ = [*METRICS, *TUNE_RESULT, *PPO_RESULTS, *COMPONENTS]


def __getattr__(name: str) -> str:
    for table in (METRICS, TUNE_RESULT, PPO_RESULTS, COMPONENTS):
        if name in table:
            return table[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
