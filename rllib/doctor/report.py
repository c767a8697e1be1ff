"""Everything that the doctor finds, line by line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rllib.doctor.facts import Fact, all_facts
from rllib.doctor.leftovers import dead_sessions, processes_of, remove


def report(fix: bool, trial: bool, runs_dir: Path, say: Callable[[str], Any]) -> int:
    """Say what there is, and remove what killed runs have left, if asked to.

    Args:
        fix: whether to remove it.
        trial: whether to try the runtime and training.
        runs_dir: where runs are.
        say: is told each line.

    Returns:
        The exit code: 1 if there is an error.
    """
    found = []
    for fact in _facts(fix, trial, runs_dir):
        say(str(fact))
        found.append(fact)
    counts = {level: sum(fact.level == level for fact in found) for level in ("error", "warning")}
    say(f"{counts['error'] or 'no'} errors, {counts['warning'] or 'no'} warnings")
    return 1 if counts["error"] else 0


def _facts(fix: bool, trial: bool, runs_dir: Path) -> Iterator[Fact]:
    yield from all_facts(runs_dir)
    yield leftovers(fix)
    if trial:
        from rllib.doctor.trial import trial as try_out

        yield from try_out()


def leftovers(fix: bool, base: Path | None = None) -> Fact:
    """What dead runs have left; gone afterwards with ``fix``.

    Args:
        fix: whether to remove it.
        base: folder of all sessions; by default that of this user.
    """
    folders = dead_sessions(base)
    if not folders:
        return Fact("ok", "left behind", "nothing by runs that were killed")
    if fix:
        ended = remove(folders)
        return Fact("ok", "left behind", f"removed {len(folders)} sessions, {ended} processes")
    number = len(list(processes_of(folders)))
    text = f"{len(folders)} sessions and {number} processes of runs that were killed: use --fix"
    return Fact("warning", "left behind", text)
