"""A fragment's env steps, stream after stream, and what was observed after those that end a run.

A column of a fragment is one stream of time. Its reset rows are no env steps and are left out.

Legend: T rows, N streams, M of them with steps, R steps, A of them without a following one.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.batch import SampleBatch

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

_NONE = np.empty(0, np.int64)


class Steps(NamedTuple):
    """The env steps of a fragment. Steps are counted over all streams, the first stream's first.

    Attributes:
        obs: [R, ...] s_t.
        actions: [R, ...] a_t.
        rewards: [R] r_t.
        streams: [M] int64, the streams with steps.
        firsts: [M] int64, their first steps.
        tails: [M] int64, their last steps where the episode goes on; -1 elsewhere.
        terminal: [E] int64, steps in which an episode terminated.
        cut: [A] int64, steps that did not terminate, but whose following one is not in here: their
            episode was truncated, or goes on after the fragment.
        cut_obs: [A, ...] s_{t+1} of these.
        begins: int64, first steps of episodes of which the one before is in here.
        numbers: [N * T] int64, the step in row t of stream n, at ``n * T + t``; anything where
            there is none. ``None`` without reset rows.
    """

    obs: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    streams: Indices
    firsts: Indices
    tails: Indices
    terminal: Indices
    cut: Indices
    cut_obs: NDArray[Any]
    begins: Indices
    numbers: Indices | None


def is_endless(batch: SampleBatch) -> bool:
    """Whether there is no reset row and no end of an episode: most fragments of few rows are so."""
    marks = batch.reset_rows, batch.terminateds, batch.truncateds
    return not any(map(np.count_nonzero, marks))


def read_steps(batch: SampleBatch) -> Steps:
    """The env steps of a fragment; nothing is copied where there is one stream and no reset row.

    Raises:
        ValueError: a truncated episode has no final observation, so what followed is not known.
    """
    if batch.num_env_steps < batch.rewards.size:
        return _read_with_resets(batch, _done(batch))
    done = _done(batch)
    return _read_full(batch, done) if done.any() else _read_endless(batch)


def read_beginnings(batch: SampleBatch, steps: Steps) -> tuple[Indices, dict[str, NDArray[Any]]]:
    """The steps [C] in which sequences of a policy with memory begin, and the states before them.

    Returns:
        The steps in ascending order, and [C, ...] the states by name.
    """
    live = np.flatnonzero(~batch.reset_rows.reshape(-1)[batch.state_rows])
    numbers = _number(batch.state_rows[live], batch, steps.numbers)
    order = numbers.argsort()
    states = {name: part[live[order]] for name, part in batch.state_in.items()}
    return numbers[order], states


def by_stream(column: NDArray[Any]) -> NDArray[Any]:
    """[N * T, ...] from [T, N, ...], stream after stream."""
    T, N = column.shape[:2]
    if N == 1:
        return column[:, 0]
    return column.swapaxes(0, 1).reshape(N * T, *column.shape[2:])


def _number(rows: Indices, batch: SampleBatch, numbers: Indices | None) -> Indices:
    """The steps in rows that a batch counts as ``t * N + n``."""
    T, N = batch.rewards.shape
    rows = rows % N * T + rows // N
    return rows if numbers is None else numbers[rows]


def _done(batch: SampleBatch) -> Bools:
    """[N * T] where episodes ended."""
    num_cut = np.count_nonzero(batch.truncateds > batch.terminateds)
    if num_cut != len(batch.final_index):
        raise ValueError(
            f"the fragment has {num_cut} truncated rows, but {len(batch.final_index)} final "
            "observations; there should be one for each"
        )
    return by_stream(batch.dones)


def _read_endless(batch: SampleBatch) -> Steps:
    """See ``is_endless``."""
    T, N = batch.rewards.shape
    firsts = np.arange(0, T * N, T)
    lasts = firsts + (T - 1)
    return Steps(
        obs=by_stream(batch.obs),
        actions=by_stream(batch.actions),
        rewards=by_stream(batch.rewards),
        streams=np.arange(N),
        firsts=firsts,
        tails=lasts,
        terminal=_NONE,
        cut=lasts,
        cut_obs=batch.last_obs,
        begins=_NONE,
        numbers=None,
    )


def _read_full(batch: SampleBatch, done: Bools) -> Steps:
    """No reset row."""
    T = len(batch.rewards)
    steps = _read_endless(batch)
    goes_on = ~batch.dones[-1]
    ends = np.flatnonzero(done)
    return steps._replace(
        tails=np.where(goes_on, steps.tails, -1),
        terminal=np.flatnonzero(by_stream(batch.terminateds)),
        cut=np.concatenate([_number(batch.final_index, batch, None), steps.cut[goes_on]]),
        cut_obs=np.concatenate([batch.final_obs, batch.last_obs[goes_on]]),
        begins=ends[ends % T < T - 1] + 1,
    )


def _read_with_resets(batch: SampleBatch, done: Bools) -> Steps:
    T, N = batch.rewards.shape
    is_step, obs = ~by_stream(batch.reset_rows), by_stream(batch.obs)
    numbers = is_step.cumsum() - 1
    counts = is_step.reshape(N, T).sum(axis=1)
    streams = np.flatnonzero(counts)
    lasts = counts.cumsum()[streams] - 1
    firsts = lasts + 1 - counts[streams]
    is_followed = np.append(is_step[1:], False)
    is_followed[T - 1 :: T] = False
    left = np.flatnonzero(is_step & ~done & ~is_followed)  # rows, the others are steps
    ends = numbers[is_step & (done | ~is_followed)]
    is_first = np.zeros(len(is_step) + 1, np.bool_)
    is_first[lasts + 1] = True  # of the next stream
    return Steps(
        obs=obs[is_step],
        actions=by_stream(batch.actions)[is_step],
        rewards=by_stream(batch.rewards)[is_step],
        streams=streams,
        firsts=firsts,
        tails=np.where(done[is_step][lasts], -1, lasts),
        terminal=numbers[is_step & by_stream(batch.terminateds)],
        cut=np.concatenate([_number(batch.final_index, batch, numbers), numbers[left]]),
        cut_obs=np.concatenate([batch.final_obs, _obs_after(left, obs, batch)]),
        begins=ends[~is_first[ends + 1]] + 1,
        numbers=numbers,
    )


def _obs_after(rows: Indices, obs: NDArray[Any], batch: SampleBatch) -> NDArray[Any]:
    """What was observed after rows ``n * T + t``: in the row below, or after the fragment."""
    T = len(batch.rewards)
    after: NDArray[Any] = obs[np.minimum(rows + 1, len(obs) - 1)]
    is_last = rows % T == T - 1
    after[is_last] = batch.last_obs[rows[is_last] // T]
    return after
