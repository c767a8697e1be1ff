"""The learners of an algorithm, wherever they are.

    fragments -> their shares -> learner 0 -> weights, metrics
                              -> learner 1 -> the same
                              -> ...

The learners average their gradients in every step, so that each of them has the same weights.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from secrets import token_hex
from typing import Any, ClassVar

from rllib import core
from rllib.absent import NamesNearest
from rllib.checkpoints.components import OF_GROUP, Paths, at, chosen_modules, weights_at
from rllib.config import AlgorithmConfig
from rllib.core import api
from rllib.core.exceptions import CoreError, GetTimeoutError
from rllib.core.util.collective import CollectiveError, CollectiveTimeoutError
from rllib.envs.make import Spaces
from rllib.errors import ConfigError, LearnerError, Problem
from rllib.learning.deaths import DEATHS, may_be_of_learners
from rllib.learning.learner import FIXED_MODULES, Learner, Metrics
from rllib.learning.shares import divide
from rllib.learning.snapshots import Snapshots
from rllib.workers import Worker, environs, fetch, fetch_sample, make_worker, stop_all

PATIENCE = 0.5
"""How long a learner waits for the others, as a share of ``learner_timeout_s``. Of one that died it
learns at once, so this is for one that hangs: those who wait for it are to say so in time."""

FOREVER_S = 1e6
"""The same where learners may take as long as they want."""

LAST_WORDS_S = 5.0
"""How long the other learners may take to fail as well, once one has failed."""


class LearnerGroup(NamesNearest):
    """Learner actors, or a learner in this process if ``num_learners`` is 0.

    Args:
        learner_class: the algorithm's learner.
        config: the algorithm's configuration.
        spaces: of a single environment.

    Attributes:
        version: counts what may have changed the weights.
        num_restarts: how often a learner that died was started anew.
        guard: calls a function that asks learners, again if one dies meanwhile; see
            ``Algorithm.ask_learners``.

    Raises:
        ConfigError: several learners on the engine that runs one call at a time, or more resources
            for them than there are.
    """

    INSTEAD: ClassVar[Mapping[str, str]] = {
        "add_module": FIXED_MODULES,
        "remove_module": FIXED_MODULES,
        "load_module_state": "RLModuleSpec(load_state_path=...), or set_weights({module_id: ...})",
        "update_from_batch": "update(batches) takes fragments",
        "update_from_episodes": "update(batches) takes fragments",
        "async_update": "update() is asynchronous where learners are actors",
        "save_to_path": "algo.save_to_path() saves learners and all the rest",
        "restore_from_path": "algo.restore_from_path() restores learners and all the rest",
    }

    def __init__(
        self, learner_class: type[Learner[Any]], config: AlgorithmConfig, spaces: Spaces
    ) -> None:
        self.config = config
        self.is_remote = config.num_learners > 0
        self._is_joined = False
        self.version = 0
        self.num_restarts = 0
        self.snapshots = Snapshots(config.learner_snapshot_every_s)
        self.guard: Callable[[Callable[[], Any]], Any] = lambda ask: ask()
        self._make = partial(
            make_worker,
            *(learner_class, config, spaces),
            remote=self.is_remote,
            **_resources(config),
        )
        self.workers: list[Worker] = [self._make() for _ in range(max(1, config.num_learners))]
        try:
            self._check_resources()
            self._join()
        except BaseException:
            self.stop()
            raise

    def _check_resources(self) -> None:
        """An actor whose resources nobody has would wait for ever."""
        number = self.config.num_learners
        wanted = {
            "GPU": self.config.num_gpus_per_learner,
            **self.config.custom_resources_per_learner,
        }
        if not (self.is_remote and any(wanted.values())):
            return
        there = core.cluster_resources()
        for name, amount in wanted.items():
            if number * amount > (found := there.get(name, 0.0)):
                key = "num_gpus_per_learner" if name == "GPU" else "custom_resources_per_learner"
                text = f"{number} learners want {amount:g} {name} each, but there are {found:g}"
                raise ConfigError(Problem(text, key))

    def _join(self) -> None:
        """Make the learners a group, unless they are one; a failed update has broken it."""
        if self._is_joined or len(self.workers) == 1:
            return
        if api.runtime().serial:
            text = "several learners work at the same time; the inline engine, which runs one call "
            raise ConfigError(Problem(text + "after the other, takes 0 or 1", "num_learners"))
        name, size = f"learners-{token_hex(4)}", len(self.workers)
        limit = self.config.learner_timeout_s
        timeout = FOREVER_S if limit is None else PATIENCE * limit
        self._fetch(
            [
                worker.call("join_members", rank, size, name, timeout)
                for rank, worker in enumerate(self.workers)
            ],
            None,  # they may just have been started; who is there waits no longer than for updates
        )
        self._is_joined = True

    # Updates.

    def update(self, batches: Sequence[Any], *, timestep: int = 0) -> Any:
        """Start an update on experience. Several may be under way; they are made in this order.

        Args:
            batches: handles of ``SampleBatch``, which are divided among the learners, or of what
                else the learner takes: as many for each.
            timestep: ``num_env_steps_sampled_lifetime``, which schedules go by.

        Returns:
            What ``fetch_metrics`` takes.

        Raises:
            TrainingError: the learner is in this process, so that it is here where a fragment is
                waited for, and one took longer than ``sample_timeout_s``.
        """
        self._join()
        self.version += 1
        if not self.is_remote:
            limit = self.config.sample_timeout_s
            batches = [fetch_sample(batch, limit) for batch in batches]
        elif self._restarts:
            self.snapshots.take(partial(self.workers[0].call, "get_state"))
        if len(self.workers) == 1:
            return [self.workers[0].call("update", *batches, timestep=timestep)]
        batches = [b if isinstance(b, core.ObjectRef) else core.put(b) for b in batches]
        return [
            worker.call(
                "update",
                *(batches[index] for index in shares),
                timestep=timestep,
                shares=[*shares.values()],
            )
            for worker, shares in zip(
                self.workers, divide(len(batches), len(self.workers)), strict=True
            )
        ]

    def fetch_metrics(self, update: Any) -> Metrics:
        """Wait for an update.

        Raises:
            TrainingError: a loss or gradient was not finite.
            LearnerError: a learner died, or does not answer.
        """
        metrics: Metrics = self._answers(update)[0]
        return metrics

    # State.

    def get_weights(self) -> Any:
        """A handle of the weights after all updates started so far."""
        return self.workers[0].call("get_weights")

    def fetch_weights(self) -> Any:
        """The same of weights that are there: they outlive the learner that has made them."""
        (weights,) = self._answers([self.get_weights()])
        return core.put(weights) if self.is_remote else weights

    def get_module_state(self) -> dict[str, Any]:
        """All weights, by name."""
        weights: dict[str, Any] = self._answers([self.workers[0].call("get_module_state")])[0]
        return weights

    def weights_of(self, module_ids: Sequence[str], *, inference_only: bool) -> dict[str, Any]:
        """Copies of weights by module id: all of them, or what acting needs."""
        handle = self.workers[0].call("weights_of", module_ids, inference_only=inference_only)
        weights: dict[str, Any] = self._answers([handle])[0]
        return weights

    def get_state(
        self,
        components: Paths = None,
        *,
        not_components: Paths = None,
        inference_only: bool = False,
    ) -> dict[str, Any]:
        """State tree of the learners: they differ in nothing but their random streams.

        It is the newest snapshot as well: what a checkpoint has is not lost with the learners.

        Args:
            components: ``learner/rl_module`` gives weights alone, by module id.
            not_components: less these, such as ``learner/rl_module/other``.
            inference_only: and less what acting does not need.

        Raises:
            TypeError: it is another part that is asked for.
        """
        call, ids = "LearnerGroup.get_state", self.config.policy_ids
        part = chosen_modules(call, OF_GROUP, ids, components, not_components, inference_only)
        if part is not None:
            return at(OF_GROUP, self.weights_of(part, inference_only=inference_only))
        handles = [self.workers[0].call("get_state")]
        handles += [worker.call("get_streams") for worker in self.workers[1:]]
        state, *streams = self._answers(handles)
        named = {str(rank): each for rank, each in enumerate(streams, start=1)}
        state = {**state, "streams": {**state["streams"], **named}}
        self._keep(state)
        return state

    def _keep(self, state: dict[str, Any]) -> None:
        """Let learners that die go on from it."""
        if self._restarts:
            self.snapshots.put(state)

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``, also of another number of learners, or take weights alone."""
        if (weights := weights_at(OF_GROUP, state)) is not None:
            self.set_weights(weights)
            return
        self._join()
        self.version += 1
        self._answers([worker.call("set_state", state) for worker in self.workers])
        self._keep(state)

    def set_weights(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Give every learner these weights; env runners get them with the next sync.

        Args:
            weights: arrays by module id and name, as ``Algorithm.get_weights`` gives them.

        Raises:
            ConfigError: there is no module of an id.
            CheckpointError: they are those of another network.
        """
        self.version += 1
        self._answers([worker.call("set_module_weights", weights) for worker in self.workers])
        if not self._restarts:
            return
        try:
            self.get_state()  # which is a snapshot with them
        except CoreError as error:
            self.snapshots.missed(error)

    def foreach_learner(
        self, func: Callable[[Any], Any], *, timeout_seconds: float | None = None
    ) -> list[Any]:
        """Call ``func(learner)`` where each learner lives; returns what they return.

        Learners of an algorithm that die meanwhile are started anew, and all are called again.

        Args:
            func: may be any function; it travels to actors. With several agents it gets a
                ``MultiLearner``, whose ``learners`` are by module id.
            timeout_seconds: how long to wait for each.

        Raises:
            TaskError: ``func`` raised in an actor.
            GetTimeoutError: it took longer.
        """
        self.version += 1  # it may have changed weights
        answers: list[Any] = self.guard(partial(self._applied, func, timeout_seconds))
        if self._restarts:
            self.snapshots.renew(partial(self.workers[0].call, "get_state"))
        return answers

    def _applied(self, func: Callable[[Any], Any], timeout: float | None) -> list[Any]:
        handles = [worker.call("apply", func) for worker in self.workers]
        return [fetch(handle, timeout) for handle in handles]

    @property
    def is_local(self) -> bool:
        """Whether the learner is in this process."""
        return not self.is_remote

    def get_stats(self) -> dict[str, Any]:
        """How many learners there are; what they report is in the results of updates."""
        counts = {"num_learners": len(self.workers), "num_restarts": self.num_restarts}
        return counts | {"is_remote": self.is_remote}

    def stop(self) -> None:
        """End the learners."""
        stop_all(self.workers)

    def shutdown(self) -> None:
        """RLlib's name of ``stop``."""
        self.stop()

    # Failures.

    @property
    def _restarts(self) -> bool:
        """Whether learners that die are started anew."""
        return self.is_remote and self.config.restart_failed_learners

    def _answers(self, handles: list[Any]) -> list[Any]:
        """What all learners answer within ``learner_timeout_s``; see ``_fetch``."""
        return self._fetch(handles, self.config.learner_timeout_s)

    def _fetch(self, handles: list[Any], limit: float | None) -> list[Any]:
        """What all learners answer; or what went wrong first, as soon as that is known."""
        if not self.is_remote:
            return handles  # of a learner here they are the answers, and it has raised already
        failures: dict[int, Exception] = {}
        silent = set(range(len(handles)))
        while silent:
            rank = _first_done(handles, silent, LAST_WORDS_S if failures else limit)
            if rank is None:
                break
            silent.remove(rank)
            try:
                handles[rank] = fetch(handles[rank])
            except Exception as error:
                failures[rank] = error
        if not (failures or silent):
            return handles
        self._is_joined = False
        raise self._explained(failures, silent)

    def _explained(self, failures: dict[int, Exception], silent: set[int]) -> Exception:
        """Of all failures the cause: the others failed because of it."""
        if not failures:
            late = TimeoutError(
                f"learner_timeout_s = {self.config.learner_timeout_s:g} have passed"
            )
            return self._learner_error(min(silent), f"does not answer: {late}", late, overdue=True)
        for rank, error in failures.items():
            if isinstance(error, DEATHS):
                return self._learner_error(rank, f"died: {error}", error)
        causes = [error for error in failures.values() if not isinstance(error, CollectiveError)]
        if causes:
            return causes[0]
        last = next(iter(failures.values()))
        if silent:
            cause = getattr(last, "cause", None) or last  # without the other's traceback
            overdue = any(isinstance(each, CollectiveTimeoutError) for each in failures.values())
            return self._learner_error(
                min(silent), f"does not answer: {cause}", last, overdue=overdue
            )
        return last

    def revive(self, error: Exception) -> list[int]:
        """Start learners anew that died, or do not answer, after something went wrong.

        They take over the state of one that is left, or else the newest snapshot; whatever was
        under way is lost. One that is busy is waited for: it is well.

        Args:
            error: what went wrong.

        Returns:
            Their ranks; none if all are well, so that the error is another's.

        Raises:
            LearnerError: they die too often.
        """
        revived = set[int]()
        while self._restarts and (dead := self._dead(error)):
            self._count_restarts(dead, error)
            revived.update(dead)
            try:
                self._start_anew(dead)
                break
            except Exception as again:  # some died meanwhile
                if not may_be_of_learners(again):
                    raise
                error = again
        return sorted(revived)

    def _dead(self, error: Exception) -> list[int]:
        """Ranks of those that died, and of those that do not answer although it is time."""
        overdue = isinstance(error, LearnerError) and error.overdue
        limit = LAST_WORDS_S if overdue else self.config.learner_timeout_s
        handles = [worker.call("get_streams") for worker in self.workers]
        core.wait(handles, num_returns=len(handles), timeout=limit)
        return [rank for rank, handle in enumerate(handles) if not _is_well(handle)]

    def _count_restarts(self, dead: list[int], error: Exception) -> None:
        most = self.config.max_num_learner_restarts
        if self.num_restarts + len(dead) > most:
            text = f"died, after max_num_learner_restarts = {most} restarts: {error}"
            raise self._learner_error(dead[0], text, error)
        self.num_restarts += len(dead)

    def _start_anew(self, dead: list[int]) -> None:
        """New learners in the place of those that died, and the same state for all."""
        state = self._surviving_state(dead)
        self._is_joined = False
        try:
            for rank in dead:
                self.workers[rank].end()
                self.workers[rank] = self._make()
            self._join()
            if state is not None:
                self.set_state(state)
        except BaseException:
            for rank in dead:  # nobody is to take them for learners that have learnt something
                self.workers[rank].end()
            raise

    def _surviving_state(self, dead: list[int]) -> dict[str, Any] | None:
        """Of a learner that is left; else the newest snapshot; else that of the beginning."""
        for rank, worker in enumerate(self.workers):
            if rank in dead:
                continue
            try:
                self.snapshots.put(fetch(worker.call("get_state"), self.config.learner_timeout_s))
                break
            except CoreError:  # it is dead by now, or there is no room: another one may be there
                continue
        snapshot: dict[str, Any] | None = self.snapshots.newest()
        return snapshot

    def _learner_error(
        self, rank: int, text: str, cause: Exception, *, overdue: bool = False
    ) -> LearnerError:
        message = f"learner {rank} of {len(self.workers)} {text}"
        error = LearnerError(message, rank=rank, overdue=overdue)
        error.__cause__ = cause
        return error


def _is_well(handle: Any) -> bool:
    try:
        fetch(handle, 0.0)
    except (GetTimeoutError, *DEATHS):
        return False
    except CoreError:
        return True  # it lives, whatever else is the matter
    return True


def _resources(config: AlgorithmConfig) -> dict[str, Any]:
    """Options of a learner actor that asks for something. It never waits for CPUs."""
    gpus, others = config.num_gpus_per_learner, config.custom_resources_per_learner
    if not (gpus or others):
        return environs(config)
    return {"num_cpus": 0, "num_gpus": gpus, "resources": others} | environs(config)


def _first_done(handles: list[Any], ranks: set[int], timeout: float | None) -> int | None:
    """Which of the calls has ended; None if none has within ``timeout`` seconds."""
    local = [rank for rank in ranks if not isinstance(handles[rank], core.ObjectRef)]
    if local:
        return local[0]
    ready, _ = core.wait([handles[rank] for rank in sorted(ranks)], timeout=timeout)
    return next((rank for rank in ranks if handles[rank] in ready), None)
