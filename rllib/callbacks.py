"""Code of the user's at every stage of training: RLlib's callbacks.

::

    class Returns(RLlibCallback):
        def on_episode_end(self, *, episode, metrics_logger, **kwargs):
            metrics_logger.log_value("best", episode.get_return(), reduce="max")

    config.callbacks(Returns)                          # a class, or a list of classes
    config.callbacks(on_train_result=print_the_result)  # or single functions

``Callbacks`` is what the kit calls. The algorithm has one, and so has every env runner, each with
its own objects, made in its own process.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rllib.checkpoints.declared import as_loaded, check_declared
from rllib.config.names import explain_unknown
from rllib.errors import CallbackError, ConfigError, Problem, RLlibError

if TYPE_CHECKING:
    from rllib.algorithm import Algorithm
    from rllib.config import AlgorithmConfig
    from rllib.metrics.metrics_logger import MetricsLogger
    from rllib.modules.rl_module import RLModule
    from rllib.sampling.env_runner import EnvRunner
    from rllib.sampling.env_runner_group import EnvRunnerGroup


class RLlibCallback:
    """Base class: every hook does nothing.

    A hook takes its arguments by name; ``**kwargs`` takes those to come. ``metrics_logger`` is the
    place for metrics of one's own. What a hook raises ends training (``CallbackError``).

    One that has ``get_state`` and ``set_state`` is part of checkpoints: the object of the
    algorithm's process, as those of env runners are made anew.
    """

    # In the process of the algorithm.

    def on_algorithm_init(
        self, *, algorithm: "Algorithm", metrics_logger: "MetricsLogger", **kwargs: Any
    ) -> None:
        """The algorithm is complete; nothing has been trained."""

    def on_train_result(
        self,
        *,
        algorithm: "Algorithm",
        metrics_logger: "MetricsLogger",
        result: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """An iteration is over; ``result`` may be added to."""

    def on_evaluate_start(
        self, *, algorithm: "Algorithm", metrics_logger: "MetricsLogger", **kwargs: Any
    ) -> None:
        """An evaluation begins."""

    def on_evaluate_end(
        self,
        *,
        algorithm: "Algorithm",
        metrics_logger: "MetricsLogger",
        evaluation_metrics: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """An evaluation is over; ``evaluation_metrics`` may be added to."""

    def on_env_runners_recreated(
        self,
        *,
        algorithm: "Algorithm",
        env_runner_group: "EnvRunnerGroup",
        env_runner_indices: list[int],
        is_evaluation: bool,
        **kwargs: Any,
    ) -> None:
        """Env runner actors were started anew, and are as the others."""

    def on_checkpoint_loaded(self, *, algorithm: "Algorithm", **kwargs: Any) -> None:
        """The algorithm has gone back to a checkpoint."""

    def on_checkpoint_saved(self, *, algorithm: "Algorithm", path: str, **kwargs: Any) -> None:
        """A checkpoint is complete in the folder ``path``."""

    # In the process of an env runner.

    def on_environment_created(
        self,
        *,
        env_runner: "EnvRunner",
        metrics_logger: "MetricsLogger",
        env: Any,
        env_context: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        """The env runner has its vector of environments, made with ``env_context``."""

    def on_episode_created(
        self,
        *,
        episode: Any,
        env_runner: "EnvRunner",
        metrics_logger: "MetricsLogger",
        env: Any,
        env_index: int,
        rl_module: "RLModule",
        **kwargs: Any,
    ) -> None:
        """Environment ``env_index`` is about to be reset for ``episode``."""

    def on_episode_start(
        self,
        *,
        episode: Any,
        env_runner: "EnvRunner",
        metrics_logger: "MetricsLogger",
        env: Any,
        env_index: int,
        rl_module: "RLModule",
        **kwargs: Any,
    ) -> None:
        """Environment ``env_index`` has been reset."""

    def on_episode_step(
        self,
        *,
        episode: Any,
        env_runner: "EnvRunner",
        metrics_logger: "MetricsLogger",
        env: Any,
        env_index: int,
        rl_module: "RLModule",
        **kwargs: Any,
    ) -> None:
        """Environment ``env_index`` has made a step, which ``episode`` knows already."""

    def on_episode_end(
        self,
        *,
        episode: Any,
        prev_episode_chunks: list[Any],
        env_runner: "EnvRunner",
        metrics_logger: "MetricsLogger",
        env: Any,
        env_index: int,
        rl_module: "RLModule",
        **kwargs: Any,
    ) -> None:
        """The episode of environment ``env_index`` is over."""

    def on_sample_end(
        self,
        *,
        env_runner: "EnvRunner",
        metrics_logger: "MetricsLogger",
        samples: Any,
        **kwargs: Any,
    ) -> None:
        """A sample is complete and about to be sent."""


DefaultCallbacks = RLlibCallback
"""RLlib's older name."""

