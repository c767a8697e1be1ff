"""What a setting means, for ``rllib explain``: put together from the schema, nothing else."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import fill, indent

from rllib.config import AlgorithmConfig
from rllib.config.names import RENAMED, UNSUPPORTED, anyway, nearest
from rllib.config.plain import plain
from rllib.config.schema import MODEL, Schema, in_words, model_schemas, setting_schemas
from rllib.errors import ConfigError
from rllib.registry import algorithm_names, get_config_class
from rllib.runs.stopping import COMMON_METRICS

PAGE = "docs/settings.md"
WIDTH = 78


@dataclass(frozen=True)
class Setting:
    """One setting as one or several algorithms have it.

    Attributes:
        path: ``lr``, or ``model_config.fcnet_hiddens``.
        section: it stands under.
        kind: type and limits, in words.
        effect: what it does.
        defaults: default value by algorithm, as JSON.
    """

    path: str
    section: str
    kind: str
    effect: str
    defaults: dict[str, str]


def explanation(name: str, algorithm: str | None = None) -> str:
    """What a setting or a section is about.

    Args:
        name: ``lr``, ``training.lr``, ``model_config.fcnet_hiddens``, a section, or a name that
            another library has for it.
        algorithm: of which; by default all that have it.

    Raises:
        ConfigError: there is no such setting or algorithm; names the nearest.
    """
    algorithms = [algorithm] if algorithm else algorithm_names()
    configs = {each: get_config_class(each) for each in algorithms}
    key = name.removeprefix("rl_module.model_config.") if name.count(".") > 1 else name
    if key == "stop":
        return _stop()
    for section in _sections(configs.values()):
        if key == section:
            return _overview(section, configs)
        key = key.removeprefix(f"{section}.")
    note = ""
    if key in RENAMED:
        note, key = f"{key} is called {RENAMED[key]} here.\n\n", RENAMED[key]
    if key.startswith("stop."):
        return note + _stop()
    found = settings(key, configs)
    if not found:
        raise ConfigError(_unknown(name, key, configs))
    return note + "\n\n".join(_text(each, configs) for each in found)


def settings(key: str, configs: dict[str, type[AlgorithmConfig]]) -> list[Setting]:
    """The setting as the algorithms have it, one for all that agree in more than the default."""
    by_meaning: dict[tuple[str, str, str], dict[str, str]] = {}
    for algorithm, config in configs.items():
        for section, schema, default in _find(key, config):
            meaning = (section, in_words(schema), _one_line(schema.get("description", "")))
            by_meaning.setdefault(meaning, {})[algorithm] = default
    path = f"{MODEL}.{key}" if key in model_schemas() else key
    return [Setting(path, *meaning, defaults) for meaning, defaults in by_meaning.items()]


def _find(key: str, config: type[AlgorithmConfig]) -> Iterator[tuple[str, Schema, str]]:
    inner = key.removeprefix(f"{MODEL}.")
    if key in setting_schemas(config):
        schema, value = setting_schemas(config)[key], plain(config()[key])
        section = str(config.section_of(key))
    elif inner in model_schemas():
        schema, value = model_schemas()[inner], plain(config().model[inner])
        section = "rl_module"
    else:
        return
    yield section, schema, "as below model_config" if key == MODEL else json.dumps(value)


def _text(setting: Setting, configs: dict[str, type[AlgorithmConfig]]) -> str:
    everybody = setting.defaults.keys() == configs.keys()
    rows = {
        "type": setting.kind,
        "default": _defaults(setting.defaults),
        "algorithms": "all" if everybody else ", ".join(setting.defaults),
        "in a file": _in_a_file(setting),
        "as argument": _assignment(setting),
        "in Python": _in_python(setting),
        "in the docs": f"{PAGE}#{setting.path.rpartition('.')[2].lower()}",
    }
    lines = [_row(label, text) for label, text in rows.items()]
    effect = indent(fill(setting.effect, WIDTH - 2), "  ")
    return "\n".join([f"{setting.section}: {setting.path}", effect, "", *lines])


def _row(label: str, text: str) -> str:
    return fill(
        f"  {label:<13}{text}",
        WIDTH,
        subsequent_indent=" " * 15,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _defaults(defaults: dict[str, str]) -> str:
    values = set(defaults.values())
    if len(values) == 1:
        return values.pop()
    return ", ".join(f"{value} ({algorithm})" for algorithm, value in defaults.items())


def _example(setting: Setting) -> str:
    return next(iter(setting.defaults.values()))


def _in_a_file(setting: Setting) -> str:
    if setting.path == MODEL:
        return f"{setting.section}: {{{MODEL}: {{...}}}}"
    *outer, key = setting.path.split(".")
    inside = f"{key}: {_example(setting)}"
    for name in [*reversed(outer), setting.section]:
        inside = f"{name}: {{{inside}}}"
    return inside


def _assignment(setting: Setting) -> str:
    """As on the command line, without spaces."""
    if setting.path == MODEL:
        return f"{MODEL}.KEY=VALUE"
    compact = json.dumps(json.loads(_example(setting)), separators=(",", ":"))
    return f"{setting.path}={compact}"


def _in_python(setting: Setting) -> str:
    *outer, key = setting.path.split(".")
    value = "{...}" if setting.path == MODEL else repr(json.loads(_example(setting)))
    if outer:
        return f'.{setting.section}({outer[0]}={{"{key}": {value}}})'
    return f".{setting.section}({key}={value})"


def _sections(configs: Iterable[type[AlgorithmConfig]]) -> list[str]:
    return list(dict.fromkeys(section for config in configs for section in config.section_keys()))


def _overview(section: str, configs: dict[str, type[AlgorithmConfig]]) -> str:
    """Every setting of a section, with the first sentence of what it does."""
    keys = dict.fromkeys(
        key for config in configs.values() for key in config.section_keys().get(section, ())
    )
    entries = [_short(each, configs) for key in keys for each in settings(key, configs)]
    return "\n".join([f"{section}:", *entries])


def _short(setting: Setting, configs: dict[str, type[AlgorithmConfig]]) -> str:
    everybody = setting.defaults.keys() == configs.keys()
    whose = "" if everybody else f" ({', '.join(setting.defaults)})"
    sentence = setting.effect.partition(". ")[0].rstrip(".")
    return indent(f"{setting.path}{whose}\n" + indent(fill(sentence, WIDTH - 4), "  "), "  ")


def _stop() -> str:
    metrics = indent("\n".join(COMMON_METRICS), "  ")
    return f"stop: metric to number\n{indent(fill(_STOP, WIDTH - 2), '  ')}\n\n{metrics}"


_STOP = (
    "The run ends when one of them is reached. Every number of a result may stand here, nested "
    "names joined by /; those of every run are"
)


def _unknown(name: str, key: str, configs: dict[str, type[AlgorithmConfig]]) -> str:
    if key in UNSUPPORTED:
        instead = UNSUPPORTED[key]
        hint = f"; the nearest setting is {instead!r}" if instead else ""
        return f"{name!r} is a setting of RLlib's that there is not{hint}{anyway(key)}"
    known = {each for config in configs.values() for each in config.public_names()}
    sections = _sections(configs.values())
    guess = nearest(key, [*known, *model_schemas(), *sections])
    hint = f"did you mean {guess!r}?" if guess else f"sections are {', '.join(sections)}"
    return f"there is no setting {name!r}; {hint}"


def _one_line(text: str) -> str:
    return " ".join(text.replace("``", "").split())


# The page that lists everything.


def settings_page() -> str:
    """``docs/settings.md``: every setting of every algorithm, section by section."""
    configs = {name: get_config_class(name) for name in algorithm_names()}
    parts = [_HEAD]
    for section in _sections(configs.values()):
        parts.append(f"## {section}\n")
        keys = dict.fromkeys(k for c in configs.values() for k in c.section_keys().get(section, ()))
        parts += [_entry(key, configs) for key in keys]
    parts += ["## model_config\n", *(_entry(f"{MODEL}.{key}", configs) for key in model_schemas())]
    return "\n".join(parts)


_HEAD = """# Settings

Every setting, section by section, as `rllib explain KEY` tells of one. Where no algorithm is named,
all have it. This page is written by `python -m rllib.config.explain > docs/settings.md`.
"""


def _entry(key: str, configs: dict[str, type[AlgorithmConfig]]) -> str:
    title = f"### {key.rpartition('.')[2]}\n"
    return "\n".join([title, *(_paragraph(each, configs) for each in settings(key, configs))])


def _paragraph(setting: Setting, configs: dict[str, type[AlgorithmConfig]]) -> str:
    everybody = setting.defaults.keys() == configs.keys()
    whose = "" if everybody else f" Of {', '.join(setting.defaults)}."
    facts = f"Type: {setting.kind}. Default: `{_defaults(setting.defaults)}`.{whose}"
    return fill(setting.effect, 100) + "\n\n" + fill(facts, 100, break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    print(settings_page(), end="")
