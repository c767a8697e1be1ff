"""Names that users bring along from elsewhere, and the nearest right name for a wrong one."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

# Foreign name -> our name. Left: RLlib's older releases, Stable-Baselines3, CleanRL.
RENAMED = {
    "num_workers": "num_env_runners",
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_envs": "num_envs_per_env_runner",
    "n_envs": "num_envs_per_env_runner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "custom_resources_per_worker": "custom_resources_per_env_runner",
    "remote_worker_envs": "gym_env_vectorize_mode",
    "n_steps": "rollout_fragment_length",
    "num_steps": "rollout_fragment_length",
    "learning_rate": "lr",
    "lr_schedule": "lr",
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
    "entropy_coeff_schedule": "entropy_coeff",
    "vf_coef": "vf_loss_coeff",
    "target_kl": "kl_target",
    "model": "model_config",
    "model_config_dict": "model_config",
    "policy_kwargs": "model_config",
    "net_arch": "model_config.fcnet_hiddens",
    "activation_fn": "model_config.fcnet_activation",
    "fcnet_hiddens": "model_config.fcnet_hiddens",
    "fcnet_activation": "model_config.fcnet_activation",
    "vf_share_layers": "model_config.vf_share_layers",
    "use_lstm": "model_config.use_lstm",
    "conv_filters": "model_config.conv_filters",
    "free_log_std": "model_config.free_log_std",
    "log_std_init": "model_config.initial_log_std",
    "num_learner_workers": "num_learners",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    "num_gpus": "num_gpus_per_learner",
    "evaluation_num_workers": "evaluation_num_env_runners",
    "evaluation_num_episodes": "evaluation_duration",
    "custom_eval_function": "custom_evaluation_function",
    "callbacks": "callbacks_class",
    "recreate_failed_workers": "restart_failed_env_runners",
    "recreate_failed_env_runners": "restart_failed_env_runners",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "max_num_worker_restarts": "max_num_env_runner_restarts",
    "delay_between_worker_restarts_s": "delay_between_env_runner_restarts_s",
    "worker_health_probe_timeout_s": "env_runner_health_probe_timeout_s",
    "worker_restore_timeout_s": "env_runner_restore_timeout_s",
    "min_iter_time_s": "min_time_s_per_iteration",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "num_consecutive_worker_failures_tolerance": "num_consecutive_env_runner_failures_tolerance",
    "validate_workers_after_construction": "validate_env_runners_after_construction",
    "max_requests_in_flight_per_sampler_worker": "max_requests_in_flight_per_env_runner",
    "max_requests_in_flight_per_aggregator_worker": "max_requests_in_flight_per_aggregator_actor",
    "num_aggregation_workers": "num_aggregator_actors_per_learner",
    "target_update_frequency": "target_network_update_freq",
    "policy_model_config": "model_config",
    "q_model_config": "model_config",
    "num_cpus_for_driver": "num_cpus_for_main_process",
    "num_cpus_for_local_worker": "num_cpus_for_main_process",
    "env_id": "env",
    "env_kwargs": "env_config",
    "total_timesteps": "stop.num_env_steps_sampled_lifetime",
    "timesteps_total": "stop.num_env_steps_sampled_lifetime",
    "stats_window_size": "metrics_num_episodes_for_smoothing",
    "checkpoint_freq": "checkpoint_frequency",
    "num_to_keep": "checkpoint_num_to_keep",
    "keep_checkpoints_num": "checkpoint_num_to_keep",
    "checkpoint_score_attribute": "checkpoint_score_metric",
    "checkpoint_score_attr": "checkpoint_score_metric",
    "n_timesteps": "stop.num_env_steps_sampled_lifetime",
    "train_for_env_steps": "stop.num_env_steps_sampled_lifetime",
    "policy": "model_config",
    "normalize": "observation_filter",
    "normalize_input": "observation_filter",
    "buffer_size": "replay_buffer_config.capacity",
    "prioritized_replay_alpha": "replay_buffer_config.alpha",
    "prioritized_replay_beta": "replay_buffer_config.beta",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "target_update_interval": "target_network_update_freq",
    "target_network_frequency": "target_network_update_freq",
    "exploration_final_eps": "epsilon",
    "exploration_initial_eps": "epsilon",
    "exploration_fraction": "epsilon",
    "start_e": "epsilon",
    "end_e": "epsilon",
    "train_freq": "rollout_fragment_length",
    "gradient_steps": "training_intensity",
    "num_minibatches": "minibatch_size",
    "num_batches_per_epoch": "minibatch_size",
    "anneal_lr": "lr",
    "clip_vloss": "vf_clip_param",
    "ppo_clip_ratio": "clip_param",
    "ppo_clip_value": "vf_clip_param",
    "exploration_loss_coeff": "entropy_coeff",
    "value_loss_coeff": "vf_loss_coeff",
    "rollout": "rollout_fragment_length",
    "num_envs_per_agent": "num_envs_per_env_runner",
}

# The same of algorithms that do not have the setting which it is called by in most.
RENAMED_ELSEWHERE = {"ent_coef": "initial_alpha", "entropy_coeff": "initial_alpha"}

# The same of what stands at the top of a file.
RENAMED_SECTIONS = {
    "algo": "algorithm",
    "run": "algorithm",
    "agent": "algorithm",
    "rollouts": "env_runners",
    "exploration": "env_runners",
    "workers": "env_runners",
    "envs": "environment",
    "env_setup": "environment",
    "model": "rl_module",
    "module": "rl_module",
    "eval": "evaluation",
    "checkpoint": "checkpointing",
    "logging": "reporting",
    "stopping": "stop",
    "stop_criteria": "stop",
    "hyperparameters": "training",
    "train": "training",
}

# Algorithms that there are not, and what comes nearest.
ABSENT_ALGORITHMS = {
    "A2C": "PPO with num_epochs=1 and minibatch_size=null is nearest",
    "A3C": "IMPALA is nearest",
    "TRPO": "PPO is nearest",
    "ARS": "PPO is nearest",
    "RECURRENTPPO": "it is PPO with model_config.use_lstm=true",
    "MASKABLEPPO": "it is PPO; observations hold an action_mask",
    "DDPG": "TD3 is nearest",
    "TQC": "SAC is nearest",
    "REDQ": "SAC is nearest",
    "CROSSQ": "SAC is nearest",
    "QRDQN": "DQN with num_atoms is nearest",
    "RAINBOW": "it is DQN; see the preset rainbow_cartpole",
    "APEX": "DQN is nearest",
    "R2D2": "DQN with model_config.use_lstm=true is nearest",
    "BC": "there is no training from recorded data yet",
    "CQL": "there is no training from recorded data yet",
    "MARWIL": "there is no training from recorded data yet",
    "DREAMERV3": "there is none that learns a model",
}

# What RLlib has and we have not, with the nearest setting that we do have ("" for none).
UNSUPPORTED = {
    "render_env": "env_config",
    "record_env": "tensorboard_videos_every",
    "horizon": "env_config",
    "soft_horizon": "",
    "no_done_at_end": "",
    "env_wrapper": "env",
    "frame_stack": "env_to_module_connector",
    "verbose": "log_level",
    "env_task_fn": "env_config",
    "create_env_on_local_worker": "create_local_env_runner",
    "env_runner_state_server_max_concurrency": "max_requests_in_flight_per_env_runner",
    "compress_observations": "",
    "exploration_config": "explore",
    "sample_collector": "env_runner_cls",
    "remote_env_batch_wait_ms": "gym_env_vectorize_mode",
    "preprocessor_pref": "env_to_module_connector",
    "use_worker_filter_stats": "merge_env_runner_states",
    "update_worker_filter_stats": "merge_env_runner_states",
    "synchronize_filters": "merge_env_runner_states",
    "sampler_perf_stats_ema_coef": "",
    "enable_tf1_exec_eagerly": "",
    "use_critic": "vf_loss_coeff",
    "use_gae": "lambda_",
    "optimizer": "learner_class",
    "opt_type": "learner_class",
    "momentum": "learner_class",
    "decay": "learner_class",
    "_separate_vf_optimizer": "learner_class",
    "_lr_vf": "learner_class",
    "learner_queue_timeout": "",
    "before_learn_on_batch": "learner_class",
    "categorical_distribution_temperature": "",
    "_deterministic_loss": "",
    "_use_beta_distribution": "",
    "always_attach_evaluation_results": "evaluation_parallel_to_training",
    "off_policy_estimation_methods": "custom_evaluation_function",
    "ope_split_batch_by_episode": "",
    "offline_evaluation_interval": "evaluation_interval",
    "num_offline_eval_runners": "evaluation_num_env_runners",
    "offline_evaluation_type": "custom_evaluation_function",
    "offline_eval_runner_class": "custom_evaluation_function",
    "offline_eval_batch_size_per_runner": "evaluation_duration",
    "offline_eval_rl_module_inference_only": "",
    "offline_evaluation_timeout_s": "evaluation_sample_timeout_s",
    "offline_loss_for_module_fn": "custom_evaluation_function",
    "observation_fn": "env_to_module_connector",
    "replay_mode": "count_steps_by",
    "policy_map_cache": "policy_map_capacity",
    "on_evaluate_offline_start": "on_evaluate_start",
    "on_evaluate_offline_end": "on_evaluate_end",
    "on_offline_eval_runners_recreated": "on_env_runners_recreated",
    "on_sub_environment_created": "on_environment_created",
    "on_workers_recreated": "on_env_runners_recreated",
    "on_create_policy": "on_algorithm_init",
    "on_postprocess_trajectory": "learner_connector",
    "on_learn_on_batch": "learner_class",
    "keep_per_episode_custom_metrics": "metrics_num_episodes_for_smoothing",
    "metrics_episode_collection_timeout_s": "sample_timeout_s",
    "custom_stats_cls_lookup": "",
    "export_native_model_files": "checkpoint_frequency",
    "checkpoint_trainable_policies_only": "checkpoint_frequency",
    "log_sys_usage": "",
    "fake_sampler": "",
    "input_": "",
    "output": "",
    "use_sde": "exploration_noise_correlation",
    "sde_sample_freq": "exploration_noise_correlation",
    "normalize_advantage": "learner_class",
    "norm_adv": "learner_class",
    "optimize_memory_usage": "replay_buffer_config",
    "differentiable_learner_configs": "learner_class",
    "eager_tracing": "",
    "eager_max_retraces": "",
    "tf_session_args": "",
    "local_tf_session_args": "",
    "torch_compile_learner": "learner_class",
    "torch_compile_learner_what_to_compile": "learner_class",
    "torch_compile_learner_dynamo_mode": "learner_class",
    "torch_compile_learner_dynamo_backend": "learner_class",
    "torch_compile_worker": "env_runner_cls",
    "torch_compile_worker_dynamo_backend": "env_runner_cls",
    "torch_compile_worker_dynamo_mode": "env_runner_cls",
    "torch_ddp_kwargs": "num_learners",
    "_torch_grad_scaler_class": "mixed_precision",
    "_torch_lr_scheduler_classes": "lr",
    "_fake_gpus": "device",
}

# What is done anyway where a setting is not there.
_STANDARDISED = "PPO's standardises advantages, always, over a train batch, as RLlib's does"
ANYWAY = dict.fromkeys(("normalize_advantage", "norm_adv"), _STANDARDISED)

# Builder methods of RLlib's config that have no counterpart, and what to do instead.
UNSUPPORTED_METHODS = {
    "offline_data": "there is no training from recorded data yet",
    "rollouts": "it is called env_runners() here",
    "exploration": "write .env_runners(explore=...)",
    "build_module_to_env_connector": "build_env_to_module_connector() has them all: actions pass "
    "the same connectors in the other direction",
    "build_learner_connector": "a learner has its own: config.build_learner().connectors",
    "get_default_policy_class": "get_default_rl_module_class() names the module",
    "serialize": "to_dict() gives plain data",
    "is_offline": "there is no training from recorded data yet",
    "is_online": "there is no training from recorded data yet",
    "pop": "settings are not removed; set them to their default",
    "values": "items() has names and values",
}

# Settings of RLlib that have one value here: method -> setting -> the value, and why.
_NEW_STACK = "the old API stack is not supported; remove it or set it to True"
_OLD_STACK = "it belongs to the old API stack, which is not supported"
FIXED: dict[str, dict[str, tuple[Any, str]]] = {
    "api_stack": {
        "enable_rl_module_and_learner": (True, _NEW_STACK),
        "enable_env_runner_and_connector_v2": (True, _NEW_STACK),
    },
    "framework": {"framework": ("torch", 'there is no other than "torch"')},
    "experimental": {
        "_validate_config": (True, "settings are always checked"),
        "_use_msgpack_checkpoints": (False, "checkpoints are of safetensors and JSON"),
        "_tf_policy_handles_more_than_one_loss": (False, _OLD_STACK),
        "_disable_preprocessor_api": (False, _OLD_STACK),
        "_disable_action_flattening": (False, _OLD_STACK),
        "_disable_initialize_loss_from_dummy_batch": (False, _OLD_STACK),
    },
}

# Builder methods that take settings of another section too, as RLlib's do.
ALSO_IN = {
    "learner_class": "training",
    "torch_skip_nan_gradients": "framework",
    "learner_connector": "training",
    "learner_config_dict": "training",
    "add_default_connectors_to_learner_pipeline": "training",
    "algorithm_config_overrides_per_module": "multi_agent",
}


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that ``name`` most probably means, whatever its case, or None."""
    names = {key.lower(): key for key in sorted(known)}
    found = get_close_matches(name.lower(), names, n=1, cutoff=cutoff)
    return names[found[0]] if found else None


