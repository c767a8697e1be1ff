"""The table of ``docs/speed.md``, from ``results/speed.json``; nothing is measured.

::

    python -m benchmarks.speed_page
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import facts
from benchmarks.marked import put
from benchmarks.peers.environments import PEERS
from benchmarks.speed import OURS, ratio

PAGE = facts.ROOT / "docs" / "speed.md"
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
    """Write the table."""
    PAGE.write_text(put(PAGE.read_text(), "speed", table(facts.known_results("speed"))))


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


if __name__ == "__main__":
    main()
