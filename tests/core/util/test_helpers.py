"""`as_completed` and `map_unordered`."""

from typing import Any

import pytest

from rllib import core
from rllib.core.util import as_completed, map_unordered

pytestmark = pytest.mark.usefixtures("engine")


@core.remote
def square(value: int) -> int:
    return value * value


def test_as_completed_gives_all_values_or_references() -> None:
    refs = [square.remote(value) for value in range(25)]
    assert sorted(as_completed(refs)) == sorted(value * value for value in range(25))
    assert set(as_completed(refs, chunk_size=4, yield_obj_refs=True)) == set(refs)
    assert list(as_completed([])) == []


@pytest.mark.parametrize("limit", [1, 3, 100, None])
def test_map_unordered_of_a_function(limit: int | None) -> None:
    results = map_unordered(square, iter(range(30)), backpressure_size=limit)
    assert sorted(results) == sorted(value * value for value in range(30))


def test_map_unordered_starts_no_more_than_allowed() -> None:
    taken = []

    def items() -> Any:
        for value in range(10):
            taken.append(value)
            yield value

    results = map_unordered(square, items(), backpressure_size=3)
    next(results)
    assert len(taken) <= 3 + 3


def test_map_unordered_can_give_references() -> None:
    refs = list(map_unordered(square, [2, 3], yield_obj_refs=True))
    assert sorted(core.get(refs)) == [4, 9]


def test_sizes_are_positive() -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        list(as_completed([], chunk_size=0))
    with pytest.raises(ValueError, match="chunk_size"):
        list(map_unordered(square, [1], chunk_size=0))
    with pytest.raises(ValueError, match="backpressure_size"):
        list(map_unordered(square, [1], backpressure_size=0))


def test_util_needs_no_import_of_its_own() -> None:
    assert core.util.as_completed is as_completed
    with pytest.raises(AttributeError, match="no attribute 'utils'"):
        core.utils  # noqa: B018
