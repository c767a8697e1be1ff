"""The table of ``docs/speed.md`` and the readme, and its picture; nothing is measured.

They are of ``results/speed.json``. matplotlib is in the extra [plots]::

    python -m benchmarks.speed_page
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import facts
from benchmarks.marked import put
from benchmarks.peers.environments import PEERS
from benchmarks.speed import OURS, ratio

PAGE = facts.ROOT / "docs" / "speed.md"
README = facts.ROOT / "README.md"
BARS = PAGE.with_suffix(".svg")
COLOURS = {OURS: "#0072b2", "sb3": "#d55e00", "cleanrl": "#009e73", "sample-factory": "#cc79a7"}
OTHERS = "#999999"
NUM_COLUMNS = 3
TITLES = {
    "ppo_cartpole": "PPO, CartPole",
    "time_to_475": "PPO, CartPole: seconds to 475",
    "appo_cartpole": "APPO, CartPole, two env runners",
    "ppo_halfcheetah": "PPO, HalfCheetah",
    "sac_halfcheetah": "SAC, HalfCheetah",
    "dqn_cartpole": "DQN, CartPole",
    "dqn_cartpole_64": "DQN, CartPole, 64 env steps at a time",
    "ppo_pong": "PPO, Pong, Nature CNN",
}


def main() -> None:
    """Write all three."""
    results = facts.known_results("speed")
    for page in (PAGE, README):
        page.write_text(put(page.read_text(), "speed", table(results)))
    draw(results)


def table(results: Mapping[str, Any]) -> str:
    """In Markdown: ours, and each peer with how many times its speed ours is."""
    lines = ["| | rllib | beside it | goal |", "|---|---:|---|---|"]
    for name, title in TITLES.items():
        if name in results:
            lines.append(_row(title, results[name]))
    return "\n".join(lines)


def _row(title: str, result: Mapping[str, Any]) -> str:
    ours = result[OURS].get("median")
    own = "-" if ours is None else _figure(ours)
    return f"| {title} | {own} | {', '.join(_peers(result))} | {result['goal']} |"


def _peers(result: Mapping[str, Any]) -> Iterator[str]:
    for system in PEERS:
        if system not in result:
            continue
        theirs, times = result[system].get("median"), ratio(result, system)
        if theirs is None:
            yield f"{system}: cannot run"
        else:
            yield f"{system} {_figure(theirs)}" + ("" if times is None else f" ({times:.1f}x)")


def _figure(number: float) -> str:
    """Three digits or four, without powers of ten."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def draw(results: Mapping[str, Any]) -> None:
    """Bars of all systems, row by row, as an image that is the same at every drawing."""
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "rllib", "svg.fonttype": "none", "font.size": 8}
    rows = {name: medians(results[name]) for name in TITLES if name in results}
    shape = (math.ceil(len(rows) / NUM_COLUMNS), NUM_COLUMNS)
    size = (3.6 * NUM_COLUMNS, 1.6 * shape[0])
    figure, grid = plt.subplots(*shape, figsize=size, layout="constrained", squeeze=False)
    for axes, (name, bars) in zip(grid.flat, rows.items(), strict=False):
        _draw_one(axes, TITLES[name], results[name]["unit"], bars)
    for axes in list(grid.flat)[len(rows) :]:
        axes.set_axis_off()
    figure.savefig(BARS, metadata={"Date": None})
    BARS.write_text("\n".join(line.rstrip() for line in BARS.read_text().splitlines()) + "\n")


def medians(result: Mapping[str, Any]) -> dict[str, float]:
    """Of ours and of every peer that could run, ours first."""
    found = {system: result.get(system, {}).get("median") for system in (OURS, *PEERS)}
    return {system: value for system, value in found.items() if value is not None}


def _draw_one(axes: Any, title: str, unit: str, bars: Mapping[str, float]) -> None:
    names = list(bars)
    colours = [COLOURS.get(name, OTHERS) for name in names]
    drawn = axes.barh(names, list(bars.values()), color=colours)
    axes.bar_label(drawn, [_figure(value) for value in bars.values()], padding=3)
    axes.set_title(title if unit in title else f"{title} ({unit})", loc="left")
    axes.set_xlim(0, 1.25 * max(bars.values()))
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])


if __name__ == "__main__":
    main()
