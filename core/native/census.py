"""Questions to all processes at once, passed on by the node.

::

    client --AskAll--> node --Survey--> every process that is asked
    client <--Surveyed, Told, Told, ...-- node <--Account-- every process that is asked

The answers are passed on as they come, unread, and an empty one for each process that dies before
it has answered; whoever asked decides how long to wait for those who are silent.
"""

from __future__ import annotations

from collections.abc import Collection

from rllib.core.native import wire
from rllib.core.native.instructions import Tell


class Survey:
    """One question: who wants to know, and who has not answered."""

    def __init__(self, client: bytes, seq: int, asked: Collection[bytes]) -> None:
        self.client = client
        self.seq = seq
        self.asked = set(asked)


class Census:
    """All such questions. No I/O."""

    def __init__(self) -> None:
        self._surveys: dict[int, Survey] = {}
        self._count = 0

    def ask(self, client: bytes, question: wire.AskAll, asked: Collection[bytes]) -> list[Tell]:
        """Pass the question on."""
        self._count += 1
        if asked:
            self._surveys[self._count] = Survey(client, question.seq, asked)
        everybody = sorted(asked)
        survey = wire.Survey(self._count, question.topic)
        return [
            Tell(client, wire.Surveyed(question.seq, everybody)),
            *(Tell(process, survey) for process in everybody),
        ]

    def account(self, process: bytes, account: wire.Account) -> list[Tell]:
        """One of those who were asked has answered. Raises `wire.WireError` for others."""
        survey = self._surveys.get(account.survey)
        if survey is None or process not in survey.asked:
            raise wire.WireError("Account from a process that was not asked")
        return self._pass_on(account.survey, survey, process, account.body)

    def gone(self, process: bytes) -> list[Tell]:
        """The dead do not answer, and are told nothing."""
        told: list[Tell] = []
        for number, survey in list(self._surveys.items()):
            if survey.client == process:
                survey.client = b""
            if process in survey.asked:
                told += self._pass_on(number, survey, process, b"")
        return told

    def _pass_on(self, number: int, survey: Survey, process: bytes, body: bytes) -> list[Tell]:
        survey.asked.discard(process)
        if not survey.asked:
            del self._surveys[number]
        return [Tell(survey.client, wire.Told(survey.seq, process, body))] if survey.client else []

    def __len__(self) -> int:
        return len(self._surveys)
