"""What waits to be said to another node: batches are bounded, output is left out before memory is
taken, and nothing that is too large is sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib.core.cluster import messages
from rllib.core.cluster.outbox import MAX_BATCH, MAX_RECORD, Outbox, TooLarge, answers, stand_in
from rllib.core.native import wire
from rllib.core.native.output import MAX_WAITING

A, B = b"a" * 16, b"b" * 16


def shown(text: str, worker: bytes = A) -> messages.Shown:
    return messages.Shown(worker, 1, text)


def relayed(size: int) -> messages.Relay:
    return messages.Relay(A, wire.ActorExits("x" * size))


def taken(outbox: Outbox) -> list[list[Any]]:
    """All batches."""
    found = []
    while data := outbox.take():
        found.append(messages.read_up(data))
    return found


@given(st.lists(st.sampled_from((0, 1_000, 20_000, 600_000, MAX_BATCH + 1)), max_size=12))
def test_batches_are_bounded_and_nothing_is_lost_or_changes_its_place(sizes: list[int]) -> None:
    outbox = Outbox()
    said = [relayed(size) for size in sizes]
    for each in said:
        outbox.put(each)
    batches = taken(outbox)
    assert [each for batch in batches for each in batch] == said
    assert all(len(b) == 1 or len(messages.encode(b)) <= MAX_BATCH + 16 for b in batches)
    assert outbox.waiting == 0


def test_only_the_first_message_wakes_whoever_sends() -> None:
    outbox = Outbox()
    assert [outbox.put(relayed(1)) for _ in range(3)] == [True, False, False]
    outbox.take()
    assert outbox.put(relayed(1))


def test_output_that_nobody_takes_is_left_out_and_counted() -> None:
    outbox = Outbox()
    line = "x" * 2**16
    for _ in range(1_000):
        outbox.put(shown(line))
        outbox.put(shown(line, B))
    assert outbox.waiting < MAX_WAITING + 2**17
    outbox.put(relayed(1))  # what is no output is never left out
    said = [each for batch in taken(outbox) for each in batch]
    *lines, last, of_a, of_b = said
    assert last == relayed(1)
    kept = len(lines)
    assert all(each.line == line for each in lines)
    assert (of_a.worker, of_b.worker) == (A, B)
    assert of_a.left_out + of_b.left_out == 2_000 - kept
    outbox.put(shown("again"))
    assert taken(outbox) == [[shown("again")]]


def test_what_others_have_left_out_is_counted_on() -> None:
    outbox = Outbox()
    while outbox.waiting <= MAX_WAITING:
        outbox.put(shown("x" * 2**16))
    outbox.put(messages.Shown(A, 1, "", 41))
    outbox.put(shown("one more"))
    assert taken(outbox)[-1] == [messages.Shown(A, 1, "", 42)]


def test_what_drivers_are_told_of_output_is_left_out_as_well() -> None:
    outbox = Outbox()
    printed = messages.Told(A, wire.Printed("Cls", 7, "x" * 2**20))
    for _ in range(100):
        outbox.put(printed)
    assert outbox.waiting < MAX_WAITING + 2**21
    while data := outbox.take():
        (*_, last) = messages.read_down(data)
    assert last == messages.Told(A, wire.Printed("Cls", 7, "", last.record.left_out))
    assert last.record.left_out > 50


def test_what_is_too_large_is_not_sent() -> None:
    outbox = Outbox()
    with pytest.raises(TooLarge, match=f"at most {MAX_RECORD:,}"):
        outbox.put(relayed(MAX_RECORD))
    assert outbox.take() == b""


NEEDS = wire.Needs({})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (wire.RequestLease(3, NEEDS), [wire.LeaseLost(3, "too large", "unschedulable")]),
        (
            wire.PlaceActor(A, "Cls", b"", {}, NEEDS),
            [wire.ActorDied(A, "actor Cls is dead: too large", "unschedulable")],
        ),
        (
            wire.PlaceActor(A, "Cls", b"", {}, NEEDS, "name", "", 5),
            [
                wire.ActorFound(5),
                wire.ActorDied(A, "actor Cls is dead: too large", "unschedulable"),
            ],
        ),
        (wire.FindActor(4, "name", ""), [wire.ActorFound(4)]),
        (wire.CreateGroup(2, A, [], "PACK", "name"), [wire.GroupCreated(2, False)]),
        (wire.CreateGroup(2, A, [], "PACK"), []),
    ],
)
def test_a_request_that_is_too_large_fails_alone(request_: Any, expected: list[Any]) -> None:
    assert answers(request_, "too large") == expected


@pytest.mark.parametrize(
    "record",
    [
        wire.ActorDied(A, "x" * MAX_RECORD, "out of memory", b"cause"),
        wire.ActorRestarting(A, "x" * MAX_RECORD),
        wire.LeaseLost(1, "x" * MAX_RECORD),
        wire.Told(1, A, bytes(MAX_RECORD)),
        wire.Account(1, bytes(MAX_RECORD)),
        wire.ActorBuilt("x" * MAX_RECORD, bytes(MAX_RECORD)),
        wire.Names(1, [("space", "x" * 1_000)] * (MAX_RECORD // 1_000)),
    ],
)
def test_in_place_of_what_is_too_large_comes_something_short(record: Any) -> None:
    outbox = Outbox()
    with pytest.raises(TooLarge):
        outbox.put(messages.Told(A, record))
    short = stand_in(record)
    assert type(short) is type(record)
    outbox.put(messages.Told(A, short))


def test_for_some_there_is_no_other() -> None:
    assert stand_in(wire.Measured([])) is None
