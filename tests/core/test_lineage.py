"""Results that were spilled and whose files are gone are made again by the task that made them."""

import gc
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import native_engine
from hypothesis import given
from hypothesis import strategies as st
from patience import SOON_S, wait_until

from rllib import core
from rllib.core.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    ObjectReconstructionFailedError,
)
from rllib.core.native.leases import Task
from rllib.core.native.lineage import Argument, Recipe, Recipes
from rllib.core.native.objects import NativeRef, Stored

MIB = 2**20
SIZE = MIB  # of float64: eight MiB


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=2, object_store_memory=32 * MIB):
        yield


@pytest.fixture(autouse=True)
def nothing_is_remembered(runtime: None) -> Iterator[None]:
    """When all references are gone, so are all recipes."""
    yield
    wait_until(lambda: gc.collect() >= 0 and len(native_engine().lineage.recipes) == 0)
    assert native_engine().lineage.recipes.bytes == 0


@pytest.fixture
def counted(tmp_path: Path) -> Callable[[], int]:
    """How many tasks have run; they leave a file each."""
    return lambda: len(list((tmp_path / "runs").iterdir()))


@core.remote
def make(k: float, folder: Path) -> np.ndarray:
    note(folder)
    return np.full(SIZE, k)


@core.remote
def add_one(array: np.ndarray, folder: Path) -> np.ndarray:
    note(folder)
    return array + 1


@core.remote
def add_all(refs: list[Any], folder: Path) -> np.ndarray:
    note(folder)
    return sum(core.get(refs))


@core.remote
def total(array: np.ndarray) -> float:
    return float(array.sum())


def note(folder: Path) -> None:
    (folder / "runs").mkdir(exist_ok=True)
    (folder / "runs" / np.random.default_rng().bytes(8).hex()).touch()


def spill(refs: list[Any]) -> None:
    """Have these values on disk."""
    core.wait(refs, num_returns=len(refs), timeout=SOON_S)
    del_later = [core.put(np.zeros(SIZE)) for _ in range(8)]
    assert all(hasattr(ref.outcome.region, "path") for ref in refs)
    del del_later


def lose(refs: list[Any], damage: Callable[[Path], None] = Path.unlink) -> None:
    """Damage the files of these values."""
    spill(refs)
    for ref in refs:
        damage(ref.outcome.region.path)


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(SIZE)


@pytest.mark.parametrize("damage", [Path.unlink, truncate])
def test_a_lost_result_is_made_again(
    tmp_path: Path, counted: Callable[[], int], damage: Callable[[Path], None]
) -> None:
    ref = make.remote(3.0, tmp_path)
    lose([ref], damage)
    assert core.get(ref, timeout=SOON_S).sum() == 3 * SIZE
    assert counted() == 2
    assert core.get(ref).sum() == 3 * SIZE
    assert counted() == 2


def test_it_is_made_again_for_a_task_and_for_an_actor(
    tmp_path: Path, counted: Callable[[], int]
) -> None:
    @core.remote
    class Reader:
        def total(self, refs: list[Any]) -> float:
            return float(sum(core.get(ref).sum() for ref in refs))

    refs = [make.remote(k, tmp_path) for k in (1.0, 2.0)]
    lose(refs)
    assert core.get(total.remote(refs[0]), timeout=SOON_S) == SIZE
    reader = Reader.remote()
    assert core.get(reader.total.remote(refs), timeout=SOON_S) == 3 * SIZE
    assert counted() == 4


def test_a_borrower_that_knows_the_file_asks_again(tmp_path: Path) -> None:
    @core.remote
    class Reader:
        def hold(self, refs: list[Any]) -> float:
            self.refs = refs
            return self.total()

        def total(self) -> float:
            return float(core.get(self.refs[0]).sum())

    ref = make.remote(5.0, tmp_path)
    spill([ref])
    reader = Reader.remote()
    assert core.get(reader.hold.remote([ref])) == 5 * SIZE
    lose([ref])
    assert core.get(reader.total.remote(), timeout=SOON_S) == 5 * SIZE
    assert core.get(ref).sum() == 5 * SIZE


