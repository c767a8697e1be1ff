"""What was probably meant by a value that is none: habits of other languages and libraries."""

import re

import gymnasium as gym

_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def value_hint(value: object, wants: str) -> str:
    """The beginning of a right value, as ``; did you mean 0.99?``, or nothing.

    Args:
        value: what was given.
        wants: what should have been.
    """
    if isinstance(value, float) and value.is_integer() and "integer" in wants:
        return f"; did you mean {int(value)}?"
    if isinstance(value, gym.Env):
        return "; give what makes one: its id, its class, or lambda config: ..."
    if isinstance(value, list) and len(value) == 1 and "list" not in wants:
        return f"; did you mean {value[0]!r}?"
    if not isinstance(value, str):
        return ""
    if "list" in wants and re.fullmatch(r"[^,\[\]]+(,[^,\[\]]+)+", value):
        return f"; did you mean [{value}]?"
    if "mapping" in wants and re.fullmatch(r"\w+:\S+", value):
        return f"; did you mean '{value.replace(':', ': ', 1)}', with a space?"
    if value.lower() in _BOOLEANS:
        return f"; did you mean {_BOOLEANS[value.lower()]}?"
    if re.fullmatch(r"[-+]?\d+,\d+", value):
        return f"; did you mean {value.replace(',', '.')}?"
    if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|true|false|null", value):
        return "; write it without quotes"
    if linear := re.fullmatch(r"lin_([\d.e-]+)", value):
        return f"; a linear schedule is written [[0, {linear[1]}], [LAST_ENV_STEP, 0.0]]"
    return ""
