"""Callbacks: who is called, in which order, with what, and what their mistakes look like."""

import inspect
from functools import partial
from typing import Any

import pytest

from rllib.callbacks import HOOKS, Callbacks, DefaultCallbacks, RLlibCallback
from rllib.config import AlgorithmConfig
from rllib.config.sections import CallbacksSection
from rllib.errors import CallbackError, ConfigError, TrainingError

calls: list[tuple[str, dict[str, Any]]] = []


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


class First(RLlibCallback):
    def on_train_result(self, **arguments: Any) -> None:
        calls.append(("First", arguments))


class Second(DefaultCallbacks):
    def __init__(self, name: str = "Second") -> None:
        self.name = name

    def on_train_result(self, *, result: dict[str, Any], **kwargs: Any) -> None:
        calls.append((self.name, {"result": result}))
        result["seen"] = True

    def on_sample_end(self, **kwargs: Any) -> None:
        raise TrainingError("on purpose")


def function(**arguments: Any) -> None:
    calls.append(("function", arguments))


def test_every_hook_is_a_setting() -> None:
    assert {"callbacks_class", *HOOKS} == set(CallbacksSection.model_fields)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_does_nothing_and_takes_what_is_to_come(hook: str) -> None:
    method = getattr(RLlibCallback(), hook)
    parameters = inspect.signature(method).parameters.values()
    named = {p.name: None for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert method(**named, of_a_later_release=1) is None
    assert hook not in Callbacks([RLlibCallback])


def test_a_class_without_any_hook_is_refused() -> None:
    with pytest.raises(ConfigError, match="Event has no hook: subclass RLlibCallback"):
        Callbacks([type("Event", (), {"episode_end": print})])


def test_classes_come_before_functions_in_the_order_in_which_they_were_given() -> None:
    config = AlgorithmConfig().callbacks(
        [First, partial(Second, "partial")], on_train_result=[function, function]
    )
    result: dict[str, Any] = {}
    Callbacks.of(config).call("on_train_result", result=result)
    assert [name for name, _ in calls] == ["First", "partial", "function", "function"]
    assert all(arguments == {"result": {"seen": True}} for _, arguments in calls)


def test_who_does_not_listen_is_not_called() -> None:
    callbacks = Callbacks([First], {"on_episode_end": [function]})
    assert [hook for hook in HOOKS if hook in callbacks] == ["on_train_result", "on_episode_end"]
    callbacks.call("on_episode_start", episode=None)
    assert calls == []


def test_a_class_that_is_no_subclass_will_do() -> None:
    class Plain:
        def on_episode_end(self, **arguments: Any) -> None:
            function(**arguments)

    Callbacks([Plain]).call("on_episode_end", episode=1)
    assert calls == [("function", {"episode": 1})]


def fail(**arguments: Any) -> None:
    raise KeyError("oops")


def test_a_mistake_names_the_hook_and_whose_it_is() -> None:
    with pytest.raises(CallbackError) as caught:
        Callbacks(functions={"on_episode_end": [fail]}).call("on_episode_end")
    assert str(caught.value) == f"on_episode_end of {__name__}.fail raised KeyError: 'oops'"
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(CallbackError, match=r"on_train_result of .*Second raised TypeError"):
        Callbacks([Second]).call("on_train_result")
    with pytest.raises(CallbackError, match=r"argument 'episode'; .* let \*\*kwargs take those it"):
        Callbacks(functions={"on_episode_end": [lambda: None]}).call("on_episode_end", episode=1)


def test_an_error_of_ours_says_enough_itself() -> None:
    with pytest.raises(TrainingError, match=r"^on purpose$"):
        Callbacks([Second]).call("on_sample_end")


class Typo(RLlibCallback):
    def on_episode_ended(self) -> None:
        """Never called."""


class Old(RLlibCallback):
    def on_postprocess_trajectory(self) -> None:
        """Of the old stack."""


class Broken(RLlibCallback):
    def __init__(self) -> None:
        raise OSError("no file")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Typo, r"Typo.on_episode_ended: unknown key; did you mean 'on_episode_end'\?"),
        (Old, r"Old.on_postprocess_trajectory: not supported"),
        (Broken, r"Broken cannot be made: OSError: no file"),
    ],
)
def test_a_class_that_would_not_be_called_as_meant_is_refused(cls: type, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Callbacks([cls])
