"""A run from beginning to end, and what may come between; in this process, without learning."""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import counting_algo
import pytest
from rich.console import Console as RichConsole
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rllib.checkpoints.checkpoint
import rllib.checkpoints.files
import rllib.runs.folder
import rllib.runs.loggers
import rllib.runs.record
import rllib.runs.saver
import rllib.runs.session
from rllib import core
from rllib.checkpoints.checkpoint import TENSORS
from rllib.checkpoints.folder import CheckpointFolder
from rllib.checkpoints.remote import RemoteError
from rllib.config.file import Draft
from rllib.errors import CheckpointError
from rllib.runs.console import Console
from rllib.runs.folder import CONFIG as CONFIG_FILE
from rllib.runs.folder import LOCK, RunFolder, hold
from rllib.runs.record import PROGRESS, read_json_lines
from rllib.runs.run import whereabouts
from rllib.runs.session import Order, Session
from rllib.runs.signals import StopSignals

CONFIG = """\
algorithm: counting_algo:Counting
environment:
  env: CartPole-v1
checkpointing:
  checkpoint_frequency: 2
  checkpoint_every_s: null
stop:
  training_iteration: 5
"""

Train = Callable[..., tuple[int, str]]


def at_once(job: Callable[[], Any]) -> Future[Any]:
    """In this thread, so that iterations without work cannot overtake the checkpoints."""
    future: Future[Any] = Future()
    try:
        future.set_result(job())
    except Exception as error:
        future.set_exception(error)
    return future


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Any:
    """``train(*overrides, **order)`` in an empty folder; returns exit code and all output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rllib.runs.saver, "in_thread", at_once)
    Path("toy.yaml").write_text(CONFIG)

    def run(*overrides: str, **order: Any) -> tuple[int, str]:
        ordered = Order(**({"config": "toy.yaml", "overrides": overrides} | order))
        console = Console(RichConsole(soft_wrap=True, width=1000))
        with StopSignals().installed() as signals:
            code = Session(ordered, console).execute(signals)
        captured = capfd.readouterr()
        return code, captured.out + captured.err

    return run


def rows(name: str = "toy") -> list[dict[str, float]]:
    return list(read_json_lines(Path("runs") / name / "progress.jsonl"))


def curve(name: str = "toy") -> list[tuple[float, float]]:
    return [
        (row["num_env_steps_sampled_lifetime"], row["env_runners/episode_return_mean"])
        for row in rows(name)
    ]


def checkpoints(name: str = "toy") -> list[int]:
    folder = CheckpointFolder(Path("runs") / name / "checkpoints", keep=2)
    return [folder.iteration_of(path) for path in folder.all()]


def test_a_run_leaves_results_curves_checkpoints_and_its_config(train: Train) -> None:
    code, output = train()
    assert code == 0
    assert [row["training_iteration"] for row in rows()] == [1, 2, 3, 4, 5]
    assert checkpoints() == [4, 5]
    assert "iteration 1 | steps 100 |" in output
    assert "finished: training_iteration = 5 (iteration 5, 500 env steps)" in output
    assert "tensorboard --logdir runs/toy/tensorboard" in output
    assert "checkpoint  runs/toy/checkpoints/iteration_000000005" in output
    assert list(Path("runs/toy/tensorboard").iterdir())
    assert "steps_per_iteration: 100" in Path("runs/toy/config.yaml").read_text()
    assert not core.is_initialized()


def test_the_config_beside_the_run_starts_the_same_run(train: Train) -> None:
    train("seed=3")
    train(config="runs/toy/config.yaml", name="again")
    assert curve("again") == curve("toy")


def test_a_finished_run_says_so_and_how_to_go_on(train: Train) -> None:
    train()
    before = Path("runs/toy/progress.jsonl").read_bytes()
    code, output = train()
    assert code == 0
    assert "finished already, training_iteration = 5 (iteration 5, 500 env steps)" in output
    assert "--stop KEY=VALUE" in output
    assert "--fresh" in output
    assert Path("runs/toy/progress.jsonl").read_bytes() == before


def test_a_raised_criterion_continues_the_run_as_if_it_had_never_ended(train: Train) -> None:
    train()
    code, output = train(stop=("training_iteration=9",))
    assert code == 0
    assert (
        "continuing from runs/toy/checkpoints/iteration_000000005 (iteration 5, 500 env" in output
    )
    train(stop=("training_iteration=9",), name="uninterrupted")
    assert curve("toy") == curve("uninterrupted")
    assert len(curve()) == 9
    assert "training_iteration: 9" in Path("runs/toy/config.yaml").read_text()


def test_fresh_starts_over(train: Train) -> None:
    train()
    code, _ = train("seed=9", fresh=True, stop=("training_iteration=2",))
    assert code == 0
    assert len(rows()) == 2
    assert checkpoints() == [2]


def test_a_changed_config_is_refused_key_by_key(train: Train) -> None:
    train()
    code, output = train("lr=0.5", "seed=4", "checkpoint_frequency=9", "tensorboard=false")
    assert code == 2
    assert "training.lr: was 0.001, now 0.5" in output
    assert "debugging.seed: was 0, now 4" in output
    assert "checkpoint_frequency" not in output
    assert "--fresh" in output
    assert "--resume-with-changes" in output
    assert "--name" in output
    assert len(rows()) == 5


def test_a_run_goes_on_with_another_config_if_it_is_to(train: Train) -> None:
    train()
    changed = {"resume_with_changes": True, "stop": ("training_iteration=7",)}
    code, output = train("lr=0.5", **changed)
    assert code == 0
    assert "changed since the run was started:\n  training.lr: was 0.001, now 0.5\n" in output
    assert "continuing from runs/toy/checkpoints/iteration_000000005" in output
    assert [row["training_iteration"] for row in rows()] == [1, 2, 3, 4, 5, 6, 7]
    assert "lr: 0.5" in Path("runs/toy/config.yaml").read_text()
    code, output = train("lr=0.5", stop=("training_iteration=8",))  # it is this run's now
    assert (code, "changed since" in output) == (0, False)


def test_changes_that_do_not_fit_leave_the_run_as_it_was(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    before = Path("runs/toy/config.yaml").read_text()

    def refuse(self: object, path: str) -> None:
        raise CheckpointError("weights of another network")

    with monkeypatch.context() as patched:
        patched.setattr(counting_algo.Counting, "restore_from_path", refuse)
        changed = {"resume_with_changes": True, "stop": ("training_iteration=7",)}
        code, output = train("lr=0.5", **changed)
    assert code == 2
    assert "weights of another network" in output
    assert "go on without these changes" in output
    assert "delete" not in output  # the newest checkpoint, for an older one that would not fit
    assert Path("runs/toy/config.yaml").read_text() == before
    assert train(stop=("training_iteration=6",))[0] == 0


def test_reporting_and_checkpointing_may_change(train: Train) -> None:
    train()
    code, _ = train("checkpoint_num_to_keep=1", "tensorboard=false", stop=("training_iteration=6",))
    assert code == 0
    assert checkpoints() == [6]


def test_a_config_that_went_bad_beside_the_run_is_explained(train: Train) -> None:
    train()
    Path("runs/toy/config.yaml").write_text("algorithm: Nothing\n")
    code, output = train(stop=("training_iteration=6",))
    assert code == 2
    assert "config.yaml cannot be read, so it cannot be continued" in output


def test_a_failing_environment_ends_the_run_and_keeps_the_last_checkpoint(train: Train) -> None:
    code, output = train("fail_at=4")
    assert code == 1
    assert "training failed: env 3 raised in step 42" in output
    assert "TypeError" in output
    assert 'counting_algo.py", line' in output  # the environment's own traceback
    assert "rllib/runs/run.py" not in output  # and none of ours
    assert "the last checkpoint is runs/toy/checkpoints/iteration_000000002 (iteration 2, 200" in (
        output
    )
    assert not core.is_initialized()


def failing(first: Callable[[], None] = lambda: None) -> Callable[..., None]:
    """A constructor that does something and then fails."""

    def fail(self: object, config: object) -> None:
        first()
        raise RuntimeError("no such display")

    return fail


def test_a_run_that_fails_before_its_first_result_leaves_no_folder(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting_algo.Counting, "__init__", failing())
    code, output = train()
    assert code == 1
    assert "RuntimeError: no such display" in output
    assert not Path("runs/toy").exists()


def test_a_folder_that_cannot_be_removed_does_not_hide_why_it_failed(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "runs/toy/config.yaml")

    monkeypatch.setattr(counting_algo.Counting, "__init__", failing())
    monkeypatch.setattr(rllib.runs.folder.Path, "unlink", refuse)
    code, output = train()
    assert code == 1
    assert "RuntimeError: no such display" in output
    assert "Read-only" not in output


def test_what_a_logger_has_half_made_goes_too(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = failing(lambda: Path("runs/toy/.tensorboard.new").mkdir())
    monkeypatch.setattr(counting_algo.Counting, "__init__", fail)
    train()
    assert not Path("runs/toy").exists()


def test_where_something_of_the_users_is_the_next_run_may_be_as_well(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = failing(lambda: Path("runs/toy/notes.txt").touch())
    with monkeypatch.context() as patched:
        patched.setattr(counting_algo.Counting, "__init__", fail)
        train()
    assert train()[0] == 0
    assert Path("runs/toy/notes.txt").exists()


def test_a_folder_that_may_not_be_read_is_one_message(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()

    def refuse(self: object, pointer: str) -> None:
        name = f"runs/toy/checkpoints/{pointer}"
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr(CheckpointFolder, "_read", refuse)
    code, output = train()
    assert code == 1
    assert "training failed: runs/toy/checkpoints/latest: Permission denied\n" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("runs_dir", ["runs", "."])
def test_a_file_that_the_users_code_misses_is_told_with_its_traceback(
    train: Train, monkeypatch: pytest.MonkeyPatch, runs_dir: str
) -> None:
    def reading(self: object, config: object) -> None:
        Path("levels.json").read_text()

    monkeypatch.setattr(counting_algo.Counting, "__init__", reading)
    code, output = train(runs_dir=Path(runs_dir))
    assert code == 1
    assert 'Path("levels.json").read_text()' in output
    assert "FileNotFoundError: [Errno 2] No such file or directory: 'levels.json'" in output


def test_checkpoints_that_could_not_be_written_are_no_start(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    monkeypatch.setattr(rllib.runs.folder.os, "access", lambda path, mode: False)
    code, output = train(stop=("training_iteration=7",))
    assert code == 2
    assert "error: runs/toy/checkpoints: cannot be written: Permission denied" in output
    assert checkpoints() == [4, 5]


@pytest.mark.parametrize("lost", [PROGRESS, CONFIG_FILE])
def test_checkpoints_stay_when_a_run_without_its_record_fails_at_once(
    train: Train, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    train()
    (Path("runs/toy") / lost).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(counting_algo.Counting, "__init__", failing())
        assert train(stop=("training_iteration=7",))[0] == 1
    assert checkpoints() == [4, 5]
    code, output = train(stop=("training_iteration=7",))
    assert code == 0
    assert "continuing from runs/toy/checkpoints/iteration_000000005" in output


def test_what_was_logged_after_the_checkpoint_is_taken_back(train: Train) -> None:
    train("fail_at=4")
    assert [row["training_iteration"] for row in rows()] == [1, 2, 3]
    code, output = train("fail_at=4")  # the same command: fails at the same place again
    assert code == 1
    assert "continuing from runs/toy/checkpoints/iteration_000000002" in output
    assert [row["training_iteration"] for row in rows()] == [1, 2, 3]


@pytest.mark.parametrize("older", [True, False])
def test_a_damaged_checkpoint_is_refused_with_the_way_out(train: Train, older: bool) -> None:
    train("checkpoint_num_to_keep=2" if older else "checkpoint_num_to_keep=1")
    file = Path("runs/toy/checkpoints/iteration_000000005", "state.json")
    file.write_bytes(file.read_bytes()[:-1])
    code, output = train(
        "checkpoint_num_to_keep=2" if older else "checkpoint_num_to_keep=1",
        stop=("training_iteration=9",),
    )
    assert code == 2
    assert "state.json: damaged or changed: size in bytes is" in output
    assert ("delete runs/toy/checkpoints/iteration_000000005 to continue" in output) is older
    assert ("start over with --fresh" in output) is (not older)
    assert (file.parent / TENSORS).exists()
    assert len(rows()) == 5


def test_after_deleting_the_damaged_checkpoint_the_run_continues(train: Train) -> None:
    train()
    shutil.rmtree("runs/toy/checkpoints/iteration_000000005")
    code, output = train()
    assert code == 0
    assert "continuing from runs/toy/checkpoints/iteration_000000004" in output
    assert [row["training_iteration"] for row in rows()] == [1, 2, 3, 4, 5]


# Signals.


def signal_at(iteration: int, signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train_once = counting_algo.Counting.train

    def train_and_signal(self: Any) -> dict[str, Any]:
        if self.iteration + 1 == iteration:
            signal.raise_signal(signum)
        return train_once(self)

    monkeypatch.setattr(counting_algo.Counting, "train", train_and_signal)


@pytest.mark.parametrize(
    ("signum", "code", "name"),
    [
        (signal.SIGINT, 130, "Ctrl-C"),
        (signal.SIGTERM, 143, "SIGTERM"),
        (signal.SIGUSR1, 138, "SIGUSR1"),
    ],
)
def test_a_signal_lets_the_iteration_end_and_writes_a_checkpoint(
    train: Train, monkeypatch: pytest.MonkeyPatch, signum: int, code: int, name: str
) -> None:
    with monkeypatch.context() as patched:
        signal_at(3, signum, patched)
        found, output = train()
    assert found == code
    assert "stopping after this iteration" in output
    assert f"stopped by {name}; the last checkpoint is" in output
    assert "iteration_000000003 (iteration 3, 300 env steps); the same command" in output
    assert train()[0] == 0
    train(name="uninterrupted")
    assert curve("toy") == curve("uninterrupted")
    assert signal.getsignal(signum) in (signal.default_int_handler, signal.SIG_DFL)


def test_a_signal_before_training_ends_at_once_and_leaves_no_folder(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: object, config: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(counting_algo.Counting, "__init__", interrupted)
    code, output = train()
    assert code == 130
    assert "there is no checkpoint yet" in output
    assert not Path("runs/toy").exists()


def test_a_signal_while_torch_is_being_imported_imports_no_more_of_it(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        monkeypatch.setitem(sys.modules, "rllib.runs.run", None)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(rllib.runs.session, "read_draft", interrupted)
    assert train() == (143, "stopped by SIGTERM\n")


def test_a_signal_within_the_import_of_torch_waits_for_its_end(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised in Python that torch's C++ has called, it would abort the process."""
    ended = []

    def importing(self: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        ended.append(True)

    monkeypatch.setattr(Draft, "plan", importing)
    code, output = train()
    assert (code, ended) == (143, [True])
    assert output.endswith("stopped by SIGTERM\n")


# Bad input.


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"overrides": ("gama=1",)}, "command line: gama: unknown key; did you mean 'gamma'?"),
        ({"overrides": ("lr=x",)}, "command line: lr: should be a valid number, got 'x'"),
        ({"overrides": ("env=CartPole-v9",)}, "did you mean 'CartPole-v1'?"),
        ({"config": "ppo_cartpol"}, "did you mean 'ppo_cartpole'?"),
        ({"config": "nothing.yaml"}, "nothing.yaml: no such file"),
        ({"config": "broken.yaml"}, "broken.yaml:1:5: "),
        ({"stop": ("returns=1",)}, "returns: unknown metric"),
        ({"name": "../up"}, "--name '../up': should be the name of a folder"),
        ({"name": "."}, "--name '.': should be"),
    ],
)
def test_bad_input_is_one_message_and_no_folder(
    train: Train, order: dict[str, Any], message: str
) -> None:
    Path("broken.yaml").write_text("a: [")
    code, output = train(**order)
    assert code == 2
    assert message in output
    assert "Traceback" not in output
    assert not Path("runs").exists()


