"""YAML as plain data in which every key knows its place, so that a mistake can be pointed at.

Scalars follow YAML 1.2's core schema, because YAML 1.1 reads ``3e-4`` as a string and ``no`` as
false. Digits may be grouped (``500_000``). Tags, anchors and aliases are refused: a config needs
none, and they are the way in for code execution and for documents that explode when expanded.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from rllib.errors import ConfigError, Problem

MAX_CHARS = 1_000_000
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))

_DIGITS = r"[0-9](?:_?[0-9])*"
_SCALARS: list[tuple[re.Pattern[str], Callable[[str], Any]]] = [
    (re.compile(r"~|null|Null|NULL|"), lambda text: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(rf"[-+]?{_DIGITS}"), int),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (
        re.compile(rf"[-+]?(?:\.{_DIGITS}|{_DIGITS}(?:\.(?:{_DIGITS})?)?)(?:[eE][-+]?[0-9]+)?"),
        float,
    ),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(?:nan|NaN|NAN)"), lambda text: math.nan),
]
_LONGEST_NUMBER = 100


def parse_scalar(text: str) -> Any:
    """The value of an unquoted scalar: None, bool, int, float, or the text itself."""
    if len(text) <= _LONGEST_NUMBER:
        for pattern, convert in _SCALARS:
            if pattern.fullmatch(text):
                return convert(text)
    return text


@dataclass
class Tree:
    """Plain data with the place of every key.

    Attributes:
        source: what the document is called in messages.
        value: nested dicts with string keys, lists and scalars.
        places: path of a key or an element (``training.lr``, ``a.b[1]``) to where it was written.
        problems: what is wrong with the document although it could be read.
    """

    source: str
    value: Any = None
    places: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse(text: str, source: str) -> Tree:
    """Read one YAML document.

    Args:
        text: the document.
        source: what to call it in messages, a file name as a rule.

    Raises:
        ConfigError: if the text is not YAML, or uses what is refused here.
    """
    if len(text) > MAX_CHARS:
        raise ConfigError(Problem(f"longer than {MAX_CHARS:,} characters", where=source))
    try:
        node = yaml.compose(text, Loader=_Loader)
        tree = Tree(source)
        if node is not None:
            tree.value = _convert(node, "", tree)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(
            Problem(_reason(error), where=_place(source, error.problem_mark))
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(Problem(f"not YAML: {error}", where=source)) from None
    except RecursionError:
        raise ConfigError(Problem("nested too deeply", where=source)) from None
    return tree


def dump(value: Any) -> str:
    """Write plain data so that ``parse`` reads exactly the same back."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Loader(yaml.SafeLoader):
    """Composes nodes only: scalars stay text, and aliases are refused."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # pyyaml's own class attribute

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it open
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            text = "anchors and aliases (& and *) are not supported; write the value out"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes every string that would come back as something else, and never writes aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = text.isprintable() and isinstance(parse_scalar(text), str)
    style = None if plain else '"'  # double quotes escape what the others fold or misread
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)


def _convert(node: yaml.Node, path: str, tree: Tree) -> Any:
    if node.tag not in PLAIN_TAGS:
        text = f"the tag {node.tag!r} is not supported; only plain values are"
        raise yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return dict(_items(node, path, tree))
    if isinstance(node, yaml.SequenceNode):
        return list(_elements(node, path, tree))
    unquoted = isinstance(node, yaml.ScalarNode) and node.style is None
    return parse_scalar(node.value) if unquoted else node.value


def _items(node: yaml.MappingNode, path: str, tree: Tree) -> Iterator[tuple[str, Any]]:
    seen: dict[str, str] = {}
    for key_node, value_node in node.value:
        place = _place(tree.source, key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode):
            tree.problems.append(Problem("a key must be a plain word", where=place))
            continue
        key = key_node.value
        inner = f"{path}.{key}" if path else key
        if key in seen:
            text = f"written twice; the first one is at {seen[key]}"
            tree.problems.append(Problem(text, inner, place))
            continue
        seen[key] = tree.places[inner] = place
        yield key, _convert(value_node, inner, tree)


def _elements(node: yaml.SequenceNode, path: str, tree: Tree) -> Iterator[Any]:
    for index, child in enumerate(node.value):
        inner = f"{path}[{index}]"
        tree.places[inner] = _place(tree.source, child.start_mark)
        yield _convert(child, inner, tree)


def _place(source: str, mark: yaml.Mark | None) -> str:
    return f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source


def _reason(error: yaml.MarkedYAMLError) -> str:
    for words, reason in _REASONS.items():
        if words in str(error.problem):
            return reason
    context = f" ({error.context})" if error.context else ""
    return f"{error.problem}{context}"


_REASONS = {
    "'\\t' that cannot start": "a tab, which YAML does not allow; indent by spaces",
    "found another document": "a second document begins here; a config is one document",
    "mapping values are not allowed": "a second ':' on one line (mapping values are not allowed "
    "here); write what belongs below on lines of its own, or quote the value",
}
"""What the parser says, and what it means to somebody who does not know it."""
