"""The large parts of values on their way between nodes, which share no memory.

::

    process --BULK, descriptor--> gateway --COMING, bytes--> gateway --SEGMENT, Landed--> process
    process <-------Freed-------- gateway <-----ARRIVED----- gateway <-----CLAIMED------- process

Large ones go in shares, by further connections between the two gateways, and no bytes are behind
COMING. The bytes go from where they lie on the one node to where they will lie on the other. Then
comes the message that speaks of them (`Streamed`).
"""

from __future__ import annotations

from rllib.core.native.wire.message import Message, Number
from rllib.core.native.wire.values import BlockAt, FileAt


class BulkAt(Message, tag="bulk"):
    """Process to its gateway: send these parts, which lie one aligned after another from there."""

    number: Number
    offset: Number
    sizes: list[Number]


class Coming(Message, tag="coming"):
    """Gateway to gateway: parts of these sizes, one aligned after another."""

    number: Number
    sizes: list[Number]
    serial: Number = 0
    """Of a value that comes in shares: which of these it is, counted from 1."""


class Landed(Message, tag="landed"):
    """Gateway to process: the parts of that number lie there, and are yours; nowhere, where there
    was no room for them. Answer with CLAIMED, under the number of the ``claim``."""

    number: Number
    claim: Number
    at: BlockAt | FileAt | None
