"""W&B and MLflow, offline: one curve, however often a run is continued."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rllib.config.file import load_plan
from rllib.errors import ConfigError
from rllib.runs import loggers as loggers_module
from rllib.runs.mlflow_logger import MLflowLogger
from rllib.runs.record import ENV_STEPS, ITERATION, Metrics
from rllib.runs.session import Order, Session
from rllib.runs.settings import settings_in, telling
from rllib.runs.signals import StopSignals
from rllib.runs.wandb_logger import WandbLogger

RETURN = "env_runners/episode_return_mean"


def row(iteration: int) -> Metrics:
    return {ITERATION: iteration, ENV_STEPS: iteration * 100, RETURN: iteration / 2}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run; loggers send nothing from here."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "mine_seed3"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(load_plan("ppo_cartpole", ["tag_style=sb3"]).to_yaml())
    return folder


def log(kind: Any, folder: Path, history: range, new: range) -> None:
    logger = kind(folder, map(row, history))
    for iteration in new:
        logger.log(row(iteration))
    logger.close()


def records(path: Path) -> Iterator[bytes]:
    """Of W&B's file, which is a log of LevelDB's: blocks of 32 KiB, in them parts of records."""
    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield whole
            whole = b""


def wandb_curve(folder: Path) -> list[dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    found = []
    for data in records(path):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            found.append(items)
    return found


def test_wandb_has_one_curve_of_a_run_that_was_continued(run: Path) -> None:
    pytest.importorskip("wandb", reason='W&B is not installed: pip install "rllib-scale[wandb]"')
    log(WandbLogger, run, range(0), range(1, 6))
    first_id = (run / "wandb" / "run_id").read_text()
    log(WandbLogger, run, range(1, 4), range(4, 8))
    assert (run / "wandb" / "run_id").read_text() == first_id
    curve = wandb_curve(run)
    assert [point["_step"] for point in curve] == list(range(1, 8))
    assert [point["rollout/ep_rew_mean"] for point in curve] == [i / 2 for i in range(1, 8)]
    assert [point[ENV_STEPS] for point in curve] == [i * 100 for i in range(1, 8)]


def test_mlflow_has_one_curve_of_a_run_that_was_continued(run: Path) -> None:
    tracking = pytest.importorskip(
        "mlflow.tracking", reason='MLflow is not installed: pip install "rllib-scale[mlflow]"'
    )
    log(MLflowLogger, run, range(0), range(1, 6))
    log(MLflowLogger, run, range(1, 4), range(4, 8))
    client = tracking.MlflowClient(tracking_uri=(Path.cwd() / "mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("rllib").experiment_id])
    assert (found.info.run_name, found.info.status) == ("mine_seed3", "FINISHED")
    assert found.data.params["training.gamma"] == "0.98"
    points = client.get_metric_history(found.info.run_id, "rollout/ep_rew_mean")
    assert [(point.step, point.value) for point in points] == [
        (i * 100, i / 2) for i in range(1, 8)
    ]


@pytest.mark.parametrize(("kind", "package"), [(WandbLogger, "wandb"), (MLflowLogger, "mlflow")])
def test_a_missing_extra_is_named(
    kind: Any, package: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf'pip install "rllib-scale\[{package}\]"'):
        kind(run, [])


def test_a_run_by_the_command_has_both_and_ends_without_a_process(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers_module, "CLOSE_S", 90.0)  # however busy the machine is
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    small = (
        *("num_env_runners=0", "num_learners=0", "train_batch_size_per_learner=256"),
        *("num_epochs=1", "loggers=[wandb, mlflow]"),
    )
    order = Order("ppo_cartpole", small, ("training_iteration=2",), name="both")
    with StopSignals().installed() as signals:
        assert Session(order).execute(signals) == 0
        assert [point["_step"] for point in wandb_curve(Path("runs/both"))] == [1, 2]
        assert list(Path("mlruns").glob("*/*/metrics/env_runners/episode_return_mean"))
        assert Session(Order("ppo_cartpole", small, order.stop, True, "both")).execute(signals) == 0
    assert [point["_step"] for point in wandb_curve(Path("runs/both"))] == [1, 2]


def test_settings_are_flat_and_tell_runs_apart(run: Path) -> None:
    found = settings_in(run)
    assert found["training.gamma"] == 0.98
    assert found["reporting.tag_style"] == "sb3"
    assert all(isinstance(value, bool | int | float | str) for value in found.values())
    differing = telling(load_plan("ppo_cartpole", ["lr=0.5"]).config)
    assert differing["algorithm"] == "PPO"
    assert differing["training.lr"] == 0.5
    assert "training.kl_target" not in differing


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_extra_is_told_before_anything_begins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(f"rllib.runs.{name}_logger.find_spec", lambda _: None)
    small = ("num_env_runners=0", "num_learners=0", f"loggers={name}")
    with StopSignals().installed() as signals:
        assert Session(Order("ppo_cartpole", small, runs_dir=tmp_path)).execute(signals) == 2
    assert f'pip install "rllib-scale[{name}]"' in capsys.readouterr().err
    assert not (tmp_path / "ppo_cartpole" / "config.yaml").exists()
