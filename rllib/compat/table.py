"""Where RLlib's public names live here: module -> name -> ``module:name`` of ours.

What RLlib has and we have not stands in ``ABSENT``, with what to do instead.
"""

from rllib.compat.names import COMPONENTS

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
_MULTI_SPEC = {"MultiRLModuleSpec": "rllib.modules.spec:MultiRLModuleSpec"}
_MODEL = {"DefaultModelConfig": "rllib.config.model:ModelConfig"}
_VALUE_API = {"ValueFunctionAPI": "rllib.compat.modules:ValueFunctionAPI"}
_INFERENCE_API = {"InferenceOnlyAPI": "rllib.compat.modules:InferenceOnlyAPI"}
_TARGET_API = {
    name: f"rllib.compat.modules:{name}"
    for name in ("TARGET_NETWORK_ACTION_DIST_INPUTS", "TargetNetworkAPI")
}
_LEARNER = {"Learner": "rllib.learning.learner:Learner"}
_LEARNER_GROUP = {"LearnerGroup": "rllib.learning.learner_group:LearnerGroup"}
_ENV_RUNNER = {"EnvRunner": "rllib.sampling.env_runner:EnvRunner"}
_MEAN_STD = {"MeanStdFilter": "rllib.compat.connectors:MeanStdFilter"}
_FLATTEN = {"FlattenObservations": "rllib.compat.connectors:FlattenObservations"}
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
)

ALIASES: dict[str, dict[str, str]] = {
    "rllib.algorithms": _ALGORITHM | _CONFIG | _algorithms(*_NAMES) | _IMPALA,
    "rllib.algorithms.algorithm": _ALGORITHM,
    "rllib.algorithms.algorithm_config": _CONFIG,
    "rllib.algorithms.callbacks": _CALLBACKS,
    "rllib.algorithms.impala": _IMPALA,
    **{f"rllib.algorithms.{name.lower()}.{name.lower()}": _algorithms(name) for name in _NAMES},
    "rllib.callbacks.callbacks": _CALLBACKS,
    "rllib.connectors.env_to_module": _MEAN_STD | _FLATTEN | _PAST,
    "rllib.connectors.env_to_module.flatten_observations": _FLATTEN,
    "rllib.connectors.env_to_module.frame_stacking": {
        "FrameStackingEnvToModule": "rllib.compat.connectors:FrameStacking"
    },
    "rllib.connectors.env_to_module.mean_std_filter": _MEAN_STD,
    "rllib.connectors.env_to_module.prev_actions_prev_rewards": _PAST,
    "rllib.connectors.learner.frame_stacking": {
        "FrameStackingLearner": "rllib.compat.connectors:FrameStackingLearner"
    },
    "rllib.core": _COLUMNS | _IDS | _COMPONENTS,
    "rllib.core.columns": _COLUMNS,
    "rllib.core.learner": _LEARNER | _LEARNER_GROUP,
    "rllib.core.learner.learner": _LEARNER,
    "rllib.core.learner.learner_group": _LEARNER_GROUP,
    "rllib.core.learner.utils": {"make_target_network": "rllib.compat.modules:make_target_network"},
    "rllib.core.rl_module": _MODULE | _SPEC | _MULTI_SPEC,
    "rllib.core.rl_module.apis": _VALUE_API | _INFERENCE_API | _TARGET_API,
    "rllib.core.rl_module.apis.inference_only_api": _INFERENCE_API,
    "rllib.core.rl_module.apis.target_network_api": _TARGET_API,
    "rllib.core.rl_module.apis.value_function_api": _VALUE_API,
    "rllib.core.rl_module.default_model_config": _MODEL,
    "rllib.core.rl_module.multi_rl_module": _MULTI_SPEC,
    "rllib.core.rl_module.rl_module": _MODULE | _SPEC | _MODEL,
    "rllib.core.rl_module.torch": _TORCH_MODULE,
    "rllib.core.rl_module.torch.torch_rl_module": _TORCH_MODULE,
    "rllib.env": _MULTI_AGENT | _PETTING_ZOO,
    "rllib.env.env_runner": _ENV_RUNNER,
    "rllib.env.env_runner_group": {
        "EnvRunnerGroup": "rllib.sampling.env_runner_group:EnvRunnerGroup"
    },
    "rllib.env.multi_agent_env": _MULTI_AGENT | _MAKE_MULTI_AGENT,
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
    "rllib.models.torch.misc": {"normc_initializer": "rllib.compat.modules:normc_initializer"},
    "rllib.policy.policy": {"PolicySpec": "rllib.config.multi_agent:PolicySpec"},
    "rllib.tune": _REGISTER,
    "rllib.tune.registry": _REGISTER | {"get_trainable_cls": "rllib.registry:get_algorithm_class"},
    "rllib.tune.result": _constants("TIME_TOTAL_S", "TRAINING_ITERATION"),
    "rllib.utils.annotations": {
        "override": "rllib.compat.tools:override",
        **dict.fromkeys(
            ("DeveloperAPI", "ExperimentalAPI", "OverrideToImplementCustomLogic", "PublicAPI"),
            "rllib.compat.tools:annotation",
        ),
    },
    "rllib.utils.framework": {"try_import_torch": "rllib.compat.tools:try_import_torch"},
    "rllib.utils.metrics": {"*": "rllib.compat.names", "ALL_MODULES": _IDS["ALL_MODULES"]},
    "rllib.utils.metrics.metrics_logger": _METRICS_LOGGER,
    "rllib.utils.test_utils": {"check": "rllib.compat.tools:check"},
    "rllib.utils.torch_utils": {
        name: f"rllib.compat.tools:{name}" for name in ("FLOAT_MAX", "FLOAT_MIN")
    },
    "rllib.utils.typing": dict.fromkeys(_TYPES, "typing:Any"),
}
"""``"*"`` stands for all names of a module of ours."""

