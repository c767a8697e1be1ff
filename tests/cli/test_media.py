"""Hyperparameters, histograms and films in TensorBoard, also of runs that were continued."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib.errors import ConfigError
from rllib.runs.media import gif, histogram
from rllib.runs.session import Order, Session
from rllib.runs.signals import StopSignals
from rllib.runs.tensorboard import TensorBoard, pictures

SMALL = (
    *("num_env_runners=0", "num_learners=0", "train_batch_size_per_learner=256"),
    *("num_epochs=1", "model_config.fcnet_hiddens=[16]", "num_envs_per_env_runner=4"),
)


def train(folder: Path, iterations: int, *overrides: str) -> int:
    stop = (f"training_iteration={iterations}",)
    order = Order("ppo_cartpole", (*SMALL, *overrides), stop, name="media", runs_dir=folder)
    with StopSignals().installed() as signals:
        return Session(order).execute(signals)


def read(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = str(folder / "media" / "tensorboard")
    reader = accumulator.EventAccumulator(board, {"histograms": 0, "images": 0})
    reader.Reload()
    return reader


def test_pictures_and_hyperparameters_are_there_and_stay_when_a_run_goes_on(
    tmp_path: Path,
) -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("pygame")
    every = ("tensorboard_histograms_every=2", "tensorboard_videos_every=2")
    assert train(tmp_path, 2, *every) == 0
    before = read(tmp_path)
    assert train(tmp_path, 4, *every) == 0
    after = read(tmp_path)
    for tags in (before.Tags(), after.Tags()):
        kinds = {tag.partition("/")[0] for tag in tags["histograms"]}
        assert kinds == {"weights", "gradients"}
        assert tags["images"] == ["evaluation/film"]
    tag = before.Tags()["histograms"][0]
    assert [len(each.Histograms(tag)) for each in (before, after)] == [1, 2]
    assert after.Histograms(tag)[0] == before.Histograms(tag)[0]
    films = after.Images("evaluation/film")
    assert len(films) == 2
    assert films[0].encoded_image_string.startswith(b"GIF89a")
    metadata = after.SummaryMetadata("_hparams_/session_start_info")
    assert b"training.lr" in metadata.plugin_data.content


def test_histograms_have_every_finite_number() -> None:
    found = histogram(np.array([[0.0, 1.0], [np.nan, 4.0]]))
    assert found is not None
    assert (sum(found.counts), found.total, found.squares) == (3, 5.0, 17.0)
    assert (found.edges[0], found.edges[-1]) == (0.0, 4.0)
    assert histogram(np.array([np.inf])) is None


def test_a_long_film_of_large_frames_gets_smaller_and_lasts_as_long() -> None:
    image = pytest.importorskip("PIL.Image")
    frames = [np.full((320, 400, 3), shade % 256, np.uint8) for shade in range(401)]
    film = image.open(io.BytesIO(gif(frames, fps=50.0)))
    assert film.size == (200, 160)
    assert film.n_frames == 134  # every third
    assert film.info["duration"] == 60


def test_pictures_of_a_torn_file_are_those_before_the_tear(tmp_path: Path) -> None:
    from tensorboardX.proto.summary_pb2 import HistogramProto, Summary

    board = TensorBoard(tmp_path / "board", [])
    for step in (100, 200, 300):
        board.add([Summary.Value(tag="x", histo=HistogramProto(num=1))], step)
    board.close()
    (file,) = (tmp_path / "board").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert len([*pictures(tmp_path / "board", 300)]) == 2
    assert len([*pictures(tmp_path / "board", 100)]) == 1
    again = TensorBoard(tmp_path / "board", [{"num_env_steps_sampled_lifetime": 150}])
    again.close()
    assert len([*pictures(tmp_path / "board", 1000)]) == 1


def test_an_environment_without_pictures_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = train(
        tmp_path,
        1,
        "env=rllib.envs.masked_walk:MaskedWalk-v0",
        "tensorboard_videos_every=1",
    )
    assert code == ConfigError.exit_code
    assert "no film" in capsys.readouterr().err
    assert not (tmp_path / "media").exists()


def test_pictures_stay_when_a_start_is_killed_while_it_takes_their_place(tmp_path: Path) -> None:
    from tensorboardX.proto.summary_pb2 import HistogramProto, Summary

    board = TensorBoard(tmp_path / "board", [])
    board.add([Summary.Value(tag="x", histo=HistogramProto(num=1))], 100)
    board.close()
    (tmp_path / "board").rename(tmp_path / ".board.old")  # where it was killed
    (tmp_path / ".board.new").mkdir()
    TensorBoard(tmp_path / "board", [{"num_env_steps_sampled_lifetime": 150}]).close()
    assert len([*pictures(tmp_path / "board", 1000)]) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["board"]
