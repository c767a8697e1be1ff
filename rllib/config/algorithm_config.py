"""The configuration of an algorithm: one flat, typed, validated record.

Python builder, YAML file, ``key=value`` on the command line and JSON schema are four views of it::

    PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=2).training(lr=3e-4)

An algorithm subclasses ``AlgorithmConfig`` and adds its own settings as fields; they belong to the
section ``training``. The names are those of RLlib's new API stack.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import BaseModel, PrivateAttr, ValidationError

from rllib import plugins
from rllib.config.builder import ConfigBuilder, hidden_by_another
from rllib.config.model import ModelConfig
from rllib.config.multi_agent import DEFAULT_POLICY_ID, PolicySpec, SpacePair, complete_policies
from rllib.config.names import explain_unknown
from rllib.config.plain import beyond_data
from rllib.config.sections import SECTIONS
from rllib.cores import usable_cores
from rllib.errors import ConfigError, Problem
from rllib.schedules import Points, is_schedule, point_values, value_at

if TYPE_CHECKING:
    from rllib.actions import Fit
    from rllib.algorithm import Algorithm
    from rllib.learning.learner import Learner
    from rllib.learning.learner_group import LearnerGroup
    from rllib.modules.rl_module import RLModule
    from rllib.modules.spec import FullSpec, MultiRLModuleSpec, RLModuleSpec
    from rllib.results.saved import SavedRun

__all__ = ["AlgorithmConfig", "ModelConfig"]


class AlgorithmConfig(ConfigBuilder):
    """Base configuration; every field is documented in ``rllib.config.sections``.

    Raises:
        ConfigError: from the constructor, the builder methods, assignment and ``validate``, naming
            every key that is wrong and the nearest right one.
    """

    section = "training"
    algo: ClassVar[str] = ""
    """Name of the algorithm in the registry; by default the class name without ``Config``."""

    _algo_name: str = PrivateAttr("")
    _in_evaluation: bool = PrivateAttr(False)
    _own_algo_class: Any = PrivateAttr(None)

    def __init__(self, algo_class: "type[Algorithm] | None" = None, **values: Any) -> None:
        """Make the settings of an algorithm, which RLlib's configs are told as well."""
        super().__init__(**values)
        self._share_train_batch("train_batch_size")
        if algo_class is not None:
            self._own_algo_class = _of_config(algo_class, type(self))
            self._algo_name = f"{algo_class.__module__}:{algo_class.__qualname__}"

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("train_batch_size", "train_batch_size_per_learner", "num_learners"):
            self._share_train_batch(name)

    def _share_train_batch(self, changed: str) -> None:
        """Keep the two sizes of a train batch in step, past pydantic's own assignment."""
        if changed == "train_batch_size_per_learner":
            self.__dict__["train_batch_size"] = None
        elif self.train_batch_size is not None:
            share = max(1, self.train_batch_size // max(1, self.num_learners))
            self.__dict__["train_batch_size_per_learner"] = share

    # Derived settings.

    @property
    def total_train_batch_size(self) -> int:
        """Env steps per training iteration over all learners."""
        return self.train_batch_size_per_learner * max(1, self.num_learners)

    @property
    def num_threads_per_learner(self) -> int:
        """Threads that torch may use in a learner's process."""
        cpus = self.num_cpus_per_learner
        return 1 if cpus == "auto" else max(1, int(cpus))

    @property
    def num_kernel_threads_per_learner(self) -> int:
        """Threads of what was compiled for small networks, which do not cost them what torch's do:
        with "auto", in the main process as many as there are cores."""
        if self.num_cpus_per_learner == "auto":
            return 1 if self.num_learners else usable_cores()
        return self.num_threads_per_learner

    @property
    def num_threads_per_env_runner(self) -> int:
        """Threads that may simulate environments in one env runner's process: as many as it was
        given cores, or in the main process, which samples and learns in turn, as there are."""
        if self.num_env_runners:
            return max(1, int(self.num_cpus_per_env_runner))
        return usable_cores()

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Env steps per environment in one sample, with "auto" worked out (rounded up).

        Args:
            worker_index: RLlib's; the same for all env runners here.
        """
        if self.rollout_fragment_length != "auto":
            return self.rollout_fragment_length
        return -(-self.total_train_batch_size // self.total_num_envs)

    def rounds_of(self, num_env_steps: int) -> int:
        """Fragments that every env runner samples for at least so many rows in all.

        Of whole episodes, which are of any length, one: whoever samples sees if that is enough.
        """
        if self.batch_mode == "complete_episodes":
            return 1
        return -(-num_env_steps // (self.get_rollout_fragment_length() * self.total_num_envs))

    @property
    def total_num_envs(self) -> int:
        """Of all env runners; a layout that is still open divides those of one among them."""
        is_open = self.layout == "auto" and "num_env_runners" not in self.model_fields_set
        return (1 if is_open else max(1, self.num_env_runners)) * self.num_envs_per_env_runner

    @property
    def in_evaluation(self) -> bool:
        """Whether these are the settings of evaluation."""
        return self._in_evaluation

    def get_evaluation_config_object(self) -> Self:
        """The settings of evaluation: these with ``evaluation_config`` and its own env runners."""
        twin = self.copy().update_from_dict(self.evaluation_config or {})
        twin.num_env_runners = self.evaluation_num_env_runners
        twin.evaluation_config = twin.evaluation_interval = None
        twin._in_evaluation = True
        return twin

    @property
    def schedules(self) -> dict[str, Points]:
        """The settings that have a schedule, by name."""
        return {name: each for name, each in vars(self).items() if is_schedule(each)}

    def at(self, timestep: int) -> Self:
        """These settings with every schedule at its value of this timestep.

        This is where whatever trains takes its settings from, anew in every update; whoever asks
        often keeps an ``OverTime``.
        """
        values = {name: value_at(each, timestep) for name, each in self.schedules.items()}
        return self.with_values(values) if values else self

    def with_values(self, values: Mapping[str, float]) -> Self:
        """These settings with present values in place of schedules, by name."""
        # What ``model_copy`` does, which takes ten times as long, in every update.
        twin = object.__new__(type(self))
        object.__setattr__(twin, "__dict__", self.__dict__ | dict(values))
        for slot in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
            object.__setattr__(twin, slot, getattr(self, slot))
        return twin

    # Several policies.

    @property
    def is_multi_agent(self) -> bool:
        """Whether there are other policies than the default one."""
        return self.policies is not None and set(self.policies) != {DEFAULT_POLICY_ID}

    @property
    def policy_ids(self) -> tuple[str, ...]:
        """Ids of all policies, which are also those of their modules."""
        return tuple(self.policies or (DEFAULT_POLICY_ID,))

    def get_module_id(self, agent_id: Any, episode: Any = None) -> str:
        """Id of the policy that acts for an agent, as ``policy_mapping_fn`` says.

        Raises:
            ConfigError: it raises, or names a policy that there is not.
        """
        if self.policy_mapping_fn is None:
            return self.policy_ids[0]
        try:
            found = self.policy_mapping_fn(agent_id, episode)
        except Exception as error:
            text = f"raised {type(error).__name__} for agent {agent_id!r}: {error}"
            raise ConfigError(Problem(text, "policy_mapping_fn")) from error
        if found in self.policy_ids:
            return cast(str, found)
        text = f"gave {found!r} for agent {agent_id!r}; policies are {', '.join(self.policy_ids)}"
        raise ConfigError(Problem(text, "policy_mapping_fn"))

    def is_policy_to_train(self, policy_id: str, batch: Any = None) -> bool:
        """Whether a policy learns, from ``batch`` if ``policies_to_train`` is a function."""
        if self.policies_to_train is None:
            return True
        if callable(self.policies_to_train):
            return bool(self.policies_to_train(policy_id, batch))
        return policy_id in self.policies_to_train

    def get_config_for_module(self, module_id: str) -> Self:
        """These settings with what is particular about one module, as a frozen copy."""
        spec: PolicySpec = (self.policies or {}).get(module_id) or PolicySpec()
        settings = dict(spec.config or {})
        settings |= self.algorithm_config_overrides_per_module.get(module_id, {})
        return self.copy().update_from_dict(settings).freeze() if settings else self

    def get_multi_agent_setup(
        self, *, env: Any = None, spaces: Mapping[str, SpacePair] | None = None
    ) -> tuple[dict[str, PolicySpec], Callable[..., bool]]:
        """Everything about every policy.

        Args:
            env: where spaces come from that no spec names: of the agents that a policy acts for.
            spaces: (observation space, action space) by policy id; goes before ``env``.

        Returns:
            Complete specs by policy id, and a function (policy id, batch) that says whether a
            policy learns.

        Raises:
            ConfigError: a policy's spaces are unknown, or its agents have different ones.
        """
        own = (self.observation_space, self.action_space)
        specs = self.policies or {DEFAULT_POLICY_ID: PolicySpec()}
        complete = complete_policies(specs, spaces or {}, env, self.get_module_id, own)
        return {
            policy: PolicySpec(None, *pair, self.get_config_for_module(policy))
            for policy, pair in complete.items()
        }, self.is_policy_to_train

    # Checks.

    def problems(self) -> Iterator[Problem]:
        """Impossible combinations; an algorithm extends this with its own."""
        yield from _beyond_numbers(self, "")
        yield from self._beyond_shared_limits()
        yield from self._problems_of_overrides()
        yield from self._problems_of_model()
        yield from self._problems_of_policies()
        if not self.add_default_connectors_to_learner_pipeline and self.learner_connector is None:
            text = "nothing makes a train batch then; set learner_connector as well"
            yield Problem(text, "add_default_connectors_to_learner_pipeline")
        yield from self._problems_of_what_is_always()
        if self.env is None:
            yield Problem('missing: name an environment, for example "CartPole-v1"', "env")
        largest = max(size or 0 for size in point_values(self.minibatch_size))
        if largest > self.train_batch_size_per_learner:
            limit = self.train_batch_size_per_learner
            text = f"{largest} is more than train_batch_size_per_learner, {limit}"
            yield Problem(text, "minibatch_size")
        if self.evaluation_duration == "auto" and not self.evaluation_parallel_to_training:
            text = '"auto" goes on while training does: set evaluation_parallel_to_training'
            yield Problem(text, "evaluation_duration")

    def _problems_of_what_is_always(self) -> Iterator[Problem]:
        """Values of RLlib's settings that would change what is learnt, and are not there."""
        if not self.add_default_connectors_to_module_to_env_pipeline:
            text = "actions are always drawn, and fitted to their space as normalize_actions says"
            yield Problem(
                f"{text}; leave it out", "add_default_connectors_to_module_to_env_pipeline"
            )
        if self.has_statistics:
            text = "statistics of connectors are always those of all env runners; leave it out"
            if not self.merge_env_runner_states:
                yield Problem(text, "merge_env_runner_states")
            if not self.broadcast_env_runner_states:
                yield Problem(text, "broadcast_env_runner_states")
        if not (self.create_local_env_runner or self.num_env_runners or self.in_evaluation):
            text = "nobody would sample; set num_env_runners, or leave it out"
            yield Problem(text, "create_local_env_runner")
        if self.placement_strategy.startswith("STRICT_"):
            weaker = self.placement_strategy.removeprefix("STRICT_")
            text = (
                f"env runners are placed one by one; write {weaker!r}, which goes as far as it can"
            )
            yield Problem(text, "placement_strategy")

    @property
    def has_statistics(self) -> bool:
        """Whether there may be connectors with statistics, which env runners share."""
        return self.observation_filter != "NoFilter" or self.env_to_module_connector is not None

    def _beyond_shared_limits(self) -> Iterator[Problem]:
        """A subclass that gives a shared setting another default may have lost its limits."""
        for section in SECTIONS:
            try:
                section(**{name: getattr(self, name) for name in section.model_fields})
            except ValidationError as error:
                yield from self.explain(error)

    def _problems_of_overrides(self) -> Iterator[Problem]:
        """Settings within settings: of evaluation, of single policies and modules."""
        yield from self._problems_within("evaluation_config", self.evaluation_config or {})
        for policy, spec in (self.policies or {}).items():
            yield from self._problems_within(f"policies.{policy}.config", spec.config or {})
        for module, settings in self.algorithm_config_overrides_per_module.items():
            key = f"algorithm_config_overrides_per_module.{module}"
            yield from self._problems_within(key, settings)

    def _problems_within(self, name: str, settings: Mapping[str, Any]) -> Iterator[Problem]:
        twin = self.copy()
        for key, value in settings.items():
            try:
                twin[key] = value
            except ConfigError as error:
                yield from (Problem(p.text, f"{name}.{p.key}") for p in error.problems)

    def _problems_of_model(self) -> Iterator[Problem]:
        specs = self._module_specs
        if not any(spec.module_class for spec in specs):
            yield from _problems_of_networks(self.model, "model_config")
        for spec in specs:
            if spec.module_class is None and spec.model_config is not None:
                key = "rl_module_spec.model_config"
                try:
                    model = self.model.updated(spec.model_config)
                except ValidationError as error:
                    yield from (Problem(p.text, f"{key}.{p.key}") for p in self.explain(error))
                    yield from hidden_by_another(key, spec.model_config)
                else:
                    yield from _problems_of_networks(model, key)

    @property
    def _module_specs(self) -> "list[RLModuleSpec]":
        """All that was said of single modules."""
        spec = self.rl_module_spec
        specs = getattr(spec, "rl_module_specs", spec)
        found = specs.values() if isinstance(specs, Mapping) else [specs]
        return [each for each in found if each is not None]

    def _problems_of_policies(self) -> Iterator[Problem]:
        if self.policy_mapping_fn is None and len(self.policy_ids) > 1:
            text = f"missing: which of {', '.join(self.policy_ids)} acts for an agent"
            yield Problem(text, "policy_mapping_fn")
        listed = self.policies_to_train if isinstance(self.policies_to_train, tuple) else ()
        named = {"policies_to_train": listed}
        named["algorithm_config_overrides_per_module"] = tuple(
            self.algorithm_config_overrides_per_module
        )
        specs = getattr(self.rl_module_spec, "rl_module_specs", None)
        named["rl_module_spec"] = tuple(specs) if isinstance(specs, Mapping) else ()
        for key, ids in named.items():
            for unknown in sorted(set(ids) - set(self.policy_ids)):
                text = f"there is no policy {unknown!r}; there are {', '.join(self.policy_ids)}"
                yield Problem(text, key)

    def validate(self) -> None:  # type: ignore[override]  # RLlib's name; pydantic's is deprecated
        """Raise ``ConfigError`` with every impossible combination of settings."""
        problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    # Going on later.

    def get_state(self) -> dict[str, Any]:
        """Plain data that ``from_state`` makes the same settings of."""
        return {"algorithm": self.algo_name, "config": self.to_dict()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The settings of ``get_state``, or of the metadata of a checkpoint.

        Nothing that a state names is imported, and no environment variables are set. Called on
        ``AlgorithmConfig`` itself, it makes the config of the registered algorithm that the state
        is of.

        Raises:
            ConfigError: a setting is wrong, or, within others too, is a class or function, which a
                state only names, or sets environment variables.
        """
        schema = cls
        if cls is AlgorithmConfig:
            from rllib.registry import get_config_class

            schema = cast(type[Self], get_config_class(_plain_name(state)))
        settings = state["config"]
        if problems := list(beyond_data(settings, schema.field_behind)):
            raise ConfigError(problems)
        return schema.from_dict(settings)

    # The algorithm.

    def get_default_rl_module_class(self) -> "type[RLModule]":
        """The module that this algorithm trains unless it is given another one."""
        from rllib.modules.actor_critic import ActorCriticModule

        return ActorCriticModule

    @property
    def module_spec(self) -> "RLModuleSpec | None":
        """What was said of the only module, or, of several, of the first one."""
        spec = self.rl_module_spec
        if hasattr(spec, "spec_for"):
            return cast("RLModuleSpec", spec.spec_for(self.policy_ids[0]))
        return cast("RLModuleSpec | None", spec)

    def get_rl_module_spec(
        self, spaces: Any = None, *, env: Any = None, inference_only: bool = False
    ) -> "FullSpec":
        """How the module for these spaces is made.

        Args:
            spaces: (observation space, action space) as the module sees them; without them those
                of the environment, or of ``env``, through the connectors.
            env: an environment that has them.
            inference_only: has no meaning here, where it is ``build`` that takes it.
        """
        from rllib.envs.make import Spaces
        from rllib.modules.spec import RLModuleSpec

        if not isinstance(spaces, tuple):
            from rllib.config.parts import interface_for

            spaces = interface_for(self, env, spaces).spaces_of(self.policy_ids[0])
        spec: RLModuleSpec = self.module_spec or RLModuleSpec()
        default = self.get_default_rl_module_class()
        return spec.completed(default, Spaces(*spaces), self.model, self.action_fit)

    def get_multi_rl_module_spec(
        self, *, env: Any = None, spaces: Any = None, inference_only: bool = False
    ) -> "MultiRLModuleSpec":
        """How all modules are made.

        Args:
            env: an environment whose spaces they see, instead of one of these settings.
            spaces: (observation space, action space), or those by module id.
            inference_only: made to act with.
        """
        from rllib.config import parts

        interface = parts.interface_for(self, env, spaces)
        return parts.multi_rl_module_spec(self, interface, inference_only)

    def build_env_to_module_connector(self, env: Any = None, spaces: Any = None) -> Any:
        """The connectors, ready for one environment; with several agents, by module id."""
        from rllib.config import parts

        return parts.env_to_module(parts.interface_for(self, env, spaces))

    def build_learner(self, *, env: Any = None, spaces: Any = None) -> "Learner[Any]":
        """One learner alone, in this process; arguments as ``get_multi_rl_module_spec``."""
        from rllib.config import parts

        return parts.build_learner(self, parts.interface_for(self, env, spaces))

    def build_learner_group(self, *, env: Any = None, spaces: Any = None) -> "LearnerGroup":
        """The learners alone; ``shutdown()`` ends them."""
        from rllib.config import parts

        return parts.build_learner_group(self, parts.interface_for(self, env, spaces))

    def get_default_learner_class(self) -> "type[Learner[Any]]":
        """What updates modules unless ``learner_class`` names another."""
        return self.algo_class.learner_class

    def get_default_rl_module_spec(self) -> "RLModuleSpec":
        """The spec of the module that this algorithm trains unless it is given another one."""
        from rllib.modules.spec import RLModuleSpec

        return RLModuleSpec(self.get_default_rl_module_class())

    @property
    def action_fit(self) -> "Fit":
        """How continuous actions become those of the environment; stretched ones are clipped."""
        if self.normalize_actions:
            return "stretch"
        return "clip" if self.clip_actions else "none"

    @property
    def algo_name(self) -> str:
        """Name of the algorithm as the registry knows it (``PPO``, or ``module:Class``)."""
        from rllib.registry import name_of_trainer

        return self._algo_name or type(self).algo or name_of_trainer(type(self))

    @property
    def algo_class(self) -> "type[Algorithm]":
        """The algorithm's class: found by name through the registry, or in this program."""
        from rllib.registry import get_algorithm_class, trainer_of

        if self._own_algo_class is not None:
            return cast("type[Algorithm]", self._own_algo_class)
        own = None if self._algo_name or type(self).algo else trainer_of(type(self))
        return own or get_algorithm_class(self.algo_name)

    def resolved(self) -> Self:
        """A frozen copy in which an environment's registered name has become what makes it.

        It is what actors get: names that a program registers are unknown in other processes.
        """
        twin = self.copy()
        if isinstance(twin.env, str):
            twin.env = plugins.find_env(twin.env) or twin.env
        return twin.freeze()

    def build_algo(
        self, env: str | Callable[..., Any] | None = None, use_copy: bool = True
    ) -> "Algorithm":
        """Check the settings and build the algorithm from a frozen copy of them.

        Args:
            env: instead of the one that is set.
            use_copy: False freezes these settings themselves as well.
        """
        config = self.copy()
        if env is not None:
            config.environment(env)
        config.validate()
        if not use_copy:
            self.freeze()
        return self.algo_class(config.freeze())

    def train(
        self,
        until: float | None = None,
        *,
        stop: Mapping[str, float] | None = None,
        name: str | None = None,
        runs_dir: str = "runs",
        fresh: bool = False,
        resume_with_changes: bool = False,
    ) -> "SavedRun":
        """Train a whole run, as ``rllib train`` does: with checkpoints, curves and progress.

        The same call continues a run that was interrupted. For the main thread only, which handles
        Ctrl-C meanwhile: a first one ends training after the iteration, with a checkpoint.

        Args:
            until: mean episode return at which to stop.
            stop: further criteria, metric to number; whichever is reached first.
            name: of the run; by default that of algorithm and environment, ``ppo_cartpole_v1``.
            runs_dir: folder of all runs.
            fresh: whether to start over.
            resume_with_changes: whether a run may go on with other settings than it was started
                with.

        Returns:
            The run: its ``rows`` of results, and ``load()`` for the algorithm.

        Raises:
            ConfigError: the settings or criteria make no sense.
            RunError: the folder has a run of another configuration.
            KeyboardInterrupt: Ctrl-C has ended it.
            SystemExit: SIGTERM, SIGUSR1 or SIGHUP has, with that exit code.
        """
        from rllib.runs.from_python import train_run

        return train_run(self, until, stop, name, runs_dir, fresh, resume_with_changes)

    def build(self, *args: Any, **kwargs: Any) -> "Algorithm":
        """RLlib's older name of ``build_algo``."""
        return self.build_algo(*args, **kwargs)


_LARGEST = 2**63 - 1
"""That arrays, and the files in which settings are kept, have room for."""


def _beyond_numbers(value: Any, key: str) -> Iterator[Problem]:
    """Whole numbers that nothing could be made of, wherever they stand."""
    if isinstance(value, BaseModel):
        for name, part in value:
            if name == "seed":  # of which any number will do
                continue
            called = "model_config" if name == "model" else name
            yield from _beyond_numbers(part, f"{key}.{called}" if key else called)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _beyond_numbers(part, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _beyond_numbers(part, key)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        text = f"a number of {value.bit_length()} bits is beyond any number of things"
        yield Problem(f"{text}, which have 63 at most", key)


def _problems_of_networks(model: ModelConfig, key: str) -> Iterator[Problem]:
    """Of the default modules, which know no settings but their own."""
    for name in model.own_settings:
        yield Problem(explain_unknown(name, type(model).model_fields), f"{key}.{name}")
    if model.use_lstm and model.use_gru:
        yield Problem("use_lstm is set as well; choose one of them", f"{key}.use_gru")
    for name, value in model.items():
        initializer = name.removesuffix("_kwargs")
        if value and initializer != name and model[initializer] is None:
            yield Problem(f"are arguments of {initializer}, which is not set", f"{key}.{name}")
    if model.fusionnet_hiddens is None:
        default = type(model)()
        for name in ("activation", "kernel_initializer", "bias_initializer"):
            if model[f"fusionnet_{name}"] != default[f"fusionnet_{name}"]:
                text = "is of layers that there are not; set fusionnet_hiddens as well"
                yield Problem(text, f"{key}.fusionnet_{name}")


def _of_config(algo_class: Any, config_class: type[AlgorithmConfig]) -> Any:
    """The class, if it is one that takes such settings.

    Raises:
        ConfigError: it is none.
    """
    takes = getattr(algo_class, "config_class", None)
    if isinstance(takes, type) and issubclass(config_class, takes):
        return algo_class
    name = getattr(algo_class, "__name__", repr(algo_class))
    hint = f", but a {takes.__name__}" if takes else ": it has no config_class"
    text = f"{name} takes no {config_class.__name__}{hint}"
    raise ConfigError(Problem(text, "algo_class"))


def _plain_name(state: Mapping[str, Any]) -> str:
    name = str(state.get("algorithm"))
    if ":" in name:
        raise ConfigError(f"the settings are those of {name}; call from_state on its own config")
    return name
