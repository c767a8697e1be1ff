"""From a parsed config and the command line to a checked plan of a run.

::

    tree --sections--> flat settings <--assignments-- command line
                            |
                            '--schema--> RunPlan, or every mistake with its place
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rllib import plugins
from rllib.callbacks import HOOKS
from rllib.config import AlgorithmConfig, yaml_tree
from rllib.config.file import COMMAND_LINE, Assignment
from rllib.config.hints import value_hint
from rllib.config.names import RENAMED, RENAMED_SECTIONS, explain_unknown, nearest, renaming
from rllib.envs.faults import EnvSetupError
from rllib.envs.make import choose_backend
from rllib.errors import ConfigError, Problem
from rllib.registry import algorithm_names, default_config, get_config_class
from rllib.runs.stopping import criterion_problem, foreseen_problem


@dataclass(frozen=True)
class RunPlan:
    """What to train: the checked config and when to stop.

    Attributes:
        name: of the preset, or stem of the file; a run is called that unless told otherwise.
        config: the complete configuration.
        stop: metric to the number that ends the run; empty trains until interrupted.
    """

    name: str
    config: AlgorithmConfig
    stop: dict[str, float] = field(default_factory=dict)

    def to_yaml(self) -> str:
        """The complete plan as a config file that reads back as the same plan."""
        sections = {key: values for key, values in self.config.to_sections().items() if values}
        return yaml_tree.dump(
            {"algorithm": self.config.algo_name, **sections, "stop": dict(self.stop)}
        )


class PlanReader:
    """Collects flat settings and their places from a tree and from assignments."""

    def __init__(self, tree: yaml_tree.Tree, problems: Iterable[Problem] = ()) -> None:
        if not isinstance(tree.value, dict):
            what = "is empty" if tree.value is None else "should be a mapping of sections"
            text = f"the config {what}; it starts with 'algorithm: PPO', for example"
            raise ConfigError(Problem(text, where=tree.source))
        self.problems = [*tree.problems, *problems]
        self.places: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.stop: dict[str, Any] = {}
        name = tree.value.get("algorithm")
        if name is None:
            self.problems += _other_names_of_algorithm(tree)
        place = tree.places.get("algorithm", tree.source)
        if not isinstance(name, str) and self.problems and name is None:
            raise ConfigError(self.problems)
        if not isinstance(name, str):
            text = "missing" if name is None else f"should be a name, got {name!r}"
            wrong = Problem(f"{text}; for example 'PPO'", "algorithm", place)
            raise ConfigError([*self.problems, wrong])
        self.algorithm = name
        try:
            self.schema = get_config_class(self.algorithm)
        except ConfigError as error:
            raise ConfigError([Problem(str(p), where=place) for p in error.problems]) from error
        for name, value in tree.value.items():
            if name != "algorithm":
                self._section(name, value, tree.places)

    def _section(self, name: str, value: Any, places: Mapping[str, str]) -> None:
        sections = self.schema.section_keys()
        if name != "stop" and name not in sections:
            self._wrong(self._explain_section(name), name, places[name])
        elif value is None:
            return
        elif not isinstance(value, dict):
            text = f"should be a mapping, got {value!r}{value_hint(value, 'a mapping')}"
            self._wrong(text, name, places[name])
        elif name == "stop":
            self.stop |= value
            self.places |= {f"stop.{key}": places[f"stop.{key}"] for key in value}
        else:
            self._settings(name, value, places)

    def _settings(self, section: str, values: dict[str, Any], places: Mapping[str, str]) -> None:
        for key, value in values.items():
            home = self.schema.section_of(key)
            if home == section:
                self.settings[key] = value
            elif home:
                self._wrong(f"belongs under {home!r}", key, places[f"{section}.{key}"])
            else:
                self._wrong(self._explain_key(key, section), key, places[f"{section}.{key}"])
        prefix = f"{section}."
        for path, place in places.items():
            if path.startswith(prefix):
                self.places[path.removeprefix(prefix)] = place

    def apply(self, assignments: Iterable[Assignment]) -> None:
        """Let the command line have the last word."""
        for assignment in assignments:
            keys = assignment.keys
            if keys[0] == "stop" and len(keys) > 1:
                self._set_criterion(keys[1], assignment.value)
                continue
            section = keys[0] if keys[0] in self.schema.section_keys() else None
            path = keys[1:] if section else keys
            if keys == ("algorithm",):
                text = "a config has one, whose settings are checked; take another (rllib presets)"
                self._wrong(text, "algorithm", COMMAND_LINE)
            elif not path or not path[0]:
                self._wrong("is a section; name a setting in it", keys[0], COMMAND_LINE)
            elif (home := self.schema.section_of(path[0])) is None:
                text = self._explain_key(path[0], section)
                self._wrong(text, assignment.name, COMMAND_LINE)
            elif section not in (None, home):
                self._wrong(f"belongs to {home!r}", assignment.name, COMMAND_LINE)
            else:
                self._assign(path, assignment.value)

    def _set_criterion(self, metric: str, threshold: Any) -> None:
        """Add a stop criterion, or remove one by setting it to null."""
        self.stop.pop(metric, None)
        if threshold is not None:
            self.stop[metric] = threshold
            self.places[f"stop.{metric}"] = COMMAND_LINE

    def _assign(self, path: tuple[str, ...], value: Any) -> None:
        """Set a value at a path, in a copy of what is there."""
        name = ".".join(path)
        self.places = {key: at for key, at in self.places.items() if not _is_within(key, name)}
        self.places[name] = COMMAND_LINE
        base = self.settings.get(path[0], default_config(self.algorithm).to_dict()[path[0]])
        try:
            self.settings[path[0]] = _with(base, path[1:], value)
        except TypeError:
            text = f"is no mapping, so it has no {'.'.join(path[1:])!r}"
            self._wrong(text, path[0], COMMAND_LINE)

    def plan(self, name: str) -> RunPlan:
        """The plan, or ``ConfigError`` with all that was found wrong."""
        config = default_config(self.algorithm)
        self.problems += self._placed(_checked(config, self.settings))
        for metric, threshold in self.stop.items():
            text = criterion_problem(metric, threshold)
            if text is None and not _has_own_metrics(config):
                text = foreseen_problem(metric, config.policy_ids)
            if text:
                self._wrong(text, metric, self.places[f"stop.{metric}"])
        if self.problems:
            raise ConfigError(sorted(self.problems, key=_reading_order))
        return RunPlan(name, config, self.stop)

    def _placed(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        for problem in problems:
            yield Problem(problem.text, problem.key, self._place_of(problem.key))

    def _place_of(self, key: str) -> str:
        """The place of the key itself, or of the nearest enclosing one that was written."""
        while key and key not in self.places:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.places.get(key, "")

    def _known_keys(self) -> set[str]:
        return {key for keys in self.schema.section_keys().values() for key in keys}

    def _explain_key(self, key: str, section: str | None) -> str:
        """What an unknown key should be; where it stands elsewhere or is another algorithm's."""
        known = self._known_keys()
        text = explain_unknown(key, known)
        renamed = renaming(key, known)
        if renamed:
            home = self.schema.section_of(renamed.partition(".")[0])
            return text if home == section or not (home and section) else f"{text}, under {home!r}"
        owners = [name for name in algorithm_names() if _has_setting(name, key)]
        return f"not a setting of {self.algorithm}, but of {', '.join(owners)}" if owners else text

    def _explain_section(self, name: str) -> str:
        wanted = RENAMED.get(name, name)
        if wanted.startswith("stop."):
            return f"unknown section; it is called {wanted!r} here"
        if home := self.schema.section_of(wanted):
            return f"belongs under {home!r}" + (f", as {wanted!r}" if wanted != name else "")
        if name in RENAMED_SECTIONS:
            return f"unknown section; it is called {RENAMED_SECTIONS[name]!r} here"
        sections = [*self.schema.section_keys(), "algorithm", "stop"]
        guess = nearest(name, sections)
        hint = f"did you mean {guess!r}?" if guess else f"there are: {', '.join(sections)}"
        return f"unknown section; {hint}"

    def _wrong(self, text: str, key: str, place: str) -> None:
        self.problems.append(Problem(text, key, place))