def test_an_unknown_metric_to_stop_at_ends_the_run_with_the_near_one(train: Train) -> None:
    code, output = train(stop=("env_runners/episode_return_meen=1",))
    assert code == 2
    assert "did you mean 'env_runners/episode_return_mean'?" in output
    assert not Path("runs/toy").exists()


def test_the_checkpoint_of_the_greatest_metric_is_kept(train: Train) -> None:
    metric = "checkpoint_score_metric=env_runners/episode_return_mean"
    code, _ = train(metric, "checkpoint_num_to_keep=1", "checkpoint_frequency=1")
    assert code == 0
    returns = [value for _, value in curve()]
    values = dict(zip((row["training_iteration"] for row in rows()), returns, strict=True))
    best = max(values, key=values.__getitem__)
    assert checkpoints() == sorted({best, 5})
    assert Path("runs/toy/checkpoints/best").read_text().startswith(f"iteration_{best:09d} ")


def test_smaller_may_be_better(train: Train) -> None:
    metric = "checkpoint_score_metric=env_runners/episode_return_mean"
    code, _ = train(metric, "checkpoint_score_order=min", "checkpoint_frequency=1")
    assert code == 0
    returns = [value for _, value in curve()]
    worst = 1 + max(i for i, value in enumerate(returns) if value == min(returns))
    assert Path("runs/toy/checkpoints/best").read_text().startswith(f"iteration_{worst:09d} ")


