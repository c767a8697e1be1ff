"""What a check has to say."""

from dataclasses import dataclass
from typing import Any, Literal

from rllib.envs.faults import signature_hint

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: an "error" makes training impossible or wrong; a "warning" may; a "note" is a fact.
        place: what it is about: ``obs['camera']``, ``reward``, ``reset()``, ...
        text: what is the matter.
        fix: what to do about it; may be code to paste.
    """

    level: Level
    place: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        fix = "".join(f"\n    {line}" for line in self.fix.splitlines())
        return f"{self.level}: {self.place}: {self.text}{fix}"


def error(place: str, text: str, fix: str = "") -> Finding:
    """A finding of that level."""
    return Finding("error", place, text, fix)


def warning(place: str, text: str, fix: str = "") -> Finding:
    """A finding of that level."""
    return Finding("warning", place, text, fix)


def raised(place: str, failure: BaseException) -> Finding:
    """The environment raised."""
    last = failure.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    where = f" ({last.tb_frame.f_code.co_filename}:{last.tb_lineno})" if last else ""
    return error(
        place, f"raised {type(failure).__name__}: {failure}{signature_hint(failure)}{where}"
    )


def is_bad(findings: list[Finding], level: Any = "error") -> bool:
    """Whether one of them is of this level."""
    return any(finding.level == level for finding in findings)
