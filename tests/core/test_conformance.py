"""One contract, every engine: each test here runs on inline, on native, alone and across nodes, and
on Ray itself.

Where Ray does something else than our own engines the test states both.
"""

import asyncio
import copy
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engines
import numpy as np
import pytest
from engines import ENGINES, RAYS, end_ray, on, start, start_ray
from patience import wait_until

from rllib import core
from rllib.core import exceptions

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture(scope="module", params=[*ENGINES, engines.CLUSTER, engines.CLIENT])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each engine in turn, and the native one across nodes."""
    yield from engines.running(request.param, request)


# Remote code is defined within functions, so that it travels by value: a test module has no name
# under which another process could import it.


def make_counter() -> Any:
    @core.remote
    class Counter:
        def __init__(self, start: int = 0) -> None:
            self.n = start
            self.seen: list[int] = []

        def add(self, k: int = 1) -> int:
            self.n += k
            return self.n

        def note(self, k: int) -> None:
            self.seen.append(k)

        def notes(self) -> list[int]:
            return self.seen

        def fail(self, text: str) -> None:
            raise KeyError(text)

        @core.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return self.n, -self.n

        def __call__(self, x: int) -> int:
            return self.n * x

    return Counter


def remote_identity() -> Any:
    @core.remote
    def identity(value: Any) -> Any:
        return value

    return identity


# -- tasks -----------------------------------------------------------------------------------------


def test_a_task_returns_its_value() -> None:
    @core.remote
    def add(a: int, b: int = 10, *rest: int, **named: int) -> int:
        return a + b + sum(rest) + sum(named.values())

    assert core.get(add.remote(1)) == 11
    assert core.get(add.remote(1, 2, 3, 4, x=5)) == 15
    assert core.get(add.remote(b=1, a=2)) == 3


def test_arguments_may_have_any_name(engine: str) -> None:
    if engine in RAYS:
        pytest.skip("it takes the argument `self` for its own")

    @core.remote
    def named(self: int, args: int, name: int) -> tuple[int, int, int]:
        return self, args, name

    assert core.get(named.remote(self=1, args=2, name=3)) == (1, 2, 3)


def test_numbers_of_returns() -> None:
    @core.remote
    def values(count: int) -> Any:
        return tuple(range(count))

    assert values.options(num_returns=0).remote(0) is None
    first, second = values.options(num_returns=2).remote(2)
    assert core.get([first, second]) == [0, 1]
    assert core.get(values.remote(3)) == (0, 1, 2)


@pytest.mark.parametrize(
    ("result", "error"), [((1, 2, 3), ValueError), ("a", ValueError), (7, TypeError)]
)
def test_a_wrong_number_of_returns_is_an_error_of_every_reference(
    engine: str, result: Any, error: type[Exception]
) -> None:
    @core.remote(num_returns=2)
    def values() -> Any:
        return result

    for ref in values.remote():
        with pytest.raises(error, match=on(engine, "2 values", ray="num_returns=2|has no len")):
            core.get(ref)


def test_top_level_references_arrive_as_values_and_nested_ones_as_references() -> None:
    @core.remote
    def look(a: Any, nested: Any, key: Any = None) -> tuple[Any, ...]:
        return a, isinstance(nested[0], core.ObjectRef), core.get(nested[0]), key

    one, two, three = core.put(1), core.put([2]), core.put("x" * 100_000)
    assert core.get(look.remote(one, [two], key=three)) == (1, True, [2], "x" * 100_000)


def test_a_result_may_hold_references() -> None:
    @core.remote
    def make() -> list[Any]:
        return [core.put("inner"), core.put(np.arange(100_000))]

    inner, array = core.get(make.remote())
    assert core.get(inner) == "inner"
    assert core.get(array).sum() == 4_999_950_000


@pytest.mark.long_on_ray_client
def test_tasks_nest_deeper_than_there_are_cpus() -> None:
    @core.remote
    def depth(n: int) -> int:
        return 0 if n == 0 else 1 + core.get(depth.remote(n - 1))

    assert core.get(depth.remote(6)) == 6


def test_a_task_waits_for_what_it_needs() -> None:
    @core.remote
    def add(a: int, b: int) -> int:
        return a + b

    total = core.put(0)
    for k in range(20):
        total = add.remote(total, k)
    assert core.get(total) == 190


def test_many_tasks() -> None:
    square = core.remote(lambda x: x * x)
    assert core.get([square.remote(x) for x in range(500)]) == [x * x for x in range(500)]


def test_functions_recurse_close_over_and_nest() -> None:
    offset = {"by": 5}

    @core.remote
    def outer(x: int) -> int:
        inner = core.remote(lambda y: y + offset["by"])
        return core.get(inner.remote(x))

    assert core.get(outer.remote(1)) == 6


def test_a_function_with_defaults_calls_itself() -> None:
    @core.remote
    def total(n: int, so_far: int = 0, *, step: int = 1) -> int:
        return so_far if n <= 0 else core.get(total.remote(n - step, so_far + n))

    assert core.get(total.remote(3)) == 6


@pytest.mark.long_on_ray_client
def test_an_actor_makes_actors_of_its_own_class() -> None:
    @core.remote
    class Tree:
        def __init__(self, depth: int, width: int = 2) -> None:
            below = range(width if depth else 0)
            self.branches = [Tree.remote(depth - 1, width=width) for _ in below]

        def size(self) -> int:
            return 1 + sum(core.get([branch.size.remote() for branch in self.branches]))

    assert core.get(Tree.options(num_cpus=0).remote(2).size.remote(), timeout=60) == 7


def test_arguments_are_copies() -> None:
    given = [1]

    @core.remote
    def change(values: list[int]) -> list[int]:
        values.append(2)
        return values

    assert core.get(change.remote(given)) == [1, 2]
    assert given == [1]


def test_a_name_is_shown_in_errors() -> None:
    @core.remote
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(exceptions.TaskError, match="named-so"):
        core.get(fail.options(name="named-so").remote())


# -- objects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "", b"", (), [], {}, float("inf"), {"a": [1, (2,)]}])
def test_values_round_trip(value: Any) -> None:
    assert core.get(core.put(value)) == value
    assert core.get(remote_identity().remote(value)) == value


ARRAYS = {
    "empty": np.empty((0, 3), np.float32),
    "scalar": np.array(3.5),
    "tiny": np.arange(10),
    "below the threshold": np.arange(4095, dtype=np.uint8),
    "at the threshold": np.arange(4096, dtype=np.uint8),
    "just shared": np.arange(65536, dtype=np.uint8),
    "fortran": np.asfortranarray(np.arange(60_000.0).reshape(200, 300)),
    "strided": np.arange(100_000)[::3],
    "reversed": np.arange(100_000)[::-1],
    "bool": np.arange(100_000) % 3 == 0,
    "complex": np.arange(50_000) * (1 + 2j),
    "big endian": np.arange(50_000).astype(">i4"),
    "half": np.linspace(0, 1, 50_000).astype(np.float16),
    "dates": np.arange("2000-01", "2030-01", dtype="datetime64[D]"),
    "text": np.array(["a", "bcd"] * 20_000),
    "records": np.zeros(10_000, dtype=[("a", "i4"), ("b", "f8", (2,))]),
    "objects": np.array([1, "two", None], dtype=object),
    "large": np.arange(3_000_000, dtype=np.float32).reshape(-1, 3),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_round_trip_exactly(array: np.ndarray) -> None:
    for back in (core.get(core.put(array)), core.get(remote_identity().remote(array))):
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("size", [0, 1, 500])
def test_small_arrays_are_read_only(engine: str, size: int) -> None:
    large, mine = np.ones(100_000), np.arange(size)
    value = {"array": mine, "large": large, "list": [mine[:1], np.zeros(())], "bytes": bytearray(3)}
    echo = core.remote(lambda value: (value, not value["array"].flags.writeable))
    back, was_read_only = core.get(echo.remote(value))
    assert was_read_only
    for array in (back["array"], *back["list"], core.get(core.put(mine))):
        assert not array.flags.writeable
    np.testing.assert_array_equal(back["array"], mine)
    assert back["large"].sum() == 100_000
    if engine in RAYS:  # it makes bytes of every bytearray
        assert back["bytes"] == bytes(3)
    else:
        back["bytes"].append(1)  # what is no array stays as it was


@pytest.mark.parametrize("size", [5_000, 100_000, 2_000_000])
def test_large_arrays_are_read_only_views(engine: str, size: int) -> None:
    ref = core.put(np.zeros(size))
    first, second = core.get(ref), core.get(ref)
    # A driver that comes through Ray Client has no object store at hand.
    assert np.shares_memory(first, second) == (engine != engines.CLIENT)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0


def test_a_stored_value_is_a_copy() -> None:
    array = np.zeros(100_000)
    ref = core.put(array)
    array += 1
    assert core.get(ref).sum() == 0


def test_big_bytes_and_mixed_values() -> None:
    value = {"bytes": b"\x01" * 3_000_000, "text": "é" * 200_000, "a": np.ones(70_000), "n": 1}
    for back in (core.get(core.put(value)), core.get(remote_identity().remote(value))):
        assert back["bytes"] == value["bytes"]
        assert back["text"] == value["text"]
        assert back["a"].sum() == 70_000


def test_the_same_reference_twice() -> None:
    ref = core.put("x")
    assert core.get([ref, ref]) == ["x", "x"]
    assert core.get(remote_identity().remote([ref, ref])) == [ref, ref]


def test_references_are_hashable_comparable_and_named() -> None:
    ref, other = core.put(1), core.put(1)
    assert ref == ref
    assert ref != other
    assert len({ref, other}) == 2
    assert ref.hex() in repr(ref)
    assert core.get(remote_identity().remote([ref]))[0] == ref


def test_copies_of_references_and_handles_are_those() -> None:
    held = {"ref": core.put("value"), "actor": make_counter().remote(4)}
    for copied in (copy.copy(held), copy.deepcopy(held)):
        assert copied == held
        assert core.get(copied["ref"]) == "value"
    assert copy.copy(held["ref"]) == held["ref"]
    assert core.get(copy.copy(held["actor"]).add.remote()) == 5


def test_put_of_a_value_with_references(engine: str) -> None:
    inner = core.put([1, 2])
    outer = core.put({"inner": inner})
    if engine != engines.CLIENT:  # it may hear that this one is gone after it gave the next one
        del inner
    assert core.get(core.get(outer)["inner"]) == [1, 2]


def test_serialisers_that_users_register_are_used() -> None:
    class Guard:
        def __init__(self, number: int) -> None:
            self.number = number
            self.lock = threading.Lock()

    core.util.register_serializer(
        Guard, serializer=lambda guard: guard.number, deserializer=lambda number: -number
    )
    try:
        assert core.get(core.put([Guard(3)])) == [-3]
        assert core.get(remote_identity().remote(Guard(4))) == -4
    finally:
        core.util.deregister_serializer(Guard)


# -- wait ------------------------------------------------------------------------------------------


def test_wait_splits_in_order(engine: str) -> None:
    refs = [core.put(k) for k in range(5)]
    ready, rest = core.wait(refs, num_returns=2)
    if engine not in RAYS:  # of more that are ready, Ray chooses any
        assert ready == refs[:2]
    assert len(ready) == 2
    assert ready == [ref for ref in refs if ref in ready]
    assert rest == [ref for ref in refs if ref not in ready]
    assert core.wait(refs, num_returns=5) == (refs, [])
    assert core.wait([]) == ([], [])


def test_wait_counts_failures_as_ready() -> None:
    @core.remote
    def fail() -> None:
        raise ValueError("no")

    ref = fail.remote()
    assert core.wait([ref], timeout=30) == ([ref], [])


# -- what is refused -------------------------------------------------------------------------------


def test_bad_arguments_of_the_verbs() -> None:
    ref = core.put(1)
    with pytest.raises(ValueError, match="int"):
        core.get(1)
    with pytest.raises(TypeError, match="element 1 is a str"):
        core.get([ref, "x"])
    with pytest.raises(TypeError, match="timeout"):
        core.get(ref, timeout="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tuple"):
        core.get((ref,))
    with pytest.raises(TypeError, match="reference already"):
        core.put(ref)
    with pytest.raises(TypeError, match="takes a list"):
        core.wait(ref)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="element 0"):
        core.wait([1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="more than once"):
        core.wait([ref, ref])
    for count in (0, -1, 2):
        with pytest.raises(ValueError, match="num_returns"):
            core.wait([ref], num_returns=count)
    for count in ("1", 1.5):
        with pytest.raises(TypeError, match="num_returns"):
            core.wait([ref], num_returns=count)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        core.wait([ref], timeout=-1)
    with pytest.raises(TypeError, match="timeout"):
        core.wait([ref], timeout="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="actor handle"):
        core.kill(ref)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no living actor named 'nobody'"):
        core.get_actor("nobody")
    with pytest.raises(ValueError, match="name"):
        core.get_actor("")
    for name, namespace in ((3, None), ("x", 3)):
        with pytest.raises(TypeError, match="text, got 3"):
            core.get_actor(name, namespace)  # type: ignore[arg-type]


def test_direct_calls_and_bare_parentheses() -> None:
    Counter = make_counter()
    with pytest.raises(TypeError, match=r"identity\.remote"):
        remote_identity()(1)
    with pytest.raises(TypeError, match=r"Counter\.remote"):
        Counter()
    with pytest.raises(TypeError, match=r"add\.remote"):
        Counter.remote().add()
    with pytest.raises(TypeError, match="without parentheses"):
        core.remote()
    with pytest.raises(TypeError, match="function or class"):
        core.remote(3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="async"):

        @core.remote
        async def coroutine() -> None: ...


def test_unknown_and_wrong_options() -> None:
    identity, Counter = remote_identity(), make_counter()
    with pytest.raises(ValueError, match="did you mean 'num_returns'"):
        identity.options(num_return=2)
    with pytest.raises(ValueError, match="did you mean 'max_concurrency'"):
        Counter.options(max_concurency=2)
    with pytest.raises(TypeError, match="num_returns"):
        identity.options(num_returns="2")
    for count in (-1, 70_000):
        with pytest.raises(ValueError, match="num_returns"):
            identity.options(num_returns=count)
    with pytest.raises(ValueError, match="CPU"):
        identity.options(num_cpus=-1)
    with pytest.raises(ValueError, match="num_cpus"):
        identity.options(resources={"CPU": 1})
    with pytest.raises(ValueError, match="needs a name"):
        Counter.options(get_if_exists=True)
    with pytest.raises(TypeError, match="get_if_exists"):
        Counter.options(get_if_exists="yes", name="counter")
    with pytest.raises(ValueError, match="retry_exceptions"):
        identity.options(retry_exceptions=[int])


def test_a_second_init_is_refused_unless_it_may_be_ignored() -> None:
    with pytest.raises(RuntimeError, match="running already"):
        core.init()
    core.init(ignore_reinit_error=True)
    assert core.is_initialized()
    assert core.cluster_resources()["CPU"] == 2


class Guarded:
    """Has a part that cannot be pickled."""

    def __init__(self) -> None:
        self.inside = {"lock": threading.Lock()}


def test_what_cannot_be_pickled_is_named(engine: str) -> None:
    with pytest.raises(TypeError, match=r"inside\['lock'\]"):
        core.put(Guarded())
    with pytest.raises(TypeError, match=r"inside\['lock'\]"):
        remote_identity().remote(Guarded())
    lock = threading.Lock()
    with pytest.raises(TypeError, match="lock"):
        core.remote(lambda: lock).remote()

    @core.remote
    def result() -> Any:
        return {"key": [threading.Lock()]}

    with pytest.raises(TypeError, match=on(engine, r"\['key'\]\[0\]", ray="cannot pickle")):
        core.get(result.remote())


# -- errors of user code ---------------------------------------------------------------------------


class Foreign:
    """Refers to what is not where it is unpickled."""

    def __reduce__(self) -> Any:
        return __import__, ("a_module_of_nobody",)


def test_code_that_cannot_be_unpickled_fails_its_calls(engine: str) -> None:
    foreign = Foreign()

    @core.remote
    def use() -> Any:
        return foreign

    @core.remote
    def each() -> Iterator[Any]:
        yield foreign

    @core.remote
    class User:
        def use(self) -> Any:
            return foreign

    if engine == engines.CLIENT:  # its server unpickles what it is given before it passes it on
        for call in (use, use, User):
            with pytest.raises(ImportError, match=r"a_module_of_nobody.*py_modules"):
                call.remote()
        return
    refs = [use.remote(), next(each.remote()), User.remote().use.remote()]
    for ref in refs:
        with pytest.raises(exceptions.CoreError, match="a_module_of_nobody"):
            core.get(ref, timeout=60)


def test_an_error_is_a_task_error_and_the_users_own_with_the_remote_traceback() -> None:
    @core.remote
    def fail() -> None:
        def deeper() -> None:
            raise FileNotFoundError(2, "no such thing", "a.txt")

        deeper()

    with pytest.raises(FileNotFoundError) as caught:
        core.get(fail.remote())
    error = caught.value
    assert isinstance(error, exceptions.TaskError)
    assert isinstance(error, exceptions.RayTaskError)
    assert (error.errno, error.filename) == (2, "a.txt")
    text = str(error)
    assert "in deeper" in text
    assert Path(__file__).name in text
    assert "core/native" not in text
    assert "core/inline" not in text
    assert isinstance(error.cause, FileNotFoundError)


def local_classes() -> tuple[Any, Any, Any]:
    class Odd(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} and {b}")
            self.b = b

    class Unpicklable(Exception):
        def __init__(self) -> None:
            super().__init__("holds a lock")
            self.lock = threading.Lock()

    class Slotted(ValueError):
        __slots__ = ("code",)

        def __init__(self, code: int) -> None:
            super().__init__(code)
            self.code = code

    return Odd, Unpicklable, Slotted


def test_exceptions_with_odd_constructors_keep_their_story() -> None:
    Odd, _, _ = local_classes()

    @core.remote
    def fail() -> None:
        raise Odd(1, b=2)

    with pytest.raises(exceptions.TaskError, match="1 and 2") as caught:
        core.get(fail.remote())
    assert "Odd" in str(caught.value)
    assert caught.value.function.endswith("fail")


def test_exceptions_that_cannot_be_pickled_keep_their_story() -> None:
    _, Unpicklable, _ = local_classes()

    @core.remote
    def fail() -> None:
        raise Unpicklable

    with pytest.raises(exceptions.TaskError, match="holds a lock"):
        core.get(fail.remote())


def test_attributes_of_an_error_arrive() -> None:
    _, _, Slotted = local_classes()

    @core.remote
    def fail() -> None:
        error = Slotted(42)
        error.note = "seen"
        raise error

    with pytest.raises(Slotted) as caught:
        core.get(fail.remote())
    assert (caught.value.code, caught.value.note, caught.value.args) == (42, "seen", (42,))


def test_an_error_passes_through_tasks_with_the_first_story() -> None:
    @core.remote
    def fail() -> None:
        raise ZeroDivisionError("first")

    @core.remote
    def through(value: Any) -> Any:
        return value

    @core.remote
    def inside() -> Any:
        return core.get(fail.remote())

    for ref in (through.remote(fail.remote()), inside.remote()):
        with pytest.raises(ZeroDivisionError, match="first") as caught:
            core.get(ref)
        assert "in fail" in str(caught.value)


def test_the_same_error_can_be_raised_again_and_again() -> None:
    @core.remote
    def fail() -> None:
        raise ValueError("no")

    ref = fail.remote()
    depths = []
    for _ in range(3):
        with pytest.raises(ValueError, match="no") as caught:
            core.get(ref)
        depths.append(len(caught.traceback))
    assert depths[1] == depths[2]


def test_every_kind_of_base_exception_comes_back(engine: str) -> None:
    @core.remote
    def fail(kind: str) -> None:
        import asyncio

        raise {"cancelled": asyncio.CancelledError, "interrupt": KeyboardInterrupt}[kind]("odd")

    kinds = ("cancelled",) if engine == "inline" else ("cancelled", "interrupt")
    for kind in kinds:  # inline, an interrupt is the driver's own
        with pytest.raises(exceptions.TaskError, match="odd"):
            core.get(fail.remote(kind), timeout=30)


def test_errors_of_every_shape_are_the_users_own() -> None:
    class Late(RuntimeError, TimeoutError):
        def __init__(self, text: str, where: str = "") -> None:
            super().__init__(text)
            self.where = where

    @core.remote
    def fail(number: int) -> None:
        raise [
            FileNotFoundError(2, "not there", "name"),
            Late("late", "here"),
            UnicodeDecodeError("ascii", b"x", 0, 1, "odd"),
        ][number]

    with pytest.raises(FileNotFoundError) as missing:
        core.get(fail.remote(0))
    assert (missing.value.errno, missing.value.filename) == (2, "name")
    with pytest.raises(TimeoutError) as late:
        core.get(fail.remote(1))
    assert isinstance(late.value, RuntimeError)
    assert late.value.where == "here"  # type: ignore[attr-defined]
    with pytest.raises(UnicodeDecodeError) as wrong:
        core.get(fail.remote(2))
    assert wrong.value.reason == "odd"


def test_a_group_of_exceptions_comes_back_as_one() -> None:
    @core.remote
    def fail(kind: type) -> None:
        raise kind("many", [ValueError("a"), TypeError("b")])

    class Mine(ExceptionGroup):
        pass

    for kind in (ExceptionGroup, Mine):
        with pytest.raises(kind, match="many") as caught:
            core.get(fail.remote(kind))
        assert isinstance(caught.value, exceptions.TaskError)
        assert [type(each) for each in caught.value.exceptions] == [ValueError, TypeError]
    seen = []
    try:
        core.get(fail.remote(ExceptionGroup))
    except* ValueError as found:
        seen += found.exceptions
    except* TypeError as found:
        seen += found.exceptions
    assert [str(each) for each in seen] == ["a", "b"]


def test_a_group_of_what_are_no_plain_exceptions_is_a_task_error(engine: str) -> None:
    if engine == "inline":
        return  # there it is the driver's own

    @core.remote
    def fail() -> None:
        raise BaseExceptionGroup("many", [GeneratorExit(), TypeError("b")])

    with pytest.raises(exceptions.TaskError, match="many") as caught:
        core.get(fail.remote())
    assert isinstance(caught.value.cause, BaseExceptionGroup)


def test_errors_of_calls_within_a_group_are_the_users_own(engine: str) -> None:
    @core.remote
    def fail() -> None:
        raise ValueError("a")

    @core.remote
    def gather() -> None:
        try:
            core.get(fail.remote())
        except ValueError as error:
            raise ExceptionGroup("many", [error]) from None

    with pytest.raises(ExceptionGroup) as caught:
        core.get(gather.remote())
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ValueError)
    assert isinstance(inner, exceptions.TaskError)


def test_stop_iteration_of_a_call_ends_no_coroutine() -> None:
    @core.remote
    def stop() -> None:
        raise StopIteration(3)

    async def wait_for_it() -> Any:
        return await stop.remote()

    with pytest.raises(StopIteration):
        core.get(stop.remote())
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(wait_for_it())


def test_exit_in_a_task_is_a_crash(engine: str) -> None:
    @core.remote(max_retries=0)
    def leave() -> None:
        sys.exit(3)

    with pytest.raises(exceptions.WorkerCrashedError, match=on(engine, "code 3", ray="died")):
        core.get(leave.remote(), timeout=30)


def test_tasks_and_actors_may_be_without_events() -> None:
    identity = remote_identity().options(enable_task_events=False)
    assert core.get(identity.remote(1)) == 1
    counter = make_counter().options(enable_task_events=False).remote()
    assert core.get(counter.add.options(enable_task_events=False).remote()) == 1


def test_a_reference_tells_its_owner() -> None:
    ours, made = core.put(1), remote_identity().remote(2)
    assert isinstance(ours.owner_address(), bytes)
    assert ours.owner_address() == made.owner_address() != b""
    assert ours.call_site() == made.call_site() == ""

    @core.remote
    def others() -> list[Any]:
        return [core.put(3)]

    (theirs,) = core.get(others.remote())
    assert (theirs.owner_address() == ours.owner_address()) == core.api.runtime().serial


# -- actors ----------------------------------------------------------------------------------------


def test_an_actor_keeps_its_state_and_the_order_of_calls() -> None:
    counter = make_counter().remote(10)
    assert core.get([counter.add.remote() for _ in range(5)]) == [11, 12, 13, 14, 15]
    for k in range(300):
        counter.note.remote(k)
    assert core.get(counter.notes.remote()) == list(range(300))
    assert core.get(counter.pair.remote()) == [15, -15]
    assert core.get(counter.add.options(num_returns=1).remote(k=-15)) == 0
    assert core.get(counter.__call__.remote(3)) == 0


def test_a_handle_is_what_its_name_says() -> None:
    Counter = make_counter()
    assert isinstance(Counter, core.actor.ActorClass)
    assert isinstance(Counter.remote(), core.actor.ActorHandle)


def test_unknown_methods_are_refused() -> None:
    counter = make_counter().remote()
    with pytest.raises(AttributeError, match="Counter has no method 'subtract'"):
        counter.subtract  # noqa: B018


def test_an_actor_survives_its_errors() -> None:
    counter = make_counter().remote()
    with pytest.raises(KeyError, match="oops") as caught:
        core.get(counter.fail.remote("oops"))
    assert "Counter.fail" in str(caught.value)
    assert core.get(counter.add.remote()) == 1


def test_a_constructor_that_raises_fails_every_call() -> None:
    @core.remote
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("not today")

        def f(self) -> int:
            return 1

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(exceptions.ActorDiedError, match="not today"):
            core.get(broken.f.remote(), timeout=30)


def test_a_constructor_may_wait_for_tasks_although_all_cpus_are_taken(engine: str) -> None:
    @core.remote(num_cpus=2)
    def task() -> int:
        return 5

    @core.remote(num_cpus=2)
    class Waiter:
        def __init__(self) -> None:
            self.value = core.get(task.remote())

        def get(self) -> int:
            return self.value

    waiter = Waiter.remote()
    if engine in RAYS:  # it waits for ever: only tasks lend their CPUs out while they wait
        with pytest.raises(exceptions.GetTimeoutError):
            core.get(waiter.get.remote(), timeout=2)
        core.kill(waiter)
    else:
        assert core.get(waiter.get.remote(), timeout=30) == 5


def test_handles_travel() -> None:
    counter = make_counter().remote()

    @core.remote
    def use(handle: Any, times: int) -> Any:
        return [core.get(handle.add.remote()) for _ in range(times)], handle

    @core.remote
    class Holder:
        def __init__(self, handles: list[Any]) -> None:
            self.handles = handles

        def add(self) -> int:
            return core.get(self.handles[0].add.remote())

    values, back = core.get(use.remote(counter, 3))
    assert values == [1, 2, 3]
    assert back == counter
    assert hash(back) == hash(counter)
    assert core.get(Holder.remote([counter]).add.remote()) == 4
    assert core.get(core.get(core.put(counter)).add.remote()) == 5


def test_methods_travel() -> None:
    @core.remote
    def use(method: Any) -> int:
        return core.get(method.remote(2))

    counter = make_counter().remote(10)
    assert core.get(use.remote(counter.add)) == 12
    assert core.get(use.remote(counter.add.options(name="more"))) == 14


def test_a_stored_handle_keeps_its_actor_alive(engine: str) -> None:
    if engine == engines.CLIENT:
        pytest.skip("its server may hear that the first handle is gone after it gave the next one")
    stored = core.put([make_counter().remote(7)])
    assert core.get(core.get(stored)[0].add.remote(), timeout=30) == 8


def test_code_may_refer_to_actors_and_objects() -> None:
    counter, small, large = make_counter().remote(), core.put("x"), core.put(b"x" * 200_000)

    @core.remote
    def task() -> tuple[int, str, int]:
        return core.get(counter.add.remote()), core.get(small), len(core.get(large))

    @core.remote
    class Actor:
        def method(self, handle: Any = counter) -> int:
            return core.get(handle.add.remote())

    assert core.get([task.remote() for _ in range(2)]) == [(1, "x", 200_000), (2, "x", 200_000)]
    assert core.get(Actor.remote().method.remote()) == 3


@pytest.mark.long_on_ray_client
def test_actors_that_ask_for_nothing_need_no_cpu_each() -> None:
    Counter = make_counter()
    crowd = [Counter.remote(start) for start in range(12)]
    counted = core.get([counter.add.remote() for counter in crowd], timeout=60)
    assert counted == list(range(1, 13))


@pytest.mark.long_on_ray_client
@pytest.mark.parametrize(
    ("asked", "held"),
    [
        ({}, {}),
        ({"resources": {}}, {}),
        ({"memory": 1000}, {"memory": 1000.0}),
        ({"num_cpus": 0.5}, {"CPU": 0.5}),
        ({"num_gpus": 0}, {"CPU": 1.0}),
        ({"num_gpus": 0, "num_cpus": 0}, {}),
    ],
)
def test_an_actor_that_asks_for_anything_holds_a_cpu_too(asked: Any, held: Any) -> None:
    @core.remote
    class Holder:
        def holds(self) -> dict[str, float]:
            return core.get_runtime_context().get_assigned_resources()

    assert core.get(Holder.options(**asked).remote().holds.remote(), timeout=60) == held


def test_an_actor_answers_methods_with_special_names() -> None:
    @core.remote
    class Shelf:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, place: int) -> int:
            return place * place

    shelf = Shelf.remote()
    assert core.get([shelf.__len__.remote(), shelf.__getitem__.remote(2)]) == [3, 4]
    with pytest.raises(AttributeError):
        _ = shelf.__contains__


def test_named_actors() -> None:
    Counter = make_counter()
    first = Counter.options(name="one").remote(1)
    assert core.get_actor("one") == first
    assert core.get(core.get_actor("one").add.remote()) == 2
    with pytest.raises(ValueError, match="taken"):
        Counter.options(name="one").remote()
    again = Counter.options(name="one", get_if_exists=True).remote(100)
    assert core.get(again.add.remote()) == 3
    other = Counter.options(name="one", namespace="elsewhere").remote(50)
    assert core.get(core.get_actor("one", namespace="elsewhere").add.remote()) == 51
    assert core.get(other.add.remote()) == 52
    with pytest.raises(ValueError, match="no living actor"):
        core.get_actor("one", namespace="nowhere")


def test_a_name_is_free_again_when_its_actor_is_gone(engine: str) -> None:
    Counter = make_counter()
    killed = Counter.options(name="again").remote()
    core.kill(killed)
    second = Counter.options(name="again").remote(5)
    assert core.get(second.add.remote()) == 6
    if engine == engines.CLIENT:  # its server keeps whom it was asked for by name
        core.kill(second)
    del second
    wait_until(lambda: not exists("again"))
    third = Counter.options(name="again").remote(9)
    assert core.get(third.add.remote()) == 10


def exists(name: str) -> bool:
    try:
        core.get_actor(name)
    except ValueError:
        return False
    return True


def is_dead(counter: Any) -> bool:
    try:
        core.get(counter.add.remote(), timeout=30)
    except exceptions.ActorDiedError:
        return True
    return False


def test_a_killed_actor_answers_no_more(engine: str) -> None:
    counter = make_counter().remote()
    core.get(counter.add.remote())
    core.kill(counter)
    core.kill(counter)
    if engine in RAYS:  # its kill returns while the process still answers
        wait_until(lambda: is_dead(counter))
    story = on(engine, r"killed by kill\(\)", ray=r"killed by `ray\.kill`")
    for _ in range(3):
        with pytest.raises(exceptions.ActorDiedError, match=story):
            core.get(counter.add.remote(), timeout=30)

    @core.remote
    def use(handle: Any) -> int:
        return core.get(handle.add.remote())

    with pytest.raises(exceptions.ActorDiedError, match="dead"):
        core.get(use.remote(counter), timeout=30)


def test_exit_in_an_actor_is_its_death() -> None:
    @core.remote
    class Leaver:
        def leave(self) -> None:
            sys.exit(4)

        def f(self) -> int:
            return 1

    leaver = Leaver.remote()
    for method in (leaver.leave, leaver.f):
        with pytest.raises(exceptions.ActorDiedError, match="code 4"):
            core.get(method.remote(), timeout=30)


def test_async_actors(engine: str) -> None:
    @core.remote
    class Async:
        def __init__(self) -> None:
            self.n = 0

        async def add(self, k: int) -> int:
            import asyncio

            await asyncio.sleep(0)
            self.n += k
            return self.n

        def plain(self) -> int:
            return self.n

        async def fail(self) -> None:
            raise LookupError("async")

        async def cancelled(self) -> None:
            import asyncio

            raise asyncio.CancelledError("stop")

        async def leave(self) -> None:
            sys.exit(5)

        async def ask(self, other: Any) -> int:
            return core.get(other.add.remote(1))

    actor = Async.remote()
    core.get([actor.add.remote(1) for _ in range(50)], timeout=30)
    assert core.get(actor.plain.remote(), timeout=30) == 50
    with pytest.raises(LookupError, match="async"):
        core.get(actor.fail.remote(), timeout=30)
    with pytest.raises(exceptions.TaskError, match="stop"):
        core.get(actor.cancelled.remote(), timeout=30)
    assert core.get(actor.ask.remote(Async.remote()), timeout=30) == 1
    with pytest.raises(exceptions.ActorDiedError, match=on(engine, "code 5", ray="died")):
        core.get(actor.leave.remote(), timeout=30)


def test_threaded_actors() -> None:
    @core.remote(max_concurrency=4)
    class Threaded:
        def square(self, x: int) -> int:
            return x * x

        def interrupted(self) -> None:
            import asyncio

            raise asyncio.CancelledError("odd")

    actor = Threaded.remote()
    assert core.get([actor.square.remote(x) for x in range(50)]) == [x * x for x in range(50)]
    for _ in range(8):
        with pytest.raises(exceptions.TaskError, match="odd"):
            core.get(actor.interrupted.remote(), timeout=30)
    assert core.get(actor.square.remote(3), timeout=30) == 9


def test_an_argument_that_failed_fails_the_call_and_not_the_actor() -> None:
    counter = make_counter().remote()

    @core.remote
    def fail() -> int:
        raise ValueError("no number")

    with pytest.raises(ValueError, match="no number"):
        core.get(counter.add.remote(fail.remote()))
    assert core.get(counter.add.remote(core.put(3))) == 3


def test_get_of_a_list_raises_the_error_in_it() -> None:
    @core.remote
    def fail() -> int:
        raise ValueError("no number")

    with pytest.raises(ValueError, match="no number"):
        core.get([core.put(1), fail.remote(), core.put(2)])


def test_resources_are_told() -> None:
    assert core.cluster_resources()["CPU"] == 2
    assert set(core.available_resources()) >= {"CPU"}


def test_what_tasks_used_is_free_when_they_are_done() -> None:
    @core.remote
    def square(number: int) -> int:
        return number**2

    @core.remote
    def sum_of_squares() -> int:
        return sum(core.get([square.remote(number) for number in range(4)]))

    assert core.get(sum_of_squares.remote()) == 14  # workers, too, keep what they have borrowed
    assert core.get(square.remote(3)) == 9
    wait_until(engines.is_idle)


# -- start and end ---------------------------------------------------------------------------------


@pytest.fixture
def no_runtime(engine: str) -> Iterator[str]:
    """The engine's name, with no runtime; puts the module's one back afterwards."""
    core.shutdown()
    if engine == "ray":
        end_ray()
    yield engine
    core.shutdown()
    if engine == "ray":
        start_ray()
    start(engine)


def test_references_and_handles_of_a_runtime_end_with_it(no_runtime: str) -> None:
    with start(no_runtime):
        Counter = make_counter()
        handle, value = Counter.remote(), core.put(1)
        pending = handle.add.remote(value)
        core.get(value)
    assert not core.is_initialized()
    with start(no_runtime):
        with pytest.raises(exceptions.CoreError, match="shut down"):
            core.get(pending, timeout=10)
        with pytest.raises(exceptions.ObjectLostError, match="shut down") as raised:
            core.get(value, timeout=10)
        assert isinstance(raised.value, ValueError)  # as on Ray
        with pytest.raises(exceptions.ActorDiedError, match="shut down"):
            core.get(handle.add.remote(), timeout=10)
        with pytest.raises(exceptions.CoreError):
            core.get(remote_identity().remote(pending), timeout=10)
        assert core.get(Counter.remote(1).add.remote()) == 2  # code outlives runtimes


@pytest.mark.long_on_ray_client
def test_code_refers_to_what_there_is_now(no_runtime: str) -> None:
    known: dict[str, Any] = {}

    @core.remote
    def add() -> int:
        return core.get(known["counter"].add.remote())

    for first in (10, 20):
        with start(no_runtime):
            known["counter"] = make_counter().remote(first)
            assert core.get(add.remote(), timeout=20) == first + 1


@pytest.mark.long_on_ray_client
def test_shutdown_twice_and_with_disconnect(no_runtime: str) -> None:
    context = start(no_runtime, num_cpus=1)
    assert context.address_info["address"] == engines.address(no_runtime)
    context.disconnect()
    core.shutdown()
    assert not core.is_initialized()


def test_an_unknown_address_is_refused(no_runtime: str) -> None:
    with pytest.raises(ValueError, match="not supported"):
        core.init(address="nowhere")
    if no_runtime in RAYS:
        with pytest.raises(ConnectionError, match=r"ray://localhost:1 .*--ray-client-server-port"):
            core.init(address="ray://localhost:1")
        with pytest.raises(ValueError, match="ray://HOST:PORT"):
            core.init(address="ray://localhost")
    assert not core.is_initialized()


def test_the_working_process(engine: str) -> None:
    pid = core.get(core.remote(lambda: os.getpid()).remote())
    assert (pid == os.getpid()) == (engine == "inline")
