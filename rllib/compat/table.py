"""Where RLlib's public names live here: module -> name -> ``module:name`` of ours.

What RLlib has and we have not stands in ``ABSENT``, with what to do instead.
"""

from rllib.compat.names import COMPONENTS, PPO_RESULTS

_ALGORITHM = {"Algorithm": "rllib.algorithm:Algorithm"}
_CONFIG = {"AlgorithmConfig": "rllib.config:AlgorithmConfig"}
_CALLBACKS = {
    "RLlibCallback": "rllib.callbacks:RLlibCallback",
    "DefaultCallbacks": "rllib.callbacks:DefaultCallbacks",
}
_IDS = {
    name: f"rllib.compat.names:{name}"
    for name in ("ALL_MODULES", "DEFAULT_AGENT_ID", "DEFAULT_MODULE_ID", "DEFAULT_POLICY_ID")
}
_COMPONENTS = {name: f"rllib.compat.names:{name}" for name in COMPONENTS}
_COLUMNS = {"Columns": "rllib.columns:Columns"}
_MODULE = {"RLModule": "rllib.modules.rl_module:RLModule"}
_TORCH_MODULE = {"TorchRLModule": "rllib.modules.rl_module:RLModule"}
_SPEC = {"RLModuleSpec": "rllib.modules.spec:RLModuleSpec"}
_MULTI_MODULE = {"MultiRLModule": "rllib.modules.multi_rl_module:MultiRLModule"}
_MULTI_SPEC = {"MultiRLModuleSpec": "rllib.modules.spec:MultiRLModuleSpec"}
_MODEL = {"DefaultModelConfig": "rllib.config.model:ModelConfig"}
_VALUE_API = {"ValueFunctionAPI": "rllib.compat.modules:ValueFunctionAPI"}
_Q_API = {"QNetAPI": "rllib.compat.modules:QNetAPI"}
_INFERENCE_API = {"InferenceOnlyAPI": "rllib.compat.modules:InferenceOnlyAPI"}
_TARGET_API = {
    name: f"rllib.compat.modules:{name}"
    for name in ("TARGET_NETWORK_ACTION_DIST_INPUTS", "TargetNetworkAPI")
}
_LEARNER = {"Learner": "rllib.learning.learner:Learner"}
_LEARNER_GROUP = {"LearnerGroup": "rllib.learning.learner_group:LearnerGroup"}
_OWN_PARTS = {
    name: (f"rllib.modules.{module}", f"rllib.algorithms.{name.lower()}:{name}Learner")
    for name, module in {
        "PPO": "actor_critic:ActorCriticModule",
        "APPO": "actor_critic:ActorCriticModule",
        "IMPALA": "actor_critic:ActorCriticModule",
        "DQN": "q_module:QModule",
        "SAC": "actor_q_module:SACModule",
    }.items()
}
"""The default module and the learner of an algorithm, to be subclassed."""
_ENV_RUNNER = {"EnvRunner": "rllib.sampling.env_runner:EnvRunner"}
_MEAN_STD = {"MeanStdFilter": "rllib.compat.connectors:MeanStdFilter"}
_FLATTEN = {"FlattenObservations": "rllib.compat.connectors:FlattenObservations"}
_STACK = {"FrameStackingEnvToModule": "rllib.compat.connectors:FrameStacking"}
_PAST = {"PrevActionsPrevRewards": "rllib.compat.connectors:PrevActionsPrevRewards"}
_MULTI_AGENT = {"MultiAgentEnv": "rllib.envs.multi_agent:MultiAgentEnv"}
_MAKE_MULTI_AGENT = {"make_multi_agent": "rllib.envs.multi_agent:make_multi_agent"}
_PETTING_ZOO = {
    "ParallelPettingZooEnv": "rllib.envs.pettingzoo:ParallelPettingZooEnv",
    "PettingZooEnv": "rllib.envs.pettingzoo:PettingZooEnv",
}
_REGISTER = {"register_env": "rllib.plugins:register_env"}
_METRICS_LOGGER = {"MetricsLogger": "rllib.metrics.metrics_logger:MetricsLogger"}