def explain_unknown(name: str, known: Iterable[str]) -> str:
    """Say what is wrong with the unknown key ``name``, and name the right one if there is one."""
    known = set(known)
    if renamed := renaming(name, known):
        return f"unknown key; it is called {renamed!r} here"
    for settings in FIXED.values():
        if name in settings:
            return f"leave it out: {settings[name][1]}"
    if name in UNSUPPORTED:
        instead = UNSUPPORTED[name]
        hint = f"; the nearest setting is {instead!r}" if instead in known else ""
        return f"not supported{hint}{anyway(name)}"
    guess = nearest(name, known)
    return f"unknown key; did you mean {guess!r}?" if guess else "unknown key"


def anyway(name: str) -> str:
    """What is done without the setting ``name``, where that is all it is for."""
    return f" ({ANYWAY[name]})" if name in ANYWAY else ""


def renaming(name: str, known: Collection[str]) -> str | None:
    """What another library's setting is called here, if there is such a setting."""
    names = (RENAMED.get(name), RENAMED_ELSEWHERE.get(name))
    return next((each for each in names if each and _is_reachable(each, known)), None)


def _is_reachable(renamed: str, known: Collection[str]) -> bool:
    head, dot, _ = renamed.partition(".")
    return renamed in known or (bool(dot) and head in {*known, "stop", "model_config"})
