"""What the user sees while it trains."""

import io
import json
import re

import pytest
from rich.console import Console as RichConsole

from rllib.errors import ConfigError
from rllib.metrics.stages import Stages
from rllib.runs.console import Console, JsonConsole
from rllib.runs.progress import Pace, Progress, clock, sparkline
from rllib.runs.record import flatten
from rllib.runs.stopping import reached
from rllib.sampling.episodes import Episode, EpisodeWindow

STEPS, RETURN = "num_env_steps_sampled_lifetime", "env_runners/episode_return_mean"


def metrics(iteration: int, steps: int, mean: float = 1.0) -> dict[str, float]:
    return {"training_iteration": iteration, STEPS: steps, RETURN: mean}


def test_pace_is_measured_over_the_last_seconds() -> None:
    pace = Pace()
    pace.mark(0.0, 0)
    assert pace.per_second == 0.0
    pace.mark(1.0, 100)
    assert pace.per_second == 100.0
    for second in range(2, 40):
        pace.mark(float(second), 100 + 10 * (second - 1))
    assert pace.per_second == 10.0
    assert len(pace.marks) < 15


def test_a_line_has_steps_speed_return_and_time_left() -> None:
    progress = Progress({STEPS: 10_000, RETURN: 475}, started=0.0)
    progress.update(metrics(1, 1000, 21.5), now=2.0)
    assert progress.line(2.0) == (
        "iteration 1 | steps 1,000 of 10,000 | steps/s 500 | return 21.5 (goal 475)"
        " | time 0:02 | left at most 0:18"
    )


def test_a_line_names_the_bottleneck_and_the_view_says_what_may_help() -> None:
    shares = dict.fromkeys(Stages._fields, 0.0) | {"env_step": 0.8, "learning": 0.1}
    progress = Progress({}, started=0.0)
    progress.update({f"stages/{name}": share for name, share in shares.items()}, now=1.0)
    assert "bottleneck env step 80%" in progress.line(1.0)
    assert "num_env_runners" not in progress.line(1.0)
    assert "num_env_runners" in progress.facts(1.0)["bottleneck"]


def test_the_view_shows_speed_over_longer_times_once_they_have_passed() -> None:
    progress = Progress({}, started=0.0)
    for second in range(1, 101):
        progress.update(
            metrics(second, 100 * second if second <= 60 else 3000 + 50 * second), second
        )
        if second == 8:
            assert progress.facts(8.0)["steps/s"] == "100"
    text = progress.facts(100.0)["steps/s"]
    assert text.startswith("50  (last 60 s: ")
    assert text.endswith(", 300 s: 80)")


def test_the_view_shows_where_the_time_goes_and_what_was_restarted() -> None:
    shares = dict.fromkeys(Stages._fields, 0.0) | {"env_step": 0.6, "learner_waiting": 0.4}
    progress = Progress({}, started=0.0)
    restarts = {"fault_tolerance/num_remote_worker_restarts": 2}
    progress.update({f"stages/{name}": each for name, each in shares.items()} | restarts, now=1.0)
    facts = progress.facts(1.0)
    assert facts["time goes to"] == "env step 60%, learner waiting 40%"
    assert facts["restarts"] == "2 of env runners"


def test_a_continued_run_counts_its_speed_from_where_it_began() -> None:
    progress = Progress({}, started=0.0, history=[metrics(50, 50_000, 7.0)])
    progress.update(metrics(60, 51_000), now=2.0)
    assert progress.steps_per_second == 500.0
    assert progress.returns == [7.0, 1.0]
    assert progress.seconds_left(2.0) is None


def test_the_nearest_criterion_decides_the_time_left() -> None:
    progress = Progress({STEPS: 10_000, "training_iteration": 3, "time_total_s": 90}, started=0.0)
    progress.update(metrics(1, 1000) | {"time_total_s": 1.0}, now=1.0)
    progress.update(metrics(2, 2000) | {"time_total_s": 2.0}, now=2.0)
    assert progress.seconds_left(2.0) == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [([], ""), ([3.0], "▁"), ([0.0, 1.0], "▁█"), ([0, 0, 7, 7, 3.5, 3.5], "▁█▄"), ([2, 2], "▁▁")],
)
def test_sparkline(values: list[float], text: str) -> None:
    assert sparkline(values, width=3) == text


def shown(terminal: bool, count: int) -> str:
    output = io.StringIO()
    rich = RichConsole(file=output, force_terminal=terminal, width=200, soft_wrap=True)
    console = Console(rich)
    with console:
        console.say("starting [not markup]")
        console.begin(Progress({}, started=0.0))
        for iteration in range(1, count + 1):
            console.update(metrics(iteration, iteration * 10))
    console.say("done")
    return output.getvalue()


def test_plain_lines_show_the_first_and_the_last_result() -> None:
    lines = shown(terminal=False, count=500).splitlines()
    assert lines[0] == "starting [not markup]"
    assert lines[1].startswith("iteration 1 | steps 10 |")
    assert lines[-2].startswith("iteration 500 | steps 5,000 |")
    assert lines[-1] == "done"
    assert len(lines) < 20


