"""How many function calls an env step of training takes: the same on every machine, busy or not.

A count knows nothing of what a call costs, but it grows with whatever is done once more than before
in each step, update or fragment, and it never does so by chance::

    python -m rllib.benchmarking.counts --compare benchmarks/baselines/short.json
"""

import argparse
import gc
import json
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from rllib.benchmarking.measure import ROWS
from rllib.config.file import load_plan

SHORT = ("ppo_cartpole", "dqn_cartpole")
KINDS = {"call": "python_calls", "c_call": "c_calls"}
"""Names of counts by event of ``sys.setprofile``; the second are numpy's and torch's as well."""
TOLERANCE = 0.05
ITERATIONS = 2
"""Before counting, and as many while counting."""

Counts = dict[str, float]


def count(row: str, overrides: tuple[str, ...] = ()) -> Counts:
    """Calls per env step of iterations in which everything has been called before."""
    events: Counter[str] = Counter()

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        events[event] += 1

    with load_plan(str(ROWS / f"{row}.yaml"), overrides).config.build_algo() as algo:
        for _ in range(ITERATIONS):
            algo.train()
        before = algo.num_env_steps_sampled_lifetime
        gc.disable()  # when it runs is none of ours, and finalisers are calls
        sys.setprofile(note)
        try:
            for _ in range(ITERATIONS):
                algo.train()
        finally:
            sys.setprofile(None)
            gc.enable()
        num_steps = algo.num_env_steps_sampled_lifetime - before
    return {name: round(events[event] / num_steps, 3) for event, name in KINDS.items()}


def regressions(
    old: dict[str, Counts], new: dict[str, Counts], tolerance: float = TOLERANCE
) -> list[str]:
    """A line for every count that is larger than it was by more than the tolerance."""
    return [
        f"{row}: {name} per env step: {found:,.2f}, was {old[row][name]:,.2f} "
        f"({found / old[row][name]:.2f}x)"
        for row, counts in new.items()
        if row in old
        for name, found in counts.items()
        if found > (1.0 + tolerance) * old[row][name]
    ]


def main(arguments: list[str] | None = None) -> int:
    """Count, print, write or compare; returns 1 if anything has grown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", nargs="+", default=list(SHORT))
    parser.add_argument("--save", type=Path, help="write the counts to this file")
    parser.add_argument("--compare", type=Path, help="with the counts in this file")
    given = parser.parse_args(arguments)
    found = {row: count(row) for row in given.rows}
    for row, counts in found.items():
        print(row, *(f"{name} per env step: {each:,.2f}" for name, each in counts.items()))
    if given.save:
        given.save.write_text(json.dumps(found, indent=1) + "\n")
    grown = regressions(json.loads(given.compare.read_text()), found) if given.compare else []
    for line in grown:
        print("more work than before:", line)
    return int(bool(grown))


if __name__ == "__main__":
    raise SystemExit(main())