def _algorithms(*names: str) -> dict[str, str]:
    """The class and the config of each."""
    return {
        each: f"rllib.algorithms.{name.lower()}:{each}"
        for name in names
        for each in (name, f"{name}Config")
    }


def _parts_of(name: str) -> dict[str, dict[str, str]]:
    """The modules in which RLlib has the default module and the learner of an algorithm."""
    (module, learner), home = _OWN_PARTS[name], f"rllib.algorithms.{name.lower()}"
    small = name.lower()
    return {
        f"{home}.default_{small}_rl_module": {f"Default{name}RLModule": module},
        f"{home}.{small}_learner": {f"{name}Learner": learner},
        f"{home}.torch.default_{small}_torch_rl_module": {f"Default{name}TorchRLModule": module},
        f"{home}.torch.{small}_torch_learner": {f"{name}TorchLearner": learner},
        f"{home}.torch.{small}_torch_rl_module": {f"{name}TorchRLModule": module},
    }


def _constants(*names: str) -> dict[str, str]:
    return {name: f"rllib.compat.names:{name}" for name in names}


_NAMES = ("APPO", "DQN", "IMPALA", "PPO", "SAC")
_IMPALA = {
    "Impala": "rllib.algorithms.impala:IMPALA",
    "ImpalaConfig": "rllib.algorithms.impala:IMPALAConfig",
}
_TYPES = (
    *("AgentID", "EnvType", "EpisodeType", "ModuleID", "MultiAgentDict", "PolicyID"),
    *("ResultDict", "StateDict", "TensorStructType", "TensorType"),
    *("AlgorithmConfigDict", "EnvConfigDict", "EnvCreator", "LearningRateOrSchedule"),
    *("ModelConfigDict", "NamedParamDict", "Optimizer", "Param", "ParamDict"),
    *("PartialAlgorithmConfigDict", "RLModuleSpecType", "SpaceStruct"),
    *("AgentToModuleMappingFn", "ConvFilterSpec", "DeviceType", "EpisodeID", "NetworkType"),
    *("ShouldModuleBeUpdatedFn", "TensorShape"),
)

_NUMPY = (
    *("LARGE_INTEGER", "MAX_LOG_NN_OUTPUT", "MIN_LOG_NN_OUTPUT", "SMALL_NUMBER"),
    *("convert_to_numpy", "fc", "huber_loss", "l2_loss", "make_action_immutable", "one_hot"),
    *("one_hot_multidiscrete", "relu", "sigmoid", "softmax"),
)
_IN_UTILS = ("fc", "one_hot", "relu", "sigmoid", "softmax")
_TORCH = (
    *("convert_to_torch_tensor", "copy_torch_tensors", "explained_variance", "global_norm"),
    *("huber_loss", "inverse_symlog", "l2_loss", "one_hot", "reduce_mean_ignore_inf"),
    *("sequence_mask", "set_torch_seed", "softmax_cross_entropy_with_logits", "symlog"),
    "update_target_network",
)
_SPACES = (
    *("batch", "clip_action", "flatten_space", "flatten_to_single_ndarray"),
    *("get_base_struct_from_space", "get_original_space", "is_composite_space"),
    *("normalize_action", "unbatch", "unsquash_action"),
)
_UNIFORM = {"EpisodeReplayBuffer": "rllib.replay.replay:UniformReplay"}
_PRIORITIZED = {"PrioritizedEpisodeReplayBuffer": "rllib.replay.prioritized:PrioritizedReplay"}
_REPLAY = {
    f"{prefix}{name}": home
    for name, home in (_UNIFORM | _PRIORITIZED).items()
    for prefix in ("", "MultiAgent")
}
"""For ``replay_buffer_config={"type": ...}``; a buffer by itself has a constructor of its own."""

_ENV_CONTEXT = {"EnvContext": "rllib.envs.context:EnvContext"}

