"""``rllib benchmark`` from its options to its exit code."""

import json
from collections.abc import Callable
from pathlib import Path

from rllib.benchmarking import suite as suites
from rllib.errors import ConfigError
from rllib.runs.console import complain

OK, SLOWER, WRONG = 0, 1, 2


def report(
    suite: str,
    baseline: Path | None,
    save: Path | None,
    seconds: float,
    repeats: int,
    tolerance: float,
    say: Callable[[str], None],
) -> int:
    """Measure, print, write, compare; returns the exit code."""
    try:
        old = None if baseline is None else suites.read_baseline(baseline)
        results = suites.run_suite(suite, seconds, repeats, tell=say)
    except (ConfigError, RuntimeError) as error:
        complain(f"error: {error}")
        return WRONG
    if save is not None:
        save.write_text(json.dumps(suites.document(suite, results), indent=1) + "\n")
    lines = suites.table(results, old, tolerance)
    for line in lines:
        say(row_text(line))
    return SLOWER if suites.is_regression(lines) else OK


def row_text(line: suites.Line) -> str:
    """One row for people."""
    text = f"{line.name:20} {line.steps_per_second:>12,.0f} env steps/s"
    found = line.comparison
    if found is None:
        return text
    interval = f"{found.ratio:.2f}x ({found.low:.2f} to {found.high:.2f})"
    return f"{text}   {interval}   {found.verdict}"
