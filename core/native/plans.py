"""What calls with the same options have in common, made ready once."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from rllib.core.actor import TERMINATE
from rllib.core.native.call import NativeActor, Target
from rllib.core.native.leases import Kind
from rllib.core.native.placing import Place, Placing
from rllib.core.records import ActorOptions, ActorShape, CallOptions, RemoteCode, TaskOptions

ASYNC_CONCURRENCY = 1000
"""Calls that an actor with coroutines runs side by side, unless it says otherwise."""

_MAX_PLANS = 1024


class Plan(NamedTuple):
    """Of the tasks of one function with the same options."""

    options: TaskOptions
    code: RemoteCode
    inherited: Place
    target: Target
    kind: Kind


class Plans:
    """The plans of one process."""

    def __init__(self, placing: Placing) -> None:
        self._placing = placing
        self._plans: dict[int, Plan] = {}
        self._targets: weakref.WeakKeyDictionary[RemoteCode, dict[tuple[int, int], Target]] = (
            weakref.WeakKeyDictionary()
        )

    def find(self, code: RemoteCode, options: TaskOptions) -> Plan:
        """The plan for a task."""
        plan = self._plans.get(id(options))
        if plan is None or plan.code is not code or plan.inherited is not self._placing.inherited:
            plan = self._new(code, options)
        return plan

    def _new(self, code: RemoteCode, options: TaskOptions) -> Plan:
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()  # they are cheap to make again, and most have been forgotten
        place = self._placing.find(options)
        kind = tuple(sorted(options.resources.items())), place
        target = self._target(code, options)
        plan = Plan(options, code, self._placing.inherited, target, kind)
        self._plans[id(options)] = plan  # which keeps the options, so that no others get their id
        return plan

    def _target(self, code: RemoteCode, options: TaskOptions) -> Target:
        targets = self._targets.get(code)
        if targets is None:
            targets = self._targets[code] = {}
        key = (options.backpressure, options.max_calls)
        target = targets.get(key)
        if target is None:
            target = targets[key] = Target(
                "function",
                code.name,
                code.blob,
                backpressure=options.backpressure,
                max_calls=options.max_calls,
            )
        return target


def method_target(actor: NativeActor, method: str, options: CallOptions) -> Target:
    """What a call of the method calls."""
    key = (method, options.concurrency_group, options.backpressure)
    target = actor.methods.get(key)
    if target is None:
        target = actor.methods[key] = Target(
            "method",
            method,
            group=method if method == TERMINATE else options.concurrency_group,
            backpressure=options.backpressure,
        )
    return target


def constructor_target(code: RemoteCode, shape: ActorShape, options: ActorOptions) -> Target:
    """What makes an actor, and how many of its calls run side by side."""
    concurrency = options.max_concurrency or (ASYNC_CONCURRENCY if code.is_async else 1)
    details: dict[str, Any] = {"concurrency": concurrency}
    details["groups"] = dict(options.concurrency_groups)
    details["shape"] = shape.dump()
    return Target("actor", code.name, code.blob, **details)
