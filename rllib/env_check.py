"""``rllib check-env``: finds the environment that a name stands for, and tells what is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

from rllib import plugins
from rllib.config.file import read_assignment
from rllib.envs.check import check_env, is_bad
from rllib.envs.make import EnvSource
from rllib.errors import ConfigError


def report(name: str, arguments: Sequence[str], say: Callable[[str], Any]) -> int:
    """Check an environment.

    Args:
        name: see ``find``.
        arguments: ``key=value`` of its ``env_config``, values as in YAML.
        say: is told each finding.

    Returns:
        The exit code: 0, 1 if there are errors, 2 if ``name`` or an argument makes no sense.
    """
    try:
        source, config = find(name), env_config(arguments)
    except ConfigError as error:
        say(f"error: {error}")
        return error.exit_code
    findings = check_env(source, config)
    for finding in findings:
        say(str(finding))
    counts = [sum(f.level == level for f in findings) for level in ("error", "warning")]
    say(f"{name}: {_number(counts[0], 'error')}, {_number(counts[1], 'warning')}")
    return 1 if is_bad(findings) else 0


def find(name: str) -> EnvSource:
    """What makes the environment: a registered name, ``module:Name``, or a gymnasium id.

    Raises:
        ConfigError: a module cannot be imported.
    """
    return plugins.find_env(name) or name


def env_config(arguments: Sequence[str]) -> dict[str, Any]:
    """A nested dict of ``key=value`` and ``key.inner=value``.

    Raises:
        ConfigError: an argument is no assignment.
    """
    config: dict[str, Any] = {}
    for argument in arguments:
        assignment = read_assignment(argument)
        *path, last = assignment.keys
        inside = config
        for key in path:
            inside = inside.setdefault(key, {})
        inside[last] = assignment.value
    return config


def _number(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"
