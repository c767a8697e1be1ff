"""Serialisers that users register, and the search for what cannot be pickled."""

import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rllib import core
from rllib.core import serialization, util


class Door:
    """Cannot be pickled by itself."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()


def remake(number: int) -> Door:
    return Door(number)


@pytest.fixture
def registered() -> Iterator[None]:
    util.register_serializer(
        Door, serializer=lambda door: door.number, deserializer=lambda number: Door(number + 100)
    )
    yield
    util.deregister_serializer(Door)


def round_trip(value: Any) -> Any:
    packed = serialization.pack(value)
    return serialization.unpack(packed.body, packed.buffers)


@pytest.mark.usefixtures("registered")
def test_a_registered_serialiser_is_used_wherever_the_value_is_nested() -> None:
    found = round_trip({"doors": [Door(1), (Door(2), "x")]})
    assert found["doors"][0].number == 101
    assert found["doors"][1][0].number == 102


def test_a_deserialiser_with_a_name_goes_the_fast_way() -> None:
    util.register_serializer(Door, serializer=lambda door: door.number, deserializer=remake)
    assert round_trip([Door(3)])[0].number == 3
    assert b"remake" in serialization.pack(Door(3)).body
    util.deregister_serializer(Door)


@pytest.mark.usefixtures("registered")
def test_subclasses_are_not_meant() -> None:
    class Gate(Door):
        pass

    with pytest.raises(TypeError, match="lock"):
        round_trip(Gate(1))


@pytest.mark.usefixtures("registered")
def test_functions_that_capture_such_values_travel_too() -> None:
    door = Door(5)
    assert round_trip(lambda: door.number)() == 105


def test_without_a_registration_it_fails_as_before() -> None:
    util.register_serializer(Door, serializer=lambda door: door.number, deserializer=remake)
    util.deregister_serializer(Door)
    util.deregister_serializer(Door)
    with pytest.raises(TypeError, match="lock"):
        round_trip(Door(1))


def test_wrong_arguments_name_what_is_wrong() -> None:
    with pytest.raises(TypeError, match="takes a class, got 3"):
        util.register_serializer(3, serializer=str, deserializer=str)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="deserializer must be callable"):
        util.register_serializer(Door, serializer=str, deserializer=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["inline", "local"])
def test_the_deserialiser_travels_and_workers_register_for_themselves(address: str) -> None:
    class Window:
        def __init__(self, size: int) -> None:
            self.size = size
            self.lock = threading.Lock()

    def make(size: int) -> Any:
        return Window(size)

    def register() -> None:
        util.register_serializer(Window, serializer=lambda w: w.size, deserializer=make)

    @core.remote
    def size_of(window: Any) -> int:
        return int(window.size)

    @core.remote
    def made_there() -> Any:
        register()
        window = Window(8)
        return [window]

    register()
    with core.init(address=address, num_cpus=1):
        assert core.get(size_of.remote(Window(7))) == 7
        assert core.get(core.put({"w": Window(6)}))["w"].size == 6
        assert core.get(made_there.remote())[0].size == 8
    util.deregister_serializer(Window)


# -- inspection ------------------------------------------------------------------------------------


def inspected(value: Any, **given: Any) -> tuple[bool, set[util.serialization.FailureTuple], str]:
    out = io.StringIO()
    sound, failures = util.inspect_serializability(value, print_file=out, **given)
    return sound, failures, out.getvalue()


def test_what_can_be_pickled_has_no_failures() -> None:
    sound, failures, text = inspected({"a": [1, 2]})
    assert sound
    assert not failures
    assert "It can." in text


def test_the_innermost_culprit_is_found_and_the_way_there_printed() -> None:
    door = Door(1)
    sound, failures, text = inspected({"front": door}, name="house")
    assert not sound
    (failure,) = failures
    assert failure.obj is door.lock
    assert failure.name == "lock"
    assert failure.parent is door
    assert "FAIL house" in text
    assert "FAIL ['front']" in text
    assert "because of lock" in text


def test_captured_variables_are_looked_into() -> None:
    lock = threading.Lock()

    def guarded() -> None:
        with lock:
            pass

    _, failures, _ = inspected(guarded)
    assert [(failure.name, failure.obj) for failure in failures] == [("closure.lock", lock)]


def test_the_search_ends_at_its_depth() -> None:
    nested = [[[threading.Lock()]]]
    _, failures, _ = inspected(nested, depth=1)
    assert [failure.obj for failure in failures] == [nested[0]]


def test_cloudpickle_is_at_hand() -> None:
    assert core.cloudpickle.loads(core.cloudpickle.dumps(lambda: 3))() == 3
