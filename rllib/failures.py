"""What to tell the user when training fails: the cause first, without the framework's frames."""

import re
import traceback
from pathlib import Path

from rllib import core
from rllib.errors import RLlibError

_HERE = Path(__file__).resolve().parent
# The package as installed, and its parts in a checkout, where they stand beside it.
_OURS = (_HERE, *(_HERE.parent / part for part in ("core", "envs", "algorithms")))
_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line \d+, in .*$')


def describe(error: BaseException) -> str:
    """The message of an error and, where user code raised it, that code's traceback."""
    if isinstance(error, core.exceptions.TaskError):
        return f"{_headline(error.cause or error)}\n\n{fold(error.remote_traceback)}".rstrip()
    if isinstance(error, RLlibError | core.exceptions.CoreError):
        cause = error.__cause__
        return f"{error}\n\n{fold(_text_of(cause))}".rstrip() if cause else str(error)
    return f"{_headline(error)}\n\n{_text_of(error)}".rstrip()


def fold(text: str) -> str:
    """A traceback without the frames of this package, unless it has no others."""
    kept: list[str] = []
    ours = False
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame:
            ours = _is_ours(frame["file"])
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept) if any(_FRAME.match(line) for line in kept) else text


def _is_ours(file: str) -> bool:
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _OURS)


def _headline(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, RLlibError) else f"{type(error).__name__}: {text}"


def _text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
