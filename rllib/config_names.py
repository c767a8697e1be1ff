"""Names that users bring along from elsewhere, and the nearest right name for a wrong one."""

from collections.abc import Iterable
from difflib import get_close_matches

# Foreign name -> our name. Left: RLlib's older releases, Stable-Baselines3, CleanRL.
RENAMED = {
    "num_workers": "num_env_runners",
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_envs": "num_envs_per_env_runner",
    "n_envs": "num_envs_per_env_runner",
    "remote_worker_envs": "gym_env_vectorize_mode",
    "n_steps": "rollout_fragment_length",
    "num_steps": "rollout_fragment_length",
    "learning_rate": "lr",
    "train_batch_size": "train_batch_size_per_learner",
    "sgd_minibatch_size": "minibatch_size",
    "mini_batch_size_per_learner": "minibatch_size",
    "batch_size": "minibatch_size",
    "num_sgd_iter": "num_epochs",
    "num_epochs_per_learner": "num_epochs",
    "n_epochs": "num_epochs",
    "update_epochs": "num_epochs",
    "shuffle_sequences": "shuffle_batch_per_epoch",
    "max_grad_norm": "grad_clip",
    "gae_lambda": "lambda_",
    "lambda": "lambda_",
    "clip_range": "clip_param",
    "clip_coef": "clip_param",
    "clip_range_vf": "vf_clip_param",
    "ent_coef": "entropy_coeff",
    "vf_coef": "vf_loss_coeff",
    "target_kl": "kl_target",
    "model": "model_config",
    "policy_kwargs": "model_config",
    "net_arch": "model_config.fcnet_hiddens",
    "activation_fn": "model_config.fcnet_activation",
    "fcnet_hiddens": "model_config.fcnet_hiddens",
    "fcnet_activation": "model_config.fcnet_activation",
    "vf_share_layers": "model_config.vf_share_layers",
    "use_lstm": "model_config.use_lstm",
    "conv_filters": "model_config.conv_filters",
    "free_log_std": "model_config.free_log_std",
    "env_id": "env",
    "total_timesteps": "stop.num_env_steps_sampled_lifetime",
    "timesteps_total": "stop.num_env_steps_sampled_lifetime",
    "stats_window_size": "metrics_num_episodes_for_smoothing",
    "checkpoint_freq": "checkpoint_frequency",
    "num_to_keep": "checkpoint_num_to_keep",
    "keep_checkpoints_num": "checkpoint_num_to_keep",
}

# What RLlib has and we have not, with the nearest setting that we do have ("" for none).
UNSUPPORTED = {
    "observation_space": "env",
    "action_space": "env",
    "clip_rewards": "",
    "clip_actions": "",
    "normalize_actions": "",
    "is_atari": "",
    "disable_env_checking": "",
    "action_mask_key": "",
    "render_env": "",
    "env_task_fn": "env_config",
    "env_runner_cls": "",
    "num_cpus_per_env_runner": "num_env_runners",
    "num_gpus_per_env_runner": "num_env_runners",
    "custom_resources_per_env_runner": "num_env_runners",
    "batch_mode": "rollout_fragment_length",
    "max_requests_in_flight_per_env_runner": "num_env_runners",
    "env_to_module_connector": "",
    "module_to_env_connector": "",
    "episode_lookback_horizon": "",
    "add_default_connectors_to_env_to_module_pipeline": "",
    "add_default_connectors_to_module_to_env_pipeline": "",
    "episodes_to_numpy": "",
    "merge_env_runner_states": "",
    "broadcast_env_runner_states": "",
    "use_env_runner_state_server": "",
    "validate_env_runners_after_construction": "",
    "compress_observations": "",
    "create_local_env_runner": "num_env_runners",
    "learner_class": "",
    "learner_connector": "",
    "learner_config_dict": "",
    "use_critic": "vf_loss_coeff",
    "use_gae": "lambda_",
    "entropy_coeff_schedule": "entropy_coeff",
    "lr_schedule": "lr",
    "num_gpus_per_learner": "num_cpus_per_learner",
    "custom_resources_per_learner": "num_cpus_per_learner",
    "num_gpus": "num_cpus_per_learner",
    "num_aggregator_actors_per_learner": "num_learners",
    "max_requests_in_flight_per_learner": "num_learners",
    "max_requests_in_flight_per_aggregator_actor": "num_learners",
    "local_gpu_idx": "",
    "rl_module_spec": "model_config",
    "algorithm_config_overrides_per_module": "",
    "log_level": "",
    "log_sys_usage": "",
    "min_time_s_per_iteration": "train_batch_size_per_learner",
    "min_train_timesteps_per_iteration": "train_batch_size_per_learner",
    "min_sample_timesteps_per_iteration": "train_batch_size_per_learner",
    "keep_per_episode_custom_metrics": "metrics_num_episodes_for_smoothing",
    "log_gradients": "",
    "custom_stats_cls_lookup": "",
    "evaluation_interval": "",
    "evaluation_duration": "",
    "evaluation_duration_unit": "",
    "evaluation_num_env_runners": "",
    "evaluation_parallel_to_training": "",
    "evaluation_config": "",
    "restart_failed_env_runners": "",
    "ignore_env_runner_failures": "",
    "max_num_env_runner_restarts": "",
    "restart_failed_sub_environments": "",
    "policies": "",
    "policy_mapping_fn": "",
    "policies_to_train": "",
    "callbacks_class": "",
    "input_": "",
    "output": "",
    "num_cpus_for_main_process": "num_cpus_per_learner",
    "placement_strategy": "",
    "export_native_model_files": "checkpoint_frequency",
    "checkpoint_trainable_policies_only": "checkpoint_frequency",
}

# Builder methods of RLlib's config that have no counterpart yet.
UNSUPPORTED_METHODS = frozenset(
    {
        "api_stack",
        "callbacks",
        "evaluation",
        "experimental",
        "fault_tolerance",
        "framework",
        "multi_agent",
        "offline_data",
        "python_environment",
        "resources",
    }
)


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that ``name`` most probably means, whatever its case, or None."""
    names = {key.lower(): key for key in sorted(known)}
    found = get_close_matches(name.lower(), names, n=1, cutoff=cutoff)
    return names[found[0]] if found else None


def explain_unknown(name: str, known: Iterable[str]) -> str:
    """Say what is wrong with the unknown key ``name``, and name the right one if there is one."""
    known = set(known)
    renamed = RENAMED.get(name)
    if renamed and (renamed in known or "." in renamed):
        return f"unknown key; it is called {renamed!r} here"
    if name in UNSUPPORTED:
        instead = UNSUPPORTED[name]
        hint = f"; the nearest setting is {instead!r}" if instead in known else ""
        return f"not supported{hint}"
    guess = nearest(name, known)
    return f"unknown key; did you mean {guess!r}?" if guess else "unknown key"