def _other_names_of_algorithm(tree: yaml_tree.Tree) -> Iterator[Problem]:
    """Keys that say in other words what the algorithm is."""
    for key in tree.value:
        if RENAMED_SECTIONS.get(key) == "algorithm":
            text = "unknown section; it is called 'algorithm' here"
            yield Problem(text, key, tree.places[key])
    for key, value in tree.value.items():
        if isinstance(value, dict) and "run" in value:
            text = "is a tuned example of RLlib's; rllib init ENV writes a config of today"
            yield Problem(text, str(key), tree.places[key])


def _has_setting(algorithm: str, key: str) -> bool:
    """Whether another algorithm has a setting; one that cannot be imported has none."""
    try:
        return get_config_class(algorithm).section_of(key) is not None
    except ConfigError:
        return False


def _checked(config: AlgorithmConfig, settings: Mapping[str, Any]) -> list[Problem]:
    """Set everything, and return all that is wrong with it, singly and in combination."""
    problems: list[Problem] = []
    for key, value in settings.items():
        try:
            setattr(config, key, value)
        except ConfigError as error:
            problems += error.problems
    if isinstance(config.env, str):
        try:
            env = plugins.find_env(config.env) or config.env
            choose_backend(env, config.gym_env_vectorize_mode, config.env_config)
        except (EnvSetupError, ConfigError) as error:
            problems.append(Problem(str(error), "env"))
    broken = {problem.key for problem in problems}
    return problems + [problem for problem in config.problems() if problem.key not in broken]


def _has_own_metrics(config: AlgorithmConfig) -> bool:
    """Whether code that is not of this package may add to results."""
    code = ("custom_evaluation_function", "env_runner_cls", "learner_class")
    is_ours = config.algo_name in plugins.OURS[plugins.ALGORITHMS]
    return not is_ours or any(config[name] for name in (*code, "callbacks_class", *HOOKS))


def _with(base: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    if not isinstance(base, dict | None):
        raise TypeError
    return {**(base or {}), path[0]: _with((base or {}).get(path[0]), path[1:], value)}


def _is_within(key: str, name: str) -> bool:
    return key == name or key.startswith((f"{name}.", f"{name}["))


def _reading_order(problem: Problem) -> tuple[bool, tuple[int, ...]]:
    """By line and column in the file; what the command line or nobody wrote comes last."""
    numbers = tuple(int(part) for part in problem.where.split(":") if part.isdigit())
    return not numbers, numbers
