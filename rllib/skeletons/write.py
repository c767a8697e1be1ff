"""A config, an environment or an algorithm to start from, and a test of it that passes."""

import importlib.resources
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from string import Template

from rllib.config import yaml_tree
from rllib.env_check import find
from rllib.envs.faults import EnvSetupError
from rllib.envs.make import choose_backend
from rllib.errors import ConfigError
from rllib.registry import get_config_class

CONTINUOUS = ("SAC", "TD3")
"""Algorithms whose skeleton has continuous actions."""


def new_env(name: str, algorithm: str, folder: Path) -> list[Path]:
    """Write a config that trains in an environment, and a test of both.

    Args:
        name: of an environment that there is; or ``module:Class``, which is written as well.
        algorithm: that the config names.
        folder: where.

    Returns:
        The files.

    Raises:
        ConfigError: a file is there already, or there is no such environment or algorithm.
    """
    get_config_class(algorithm)
    module, colon, class_name = name.partition(":")
    is_new = bool(colon) and class_name.isidentifier() and not _can_be_imported(module)
    stem = _stem(module if colon else name)
    words = {"env": name, "module": module, "name": class_name, "algorithm": algorithm}
    words |= {"stem": stem, "quoted": yaml_tree.dump([name]).removeprefix("-").strip()}
    templates = {f"{stem}.yaml": "config.yaml", f"test_{stem}.py": "test_env.py"}
    if is_new:
        _check_module(module, class_name)
        words |= _ACTIONS["continuous" if algorithm in CONTINUOUS else "discrete"]
        words |= {"settings": _settings(algorithm), "stop": _STOP["return"]}
        templates[f"{module}.py"] = "env.py"
    else:
        _check_env(name)
        words |= {"settings": "", "stop": _STOP["steps"]}
    return _write(templates, words, folder)


def new_algorithm(name: str, folder: Path) -> list[Path]:
    """Write an algorithm as a plug-in: one file of it, a config, a test and a ``pyproject.toml``.

    Args:
        name: ``module:Class``.
        folder: where.

    Returns:
        The files.

    Raises:
        ConfigError: the name is none, or a file is there already.
    """
    module, _, class_name = name.partition(":")
    _check_module(module, class_name)
    words = {"module": module, "name": class_name, "lower": class_name.lower()}
    words["package"] = module.replace("_", "-")
    templates = {
        f"{module}.py": "algorithm.py",
        f"{module}.yaml": "algorithm.yaml",
        f"test_{module}.py": "test_algorithm.py",
        "pyproject.toml": "pyproject.toml",
    }
    return _write(templates, words, folder)


_ACTIONS = {
    "discrete": {
        "action_space": "spaces.Discrete(3)  # left, stay, right",
        "move": "STEP * (int(action) - 1)",
        "action_type": "int",
    },
    "continuous": {
        "action_space": "spaces.Box(-1.0, 1.0, (1,), np.float32)",
        "move": "STEP * float(action[0])",
        "action_type": "np.ndarray",
    },
}


_STOP = {
    "return": "\nstop:\n  env_runners/episode_return_mean: -3.5\n"
    "  num_env_steps_sampled_lifetime: 500_000\n",
    "steps": "\nstop:\n  num_env_steps_sampled_lifetime: 100_000\n",
}


def _settings(algorithm: str) -> str:
    """Sections of the config by which the skeleton is learnt within seconds."""
    return _text(f"settings_{algorithm.lower()}.yaml") if algorithm in _TUNED else ""


_TUNED = ("PPO", "DQN", "SAC")


def render(template: str, words: Mapping[str, str]) -> str:
    """A template with its words put in."""
    return Template(_text(template)).substitute(words)


def _text(template: str) -> str:
    file = importlib.resources.files("rllib.skeletons") / "files" / f"{template}.txt"
    return file.read_text(encoding="utf-8")


def _write(templates: Mapping[str, str], words: Mapping[str, str], folder: Path) -> list[Path]:
    """All files or none."""
    there = [name for name in templates if (folder / name).exists()]
    if there:
        raise ConfigError(f"there is {', '.join(there)} already; nothing was written")
    for name, template in templates.items():
        (folder / name).write_text(render(template, words), encoding="utf-8")
    return [folder / name for name in templates]


def _check_module(module: str, class_name: str) -> None:
    if not (module.isidentifier() and class_name.isidentifier()):
        text = f"{module}:{class_name}: write it as module:Class, for example my_env:Reach"
        raise ConfigError(text)


def _check_env(name: str) -> None:
    try:
        choose_backend(find(name), "auto")
    except EnvSetupError as error:
        text = f"{error}; a new one is written by its place, for example rllib init my_env:Reach"
        raise ConfigError(text) from None


def _can_be_imported(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a package on the way to it is missing or broken
        return False


def _stem(name: str) -> str:
    """A name for files, which is also that of a module: ``ALE/Pong-v5`` gives ``pong_v5``."""
    last = name.rpartition("/")[2]
    return "".join(char if char.isalnum() else "_" for char in last).lower()
