"""What to tell the user when training fails: the cause first, without the framework's frames."""

import re
import sys
import traceback
from pathlib import Path

from rllib import core
from rllib.errors import ConfigError, EnvError, RLlibError, TrainingError

_PACKAGE = Path(__file__).resolve().parent.parent
# The package as installed, and its parts in a checkout, where they stand beside it.
_OURS = (_PACKAGE, *(_PACKAGE.parent / part for part in ("core", "envs", "algorithms")))
# Frames that every environment's making and every step of it goes through.
_AROUND_ENVS = re.compile(r"/gymnasium/(wrappers|vector)/|/gymnasium/(core|envs/registration)\.py$")
_INSTALLED = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line \d+, in .*$')


def describe(error: BaseException) -> str:
    """The message of an error and, where user code raised it, that code's traceback."""
    if isinstance(error.__cause__, core.exceptions.TaskError):  # in the constructor of an actor
        return describe(error.__cause__)
    if reason := _lack_of_memory(error):
        return f"out of memory: {reason}\n{_SMALLER}"
    if isinstance(error, core.exceptions.TaskError):
        message, trace = _headline(error.cause or error), error.remote_traceback
    elif isinstance(error, RLlibError | core.exceptions.CoreError):
        message, trace = str(error), _text_of(_foreign_cause(error))
        if not _is_of_the_user(error, trace):
            trace = ""
    else:
        return f"{_headline(error)}\n\n{_text_of(error)}".rstrip()  # a defect: show all of it
    if "Traceback (most recent call last)" in message:  # it has crossed processes as text
        return fold(message).rstrip()
    return f"{message}\n\n{fold(trace)}".rstrip()


_LACK = re.compile(
    r"^(?:(?:\S*[._])?(?:Array)?MemoryError|(?:RuntimeError|torch\.OutOfMemoryError|OutOfMemoryError)"
    r"(?=: .*(?:DefaultCPUAllocator|CUDA out of memory)))(?:: (?P<what>.*)|:? *$)"
)
"""What numpy's and torch's allocators raise."""
_ENDS_TRACE = re.compile(r"[\w.]+(?::|$)")
_SMALLER = (
    "What takes most are rows (train_batch_size_per_learner, num_envs_per_env_runner, the replay "
    "buffer's capacity), processes (num_env_runners, num_learners) and layers (model_config)."
)


def _lack_of_memory(error: BaseException) -> str:
    """What could not be had, if the error is that of an allocator, in whatever process."""
    cause = error.cause if isinstance(error, core.exceptions.TaskError) else None
    line = f"{type(cause or error).__name__}: {cause or error}"
    if isinstance(cause or error, core.exceptions.CoreError):  # within, as text, with its trace
        *_, line = ["", *(each for each in str(error).splitlines() if _ENDS_TRACE.match(each))]
    found = _LACK.match(line)
    return "" if found is None else found["what"] or "nothing more could be had"


def _is_of_the_user(error: BaseException, trace: str) -> bool:
    """Whether the traceback of an error's cause tells users something about their own code."""
    if isinstance(error, ConfigError):  # an environment of theirs that cannot be made, perhaps
        return _has_user_frames(trace)
    return isinstance(error, EnvError | TrainingError)


def _foreign_cause(error: BaseException) -> BaseException | None:
    """The first cause that is no error of ours."""
    cause = error.__cause__
    while cause is not None and type(cause).__module__.partition(".")[0] == "rllib":
        cause = cause.__cause__
    return cause


def fold(text: str) -> str:
    """A traceback without the frames of the framework, unless it has no others."""
    kept: list[str] = []
    ours = False
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame:
            ours = _is_within(frame["file"], _OURS) or bool(_AROUND_ENVS.search(frame["file"]))
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept) if any(_FRAME.match(line) for line in kept) else text


def _has_user_frames(text: str) -> bool:
    """Whether code that is neither ours nor installed has a part in a traceback."""
    files = [frame["file"] for frame in map(_FRAME.match, text.splitlines()) if frame]
    return any(not _is_within(file, (*_OURS, *_INSTALLED)) for file in files)


def _is_within(file: str, folders: tuple[Path, ...]) -> bool:
    """Whether a frame is of these folders, or of the import system, which has no file."""
    path = Path(file).resolve()
    return file.startswith("<frozen ") or any(path.is_relative_to(folder) for folder in folders)


def _headline(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, RLlibError) else f"{type(error).__name__}: {text}"


def _text_of(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error)) if error is not None else ""