ALIASES: dict[str, dict[str, str]] = {
    "rllib": _MULTI_AGENT,
    "rllib.algorithms": _ALGORITHM | _CONFIG | _algorithms(*_NAMES) | _IMPALA,
    "rllib.algorithms.algorithm": _ALGORITHM | _CONFIG,
    "rllib.algorithms.algorithm_config": _CONFIG,
    "rllib.algorithms.callbacks": _CALLBACKS,
    "rllib.algorithms.impala": _IMPALA,
    **{f"rllib.algorithms.{name.lower()}.{name.lower()}": _algorithms(name) for name in _NAMES},
    "rllib.algorithms.impala.impala": _algorithms("IMPALA") | _IMPALA,
    "rllib.algorithms.ppo.ppo": _algorithms("PPO") | _constants(*PPO_RESULTS),
    **{path: names for name in _OWN_PARTS for path, names in _parts_of(name).items()},
    "rllib.callbacks.callbacks": _CALLBACKS,
    "rllib.connectors.env_to_module": _MEAN_STD | _FLATTEN | _PAST | _STACK,
    "rllib.connectors.env_to_module.flatten_observations": _FLATTEN,
    "rllib.connectors.env_to_module.frame_stacking": _STACK,
    "rllib.connectors.env_to_module.mean_std_filter": _MEAN_STD,
    "rllib.connectors.env_to_module.observation_preprocessor": dict.fromkeys(
        ("ObservationPreprocessor", "SingleAgentObservationPreprocessor"),
        "rllib.compat.connectors:SingleAgentObservationPreprocessor",
    ),
    "rllib.connectors.env_to_module.prev_actions_prev_rewards": _PAST,
    "rllib.connectors.learner.frame_stacking": {
        "FrameStackingLearner": "rllib.compat.connectors:FrameStackingLearner"
    },
    "rllib.core": _COLUMNS | _IDS | _COMPONENTS,
    "rllib.core.columns": _COLUMNS,
    "rllib.core.learner": _LEARNER | _LEARNER_GROUP,
    "rllib.core.learner.learner": _LEARNER
    | {"DEFAULT_OPTIMIZER": "rllib.learning.learner:DEFAULT_OPTIMIZER"},
    "rllib.core.learner.learner_group": _LEARNER_GROUP,
    "rllib.core.learner.utils": {"make_target_network": "rllib.compat.modules:make_target_network"},
    "rllib.core.rl_module": _MODULE | _SPEC | _MULTI_SPEC | _MULTI_MODULE,
    "rllib.core.rl_module.apis": _VALUE_API | _INFERENCE_API | _TARGET_API | _Q_API,
    "rllib.core.rl_module.apis.inference_only_api": _INFERENCE_API,
    "rllib.core.rl_module.apis.q_net_api": _Q_API,
    "rllib.core.rl_module.apis.target_network_api": _TARGET_API,
    "rllib.core.rl_module.apis.value_function_api": _VALUE_API,
    "rllib.core.rl_module.default_model_config": _MODEL,
    "rllib.core.rl_module.multi_rl_module": _MULTI_SPEC | _MULTI_MODULE,
    "rllib.core.rl_module.rl_module": _MODULE | _SPEC | _MODEL,
    "rllib.core.rl_module.torch": _TORCH_MODULE,
    "rllib.core.rl_module.torch.torch_rl_module": _TORCH_MODULE,
    "rllib.env": _MULTI_AGENT | _PETTING_ZOO | _ENV_CONTEXT,
    "rllib.env.env_context": _ENV_CONTEXT,
    "rllib.env.env_runner": _ENV_RUNNER,
    "rllib.env.env_runner_group": {
        "EnvRunnerGroup": "rllib.sampling.env_runner_group:EnvRunnerGroup"
    },
    "rllib.env.multi_agent_env": _MULTI_AGENT | _MAKE_MULTI_AGENT | _constants("ENV_STATE"),
    "rllib.env.multi_agent_env_runner": {
        "MultiAgentEnvRunner": "rllib.multi_agent.env_runner:MultiAgentEnvRunner"
    },
    "rllib.env.multi_agent_episode": {
        "MultiAgentEpisode": "rllib.multi_agent.env_runner:MultiAgentEpisode"
    },
    "rllib.env.single_agent_env_runner": {
        "SingleAgentEnvRunner": "rllib.sampling.env_runner:EnvRunner"
    },
    "rllib.env.single_agent_episode": {
        "SingleAgentEpisode": "rllib.sampling.single_agent_episode:SingleAgentEpisode"
    },
    "rllib.env.wrappers.group_agents_wrapper": {
        "GroupAgentsWrapper": "rllib.envs.agent_groups:GroupedAgents"
    },
    "rllib.env.wrappers.pettingzoo_env": _PETTING_ZOO,
    "rllib.models.torch.misc": {
        name: f"rllib.compat.modules:{name}"
        for name in ("normc_initializer", "same_padding", "valid_padding")
    },
    "rllib.policy.policy": {"PolicySpec": "rllib.config.multi_agent:PolicySpec"},
    "rllib.policy.sample_batch": {"SampleBatch": "rllib.compat.tools:SampleBatch"},
    "rllib.tune": _REGISTER,
    "rllib.tune.registry": _REGISTER | {"get_trainable_cls": "rllib.registry:get_algorithm_class"},
    "rllib.tune.result": _constants("TIME_TOTAL_S", "TRAINING_ITERATION"),
    "rllib.utils": {
        **{name: f"rllib.compat.numpy_utils:{name}" for name in _IN_UTILS},
        **{
            name: f"rllib.compat.tools:{name}" for name in ("check", "override", "try_import_torch")
        },
    },
    "rllib.utils.annotations": {
        "override": "rllib.compat.tools:override",
        **dict.fromkeys(
            (
                *("DeveloperAPI", "ExperimentalAPI", "OldAPIStack", "PublicAPI"),
                *(
                    f"OverrideToImplementCustomLogic{suffix}"
                    for suffix in ("", "_CallToSuperRecommended")
                ),
            ),
            "rllib.compat.tools:annotation",
        ),
    },
    "rllib.utils.checkpoints": {
        name: f"rllib.compat.checkpoints:{name}"
        for name in ("Checkpointable", "get_checkpoint_info")
    },
    "rllib.utils.error": dict.fromkeys(
        ("EnvError", "MultiAgentEnvError", "UnsupportedSpaceException"), "builtins:Exception"
    ),
    "rllib.utils.framework": {"try_import_torch": "rllib.compat.tools:try_import_torch"},
    "rllib.utils.metrics": {"*": "rllib.compat.names", "ALL_MODULES": _IDS["ALL_MODULES"]},
    "rllib.utils.metrics.metrics_logger": _METRICS_LOGGER,
    "rllib.utils.numpy": {name: f"rllib.compat.numpy_utils:{name}" for name in _NUMPY},
    "rllib.utils.replay_buffers": _REPLAY,
    "rllib.utils.replay_buffers.episode_replay_buffer": _UNIFORM,
    "rllib.utils.replay_buffers.prioritized_episode_buffer": _PRIORITIZED,
    "rllib.utils.spaces.space_utils": {
        name: f"rllib.compat.space_utils:{name}" for name in _SPACES
    },
    "rllib.utils.test_utils": {"check": "rllib.compat.tools:check"},
    "rllib.utils.torch_utils": {
        **{name: f"rllib.compat.tools:{name}" for name in ("FLOAT_MAX", "FLOAT_MIN")},
        **{name: f"rllib.compat.torch_utils:{name}" for name in _TORCH},
    },
    "rllib.utils.typing": dict.fromkeys(_TYPES, "typing:Any"),
}
"""``"*"`` stands for all names of a module of ours."""

