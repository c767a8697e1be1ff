"""The page of the learning bench: the tables of ``docs/learning.md``, and its curves as an image.

Both come from ``learning.json`` and ``learning_published.json``, and nothing is trained.
matplotlib is in the extra [plots]::

    python -m benchmarks.learning_page
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import facts, learning_published
from benchmarks.learning import PRESETS
from benchmarks.marked import put

PAGE = facts.ROOT / "docs" / "learning.md"
CURVES = PAGE.with_suffix(".svg")
NUM_COLUMNS = 4
NUM_POINTS = 80

RLLIB_STOPS = {
    "ppo_cartpole": (450, 4_000_000),
    "appo_cartpole": (450, 1_000_000),
    "impala_cartpole": (450, 2_000_000),
    "dqn_cartpole": (450, 200_000),
    "ppo_stateless_cartpole": (350, 2_000_000),
    "ppo_pendulum": (-300, 400_000),
    "sac_pendulum": (-250, 20_000),
    "ppo_multi_agent_cartpole": (450, 400_000),
}
"""Return and env steps at which RLlib's own tuned example of that name stops, by preset; that of
several agents stops at the sum of so much for each."""

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
    results = facts.known_results("learning")
    rows = {preset: results[preset] for preset in PRESETS if preset in results}
    page = put(PAGE.read_text(), "thresholds", thresholds(rows))
    PAGE.write_text(
        put(page, "published", published(facts.known_results(learning_published.RESULT_FILE)))
    )
    draw(rows)


def thresholds(rows: Mapping[str, Any]) -> str:
    """What each preset took to reach its threshold, in Markdown."""
    titles = ("Preset", "Threshold", "Budget", "Env steps", "Seconds", "Seeds", "RLlib stops at")
    return _table(titles, [_cells(preset, row) for preset, row in rows.items()])


def published(rows: Mapping[str, Any]) -> str:
    """Returns after as many env steps as others took, beside theirs, in Markdown."""
    titles = ("Preset", "Env steps", "Published", "Here", "Seconds")
    return _table(titles, [_published_cells(preset, row) for preset, row in rows.items()])


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows))


def _cells(preset: str, row: Mapping[str, Any]) -> Sequence[str]:
    name, threshold = next(iter(row["threshold"].items()))
    greedy = " greedy" if name.startswith("evaluation") else ""
    return (
        f"`{preset}`",
        f"{round(threshold, 2):,}{greedy}{_of_each(name)}",
        _short(row["budget"]),
        _range(row["env_steps"], _short),
        _range(row["seconds"], _whole),
        f"{row['reached']} of {len(row['runs'])}",
        _rllib_stop(preset, _of_each(name)),
    )


def _of_each(name: str) -> str:
    """Of a threshold that every one of several agents reaches."""
    return " each" if name.endswith("least_agent_episode_return_mean") else ""


def _rllib_stop(preset: str, of_each: str) -> str:
    if preset not in RLLIB_STOPS:
        return ""
    episode_return, env_steps = RLLIB_STOPS[preset]
    return f"{episode_return}{of_each} or {_short(env_steps)}"


def _published_cells(preset: str, row: Mapping[str, Any]) -> Sequence[str]:
    others = row["published"]
    return (
        f"`{preset}`",
        _short(others["env_steps"]),
        f"{others['episode_return']:,} ({others['source']})",
        _range(row["episode_return"], _whole),
        _range(row["seconds"], _whole),
    )


def _range(summary: Mapping[str, float], shown: Callable[[float], str]) -> str:
    low, high = shown(summary["min"]), shown(summary["max"])
    return shown(summary["median"]) + (f" ({low} to {high})" if low != high else "")


def _whole(value: float) -> str:
    return f"{value:,.0f}"


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