def best() -> int:
    """The training iteration of the best checkpoint."""
    return int(Path("runs/toy/checkpoints/best").read_text().split()[0].removeprefix("iteration_"))


BY_RETURN = ("checkpoint_score_metric=env_runners/episode_return_mean", "checkpoint_frequency=1")


def test_the_best_by_another_order_is_found_among_those_that_are_there(train: Train) -> None:
    train(*BY_RETURN, "checkpoint_num_to_keep=2")
    there = checkpoints()
    other = "checkpoint_score_order=min"
    code, _ = train(*BY_RETURN, other, "checkpoint_num_to_keep=2", stop=("training_iteration=12",))
    assert code == 0
    values = {row["training_iteration"]: row["env_runners/episode_return_mean"] for row in rows()}
    assert best() == min([*there, *range(6, 13)], key=values.__getitem__)


def test_the_best_by_another_metric_is_none_of_the_last(train: Train) -> None:
    train("checkpoint_score_metric=num_env_steps_sampled_lifetime", "checkpoint_frequency=1")
    assert best() == 5
    train(*BY_RETURN, "checkpoint_num_to_keep=9", stop=("training_iteration=12",))
    values = {row["training_iteration"]: row["env_runners/episode_return_mean"] for row in rows()}
    assert best() == max(range(4, 13), key=values.__getitem__)


