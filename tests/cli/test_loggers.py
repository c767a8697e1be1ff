"""Curves on disk: complete, finite, and seamless where a run was continued."""

import json
import math
import struct
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from rllib.config.file import load_plan
from rllib.errors import ConfigError
from rllib.metrics.stages import Stages
from rllib.runs.csv_logger import CSVLogger
from rllib.runs.loggers import Loggers
from rllib.runs.record import JsonLines, flatten, read_json_lines
from rllib.runs.tags import tagged
from rllib.runs.tensorboard import Curves, TensorBoard


def result(iteration: int, **more: object) -> dict[str, object]:
    return {
        "training_iteration": iteration,
        "num_env_steps_sampled_lifetime": iteration * 100,
        "env_runners": {"episode_return_mean": iteration / 2, "hidden": math.nan},
        **more,
    }


def write(folder: Path, iterations: range, after: int = 0) -> None:
    loggers = Loggers(folder, after_iteration=after, more=[Curves()])
    for iteration in iterations:
        loggers.log(result(iteration))
    loggers.close()


def events(folder: Path) -> Iterator[Event]:
    """Every event of every file, by the record format of TensorFlow."""
    for file in sorted(folder.glob("tensorboard/events*")):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("Q", data[:8])
            yield Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [
        (event.step, value.simple_value)
        for event in events(folder)
        for value in event.summary.value
        if value.tag == tag
    ]


def rows(folder: Path) -> list[float]:
    return [row["training_iteration"] for row in read_json_lines(folder / "progress.jsonl")]


def test_only_finite_numbers_are_kept_and_nested_keys_are_joined() -> None:
    nested = {
        "a": 1,
        "b": {"c": np.float32(0.5), "d": {"e": np.int64(3)}},
        "nan": math.nan,
        "inf": np.inf,
        "text": "x",
        "flag": True,
        "none": None,
        "array": np.zeros(3),
        "config": {"lr": 1.0},
    }
    flat = flatten(nested)
    assert flat == {"a": 1, "b/c": 0.5, "b/d/e": 3}
    assert [type(value) for value in flat.values()] == [int, float, int]


