"""Config files and ``key=value`` arguments as parsed, before any schema is known.

Reading is kept apart from checking because it is fast: what a run will need can be started while
the algorithm, and torch with it, is still being imported.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib.config import yaml_tree
from rllib.config.names import nearest
from rllib.config.presets import SUFFIXES, preset_paths
from rllib.errors import ConfigError, Problem

if TYPE_CHECKING:
    from rllib.config.plan import RunPlan

COMMAND_LINE = "command line"
ACTOR_COUNTS = ("num_env_runners", "num_learners")


@dataclass(frozen=True)
class Assignment:
    """One ``key=value`` of the command line, its key split at dots."""

    keys: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        """The whole key, as written."""
        return ".".join(self.keys)


@dataclass(frozen=True)
class Draft:
    """A config as it was written.

    Attributes:
        name: of the preset, or stem of the file; a run is called that unless told otherwise.
        tree: the file's content.
        assignments: what the command line adds, in its order.
        problems: what is wrong with arguments that are no assignments.
    """

    name: str
    tree: yaml_tree.Tree
    assignments: tuple[Assignment, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def wants_actors(self) -> bool:
        """Whether a number of actors above 0 is written anywhere; an early guess, no check."""
        written = dict(_actor_counts(self.tree.value))
        written |= {each.keys[-1]: each.value for each in self.assignments}
        return any(written.get(key) not in (None, 0) for key in ACTOR_COUNTS)

    @property
    def algorithm(self) -> object:
        """What is written where an algorithm should be named; unchecked."""
        return self.tree.value.get("algorithm") if isinstance(self.tree.value, dict) else None

    def plan(self) -> "RunPlan":
        """The checked plan.

        Raises:
            ConfigError: naming every mistake that was found, each with its place.
        """
        from rllib.config.plan import PlanReader

        reader = PlanReader(self.tree, self.problems)
        reader.apply(self.assignments)
        return reader.plan(self.name)


def _actor_counts(tree: Any) -> Iterator[tuple[str, Any]]:
    sections = tree.values() if isinstance(tree, dict) else ()
    for section in sections:
        if isinstance(section, dict):
            yield from ((key, section[key]) for key in ACTOR_COUNTS if key in section)


def read_draft(config: str, overrides: Iterable[str] = (), stop: Iterable[str] = ()) -> Draft:
    """Read a preset or file and the command line.

    Args:
        config: name of a preset, or path of a YAML file.
        overrides: ``key=value`` with the value as in YAML; ``lr=3e-4``, ``training.lr=3e-4``,
            ``env_config.map_name=4x4``, ``stop.training_iteration=10``.
        stop: ``metric=number``; added to the criteria of the file, ``metric=null`` removes one.

    Raises:
        ConfigError: if the file cannot be found or read.
    """
    path = find_config(config)
    tree = yaml_tree.parse(_read(path), _shown(path))
    assignments: list[Assignment] = []
    problems: list[Problem] = []
    for pair in [*overrides, *(f"stop.{pair}" for pair in stop)]:
        try:
            assignments.append(read_assignment(pair))
        except ConfigError as error:
            problems += error.problems
    return Draft(path.stem, tree, tuple(assignments), tuple(problems))


def load_plan(config: str, overrides: Iterable[str] = (), stop: Iterable[str] = ()) -> "RunPlan":
    """``read_draft`` and ``Draft.plan`` in one; the same arguments and errors."""
    return read_draft(config, overrides, stop).plan()


def find_config(name: str) -> Path:
    """Path of a preset, by name, or of a config file."""
    path = Path(name)
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        if path.is_file():
            return path
        raise ConfigError(f"{name}: {'is not a file' if path.exists() else 'no such file'}")
    presets = preset_paths()
    if name in presets:
        return presets[name]
    guess = nearest(name, presets)
    hint = f"did you mean {guess!r}?" if guess else f"there are: {', '.join(sorted(presets))}"
    other = "or give the path of a .yaml file, as rllib init ENV writes one"
    raise ConfigError(f"unknown preset {name!r}; {hint} ({other})")


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(yaml_tree.MAX_CHARS + 1)  # which are refused, however many follow
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 (byte {error.start})") from None


def _shown(path: Path) -> str:
    """The path as the user would write it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _for_example(pair: str) -> str:
    """A whole pair, where something says what was meant by half of one."""
    if (steps := pair.removeprefix("stop.")) != pair and steps.isdigit():
        return f", for example num_env_steps_sampled_lifetime={steps}"
    return f", for example env={pair}" if re.fullmatch(r"[A-Z]\w*-v\d+", pair) else ""


def read_assignment(pair: str) -> Assignment:
    """``key=value`` with the value as in YAML.

    Raises:
        ConfigError: it is none.
    """
    key, equals, text = pair.partition("=")
    if not equals or not key.strip("."):
        text = f"{pair.removeprefix('stop.')!r}: write it as key=value{_for_example(pair)}"
        raise ConfigError(Problem(text, where=COMMAND_LINE))
    value = yaml_tree.parse(text, f"{COMMAND_LINE}: {key}").value
    # A metric may have dots in its name; it is one key under "stop".
    head, _, rest = key.partition(".")
    return Assignment((head, rest) if head == "stop" else tuple(key.split(".")), value)
