"""From costs and cores to a layout; pure functions.

Legend: R env runners, N environments of one env runner, all times in wall-clock seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

WORTH = 1.2
"""How many times as fast other processes have to promise to be, to be started at all."""
AS_GOOD = 1.05
"""Of layouts that differ by less than this, the first is taken, with the fewest processes."""
ROUND_TRIP_S = 1e-3
"""To ask an actor for a fragment, wake it, get the answer and send weights; about."""
WAITS = 0.5
"""Sampling that keeps a CPU busy for less than this share of its time waits for something else."""
RUNNERS_PER_CORE = 4
"""Of env runners that wait, at most."""
LEARNER_SHARE = 0.25
"""Of the time of a step: an asynchronous learner that takes more gets a core that is left."""
VECTOR_SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Costs:
    """What was measured.

    Attributes:
        turn_s: of one step of a vector of environments, whatever their number: the policy's
            forward pass, calls, connectors.
        env_step_s: what each environment adds to that.
        cpu_share: share of this time in which a CPU was busy, 0 to 1.
        learning_s: of the learner per env step, with all epochs.
    """

    turn_s: float
    env_step_s: float
    cpu_share: float
    learning_s: float

    def vector_step_s(self, num_envs: int) -> float:
        """Of one step of so many environments."""
        return self.turn_s + num_envs * self.env_step_s

    @property
    def waits(self) -> bool:
        """Whether sampling is mostly waiting: for a simulator elsewhere, a device, a clock."""
        return self.cpu_share < WAITS


@dataclass(frozen=True)
class Work:
    """What is to be laid out.

    Attributes:
        num_envs: environments in all, if synchronous; else of one env runner.
        fragment_rows: env steps of each environment between two updates, or in one fragment.
        train_rows: env steps of a train batch.
        asynchronous: whether env runners go on while the learner learns.
        may_resize: whether the environments of one env runner may be others than ``num_envs``.
    """

    num_envs: int
    fragment_rows: int
    train_rows: int
    asynchronous: bool = False
    may_resize: bool = False


@dataclass(frozen=True)
class Layout:
    """Who does what, and why.

    Attributes:
        num_env_runners: actors; 0 samples in the main process.
        num_envs_per_env_runner: environments that each of them steps as one vector.
        num_learners: actors; 0 learns in the main process.
        seconds_per_step: what one env step is expected to take, learning included.
        reasons: a line for each setting, by its name.
    """

    num_env_runners: int
    num_envs_per_env_runner: int
    num_learners: int
    seconds_per_step: float
    reasons: dict[str, str]


@dataclass(frozen=True)
class _Sampling:
    """R env runners of N environments, and what an env step takes then."""

    num_env_runners: int
    num_envs: int
    seconds_per_step: float


def decide(costs: Costs, work: Work, num_cores: int) -> Layout:
    """The layout that promises most; the main process alone unless others are well worth it.

    Args:
        costs: what was measured.
        work: what is to be laid out.
        num_cores: 0 where nothing runs beside the main process.
    """
    main = _best(list(_in_main(costs, work)))
    actors = _best([*_actors(costs, work, num_cores)] or [main])
    is_worth_it = main.seconds_per_step >= WORTH * actors.seconds_per_step
    chosen = actors if is_worth_it else main
    num_learners = _num_learners(costs, work, chosen, num_cores)
    return Layout(
        chosen.num_env_runners,
        chosen.num_envs,
        num_learners,
        chosen.seconds_per_step,
        {
            "num_env_runners": _why_runners(costs, main, actors, chosen),
            "num_envs_per_env_runner": _why_envs(work),
            "num_learners": _why_learners(work, chosen, num_learners),
        },
    )


def _best(found: list[_Sampling]) -> _Sampling:
    """The first that is about as fast as the fastest."""
    fastest = min(each.seconds_per_step for each in found)
    return next(each for each in found if each.seconds_per_step <= AS_GOOD * fastest)


def _in_main(costs: Costs, work: Work) -> Iterator[_Sampling]:
    """Everything one after the other."""
    for num_envs in _vector_sizes(work, 1):
        sampling = costs.vector_step_s(num_envs) / num_envs
        yield _Sampling(0, num_envs, sampling + costs.learning_s)


def _actors(costs: Costs, work: Work, num_cores: int) -> Iterator[_Sampling]:
    """All that may be chosen, those with the fewest processes first."""
    most = num_cores * (RUNNERS_PER_CORE if costs.waits else 1)
    seconds = asynchronous_s if work.asynchronous else synchronous_s
    for num_runners in range(1, most + 1):
        for num_envs in _vector_sizes(work, num_runners):
            found = seconds(costs, num_runners, num_envs, work.fragment_rows, num_cores)
            yield _Sampling(num_runners, num_envs, found)


def _vector_sizes(work: Work, num_runners: int) -> list[int]:
    """How many environments one of so many env runners may have."""
    if not work.asynchronous:
        whole, rest = divmod(work.num_envs, num_runners)
        return [whole] if not rest else []
    most = max(1, work.train_rows // work.fragment_rows)
    return [size for size in VECTOR_SIZES if size <= most] if work.may_resize else [work.num_envs]


def synchronous_s(
    costs: Costs, num_runners: int, num_envs: int, rows: int, num_cores: int
) -> float:
    """Seconds per env step where env runners sample at the same time and then wait for the learner.

    Args:
        costs: what was measured.
        num_runners: R.
        num_envs: N.
        rows: env steps of each environment from one update to the next.
        num_cores: that R share.
    """
    turn = costs.vector_step_s(num_envs)
    busy = num_runners * costs.cpu_share * turn / num_cores
    in_all = num_runners * num_envs
    return max(turn, busy) / in_all + costs.learning_s + ROUND_TRIP_S / (rows * in_all)


def asynchronous_s(
    costs: Costs, num_runners: int, num_envs: int, rows: int, num_cores: int
) -> float:
    """Seconds per env step where R env runners and the learner share the cores and never wait.

    The arguments are those of ``synchronous_s``; ``rows`` are those of a fragment.
    """
    transfer = ROUND_TRIP_S / (rows * num_envs)
    sampling = costs.vector_step_s(num_envs) / num_envs
    work = costs.cpu_share * sampling + costs.learning_s + transfer
    return max(sampling / num_runners, costs.learning_s + transfer, work / num_cores)


def _num_learners(costs: Costs, work: Work, chosen: _Sampling, num_cores: int) -> int:
    """An actor for the learner, where that is not just another place for the same turn."""
    if not work.asynchronous or not chosen.num_env_runners:
        return 0
    is_heavy = costs.learning_s >= LEARNER_SHARE * chosen.seconds_per_step
    return int(is_heavy and num_cores >= chosen.num_env_runners + 2)


def _why_runners(costs: Costs, main: _Sampling, actors: _Sampling, chosen: _Sampling) -> str:
    times = main.seconds_per_step / actors.seconds_per_step
    if not chosen.num_env_runners:
        return f"all in the main process; with actors it would be {times:.2f} times as fast"
    waiting = f"; env steps wait {1 - costs.cpu_share:.0%} of their time" if costs.waits else ""
    return f"{times:.2f} times as fast as the main process alone{waiting}"


def _why_envs(work: Work) -> str:
    if not work.asynchronous:
        return f"in all {work.num_envs}, as the settings say"
    if work.may_resize:
        return "so many share a forward pass, and a fragment still fits a train batch"
    return "as the settings say"


def _why_learners(work: Work, chosen: _Sampling, num_learners: int) -> str:
    if num_learners:
        return "there is a core for it beside the env runners and the main process"
    if work.asynchronous and chosen.num_env_runners:
        return "in the main process, which has little else to do"
    return "in the main process: sampling and learning take turns"