def test_a_metric_that_never_comes_leaves_the_best_one(train: Train) -> None:
    """Such as a misspelt one, and that of which every value is NaN."""
    train(*BY_RETURN, "checkpoint_num_to_keep=1")
    before = best()
    nan = "checkpoint_score_metric=learners/default_policy/total_loss"
    train(nan, "checkpoint_num_to_keep=1", stop=("training_iteration=7",))
    assert checkpoints() == sorted({before, 7})
    train(*BY_RETURN, "checkpoint_num_to_keep=1", stop=("training_iteration=8",))
    values = {row["training_iteration"]: row["env_runners/episode_return_mean"] for row in rows()}
    assert best() == max([before, 7, 8], key=values.__getitem__)


def test_a_misspelt_metric_of_the_best_is_told_once_with_the_nearest(train: Train) -> None:
    code, output = train("checkpoint_score_metric=env_runners/episode_return_meen")
    assert code == 0
    assert output.count("results have no 'env_runners/episode_return_meen' so far") == 1
    assert "there are: env_runners/episode_return_mean, num_env" in output


def test_without_its_config_a_run_goes_by_what_is_in_the_checkpoint(train: Train) -> None:
    train(stop=("training_iteration=2",))
    Path("runs/toy/config.yaml").unlink()
    code, output = train("lr=0.25", stop=("training_iteration=3",))
    assert code == 2
    assert "training.lr: was 0.001, now 0.25" in output
    changed = {"resume_with_changes": True, "stop": ("training_iteration=3",)}
    code, output = train("lr=0.25", **changed)
    assert code == 0, output
    assert "training.lr: was 0.001, now 0.25" in output
    Path("runs/toy/config.yaml").unlink()
    code, output = train("lr=0.25", stop=("training_iteration=4",))
    assert code == 0, output
    assert "continuing from runs/toy/checkpoints/iteration_000000003" in output


