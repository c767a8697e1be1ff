"""How a caller shows that it has the token, without sending it, and sees that the node has it, too.

::

    caller --Greet: a nonce----------------------------------> node
    caller <--the node's key, proof of (nonce, key)----------- node
    caller --a method: caller, number, proof of all of it----> node

A proof is an HMAC under the token of everything that it vouches for. The numbers of a caller rise
from call to call, and a node takes each of them once, for itself alone: so what somebody has
overheard, and sends again, opens nothing, there or elsewhere. No I/O here.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections import defaultdict
from collections.abc import Mapping

WINDOW = 4096
"""How far a call may be behind a later one of the same caller."""

NO_TOKEN, WRONG_TOKEN, REPLAYED = "without a token", "with a wrong token", "that was made before"
_SCHEME = "rllib"
_MOST_DIGITS = 19
_CALLER_DIGITS = 32
_NONCE_DIGITS = 32

Metadata = tuple[tuple[str, str], ...]


def _proof(token: str, *parts: str) -> str:
    text = "\0".join(parts)  # which none of those that are honest has in it
    data = text.encode("utf-8", "backslashreplace")
    return hmac.new(token.encode(), data, hashlib.sha256).hexdigest()


class Prover:
    """A caller's side; ``me`` is its process id."""

    def __init__(self, token: str, me: bytes) -> None:
        self._token = token
        self._me = me.hex()
        self._numbers = itertools.count(1)

    def call(self, node: bytes, method: str, to: str = "") -> Metadata:
        """What goes with a call of that method of the node of that key."""
        number = str(next(self._numbers))
        proof = _proof(self._token, "call", node.hex(), self._me, number, method, to)
        shown = ("authorization", f"{_SCHEME} {self._me} {number} {proof}")
        return (shown, ("to", to)) if to else (shown,)

    def has_token(self, nonce: str, key: bytes, proof: str) -> bool:
        """Whether who has answered that greeting has the token."""
        return hmac.compare_digest(_greeting(self._token, nonce, key).encode(), proof.encode())


class Doorkeeper:
    """A node's side; ``key`` is the node's."""

    def __init__(self, token: str, key: bytes) -> None:
        self._token = token
        self._key = key
        self._seen: defaultdict[str, Seen] = defaultdict(Seen)

    def greet(self, nonce: str) -> tuple[bytes, str] | None:
        """The answer to whoever wants to know whether this is the right node; none to nonsense."""
        if len(nonce) != _NONCE_DIGITS or not nonce.isalnum():
            return None
        return self._key, _greeting(self._token, nonce, self._key)

    def refusal(self, method: str, metadata: Mapping[str, object]) -> str:
        """What is wrong with a call; empty for one that may pass.

        The time that it takes says nothing of how much of a wrong proof is right.
        """
        given = metadata.get("authorization")
        if given is None:
            return NO_TOKEN
        scheme, _, rest = str(given).partition(" ")
        caller, number, proof = (*rest.split(" "), "", "", "")[:3]
        to = str(metadata.get("to", ""))
        expected = _proof(self._token, "call", self._key.hex(), caller, number, method, to)
        if not hmac.compare_digest(expected.encode(), proof.encode("utf-8", "replace")):
            return WRONG_TOKEN
        # Who has the token has made the rest; a mistake in it is a defect, but no harm.
        well_made = scheme == _SCHEME and len(caller) == _CALLER_DIGITS
        if not (well_made and number.isdecimal() and len(number) <= _MOST_DIGITS):
            return WRONG_TOKEN
        return "" if self._seen[caller].take(int(number)) else REPLAYED


def _greeting(token: str, nonce: str, key: bytes) -> str:
    return _proof(token, "greet", nonce, key.hex())


class Seen:
    """The numbers that a caller has used: the highest, and those of `WINDOW` up to it."""

    def __init__(self) -> None:
        self._highest = 0
        self._used = 1  # bit n: the highest minus n

    def take(self, number: int) -> bool:
        """Whether that one is new; it is used then."""
        ahead = number - self._highest
        if ahead > 0:
            kept = self._used << ahead if ahead < WINDOW else 0
            self._used = (kept | 1) & ((1 << WINDOW) - 1)
            self._highest = number
            return True
        if -ahead >= WINDOW or self._used >> -ahead & 1:
            return False
        self._used |= 1 << -ahead
        return True