def test_what_it_was_made_of_is_made_again_as_well(
    tmp_path: Path, counted: Callable[[], int]
) -> None:
    first = make.remote(1.0, tmp_path)
    second = add_one.remote(first, tmp_path)
    third = add_all.remote([second, first], tmp_path)
    lose([first, second, third])
    assert core.get(third, timeout=SOON_S).sum() == 3 * SIZE
    assert counted() == 6
    assert core.get([first, second], timeout=SOON_S)[1].sum() == 2 * SIZE
    assert counted() == 6


def test_also_when_nobody_refers_to_that_any_more(
    tmp_path: Path, counted: Callable[[], int]
) -> None:
    ref = make.remote(0.0, tmp_path)
    for _ in range(4):
        ref = add_one.remote(ref, tmp_path)
    core.wait([ref])
    lose([ref])
    assert core.get(ref, timeout=SOON_S).sum() == 4 * SIZE
    assert counted() == 10


def test_one_of_several_results(tmp_path: Path) -> None:
    @core.remote(num_returns=2)
    def two() -> tuple[Any, Any]:
        return np.full(SIZE, 1.0), np.full(SIZE, 2.0)

    one, other = two.remote()
    spill([one, other])
    view = core.get(one)
    other.outcome.region.path.unlink()
    assert core.get(other, timeout=SOON_S).sum() == 2 * SIZE
    assert core.get(one).sum() == view.sum() == SIZE


def test_as_often_as_retries_allow(tmp_path: Path, counted: Callable[[], int]) -> None:
    ref = make.options(max_retries=2).remote(1.0, tmp_path)
    for _ in range(2):
        lose([ref])
        assert core.get(ref, timeout=SOON_S).sum() == SIZE
    lose([ref])
    with pytest.raises(ObjectReconstructionFailedError, match="max_retries"):
        core.get(ref, timeout=SOON_S)
    with pytest.raises(ObjectReconstructionFailedError):
        core.get(total.remote(ref), timeout=SOON_S)
    assert counted() == 3


def test_what_cannot_be_made_again(tmp_path: Path) -> None:
    put = core.put(np.ones(SIZE))
    once = make.options(max_retries=0).remote(1.0, tmp_path)
    by_value = total.options(num_returns=1).remote(np.ones(3))
    lose([put, once])
    for ref in (put, once):
        with pytest.raises(ObjectLostError, match="was lost, and it cannot be made again") as info:
            core.get(ref, timeout=SOON_S)
        assert not isinstance(info.value, ObjectReconstructionFailedError)
    with pytest.raises(ObjectLostError):
        core.get(total.remote(put), timeout=SOON_S)
    assert core.get(by_value) == 3


def test_an_argument_that_was_put_and_dropped(tmp_path: Path) -> None:
    ref = add_one.remote(core.put(np.ones(SIZE)), tmp_path)
    lose([ref])
    with pytest.raises(ObjectReconstructionFailedError, match="one of its arguments is gone"):
        core.get(ref, timeout=SOON_S)


@core.remote
def small(k: float, folder: Path) -> float:
    note(folder)
    return k


@pytest.mark.parametrize("put", [False, True], ids=["made", "put"])
def test_a_small_argument_that_was_dropped_is_part_of_the_recipe(
    put: bool, tmp_path: Path, counted: Callable[[], int]
) -> None:
    argument = core.put(3.0) if put else small.remote(3.0, tmp_path)
    ref = make.remote(argument, tmp_path)
    core.wait([ref])
    del argument
    ref = add_one.remote(ref, tmp_path)
    lose([ref])
    assert core.get(ref, timeout=SOON_S).sum() == 4 * SIZE
    assert counted() == 4 + (not put)  # the small one is known, and is not made again


def test_an_argument_that_was_put_and_kept(tmp_path: Path) -> None:
    kept = core.put(np.ones(SIZE))
    ref = add_one.remote(kept, tmp_path)
    lose([ref])
    assert core.get(ref, timeout=SOON_S).sum() == 2 * SIZE


