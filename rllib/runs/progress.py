"""How a run is doing, in numbers and words; pure, so that the console only has to print it."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rllib.metrics.stages import Stages, headline, stages_of, verdict
from rllib.runs.record import ENV_STEPS, ITERATION, Metrics
from rllib.runs.stopping import COUNTERS, RETURN

LENGTH = "env_runners/episode_len_mean"
RESTARTS = "fault_tolerance/num_remote_worker_restarts"
WINDOW_S = 10.0
LONGER_S = (60.0, 300.0)
BARS = "▁▂▃▄▅▆▇█"


@dataclass
class Pace:
    """Speed of a growing counter over the last seconds, training time included.

    Attributes:
        marks: (time in s, count), oldest first; one older than the window is kept as its start.
        window_s: how many seconds are looked back.
    """

    marks: deque[tuple[float, float]] = field(default_factory=deque)
    window_s: float = WINDOW_S

    def mark(self, now: float, count: float) -> None:
        """Note the counter at a time (s)."""
        self.marks.append((now, count))
        while len(self.marks) > 2 and self.marks[1][0] < now - self.window_s:
            self.marks.popleft()

    @property
    def per_second(self) -> float:
        """Counts per second; 0 before two marks."""
        (start, first), (end, last) = self.marks[0], self.marks[-1]
        return (last - first) / (end - start) if end > start else 0.0


class Progress:
    """The state of a run as its results come in.

    Attributes:
        stop: the criteria that end the run.
        metrics: the newest result, flat.
        returns: mean episode returns so far, oldest first.
    """

    def __init__(
        self, stop: Mapping[str, float], started: float, history: Iterable[Metrics] = ()
    ) -> None:
        """Begin at a time (s), after the results in ``history``."""
        self.stop = dict(stop)
        self.metrics: Metrics = {}
        self.returns: list[float] = []
        self._started = started
        self._firsts: Metrics = {}
        steps = 0.0
        for row in history:
            self._note_firsts(row)
            self.returns += [row[RETURN]] if RETURN in row else []
            steps = row.get(ENV_STEPS, 0)
        self._paces = {ENV_STEPS: Pace(), ITERATION: Pace()}
        self._longer = [Pace(window_s=seconds) for seconds in LONGER_S]
        for pace in (self._paces[ENV_STEPS], *self._longer):
            pace.mark(started, steps)

    def update(self, metrics: Metrics, now: float) -> None:
        """Take in a result at a time (s)."""
        self.metrics = metrics
        self._note_firsts(metrics)
        for key, pace in self._paces.items():
            if key in metrics:
                pace.mark(now, metrics[key])
        for pace in self._longer if ENV_STEPS in metrics else ():
            pace.mark(now, metrics[ENV_STEPS])
        if RETURN in metrics:
            self.returns.append(metrics[RETURN])

    def _note_firsts(self, metrics: Metrics) -> None:
        for key in self.stop:
            if key in metrics and key not in COUNTERS:
                self._firsts.setdefault(key, metrics[key])

    @property
    def steps_per_second(self) -> float:
        """Env steps per second over the last seconds, training included."""
        return self._paces[ENV_STEPS].per_second

    def seconds_left(self, now: float) -> float | None:
        """Time until the first criterion that can be foretold, or None; others may come sooner."""
        times = [
            (self.stop[key] - self.metrics[key]) / pace.per_second
            for key, pace in self._paces.items()
            if key in self.stop and key in self.metrics and pace.per_second > 0
        ]
        if "time_total_s" in self.stop and "time_total_s" in self.metrics:
            times.append(self.stop["time_total_s"] - self.metrics["time_total_s"])
        return max(0.0, min(times)) if times else None

    @property
    def share(self) -> float | None:
        """How much of the way to the nearest criterion is gone, 0 to 1; None of an endless run.

        Counters go from 0; other metrics, as the return, from where they stood first.
        """
        ways = [self._way(key, goal) for key, goal in self.stop.items() if key in self.metrics]
        return max([0.0, *ways]) if self.stop else None

    def _way(self, key: str, goal: float) -> float:
        now, first = self.metrics[key], self._firsts.get(key, 0.0)
        return 1.0 if now >= goal else max(0.0, (now - first) / (goal - first))

    def facts(self, now: float) -> dict[str, str]:
        """What to show, as label and text, in the order to show it in."""
        facts = self._figures(now)
        facts["steps/s"] += self._longer_ago(now)
        if restarts := self.metrics.get(RESTARTS):
            facts["restarts"] = f"{restarts:,.0f} of env runners"
        stages = stages_of(self.metrics)
        if stages is None:
            return facts
        return facts | {"time goes to": shares_line(stages), "bottleneck": verdict(stages)}

    def _longer_ago(self, now: float) -> str:
        """Speed over longer times, as far as training has lasted for them."""
        pairs = zip(self._longer, (WINDOW_S, *LONGER_S), strict=False)
        lasted = now - self._started
        texts = [f"{p.window_s:.0f} s: {p.per_second:,.0f}" for p, least in pairs if lasted > least]
        return f"  (last {', '.join(texts)})" if texts else ""

    def _figures(self, now: float) -> dict[str, str]:
        metrics = self.metrics
        facts = {"iteration": f"{metrics.get(ITERATION, 0):,.0f}"}
        steps = f"{metrics.get(ENV_STEPS, 0):,.0f}"
        if ENV_STEPS in self.stop:
            steps += f" of {self.stop[ENV_STEPS]:,.0f}"
        facts["steps"] = steps
        facts["steps/s"] = f"{self.steps_per_second:,.0f}"
        if RETURN in metrics:
            goal = f" (goal {self.stop[RETURN]:g})" if RETURN in self.stop else ""
            facts["return"] = f"{metrics[RETURN]:.1f}{goal}"
        if LENGTH in metrics:
            facts["episode length"] = f"{metrics[LENGTH]:.0f}"
        facts["time"] = clock(now - self._started)
        left = self.seconds_left(now)
        if left is not None:
            facts["left"] = f"at most {clock(left)}"
        return facts

    def line(self, now: float) -> str:
        """All facts in one line, but for advice."""
        facts, stages = self._figures(now), stages_of(self.metrics)
        if stages is not None:
            facts["bottleneck"] = headline(stages)
        return " | ".join(f"{label} {text}" for label, text in facts.items())


def shares_line(stages: Stages) -> str:
    """Every stage that takes a hundredth of the time, and its share."""
    shares = [(name, share) for name, share in stages._asdict().items() if share >= 0.01]
    return ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in shares)


def clock(seconds: float) -> str:
    """``1:02:03``, or ``2:03`` below an hour."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of ``values`` in ``width`` characters, each the mean of its share."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(BARS[int((mean - low) / span * (len(BARS) - 1))] for mean in means)
