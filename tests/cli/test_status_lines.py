"""What ``rllib status`` shows fits the terminal."""

from typing import Any

import pytest

from rllib.cli.status import lines

GIB = 2**30


def node(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "id": f"{number:012x}" + 44 * "f",
        "address": f"192.168.100.{number}",
        "name": f"worker-{number}",
        "alive": True,
        "head": number == 1,
        "resources": {"CPU": 64.0, "GPU": 8.0, "memory": 512.0 * GIB, "accelerator_type:H100": 1},
        "store": {"used": 3.5 * GIB, "capacity": 100 * GIB, "spilled": 0},
        **facts,
    }


REPORT = {
    "nodes": [node(1), node(200), node(3, resources={"CPU": 1.0}), node(4, alive=False)],
    "resources": {"CPU": {"total": 128.0, "used": 3.0}, "memory": {"total": GIB, "used": 0.0}},
    "actors": [{"class": "EnvRunner", "state": "ALIVE"}, {"class": "Learner", "state": "ALIVE"}],
    "objects": {"references": 12, "bytes": 2**20},
    "deaths": [
        *3 * [{"what": "actor EnvRunner", "why": "it was killed by kill()"}],
        {"what": "node 4", "why": "it is gone: " + 30 * "reason " + "\nand a traceback"},
    ],
}


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    shown = lines(REPORT, width)
    assert max(map(len, shown)) <= width
    text = " ".join(" ".join(shown).split())
    for part in ("Nodes: 3", "accelerator_type:H100 1", "store 3,584.0 MiB (4%)", "worker-200"):
        assert part in text
    assert text.count("reason") == 30


def test_nodes_stand_in_columns_and_equal_deaths_are_counted() -> None:
    shown = lines(REPORT, 80)
    rows = [line for line in shown if "192.168" in line]
    assert len({row.index("worker") for row in rows}) == 1
    assert len({row.index("CPU") for row in rows}) == 1
    assert [line for line in shown if "kill()" in line] == [
        "  actor EnvRunner (3 times): it was killed by kill()"
    ]


def test_an_empty_cluster_is_shown() -> None:
    empty: dict[str, Any] = {"nodes": [], "resources": {}, "actors": [], "deaths": []}
    assert lines({**empty, "objects": {"references": 0, "bytes": 0}}, 80) == [
        "Nodes: 0",
        "Resources in use",
        "Actors: 0",
        "References to objects: 0 (0.0 MiB)",
    ]
