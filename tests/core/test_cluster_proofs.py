"""How callers prove to have the token: each proof is good for one call, of one node."""

import pytest

from rllib.core.cluster.proofs import (
    NO_TOKEN,
    REPLAYED,
    WINDOW,
    WRONG_TOKEN,
    Doorkeeper,
    Prover,
    Seen,
)

KEY, OTHER = b"node-1", b"node-2"
ME = bytes(range(16))
NONCE = "0" * 32


def test_a_proof_opens_the_method_it_was_made_for_once() -> None:
    door = Doorkeeper("token", KEY)
    shown = dict(Prover("token", ME).call(KEY, "/a", "there"))
    assert "token" not in str(shown)
    assert door.refusal("/b", shown) == WRONG_TOKEN
    assert door.refusal("/a", {**shown, "to": "elsewhere"}) == WRONG_TOKEN
    assert Doorkeeper("token", OTHER).refusal("/a", shown) == WRONG_TOKEN
    assert door.refusal("/a", shown) == ""
    assert door.refusal("/a", shown) == REPLAYED


def test_callers_have_numbers_of_their_own() -> None:
    door = Doorkeeper("token", KEY)
    callers = Prover("token", ME), Prover("token", ME[::-1])
    for _ in range(3):
        for caller in callers:
            assert door.refusal("/a", dict(caller.call(KEY, "/a"))) == ""


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (None, NO_TOKEN),
        ("", WRONG_TOKEN),
        ("Bearer token", WRONG_TOKEN),
        ("rllib", WRONG_TOKEN),
        ("rllib a b c d e f", WRONG_TOKEN),
        (b"\xff\xfe", WRONG_TOKEN),
        ("rllib \udc80 1 \udc80", WRONG_TOKEN),
    ],
)
def test_whoever_shows_no_proof_is_refused(shown: object, reason: str) -> None:
    metadata = {} if shown is None else {"authorization": shown}
    assert Doorkeeper("token", KEY).refusal("/a", metadata) == reason
    stranger = dict(Prover("tokeN", ME).call(KEY, "/a"))
    assert Doorkeeper("token", KEY).refusal("/a", stranger) == WRONG_TOKEN


def test_who_asks_sees_whether_a_node_has_the_token() -> None:
    answer = Doorkeeper("token", KEY).greet(NONCE)
    assert answer is not None
    key, proof = answer
    assert Prover("token", ME).has_token(NONCE, key, proof)
    assert not Prover("tokeN", ME).has_token(NONCE, key, proof)
    assert not Prover("token", ME).has_token(NONCE, OTHER, proof)
    assert not Prover("token", ME).has_token("1" * 32, key, proof)
    for nonsense in ("", "0" * 31, "0" * 31 + "\0", "0" * 5000):
        assert Doorkeeper("token", KEY).greet(nonsense) is None


def test_numbers_may_come_in_any_order_within_the_window_and_each_once() -> None:
    seen = Seen()
    assert [seen.take(number) for number in (1, 3, 2, 3, 2, 1)] == [True] * 3 + [False] * 3
    assert seen.take(WINDOW + 2)
    assert not seen.take(2)  # too old to be known
    assert seen.take(4)
    assert not seen.take(3)
    assert seen.take(10**18)
    assert not seen.take(10**18)
    assert not seen.take(WINDOW + 2)
    assert not Seen().take(0)
