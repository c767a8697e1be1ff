"""What must hold of a scheduler's books at any time, found out without its own shortcuts."""

from __future__ import annotations

from collections.abc import Iterator

from rllib.core.labels import matches
from rllib.core.native.amounts import Pool, Share
from rllib.core.native.demands import Demand
from rllib.core.native.scheduler import Scheduler


def shares(scheduler: Scheduler) -> Iterator[Share]:
    """What workers hold, and demands that wait for a worker."""
    for site in scheduler.sites:
        yield from (each.share for each in site.workforce if each.share is not None)
        for demand in site.workforce.waiting():
            yield demand.reserved.share


def assert_nobody_waits_in_vain(scheduler: Scheduler) -> None:
    """Who waits for resources finds them nowhere; who waits for a process has one coming."""
    for demand in scheduler._backlog:
        if demand.reserved is None:
            assert not any(_fits(pool, demand) for pool in _pools(scheduler, demand)), demand
    for site in scheduler.sites:
        assert len(site.workforce.waiting()) <= site.workforce.starting


def _pools(scheduler: Scheduler, demand: Demand) -> Iterator[Pool]:
    needs = demand.needs
    group = scheduler._groups.get(needs.group)
    if needs.group:
        bundles = [] if group is None else group.bundles
        for number, bundle in enumerate(bundles):
            if needs.bundle in (-1, number) and matches(bundle.site.labels, needs.labels):
                yield bundle.pool
        return
    for site in scheduler.sites:
        wanted = not needs.node or needs.soft or site.node == needs.node
        if site.reachable and wanted and matches(site.labels, needs.labels):
            yield site.pool


def _fits(pool: Pool, demand: Demand) -> bool:
    share = pool.take(demand.amounts)
    if share is not None:
        share.undo()
    return share is not None
