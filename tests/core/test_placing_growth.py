"""The scheduler's work grows with what there is to do, not with its square: calls are counted."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.placing import SCENES, Simulation


def calls(scene: Callable[[Simulation], None], nodes: int, actors: int) -> int:
    """Python functions called for it."""
    cluster, count = Simulation(nodes, actors), 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        scene(cluster)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", SCENES)
def test_twice_as_much_to_place_is_twice_the_work(name: str) -> None:
    scene = SCENES[name]
    assert calls(scene, 20, 1_200) < 2.2 * calls(scene, 20, 600)


@pytest.mark.parametrize("name", SCENES)
def test_more_nodes_are_hardly_more_work(name: str) -> None:
    scene = SCENES[name]
    assert calls(scene, 100, 600) < 1.5 * calls(scene, 20, 600)
