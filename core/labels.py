"""Labels of machines, and selectors of them.

A machine has labels, texts by key. A selector tells for some keys what it must have: ``"value"``,
``"in(a, b)"`` for one of several, and with a ``!`` before either of them anything else, which
includes nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

NODE_ID = "ray.io/node-id"
"""The label that every machine has, under Ray's name."""
ACCELERATOR = "ray.io/accelerator-type"
"""The label of a machine with GPUs: their kind."""
DRIVERS_OWN = "rllib/drivers-own"
"""The label of a node of a cluster that was started for one driver, and ends with it."""

_WORD = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_NAME = re.compile(_WORD)
_PREFIX = re.compile(rf"(?=.{{0,253}}$){_WORD}(?:\.{_WORD})*")
_CONDITION = re.compile(rf"(?P<no>!?)(?:in\((?P<many>{_WORD}(?:, ?{_WORD})*)\)|(?P<one>{_WORD}))")
_RULE = "up to 63 letters, digits, '-', '_' and '.', with a letter or digit at either end"


class Condition(NamedTuple):
    """What one label must be; without ``values`` it need only be there."""

    key: str
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a machine with these labels will do."""
        found = labels.get(self.key) in self.values if self.values else self.key in labels
        return found != self.negated


Selector = tuple[Condition, ...]
"""Conditions of which all must hold."""

Alternatives = tuple[Selector, ...]
"""Selectors of which one will do; none for any machine."""


def matches(labels: Mapping[str, str], alternatives: Alternatives) -> bool:
    """Whether a machine with these labels will do."""
    chosen = (all(condition.holds(labels) for condition in each) for each in alternatives)
    return not alternatives or any(chosen)


def both(first: Alternatives, second: Alternatives) -> Alternatives:
    """What meets the one and the other."""
    if not (first and second):
        return first or second
    return tuple(one + other for one in first for other in second)


def alternatives(
    selector: Mapping[str, str], fallbacks: Iterable[Mapping[str, Mapping[str, str]]]
) -> Alternatives:
    """The options ``label_selector`` and ``fallback_strategy``, which were checked, as one."""
    chosen = (parse(selector), *(parse(each.get("label_selector") or {}) for each in fallbacks))
    return chosen if all(chosen) else ()  # one without conditions will do everywhere


def parse(selector: Mapping[str, str]) -> Selector:
    """A selector that was checked."""
    return tuple(_condition(key, value) for key, value in selector.items())


def _condition(key: str, text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        return Condition(key, ("",))
    values = [found["one"]] if found["one"] else found["many"].split(",")
    return Condition(key, tuple(values), bool(found["no"]))


def shown(alternatives: Alternatives) -> str:
    """In words, for an error."""
    return ", or else ".join(" and ".join(map(_shown, each)) for each in alternatives)


def _shown(condition: Condition) -> str:
    no = "not " if condition.negated else ""
    if not condition.values:
        return f"{no}any {condition.key!r}"
    return f"{condition.key!r} {no}{' or '.join(map(repr, condition.values))}"


# -- what users give -------------------------------------------------------------------------------


def check_labels(given: Any) -> dict[str, str]:
    """The labels of ``init``. Raises `TypeError` or `ValueError` naming what is wrong."""
    if given is None:
        return {}
    _check_mapping("labels", given)
    for key, value in given.items():
        _check_key(key)
        if not isinstance(value, str):
            raise TypeError(f"label {key!r} must be a str, got {value!r}")
        if value and not _NAME.fullmatch(value):
            raise ValueError(f"label {key!r} cannot be {value!r}: it takes {_RULE}")
    if NODE_ID in given:
        raise ValueError(f"label {NODE_ID!r} is the runtime's own; choose another key")
    return dict(given)


def check_selector(given: Any) -> dict[str, str]:
    """The option ``label_selector``. Raises `TypeError` or `ValueError` naming what is wrong."""
    if given is None:
        return {}
    _check_mapping("label_selector", given)
    for key, value in given.items():
        _check_key(key)
        if value is None:
            raise ValueError(f"label_selector wants nothing of {key!r}: leave the key out")
        if not isinstance(value, str):
            raise TypeError(f"label_selector must want text of {key!r}, got {value!r}")
        if value and not _CONDITION.fullmatch(value):
            raise ValueError(
                f"label_selector cannot want {value!r} of {key!r}: write 'value', '!value', "
                f"'in(a, b)' or '!in(a, b)', where values are {_RULE}"
            )
    return {key: value.replace(" ", "") for key, value in given.items()}  # as Ray needs it


def check_fallbacks(given: Any) -> tuple[dict[str, dict[str, str]], ...]:
    """The option ``fallback_strategy``. Raises `TypeError` or `ValueError` naming what is wrong."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise TypeError(f"fallback_strategy must be a list of dictionaries, got {given!r}")
    return tuple(_checked_fallback(each) for each in given)


def _checked_fallback(given: Any) -> dict[str, dict[str, str]]:
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            f"fallback_strategy lists dictionaries with a 'label_selector', got {given!r}"
        )
    for option in given:
        if option != "label_selector":
            raise ValueError(f"fallback_strategy knows 'label_selector' alone, got {option!r}")
    selector = given["label_selector"]
    if selector and not isinstance(selector, Mapping):
        raise ValueError(f"label_selector in fallback_strategy must be a dict, got {selector!r}")
    return {"label_selector": check_selector(selector or None)}


def _check_mapping(name: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must map keys to texts, got {given!r}")


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise TypeError(f"the key of a label must be a str, got {key!r}")
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{key!r} is no key of a label: a key is {_RULE}")
    if slash and not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{key!r} is no key of a label: before the '/' go names with dots between")