HOOKS = tuple(name for name in vars(RLlibCallback) if name.startswith("on_"))


class Callbacks:
    """All callbacks of a config, called in the order in which they were given.

    Args:
        classes: callback classes, or functions without arguments that make such objects; their
            methods go before functions.
        functions: by name of the hook.

    Raises:
        ConfigError: a class cannot be made, or has a hook that there is not.
    """

    def __init__(
        self,
        classes: Iterable[Callable[[], Any]] = (),
        functions: Mapping[str, Iterable[Callable[..., Any]]] | None = None,
    ) -> None:
        self.objects = [_make(cls) for cls in classes]
        given = functions or {}
        self._calls = {
            hook: [*_methods(self.objects, hook), *((_name(f), f) for f in given.get(hook, ()))]
            for hook in HOOKS
        }

    @classmethod
    def of(cls, config: "AlgorithmConfig") -> "Callbacks":
        """Those of a config."""
        return cls(config.callbacks_class, {hook: config[hook] for hook in HOOKS})

    def __contains__(self, hook: object) -> bool:
        """Whether anybody listens: what costs time is left out for a hook that nobody has."""
        return bool(self._calls.get(str(hook)))

    def get_state(self) -> dict[str, Any]:
        """State tree, by name: of the objects that have ``get_state`` and ``set_state``.

        Raises:
            CheckpointError: it holds something else than plain data and arrays; names the key.
        """
        return {name: as_loaded(each.get_state(), name) for name, each in self._keepers()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``get_state``; objects that it does not know begin anew.

        Raises:
            CheckpointError: an object's state is not what its own ``get_state`` declares.
        """
        known = [(name, each) for name, each in self._keepers() if name in state]
        for name, each in known:
            check_declared(name, state[name], as_loaded(each.get_state(), name))
        for name, each in known:
            each.set_state(state[name])

    def _keepers(self) -> Iterator[tuple[str, Any]]:
        """Objects that keep something, by the name of their class; the second of two has a 2."""
        counts: Counter[str] = Counter()
        for each in self.objects:
            if hasattr(each, "get_state") and hasattr(each, "set_state"):
                counts[name := type(each).__qualname__] += 1
                yield name if counts[name] == 1 else f"{name} {counts[name]}", each

    def call(self, hook: str, **arguments: Any) -> None:
        """Call everybody who listens.

        Raises:
            CallbackError: one of them raised.
        """
        for name, function in self._calls[hook]:
            try:
                function(**arguments)
            except RLlibError:
                raise  # on purpose: it says what there is to say
            except Exception as error:
                reason = f"{type(error).__name__}: {error}{_signature_hint(error)}"
                raise CallbackError(f"{hook} of {name} raised {reason}") from error


def _signature_hint(error: Exception) -> str:
    """What to do about a hook that does not take all that it is called with."""
    is_meant = isinstance(error, TypeError) and "unexpected keyword argument" in str(error)
    return "; hooks are called by keywords: let **kwargs take those it does not use" * is_meant


def _make(cls: Callable[[], Any]) -> Any:
    try:
        made = cls()
    except Exception as error:
        text = f"{_name(cls)} cannot be made: {type(error).__name__}: {error}"
        raise ConfigError(Problem(text, "callbacks_class")) from error
    if not any(hasattr(made, hook) for hook in HOOKS):
        text = f"{_name(cls)} has no hook: subclass RLlibCallback, and override what it is to do"
        raise ConfigError(Problem(text, "callbacks_class"))
    for hook in dir(made):
        if hook.startswith("on_") and hook not in HOOKS:
            text = explain_unknown(hook, HOOKS)
            raise ConfigError(Problem(f"{_name(cls)}.{hook}: {text}", "callbacks_class"))
    return made


def _methods(objects: Iterable[Any], hook: str) -> list[tuple[str, Callable[..., Any]]]:
    """Of the objects that have a hook of their own, and not the one that does nothing."""
    nothing = vars(RLlibCallback)[hook]
    methods = [(_name(type(each)), getattr(each, hook, nothing)) for each in objects]
    return [
        (name, method)
        for name, method in methods
        if getattr(method, "__func__", method) is not nothing
    ]


def _name(code: Any) -> str:
    return f"{code.__module__}.{code.__qualname__}" if hasattr(code, "__qualname__") else repr(code)
