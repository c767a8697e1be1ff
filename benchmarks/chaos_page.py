"""The tables of ``docs/faults.md``, from ``chaos.json``, ``chaos_checks.json`` and others.

Nothing is trained::

    python -m benchmarks.chaos_page
"""

from __future__ import annotations

from typing import Any

from benchmarks import facts
from benchmarks.marked import put

PAGE = facts.ROOT / "docs" / "faults.md"
TRAINED = ("| fault | reached 475 | faults | env steps beside clean | back after, median / p95 |",)


def main() -> None:
    """Write them."""
    PAGE.write_text(filled(PAGE.read_text()))


def filled(page: str) -> str:
    """The page with the tables of the results that there are."""
    page = put(page, "chaos", trained(facts.known_results("chaos")))
    checks = facts.known_results("chaos_checks")
    return put(page, "pauses", pauses(facts.known_results("checkpoint_pause"), checks))


def trained(results: dict[str, Any]) -> str:
    """A line for each row that was trained."""
    lines = [*TRAINED, "|---|---|---|---|---|"]
    for name, row in results.items():
        each = row["summary"]
        faults = each["kills"] + each["failures"]
        cells = [name, each["reached"], f"{faults}" if faults else "", _beside(each), _back(each)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _beside(summary: dict[str, Any]) -> str:
    ratio = summary.get("env_steps_beside_clean")
    return "" if ratio is None else f"{ratio:.2f}"


def _back(summary: dict[str, Any]) -> str:
    if "recovery_s_p95" not in summary:
        return ""
    return f"{summary['recovery_s_median']:.1f} s / {summary['recovery_s_p95']:.1f} s"


def pauses(results: dict[str, Any], checks: dict[str, Any]) -> str:
    """How long training stands still for a checkpoint, and what else was counted."""
    lines = ["| preset | stands still, median / longest | new bytes |", "|---|---|---|"]
    for name, row in results.items():
        pause, written = row["pause_ms"], row["new_bytes"]["median"]
        figures = f"{pause['median']:.0f} ms / {pause['max']:.0f} ms"
        lines.append(f"| {name} | {figures} | {written:,.0f} |")
    if writing := checks.get("killed while writing"):
        kills, lost = writing["kills"], writing["unreadable_or_lost"]
        text = f"A writer of checkpoints was killed {kills} times at random instants and went on"
        lines += ["", f"{text} from its newest one: {lost} were unreadable or lost."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