def test_every_line_is_json_on_its_own_and_there_at_once(tmp_path: Path) -> None:
    loggers = Loggers(tmp_path, after_iteration=0)
    for iteration in (1, 2):
        loggers.log(result(iteration))
        lines = (tmp_path / "progress.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["env_runners/episode_return_mean"] == iteration / 2
        assert json.loads(lines[-1])["timestamp"] == pytest.approx(time.time(), abs=60)
        assert "NaN" not in lines[-1]
        assert len(lines) == iteration
    loggers.close()
    assert not (tmp_path / "tensorboard").exists()


def test_the_curves_are_over_env_steps(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    expected = [(100, 0.5), (200, 1.0), (300, 1.5)]
    assert curve(tmp_path, "env_runners/episode_return_mean") == expected
    assert curve(tmp_path, "num_env_steps_sampled_lifetime") == []


@pytest.mark.parametrize("torn", ["", '{"training_iteration": 8, "x"', "\x00\x00\n", "[]\n"])
def test_a_continued_run_has_no_step_back_no_gap_and_no_double_point(
    tmp_path: Path, torn: str
) -> None:
    write(tmp_path, range(1, 8))
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write(torn)  # killed while it wrote
    write(tmp_path, range(5, 11), after=4)
    assert rows(tmp_path) == list(range(1, 11))
    expected = [(iteration * 100, iteration / 2) for iteration in range(1, 11)]
    assert curve(tmp_path, "env_runners/episode_return_mean") == expected
    assert len(list(tmp_path.glob("tensorboard/*"))) == 1


def test_continued_curves_keep_their_wall_times(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    before = {event.step: event.wall_time for event in events(tmp_path) if event.summary.value}
    write(tmp_path, range(3, 5), after=2)
    after = {event.step: event.wall_time for event in events(tmp_path) if event.summary.value}
    assert after[100] == pytest.approx(before[100], abs=0.01)
    assert list(after.values()) == sorted(after.values())


def test_a_run_begun_anew_forgets_the_old_curves(tmp_path: Path) -> None:
    write(tmp_path, range(1, 8))
    write(tmp_path, range(1, 3))
    assert rows(tmp_path) == [1, 2]
    assert curve(tmp_path, "training_iteration") == [(100, 1), (200, 2)]


def test_tensorboard_itself_reads_the_curves(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path, range(1, 8))
    write(tmp_path, range(5, 11), after=4)
    reader = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    scalars = reader.Scalars("env_runners/episode_return_mean")
    assert [(point.step, point.value) for point in scalars] == [
        (iteration * 100, iteration / 2) for iteration in range(1, 11)
    ]


def test_tensorboard_says_in_words_what_holds_training_up_when_that_changes(tmp_path: Path) -> None:
    loggers = Loggers(tmp_path, after_iteration=0, more=[Curves()])
    for iteration, slow in enumerate(("learning", "learning", "env_step"), start=1):
        stages = Stages()._replace(**{slow: 0.9})
        loggers.log(result(iteration, stages=stages._asdict()))
    loggers.close()
    texts = [
        (event.step, value.tensor.string_val[0].decode())
        for event in events(tmp_path)
        for value in event.summary.value
        if value.tag.startswith("bottleneck")
    ]
    assert [(step, text.partition(" 90%")[0]) for step, text in texts] == [
        (100, "learning"),
        (300, "env step"),
    ]
    assert [round(share, 6) for _, share in curve(tmp_path, "stages/learning")] == [0.9, 0.9, 0.0]


def test_an_iteration_costs_tensorboard_little(tmp_path: Path) -> None:
    metrics = {f"group/metric_number_{i}": float(i) for i in range(60)}
    board = TensorBoard(tmp_path / "tensorboard", [])
    started = time.process_time()
    for step in range(50):
        board.log(metrics | {"num_env_steps_sampled_lifetime": step})
    spent = (time.process_time() - started) / 50
    board.close()
    assert spent < 0.005  # seconds of this process; measured 0.5 ms


# Other loggers, and other names.


def test_a_table_gets_new_columns_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    first = {"training_iteration": 1, "a": 0.5}
    logger = CSVLogger(tmp_path, [])
    for row in (first, {"training_iteration": 2, "a": 1.5, "b,c": 7}, {"training_iteration": 3}):
        logger.log(row)
    logger.close()
    lines = (tmp_path / "progress.csv").read_text().splitlines()
    assert lines == ['training_iteration,a,"b,c"', "1,0.5,", "2,1.5,7", "3,,"]
    again = CSVLogger(tmp_path, [first])
    again.log({"training_iteration": 2, "a": 9.0})
    again.close()
    lines = (tmp_path / "progress.csv").read_text().splitlines()
    assert lines == ["training_iteration,a", "1,0.5", "2,9.0"]


@pytest.mark.parametrize(
    ("style", "names"),
    [
        ("native", ["env_runners/episode_return_mean", "learners/default_policy/vf_loss", "x"]),
        ("sb3", ["rollout/ep_rew_mean", "train/value_loss", "x"]),
        ("cleanrl", ["charts/episodic_return", "losses/value_loss", "x"]),
        (
            "rllib",
            [
                "ray/tune/env_runners/episode_return_mean",
                "ray/tune/learners/default_policy/vf_loss",
                "ray/tune/x",
            ],
        ),
    ],
)
def test_curves_may_have_the_names_of_other_libraries(style: Any, names: list[str]) -> None:
    metrics = {"env_runners/episode_return_mean": 1, "learners/default_policy/vf_loss": 2, "x": 3}
    assert list(tagged(metrics, style)) == names
    several = {"learners/left/vf_loss": 1, "learners/__all_modules__/steps": 2}
    assert tagged(several, "sb3") == {
        "train/left/value_loss": 1,
        "learners/__all_modules__/steps": 2,
    }


def test_a_config_chooses_loggers_and_names(tmp_path: Path) -> None:
    config = load_plan("ppo_cartpole", ["loggers=csv", "tag_style=sb3"]).config
    assert config.loggers == (CSVLogger,)
    with pytest.raises(ConfigError, match="did you mean 'csv'"):
        load_plan("ppo_cartpole", ["loggers=[cvs]"])
    rename = partial(tagged, style="sb3")
    loggers = Loggers(tmp_path, after_iteration=0, more=[Curves(rename), CSVLogger])
    loggers.log({"training_iteration": 1, "env_runners": {"episode_return_mean": 3.0}})
    loggers.close()
    assert "env_runners/episode_return_mean" in (tmp_path / "progress.jsonl").read_text()
    assert (tmp_path / "progress.csv").read_text().startswith("training_iteration,env_runners/")
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"rollout/ep_rew_mean" in events.read_bytes()


LINES = [b'{"training_iteration": %d}\n' % n for n in range(1, 5)]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (LINES, LINES[:3]),  # what came later
        ([*LINES[:3], LINES[3][:-2]], LINES[:3]),  # torn off
        (LINES[:2], LINES[:2]),
        ([LINES[0], b"no row\n", *LINES[1:]], LINES[:3]),
        ([LINES[3], *LINES[:3]], LINES[:3]),
        ([b"\xff\xfe\n"], []),
        ([], []),
    ],
)
def test_a_record_goes_on_after_the_rows_that_count(
    tmp_path: Path, content: list[bytes], kept: list[bytes]
) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(b"".join(content))
    record = JsonLines(path, until=3)
    record.log({"training_iteration": 4})
    record.close()
    assert path.read_bytes() == b"".join([*kept, LINES[3]])
