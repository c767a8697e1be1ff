"""The table of measurements on Ray: in an actor, which the first report starts."""

from __future__ import annotations

import contextlib
from typing import Any

import ray

from rllib.core.measurements import Measurement, Measurements

TABLES = "rllib.core"
"""The namespace of tables."""


class Table:
    """Where the processes of one job find the table. Detached, because whoever happens to report
    first may be a worker that ends long before the others; the driver ends it in the end."""

    def __init__(self, job: str) -> None:
        self._name = f"measurements of job {job}"
        self._handle: Any = None

    def add(self, found: list[Measurement]) -> None:
        """Add a report; does not wait."""
        self._actor().update.remote(found)

    def read(self) -> list[Measurement]:
        """All that was reported."""
        table: list[Measurement] = ray.get(self._actor().all.remote())
        return table

    def close(self) -> None:
        """End the actor, if anybody has started it."""
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(self._name, TABLES))

    def _actor(self) -> Any:
        if self._handle is None:
            maker = ray.remote(num_cpus=0)(Measurements)
            self._handle = maker.options(
                name=self._name, namespace=TABLES, lifetime="detached", get_if_exists=True
            ).remote()
        return self._handle