def test_a_timeout_covers_the_making(tmp_path: Path) -> None:
    @core.remote
    def slow() -> np.ndarray:
        if (tmp_path / "again").exists():
            wait_until((tmp_path / "go").exists)
        (tmp_path / "again").touch()
        return np.ones(SIZE)

    ref = slow.remote()
    lose([ref])
    with pytest.raises(GetTimeoutError):
        core.get(ref, timeout=0.2)
    (tmp_path / "go").touch()
    assert core.get(ref, timeout=SOON_S).sum() == SIZE


# -- the bookkeeping -------------------------------------------------------------------------------


def task(refs: list[NativeRef], size: int) -> Task:
    return Task(refs, Stored(b"x" * size, [], []), None, (), retries=3)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 5000), st.booleans()), max_size=40))
def test_recipes_are_bounded_and_go_with_their_references(
    steps: list[tuple[int, bool]],
) -> None:
    recipes = Recipes(b"me", 10_000)
    held: list[NativeRef] = []
    for number, (size, release) in enumerate(steps):
        if release and held:
            held.pop(size % len(held))
            continue
        ref = NativeRef(b"me", number)
        recipes.add(Recipe(task([ref], size), []), [ref])
        held.append(ref)
        known = [recipe for recipe in (recipes.find(ref)[0] for ref in held) if recipe is not None]
        usable = [recipe for recipe in known if recipe.task is not None]
        assert sum(recipe.size for recipe in usable) == recipes.bytes <= 10_000
        assert known[len(known) - len(usable) :] == usable  # the oldest went first
    held.clear()
    ref = NativeRef(b"me", -1)
    known = usable = []
    assert len(recipes) == 0
    assert recipes.bytes == 0


def with_argument(ref: NativeRef, value: Stored) -> Recipe:
    argument = Argument(weakref.ref(ref), None, 0, value)
    return Recipe(task([ref], 0), [argument])


def test_an_argument_of_many_tasks_counts_once() -> None:
    recipes = Recipes(b"me", 10**6)
    shared = Stored(b"x" * 90_000, [], [])
    held = [NativeRef(b"me", number) for number in range(100)]
    for ref in held:
        recipes.add(with_argument(ref, shared), [ref])
    assert recipes.bytes == 100 * 1000 + 90_000
    assert len(recipes) == 100
    del held[1:], ref
    assert recipes.bytes == 1000 + 90_000
    held.clear()
    assert (len(recipes), recipes.bytes) == (0, 0)


def test_the_oldest_of_those_that_share_an_argument_are_dropped_until_the_rest_fits() -> None:
    recipes = Recipes(b"me", 20_000)
    held = [NativeRef(b"me", number) for number in range(16)]
    old, new = Stored(b"x" * 9_000, [], []), Stored(b"x" * 9_000, [], [])
    for ref in held:
        recipes.add(with_argument(ref, old if ref._number < 8 else new), [ref])
    found = [recipes.find(ref)[0] for ref in held]
    assert [recipe is not None and recipe.task is not None for recipe in found] == [False] * 8 + [
        True
    ] * 8
    assert recipes.bytes == 8 * 1000 + 9_000


def test_who_lets_go_of_a_value_in_another_thread_leaves_no_bytes_behind() -> None:
    """It may do so at any moment of an addition."""
    recipes, shared = Recipes(b"me", 2**40), Stored(b"x" * 1000, [], [])
    kept: queue.SimpleQueue[NativeRef | None] = queue.SimpleQueue()
    letting_go = threading.Thread(target=lambda: [None for _ in iter(kept.get, None)])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        letting_go.start()
        for number in range(20_000):
            ref = NativeRef(b"me", number)
            recipes.add(with_argument(ref, shared), [ref])
            kept.put(ref)
        del ref
    finally:
        kept.put(None)
        letting_go.join()
        sys.setswitchinterval(interval)
    assert (len(recipes), recipes.bytes, recipes._keepers.total()) == (0, 0, 0)