_STILL_TO_COME = "it is still to come"
_OWN_LEARNER = "subclass the learner of the algorithm, rllib.algorithms.ppo.PPOLearner for example"
_OWN_CONNECTOR = "a connector of your own subclasses rllib.connectors.Connector"
_OLD_STACK = "it belongs to the old API stack"
_EPISODES = "a sample is a rllib.batch.SampleBatch of arrays, not a list of episodes"
_DISTRIBUTIONS = (
    "module.get_inference_action_dist_cls() is that of a module; one of your own subclasses "
    "rllib.distributions.Distribution, which the module's make_distribution() returns"
)
_NETWORKS = "networks are set by rl_module(model_config=...), or are a RLModule of your own"

ABSENT: dict[str, str] = {
    "rllib.algorithms.bc": _STILL_TO_COME,
    "rllib.algorithms.cql": _STILL_TO_COME,
    "rllib.algorithms.dreamerv3": _STILL_TO_COME,
    "rllib.algorithms.iql": _STILL_TO_COME,
    "rllib.algorithms.marwil": _STILL_TO_COME,
    "rllib.algorithms.ppo.torch": _OWN_LEARNER,
    "rllib.connectors.common": _OWN_CONNECTOR,
    "rllib.connectors.connector_v2": _OWN_CONNECTOR,
    "rllib.connectors.env_to_module.observation_preprocessor": (
        "use rllib.connectors.ObservationFunction"
    ),
    "rllib.connectors.module_to_env": _OWN_CONNECTOR,
    "rllib.core.distribution": _DISTRIBUTIONS,
    "rllib.core.learner.torch": _OWN_LEARNER,
    "rllib.core.models": _NETWORKS,
    "rllib.env.base_env": _OLD_STACK,
    "rllib.env.external": _STILL_TO_COME,
    "rllib.env.external_env": _OLD_STACK,
    "rllib.env.env_context": _STILL_TO_COME,
    "rllib.env.vector_env": "use a gymnasium vector environment",
    "rllib.env.wrappers.atari_wrappers": (
        'environment("ALE/Pong-v5") is the preprocessed game; env_config may hold what '
        "rllib.envs.atari.SETTINGS lists"
    ),
    "rllib.env.wrappers.dm_control_wrapper": _STILL_TO_COME,
    "rllib.env.wrappers.open_spiel": _STILL_TO_COME,
    "rllib.evaluation.postprocessing": _OLD_STACK,
    "rllib.examples": "RLlib's examples are not part of this package",
    "rllib.execution": _OLD_STACK,
    "rllib.models.action_dist": _DISTRIBUTIONS,
    "rllib.models.catalog": _NETWORKS,
    "rllib.models.modelv2": _NETWORKS,
    "rllib.models.torch.torch_distributions": _DISTRIBUTIONS,
    "rllib.models.torch.torch_modelv2": _NETWORKS,
    "rllib.offline": _STILL_TO_COME,
    "rllib.policy.sample_batch": _EPISODES,
    "rllib.tune.search": _STILL_TO_COME,
    "rllib.utils.replay_buffers": _STILL_TO_COME,
}