def test_a_terminal_that_cannot_move_its_cursor_gets_lines() -> None:
    output = io.StringIO()
    console = Console(RichConsole(file=output, force_terminal=True, _environ={"TERM": "dumb"}))
    with console:
        console.begin(Progress({}, started=0.0))
        console.update(metrics(1, 10))
        assert output.getvalue().startswith("iteration 1 | steps 10 |")


def test_a_terminal_gets_a_live_view_that_ends_with_the_last_result() -> None:
    text = shown(terminal=True, count=500)
    assert "5,000" in text
    assert "▁" in text
    assert text.rstrip().endswith("done")
    assert "\x1b[?25h" in text  # the cursor is visible again


def test_a_narrow_terminal_shows_the_newest_returns_too() -> None:
    out = io.StringIO()
    console = Console(RichConsole(file=out, force_terminal=True, width=40))
    with console:
        console.begin(Progress({}, 0.0))
        for iteration in range(50):
            console.update(metrics(iteration, iteration, mean=iteration))
    assert "█" in out.getvalue()
    assert "…" not in out.getvalue()


def test_programs_get_every_message_and_result_as_a_line_of_json() -> None:
    out = io.StringIO()
    console = JsonConsole(RichConsole(file=out, soft_wrap=True, width=40))
    with console:
        console.say("starting [not markup]")
        console.begin(Progress({STEPS: 100}, started=0.0))
        for iteration in (1, 2):
            console.update(metrics(iteration, iteration * 10))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[0] == {"event": "message", "text": "starting [not markup]"}
    assert [line["training_iteration"] for line in lines[1:]] == [1, 2]
    assert lines[2]["seconds_left"] > 0
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("width", [40, 80])
def test_the_view_fits_narrow_terminals_and_needs_no_colours(width: int) -> None:
    out = io.StringIO()
    rich = RichConsole(file=out, force_terminal=True, no_color=True, width=width, height=40)
    console = Console(rich)
    shares = dict.fromkeys(Stages._fields, 0.0) | {"env_step": 0.6, "learning": 0.4}
    with console:
        console.begin(Progress({STEPS: 10_000_000}, 0.0))
        console.update(metrics(3, 1000) | {f"stages/{k}": v for k, v in shares.items()})
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "env step 60%" in shown
    assert max(map(len, shown.replace("\r", "\n").splitlines())) <= width
    assert "\x1b[3" not in out.getvalue()


# Stop criteria.


def test_a_criterion_is_reached_at_its_value_or_above() -> None:
    stop = {RETURN: 475, STEPS: 1000}
    assert reached(stop, {"env_runners": {"episode_return_mean": 474.9}, STEPS: 999}) is None
    assert reached(stop, {STEPS: 1000}) == f"{STEPS} = 1000"
    result = {"env_runners": {"episode_return_mean": 480.25}, STEPS: 1000}
    assert reached(stop, result) == f"{RETURN} = 480.25"


def test_a_metric_that_comes_with_the_first_episode_may_be_missing_at_first() -> None:
    window = EpisodeWindow(2)
    window.add([Episode(1.0, 5)])
    for metric in flatten({"env_runners": window.summary()}):
        assert reached({metric: 475}, {STEPS: 10}) is None


def test_a_metric_that_is_not_finite_yet_is_known_all_the_same() -> None:
    assert reached({"learners/loss": 1}, {"learners": {"loss": float("nan")}}) is None


def test_a_metric_of_evaluation_may_be_missing_between_evaluations() -> None:
    metric = "evaluation/env_runners/episode_return_mean"
    result = {"evaluation": {"env_runners": {"episode_return_mean": 480.0}}}
    assert reached({metric: 475}, {STEPS: 10}) is None
    assert reached({metric: 475}, result) == f"{metric} = 480"
    with pytest.raises(ConfigError, match="episode_return_mean"):
        reached({"evaluation/episode_return_maen": 475}, result)


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("env_runners/episode_return_maen", "did you mean 'env_runners/episode_return_mean'?"),
        ("learners/total_loss", "did you mean 'learners/default_policy/total_loss'?"),
        ("zzz/zzz", "no such metric"),
    ],
)
def test_an_unknown_metric_is_an_error_at_the_first_result(metric: str, hint: str) -> None:
    result = {
        "env_runners": {"episode_return_mean": 1.0},
        "learners": {"default_policy": {"total_loss": 0.1}},
    }
    with pytest.raises(ConfigError) as caught:
        reached({metric: 1}, result)
    assert hint in str(caught.value)


def test_the_least_agent_comes_with_the_first_episode_of_several_agents() -> None:
    stop = {"env_runners/least_agent_episode_return_mean": 3.0}
    assert reached(stop, {"env_runners": {"num_episodes": 0}}) is None
    episodes = {"episode_return_mean": 9.0}
    least = episodes | {"least_agent_episode_return_mean": 4.0}
    assert reached(stop, {"env_runners": least}) == f"{next(iter(stop))} = 4"
    with pytest.raises(ConfigError, match="results have no such metric"):
        reached(stop, {"env_runners": episodes})
