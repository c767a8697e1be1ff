"""``runtime_env``: environment variables, working directory and modules of a worker.

What users write is checked here, in whole; what they meant is merged: a task's environment extends
that of the task or actor that starts it, and that one the job's, which ``init`` was given.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from rllib.core.exceptions import RuntimeEnvSetupError

_VARIABLE = re.compile(r"\$\{(\w+)\}")

PATHS = "_paths"
"""A field of our own: where a driver that shares its workers with others finds modules."""

NAMESPACE = "_namespace"
"""A field of our own: in which such a driver's workers look for names."""

JOB = "_job"
"""A field of our own: the id of such a driver's job. So a worker serves one driver alone."""

FIELDS = ("env_vars", "working_dir", "py_modules", "excludes")

_NOT_SUPPORTED = (
    "conda",
    "config",
    "container",
    "image_uri",
    "java_jars",
    "mpi",
    "nsight",
    "pip",
    "py_executable",
    "rocprof_sys",
    "uv",
    "worker_process_setup_hook",
)


class RuntimeEnv(dict[str, Any]):
    """The same as the dictionary of its keywords, checked at once."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(check(fields))


def check(given: Any) -> dict[str, Any]:
    """The fields, in one form. Raises `TypeError` or `ValueError` naming the wrong one."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"runtime_env must be a dictionary, got {given!r}")
    for name in given:
        _check_name(name)
    checked = {name: _CHECKS[name](value) for name, value in given.items() if value is not None}
    if "excludes" in checked and not checked.keys() & {"working_dir", "py_modules"}:
        raise ValueError("excludes of a runtime_env needs a working_dir or py_modules to act on")
    return checked


def _check_name(name: Any) -> None:
    if name in FIELDS:
        return
    if name in _NOT_SUPPORTED:
        raise ValueError(
            f"runtime_env field {name!r} is not supported: install what workers need beforehand, "
            "and start the driver in that environment"
        )
    near = difflib.get_close_matches(str(name), FIELDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(FIELDS)}"
    raise ValueError(f"{name!r} is not a field of runtime_env; {hint}")


def _env_vars(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"env_vars must map names to values, got {value!r}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"env_vars must map str to str, got {key!r}: {text!r}")
        if not key or "=" in key or "\0" in key + text:
            raise ValueError(f"{key!r} with value {text!r} cannot be an environment variable")
    return dict(value)


def _working_dir(value: Any) -> str:
    path = _path("working_dir", value)
    if not path.is_dir() and path.suffix != ".zip":
        raise ValueError(f"working_dir must be a directory or a .zip file, got {value!r}")
    return str(path)


def _py_modules(value: Any) -> list[str]:
    return [str(_module_path(item)) for item in _items("py_modules", value)]


def _module_path(item: Any) -> Path:
    if isinstance(item, ModuleType):
        file = item.__file__
        if file is None:
            raise ValueError(f"module {item.__name__} in py_modules has no file to be copied")
        return Path(file).parent if Path(file).name == "__init__.py" else Path(file)
    path = _path("py_modules", item)
    if not path.is_dir() and path.suffix != ".py":
        raise ValueError(f"py_modules takes directories, .py files and modules, got {item!r}")
    return path


def _excludes(value: Any) -> list[str]:
    patterns = _items("excludes", value)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise TypeError(f"excludes must be a list of patterns, got {pattern!r} in it")
    return patterns


def _items(name: str, value: Any) -> list[Any]:
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        raise TypeError(f"{name} must be a list, got {value!r}")
    return list(value)


def _path(name: str, value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise TypeError(f"{name} takes paths, got {value!r}")
    if "://" in str(value):
        raise ValueError(f"{name} takes local paths, and {str(value)!r} is a URI")
    path = Path(value).expanduser().resolve()
    if not path.exists():
        raise ValueError(f"{name}: there is no {str(value)!r}")
    return path


_CHECKS = {
    "env_vars": _env_vars,
    "working_dir": _working_dir,
    "py_modules": _py_modules,
    "excludes": _excludes,
}


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """``child`` on top of ``parent``: variables one by one, other fields as a whole."""
    merged = {**parent, **child}
    variables = {**parent.get("env_vars", {}), **child.get("env_vars", {})}
    return {**merged, "env_vars": variables} if variables else merged


@contextlib.contextmanager
def entered(fields: Mapping[str, Any]) -> Iterator[None]:
    """In this process, as long as the block runs: for an engine that has no other."""
    variables, directory, paths = dict(os.environ), Path.cwd(), list(sys.path)
    try:
        enter(fields)
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(directory)
        sys.path[:] = paths


def enter(fields: Mapping[str, Any]) -> None:
    """Set variables, working directory and module path. Raises `RuntimeEnvSetupError`."""
    variables = fields.get("env_vars", {})
    for name in sorted(variables, key=lambda name: "${" in variables[name]):
        value = _VARIABLE.sub(lambda match: os.environ.get(match[1], ""), variables[name])
        os.environ[name] = value
    paths = [str(Path(path).parent) for path in fields.get("py_modules", [])]
    if "working_dir" in fields:
        paths.insert(0, fields["working_dir"])
        try:
            os.chdir(fields["working_dir"])
        except OSError as error:
            text = f"a worker cannot enter working_dir {fields['working_dir']}: {error}"
            raise RuntimeEnvSetupError(text) from error
    sys.path[:0] = paths
    sys.path += [path for path in fields.get(PATHS, ()) if path not in sys.path]
