"""Leases come back as soon as others need what they hold."""

import os
from pathlib import Path

from patience import wait_until

from rllib import core


def held(begun: Path, until: Path) -> None:
    """Begun, until there is that file."""
    begun.touch()
    wait_until(until.exists)


class Actor:
    """Needs a CPU as long as it lives."""

    def pid(self) -> int:
        """Its process."""
        return os.getpid()


def test_a_lease_that_is_free_later_is_given_back_though_another_was_to_be(tmp_path: Path) -> None:
    """Both are in use when they are asked back; the one that was not chosen is done first."""
    first, second = tmp_path / "first", tmp_path / "second"
    with core.init(num_cpus=2):
        tasks = []
        for begun in (first, second):
            tasks.append(core.remote(held).remote(begun, begun.with_suffix(".end")))
            wait_until(begun.exists)
        actor = core.remote(num_cpus=1)(Actor).remote()
        assert core.available_resources().get("CPU", 0.0) == 0.0  # the node has heard of the actor
        second.with_suffix(".end").touch()
        assert core.get(actor.pid.remote(), timeout=30) > 0
        first.with_suffix(".end").touch()
        core.get(tasks)
