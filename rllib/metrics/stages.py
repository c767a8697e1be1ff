"""Where the time of an iteration goes, and what that says about what holds training up.

Two clocks run beside each other, or one after the other in a single process::

    env runners   env_step | inference | collecting | env_runner_waiting
    learner       learning | transfer | learner_waiting

Each stage is a share of the iteration's wall-clock time: of a mean env runner, and of the learner.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

STAGES = "stages"
TURNS = 1.1
"""Shares of env runners and learner that come to more than this say that the two overlap."""

ADVICE = {
    "env_step": "more num_env_runners, a faster environment, or vectorised stepping",
    "inference": "more num_envs_per_env_runner, or a smaller network",
    "collecting": "longer rollout_fragment_length, fewer callbacks and connectors",
    "learning": "a larger minibatch_size, fewer num_epochs, more num_learners, or a GPU",
    "transfer": "longer rollout_fragment_length, or env runners on the learner's machine",
    "waiting": "more cores, or fewer processes than there are cores",
}


class Sampling(NamedTuple):
    """Of one fragment: seconds in all, in the environment and in the policy, and when it ended (s
    since the epoch)."""

    sample_s: float
    env_step_s: float
    inference_s: float
    ended_at: float


class Update(NamedTuple):
    """Of one learner update: when it began (s since the epoch), and seconds."""

    began_at: float
    update_s: float


class Stages(NamedTuple):
    """Shares of the iteration's time, 0 to 1."""

    env_step: float = 0.0
    inference: float = 0.0
    collecting: float = 0.0
    env_runner_waiting: float = 0.0
    learning: float = 0.0
    transfer: float = 0.0
    learner_waiting: float = 0.0


def shares(
    samplings: Sequence[Sampling], updates: Sequence[Update], elapsed: float, num_env_runners: int
) -> Stages:
    """The stages of an iteration of ``elapsed`` seconds.

    What reaches into the iteration from the one before counts where it ended, so that shares of
    short iterations are rough; none is above 1.
    """
    per_runner = 1.0 / (elapsed * max(1, num_env_runners))
    sampling = sum(each.sample_s for each in samplings) * per_runner
    env_step = sum(each.env_step_s for each in samplings) * per_runner
    inference = sum(each.inference_s for each in samplings) * per_runner
    learning = sum(each.update_s for each in updates) / elapsed
    moved = transfer_s([each.ended_at for each in samplings], updates) / elapsed
    stages = (
        *(env_step, inference, sampling - env_step - inference, 1.0 - sampling),
        *(learning, moved, 1.0 - learning - moved),
    )
    return Stages(*(min(1.0, max(0.0, each)) for each in stages))


def transfer_s(samples_ended_at: Iterable[float], updates: Sequence[Update]) -> float:
    """Seconds in which the learner could have learnt, had it had what was sampled already.

    Before each update that is the time since its newest fragment was there, or since the update
    before ended, whichever is later. Clocks of different machines may differ by a little.
    """
    ended_at, total, free_since = sorted(samples_ended_at), 0.0, 0.0
    for update in sorted(updates):
        num_ready = bisect_right(ended_at, update.began_at)
        if num_ready and ended_at[num_ready - 1] > free_since:
            total += update.began_at - ended_at[num_ready - 1]
        elif free_since:
            total += max(0.0, update.began_at - free_since)
        free_since = update.began_at + update.update_s
    return total


def bottleneck(stages: Stages) -> str:
    """What most of the time goes to: a name in `ADVICE`.

    Where env runners and learner take turns, the longest stage; where they work beside each other,
    the longest stage of the one that is always busy, for that is what the other waits for.
    """
    sampling = {name: getattr(stages, name) for name in ("env_step", "inference", "collecting")}
    learner = {name: getattr(stages, name) for name in ("learning", "transfer")}
    if sum(sampling.values()) + sum(learner.values()) <= TURNS:
        busy = sampling | learner
    else:
        busy = max((sampling, learner), key=lambda each: sum(each.values()))
    named = busy | {"waiting": max(0.0, 1.0 - sum(busy.values()))}
    return max(named, key=lambda name: named[name])


def headline(stages: Stages) -> str:
    """The bottleneck and its share of the time."""
    name = bottleneck(stages)
    share = getattr(stages, name, min(stages.env_runner_waiting, stages.learner_waiting))
    return f"{name.replace('_', ' ')} {share:.0%}"


def verdict(stages: Stages) -> str:
    """One line for people: what holds training up, and what may help."""
    return f"{headline(stages)}: {ADVICE[bottleneck(stages)]}"


def stages_of(metrics: Mapping[str, float]) -> Stages | None:
    """Those of a flat result; none of one without."""
    names = {name: f"{STAGES}/{name}" for name in Stages._fields}
    if not metrics.keys() >= set(names.values()):
        return None
    return Stages(**{name: metrics[key] for name, key in names.items()})