def fill_disk(monkeypatch: pytest.MonkeyPatch, is_full: Callable[[], bool]) -> None:
    """The disk takes a part of what is written to it, and then nothing, while it is full."""
    write, durably = os.write, rllib.checkpoints.files.write_durably

    def cut(descriptor: int, data: bytes) -> int:
        if is_full() and data.startswith(b"{"):
            write(descriptor, data[:5])
            return 5
        return write(descriptor, data)

    def refuse(path: Path, data: bytes) -> None:
        if is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        durably(path, data)

    monkeypatch.setattr(rllib.runs.record.os, "write", cut)
    monkeypatch.setattr(rllib.checkpoints.checkpoint, "write_durably", refuse)


def test_a_disk_that_is_full_for_a_while_costs_no_result(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterations: list[int] = []
    flatten = rllib.runs.loggers.flatten

    def counted(result: Any) -> Any:
        iterations.append(result["training_iteration"])
        return flatten(result)

    with monkeypatch.context() as patched:
        patched.setattr(rllib.runs.loggers, "flatten", counted)
        fill_disk(patched, lambda: bool(iterations) and iterations[-1] in (3, 4))
        code, output = train(stop=("training_iteration=7",))
    assert code == 0, output
    told = "runs/toy: results cannot be written: No space left on device; they are kept"
    assert output.count(told) == 1
    assert output.count("a checkpoint is left out: ") == 1
    assert [row["training_iteration"] for row in rows()] == [1, 2, 3, 4, 5, 6, 7]
    assert checkpoints() == [6, 7]
    assert {step for step, _ in curve()} == curve_of_tensorboard()


def curve_of_tensorboard() -> set[float]:
    """The env steps at which there are points."""
    found = EventAccumulator("runs/toy/tensorboard")
    found.Reload()
    return {float(event.step) for event in found.Scalars("env_runners/episode_return_mean")}


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_folder_that_vanishes_is_told_and_nothing_is_written_in_its_place(
    train: Train, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    flatten = rllib.runs.loggers.flatten

    def vanishing(result: Any) -> Any:
        if result["training_iteration"] == 3:
            Path("runs").rename("unmounted")
        if result["training_iteration"] == 5 and comes_back:
            Path("unmounted").rename("runs")
        return flatten(result)

    monkeypatch.setattr(rllib.runs.loggers, "flatten", vanishing)
    code, output = train(stop=("training_iteration=7",))
    assert output.count("runs/toy: results cannot be written: its folder is gone") == 1
    assert output.count("a checkpoint is left out: runs/toy: cannot be written: its folder") == 1
    if comes_back:
        assert code == 0
        assert [row["training_iteration"] for row in rows()] == [1, 2, 3, 4, 5, 6, 7]
        assert checkpoints() == [6, 7]
    else:
        assert code == 1
        assert "training failed: runs/toy: cannot be written: its folder is gone" in output
        assert not Path("runs").exists()
        Path("unmounted").rename("runs")
        assert checkpoints() == [2]


def test_a_disk_that_stays_full_ends_the_run_with_the_reason(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fill_disk(patched, lambda: Path("runs/toy/checkpoints/latest").exists())
        code, output = train()
    assert code == 1
    assert "training failed: runs/toy: cannot be written: No space left" in output
    assert checkpoints() == [2]
    assert train()[0] == 0
    assert [row["training_iteration"] for row in rows()] == [1, 2, 3, 4, 5]


def test_a_disk_that_is_full_from_the_start_is_one_message(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(stop=("training_iteration=2",))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(rllib.checkpoints.files, "_write_durably", fail)
        code, output = train()
    assert code == 2
    assert "error: runs/toy: cannot be written: No space left on device" in output
    assert "Traceback" not in output
    assert train()[0] == 0
    assert checkpoints() == [4, 5]


def test_without_a_criterion_it_says_that_it_will_not_end(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("endless.yaml").write_text(CONFIG.partition("stop:")[0])
    signal_at(3, signal.SIGTERM, monkeypatch)
    code, output = train(config="endless.yaml")
    assert code == 143
    assert "no stop criterion, so until it is interrupted" in output


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: (path.mkdir(), (path / "thesis.tex").touch()), "has no run of rllib in it"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(train: Train, make: Any, message: str) -> None:
    Path("runs").mkdir()
    make(Path("runs/toy"))
    for fresh in (False, True):
        code, output = train(fresh=fresh)
        assert code == 2
        assert message in output
    assert Path("runs/toy").is_file() or Path("runs/toy/thesis.tex").exists()


def test_results_are_json_for_anybody(train: Train) -> None:
    train()
    first = json.loads(Path("runs/toy/progress.jsonl").read_text().splitlines()[0])
    assert first["training_iteration"] == 1
    assert "config/lr" not in first


# Elsewhere.


def test_a_run_goes_on_from_its_copy_on_another_machine(train: Train, tmp_path: Path) -> None:
    url = f"checkpoint_url=file://{tmp_path}/elsewhere"
    train(url)
    shutil.rmtree("runs")  # the other machine's disk is empty
    code, output = train(url, stop=("training_iteration=9",))
    assert code == 0, output
    assert f"fetched from file://{tmp_path}/elsewhere" in output
    assert "continuing from runs/toy/checkpoints/iteration_000000005 (iteration 5, 500" in output
    train(stop=("training_iteration=9",), name="uninterrupted")
    assert curve("toy") == curve("uninterrupted")
    shutil.rmtree("runs")
    train(url, fresh=True, stop=("training_iteration=2",))
    assert [row["training_iteration"] for row in rows()] == [1, 2]


def test_the_newer_one_of_here_and_elsewhere_goes_on(train: Train, tmp_path: Path) -> None:
    """Machine A trains, machine B goes on, and A, whose disk is old by then, comes back."""
    url = f"checkpoint_url=file://{tmp_path}/elsewhere"
    train(url, stop=("training_iteration=3",))
    shutil.copytree("runs", "runs_of_a")
    train(url, stop=("training_iteration=8",))
    code, output = train(url, stop=("training_iteration=9",), runs_dir=Path("runs_of_a"))
    assert code == 0, output
    assert f"fetched from file://{tmp_path}/elsewhere" in output
    assert "continuing from runs_of_a/toy/checkpoints/iteration_000000008" in output
    elsewhere = CheckpointFolder(tmp_path / "elsewhere" / "toy", keep=2)
    assert [elsewhere.iteration_of(path) for path in elsewhere.all()] == [8, 9]


def test_a_folder_that_another_run_has_made_anew_is_let_alone(train: Train) -> None:
    with hold(Path("runs/toy"), keep=2, fresh=False) as folder:
        shutil.rmtree("runs")
        Path("runs/toy").mkdir(parents=True)
        Path("runs/toy", LOCK).write_text("1\n")  # of another process
        folder.remove()
        assert Path("runs/toy", LOCK).exists()
        assert whereabouts(folder) == "runs/toy is another run's by now"


def test_what_is_newer_elsewhere_is_never_removed(train: Train, tmp_path: Path) -> None:
    """Also where it came there while this machine was training."""
    elsewhere = tmp_path / "elsewhere"
    train(f"checkpoint_url=file://{elsewhere}", stop=("training_iteration=8",))
    shutil.rmtree("runs")
    train(stop=("training_iteration=3",))
    folder = RunFolder(Path("runs/toy"), keep=2)
    with pytest.raises(RemoteError, match="has a checkpoint of iteration 8, and iteration 3 would"):
        folder.copy_to(f"file://{elsewhere}", folder.checkpoints.contents())
    assert (elsewhere / "toy/latest").read_text() == "iteration_000000008\n"
    code, output = train(f"checkpoint_url=file://{elsewhere}", fresh=True)
    assert code == 0, output
    assert (elsewhere / "toy/latest").read_text() == "iteration_000000005\n"


def test_what_cannot_be_asked_is_gone_on_without(train: Train) -> None:
    train(stop=("training_iteration=3",))
    code, output = train("checkpoint_url=nosuch://bucket")
    assert code == 0
    assert "nosuch; this run goes on from what is here" in output


def test_an_url_that_cannot_be_reached_is_one_message(train: Train) -> None:
    code, output = train("checkpoint_url=nosuch://bucket")
    assert code == 2
    assert "error: checkpoint_url: nosuch://bucket/toy: ValueError: Protocol not known" in output
    assert "Traceback" not in output
