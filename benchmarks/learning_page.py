"""The page of the learning bench: the table of ``docs/learning.md``, and its curves as an image.

From ``benchmarks/results/learning.json``; nothing is trained. matplotlib is in the extra [plots]::

    python -m benchmarks.learning_page
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import facts
from benchmarks.learning import PRESETS

PAGE = facts.ROOT / "docs" / "learning.md"
CURVES = PAGE.with_suffix(".svg")
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
NUM_COLUMNS = 4
NUM_POINTS = 80

_ZOO = "[SB3 zoo](https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md)"
_CLEANRL = "[CleanRL](https://docs.cleanrl.dev/rl-algorithms/sac/)"
PUBLISHED = {
    "ppo_cartpole": f"500 after 100 k ({_ZOO})",
    "dqn_cartpole": f"500 after 50 k ({_ZOO})",
    "ppo_pendulum": f"-172 after 100 k ({_ZOO})",
    "sac_pendulum": f"-157 after 20 k ({_ZOO})",
    "td3_pendulum": f"-152 after 20 k ({_ZOO})",
    "ppo_lunarlander": f"242 after 1 M, v2 ({_ZOO})",
    "ppo_acrobot": f"-74 after 1 M ({_ZOO})",
    "ppo_mountaincar_continuous": f"88 after 20 k ({_ZOO})",
    "ppo_halfcheetah": f"5,819 after 1 M, v3 ({_ZOO})",
    "sac_halfcheetah": f"9,535 after 1 M, v3 ({_ZOO}); 9,635, v2 ({_CLEANRL})",
}
"""Returns that others have published, after how many env steps, by preset."""

Floats = NDArray[np.float64]


class Band(NamedTuple):
    """Curves of several seeds on common env steps.

    Attributes:
        env_steps: [P].
        returns: [S, P] of each seed; one that has reached its threshold stays there.
    """

    env_steps: Floats
    returns: Floats


def main() -> None:
    """Write both."""
    results = json.loads((facts.RESULTS / "learning.json").read_text())["results"]
    rows = {preset: results[preset] for preset in PRESETS if preset in results}
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}")
    draw(rows)


def table(rows: Mapping[str, Any]) -> str:
    """In Markdown."""
    titles = "Preset | Threshold | Budget | Env steps | Seconds | Seeds | Published elsewhere"
    lines = [f"| {titles} |", "|" + "---|" * (titles.count("|") + 1)]
    return "\n".join([*lines, *(_line(preset, row) for preset, row in rows.items())])


def _line(preset: str, row: Mapping[str, Any]) -> str:
    name, threshold = next(iter(row["threshold"].items()))
    greedy = " greedy" if name.startswith("evaluation") else ""
    cells = [
        f"`{preset}`",
        f"{round(threshold, 2):,}{greedy}",
        _short(row["budget"]),
        _range(row["env_steps"], _short),
        _range(row["seconds"], lambda seconds: f"{seconds:.0f}"),
        f"{row['reached']} of {len(row['runs'])}",
        PUBLISHED.get(preset, ""),
    ]
    return f"| {' | '.join(cells)} |"


def _range(summary: Mapping[str, float], shown: Any) -> str:
    low, high = shown(summary["min"]), shown(summary["max"])
    return shown(summary["median"]) + (f" ({low} to {high})" if low != high else "")


def _short(env_steps: float) -> str:
    millions = env_steps >= 1_000_000
    return f"{env_steps / 1e6:.3g} M" if millions else f"{env_steps / 1e3:.3g} k"


def band(runs: Mapping[str, Any]) -> Band:
    """Of one preset's runs."""
    curves = [np.asarray(run["curve"], np.float64).T for run in runs.values()]
    last = max(float(steps[-1]) for steps, _ in curves)
    env_steps = np.linspace(min(float(steps[0]) for steps, _ in curves), last, NUM_POINTS)
    return Band(env_steps, np.stack([np.interp(env_steps, *curve) for curve in curves]))


def draw(rows: Mapping[str, Any]) -> None:
    """One small plot for each preset, as an image of vectors that is the same at every drawing."""
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "rllib", "svg.fonttype": "none", "font.size": 8}
    shape = (math.ceil(len(rows) / NUM_COLUMNS), NUM_COLUMNS)
    size = (2.6 * NUM_COLUMNS, 2.0 * shape[0])
    figure, grid = plt.subplots(*shape, figsize=size, layout="constrained", squeeze=False)
    for axes, (preset, row) in zip(_blank(grid), rows.items(), strict=False):
        _draw_one(axes, preset, row)
    figure.savefig(CURVES, metadata={"Date": None})
    CURVES.write_text("\n".join(line.rstrip() for line in CURVES.read_text().splitlines()) + "\n")


def _blank(grid: Any) -> Iterator[Any]:
    for axes in grid.flat:
        axes.set_axis_off()
        yield axes


def _draw_one(axes: Any, preset: str, row: Mapping[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter

    env_steps, returns = band(row["runs"])
    axes.set_axis_on()
    axes.fill_between(env_steps, returns.min(0), returns.max(0), alpha=0.3, linewidth=0)
    axes.plot(env_steps, np.median(returns, 0), linewidth=1.2)
    axes.axhline(next(iter(row["threshold"].values())), color="grey", linestyle=":", linewidth=0.8)
    axes.set_title(preset)
    axes.xaxis.set_major_locator(_few_ticks())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3)


if __name__ == "__main__":
    main()
