"""Failures are told with the cause first and the framework's frames folded away."""

import traceback
from pathlib import Path

import pytest
import torch

import rllib.config
from rllib import core
from rllib.errors import ConfigError, EnvError, Problem, TrainingError
from rllib.runs.failures import describe, fold

FROZEN = '  File "<frozen importlib._bootstrap>", line 1204, in _gcd_import\n'


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """``error`` as caught, raised from a cause that was raised in this file."""
    try:
        try:
            if cause is not None:
                raise cause
        except Exception as caught:
            raise error from caught
        raise error
    except Exception as caught:
        return caught


OURS = f'  File "{rllib.config.__file__}", line 3, in validate\n    something()\n    ^^^^^^^^^\n'
GYM = '  File "/x/site-packages/gymnasium/wrappers/common.py", line 3, in step\n    step()\n'
THEIRS = '  File "/home/me/my_env.py", line 9, in step\n    return 1 / 0\n           ~~^~~\n'
HEAD, TAIL = "Traceback (most recent call last):\n", "ZeroDivisionError: division by zero"


def test_frames_of_the_framework_are_folded() -> None:
    assert fold(HEAD + OURS + GYM + THEIRS + OURS + TAIL) == HEAD + THEIRS + TAIL


def test_a_traceback_of_nothing_but_the_framework_stays() -> None:
    text = HEAD + OURS + TAIL
    assert fold(text) == text


def test_an_environments_own_traceback_follows_the_message() -> None:
    text = describe(raised(EnvError("env 3 raised in step 4"), KeyError("angle")))
    assert text.startswith("env 3 raised in step 4\n\nTraceback")
    assert Path(__file__).name in text
    assert text.endswith("KeyError: 'angle'")


def test_a_traceback_within_the_message_is_not_shown_twice() -> None:
    error = raised(EnvError(f"env 3 raised\n{HEAD}{OURS}{THEIRS}{TAIL}"), KeyError("angle"))
    assert describe(error) == f"env 3 raised\n{HEAD}{THEIRS}{TAIL}"


def test_an_error_without_a_cause_is_its_message() -> None:
    assert describe(raised(TrainingError("the loss is nan"))) == "the loss is nan"


def test_a_mistake_in_the_settings_needs_no_traceback() -> None:
    problem = raised(ConfigError(Problem("wrong", "lr")), None)
    assert describe(problem) == "lr: wrong"


def test_an_environment_that_cannot_be_made_shows_the_users_code() -> None:
    text = describe(raised(ConfigError(Problem("cannot be made", "env")), OSError("no display")))
    assert text.startswith("env: cannot be made\n\nTraceback")
    assert "OSError: no display" in text


def test_an_error_in_an_actor_shows_the_remote_traceback() -> None:
    error = core.exceptions.TaskError("EnvRunner.sample", HEAD + OURS + THEIRS + TAIL, 7, None)
    assert fold(HEAD + OURS + THEIRS + TAIL) in describe(error)
    cause = ZeroDivisionError("division by zero")
    error = core.exceptions.TaskError("EnvRunner.sample", HEAD + THEIRS + TAIL, 7, cause)
    assert describe(error).startswith(f"{TAIL}\n\n{HEAD}")


def test_our_error_in_a_constructor_of_an_actor_is_told_in_its_own_words() -> None:
    own = EnvError(f"env 3 raised in reset\n{HEAD}{THEIRS}{TAIL}")
    cause = core.exceptions.TaskError("EnvRunner.__init__", "a longer story", 7, own)
    death = core.exceptions.ActorDiedError("actor 1 is dead: its constructor raised:\nall of it")
    error = raised(death, cause)
    assert describe(error) == f"env 3 raised in reset\n{HEAD}{THEIRS}{TAIL}"


def test_the_import_system_is_not_the_users_code() -> None:
    assert fold(HEAD + FROZEN + THEIRS + TAIL) == HEAD + THEIRS + TAIL


def test_a_defect_of_ours_shows_everything() -> None:
    error = raised(IndexError("defect"))
    trace = "".join(traceback.format_exception(error))
    assert describe(error) == f"IndexError: defect\n\n{trace}".rstrip()


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError("Unable to allocate 8 EiB"), "Unable to allocate 8 EiB"),
        (MemoryError(), "nothing more could be had"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "DefaultCPUAllocator: can't"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "CUDA out of memory",
        ),
    ],
)
def test_what_does_not_fit_into_memory_is_told_with_what_takes_most(
    error: Exception, what: str
) -> None:
    within = f"{HEAD}{OURS}{traceback.format_exception_only(error)[0]}"
    died = core.exceptions.ActorDiedError(f"actor 1 is dead: its constructor raised:\n{within}")
    for each in (error, core.exceptions.TaskError("build", within, 1, error), died):
        text = describe(each)
        assert text.startswith(f"out of memory: {what}")
        assert text.endswith("and layers (model_config).")
        assert "Traceback" not in text
    assert "out of memory" not in describe(RuntimeError("could not allocate port 80 in memory"))
    monitor = core.exceptions.OutOfMemoryError("the node's memory was full")
    assert describe(monitor) == "the node's memory was full"