STILL_TO_COME = "it is still to come"
OWN_LEARNER = "subclass the learner of the algorithm, rllib.algorithms.ppo.PPOLearner for example"
OWN_CONNECTOR = "a connector of your own subclasses rllib.connectors.Connector"
OLD_STACK = "it belongs to the old API stack"
EPISODES = (
    "a sample is a rllib.batch.SampleBatch of arrays; names of columns are those of "
    "rllib.core.Columns"
)
_DISTRIBUTIONS = (
    "module.get_inference_action_dist_cls() is that of a module; one of your own subclasses "
    "rllib.distributions.Distribution, which the module's make_distribution() returns"
)
NETWORKS = "networks are set by rl_module(model_config=...), or are a RLModule of your own"

ABSENT: dict[str, str] = {
    "rllib.algorithms.bc": STILL_TO_COME,
    "rllib.algorithms.cql": STILL_TO_COME,
    "rllib.algorithms.dreamerv3": STILL_TO_COME,
    "rllib.algorithms.iql": STILL_TO_COME,
    "rllib.algorithms.marwil": STILL_TO_COME,
    "rllib.connectors.common": OWN_CONNECTOR,
    "rllib.connectors.connector_v2": OWN_CONNECTOR,
    "rllib.connectors.module_to_env": OWN_CONNECTOR,
    "rllib.core.distribution": _DISTRIBUTIONS,
    "rllib.core.learner.torch": OWN_LEARNER,
    "rllib.core.models": NETWORKS,
    "rllib.env.base_env": OLD_STACK,
    "rllib.env.external": STILL_TO_COME,
    "rllib.env.external_env": OLD_STACK,
    "rllib.env.vector_env": "use a gymnasium vector environment",
    "rllib.env.wrappers.atari_wrappers": (
        'environment("ALE/Pong-v5") is the preprocessed game; env_config may hold what '
        "rllib.envs.atari.SETTINGS lists"
    ),
    "rllib.env.wrappers.dm_control_wrapper": STILL_TO_COME,
    "rllib.env.wrappers.open_spiel": STILL_TO_COME,
    "rllib.env.tcp_client_inference_env_runner": STILL_TO_COME,
    "rllib.evaluation": OLD_STACK,
    "rllib.examples": "RLlib's examples are not part of this package",
    "rllib.execution": OLD_STACK,
    "rllib.models.action_dist": _DISTRIBUTIONS,
    "rllib.models.catalog": NETWORKS,
    "rllib.models.modelv2": NETWORKS,
    "rllib.models.torch.torch_distributions": _DISTRIBUTIONS,
    "rllib.models.torch.torch_modelv2": NETWORKS,
    "rllib.offline": STILL_TO_COME,
    "rllib.tune.search": STILL_TO_COME,
    "rllib.utils.schedules": "settings take schedules: lr=[[0, 1e-3], [1_000_000, 1e-5]]",
}

_LOOP = (
    "call algo.train() in a loop over configs, or start one `rllib train --config ... key=value "
    "--name ...` for each"
)
_OWN_LOSS = "a loss of your own is compute_loss of a subclass of the algorithm's learner"
_REPLAYS = "replay_buffer_config takes EpisodeReplayBuffer and PrioritizedEpisodeReplayBuffer"
_EXAMPLES = "call algo.train() in a loop until result[...] is what you want; see rllib train --stop"

ABSENT_NAMES: dict[str, dict[str, str]] = {
    "rllib": {
        **dict.fromkeys(
            ("BaseEnv", "ExternalEnv", "Policy", "RolloutWorker", "TFPolicy", "TorchPolicy"),
            OLD_STACK,
        ),
        "SampleBatch": EPISODES,
        "VectorEnv": "use a gymnasium vector environment",
        **dict.fromkeys(("air", "train"), "`rllib train` is a run: configs, stop, checkpoints"),
        **dict.fromkeys(("data", "serve"), STILL_TO_COME),
        **dict.fromkeys(("init", "shutdown", "get", "put", "remote"), "`from rllib import core`"),
    },
    "rllib.algorithms.callbacks": {
        "make_multi_callbacks": "config.callbacks([First, Second]) takes several classes"
    },
    "rllib.connectors.env_to_module": dict.fromkeys(
        (
            *("AddObservationsFromEpisodesToBatch", "AddStatesFromEpisodesToBatch"),
            *("AddTimeDimToBatchAndZeroPad", "AgentToModuleMapping", "BatchIndividualItems"),
            *("EnvToModulePipeline", "NumpyToTensor", "WriteObservationsToEpisodes"),
        ),
        "samples are arrays from the start; " + OWN_CONNECTOR,
    ),
    "rllib.core.rl_module.apis": {"SelfSupervisedLossAPI": _OWN_LOSS},
    "rllib.tune": {
        **dict.fromkeys(("Tuner", "run", "run_experiments", "with_resources"), _LOOP),
        **dict.fromkeys(("grid_search", "choice", "uniform", "loguniform", "randint"), _LOOP),
        **dict.fromkeys(("TuneConfig", "with_parameters", "ResultGrid"), _LOOP),
        "RunConfig": "stop and name are `rllib train --stop METRIC=NUMBER --name NAME`",
        "CheckpointConfig": "config.checkpointing(checkpoint_frequency=..., ...) says it",
        "FailureConfig": "the same `rllib train` command goes on from the last checkpoint",
        "run_config": "config.checkpointing(...), and `rllib train --stop ... --name ...`",
        "CLIReporter": "`rllib train` shows progress, and writes it to TensorBoard",
        "register_trainable": "config.build_algo() makes an algorithm; see rllib.registry",
        "report": "callbacks(on_train_result=...) adds to results",
        "Callback": "callbacks(RLlibCallback) has hooks for all stages",
    },
    "rllib.tune.registry": {
        "register_input": "there is no training from recorded data yet",
        "register_trainable": "config.build_algo() makes an algorithm; see rllib.registry",
    },
    "rllib.utils.checkpoints": {
        **dict.fromkeys(
            ("convert_to_msgpack_checkpoint", "convert_to_msgpack_policy_checkpoint"),
            "checkpoints are of safetensors and JSON",
        ),
        "try_import_msgpack": "checkpoints are of safetensors and JSON",
    },
    "rllib.connectors.env_to_module.observation_preprocessor": {
        "MultiAgentObservationPreprocessor": "connectors belong to a module, and see what its "
        "agents see; what one agent is to know of another is for the environment to tell"
    },
    "rllib.policy.policy": {"Policy": OLD_STACK},
    "rllib.policy.sample_batch": {"MultiAgentBatch": EPISODES},
    "rllib.utils.framework": {
        **dict.fromkeys(("try_import_tf", "try_import_jax"), "networks are torch's"),
        "convert_to_tensor": "rllib.utils.torch_utils.convert_to_torch_tensor makes tensors",
    },
    "rllib.utils.numpy": {
        "lstm": "torch.nn.LSTM is one",
        "flatten_inputs_to_1d_tensor": "rllib.connectors.FlattenObservations does it",
        "aligned_array": "numpy.empty makes arrays",
        "concat_aligned": "numpy.concatenate joins arrays",
    },
    "rllib.utils.replay_buffers": dict.fromkeys(
        (
            *("FifoReplayBuffer", "MultiAgentMixInReplayBuffer", "MultiAgentReplayBuffer"),
            *("MultiAgentPrioritizedReplayBuffer", "PrioritizedReplayBuffer", "ReplayBuffer"),
            *("ReplayMode", "ReservoirReplayBuffer", "StorageUnit"),
        ),
        _REPLAYS,
    ),
    "rllib.utils.spaces.space_utils": {
        "BatchedNdArray": "batch() stacks, unless individual_items_already_have_batch_dim=True",
        "get_dummy_batch_for_space": "gymnasium.vector.utils.create_empty_array makes one",
        "convert_element_to_space_type": "numpy's astype does it",
    },
    "rllib.utils.test_utils": {
        "add_rllib_example_script_args": "argparse by itself, or `rllib train key=value`",
        "run_rllib_example_script_experiment": _EXAMPLES,
        "should_stop": _EXAMPLES,
        "check_learning_achieved": _EXAMPLES,
        "check_compute_single_action": "algo.compute_single_action(observation) is what it checks",
        "check_train_results": "algo.train() returns what is documented there",
    },
    "rllib.utils.torch_utils": {
        **dict.fromkeys(
            ("apply_grad_clipping", "clip_gradients", "compute_global_norm"),
            "config.training(grad_clip=..., grad_clip_by=...) clips",
        ),
        "flatten_inputs_to_1d_tensor": "rllib.connectors.FlattenObservations does it",
        "concat_multi_gpu_td_errors": "it belongs to the old API stack",
        "warn_if_infinite_kl_divergence": "a loss that is not finite ends training",
        "two_hot": "it is still to come, with DreamerV3",
    },
}
"""Single names that there are not in modules that there are, and what to do instead."""
