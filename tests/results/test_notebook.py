"""What notebooks show: the outputs of one that is really run, and their parts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rllib.metrics.result import Result
from rllib.results.cells import comparison_html, evaluation_html, result_html, run_html
from rllib.results.compare import compare
from rllib.results.evaluate import evaluate_run
from rllib.results.saved import SavedRun
from rllib.runs.console import Console
from rllib.runs.notebook import NotebookConsole, console_here, in_notebook, view
from rllib.runs.progress import Progress
from rllib.runs.record import ENV_STEPS, ITERATION
from rllib.runs.stopping import RETURN

CELLS = (
    """
from rllib import PPOConfig

config = (
    PPOConfig()
    .environment("CartPole-v1")
    .env_runners(num_env_runners=1)
    .training(train_batch_size_per_learner=200, minibatch_size=None, num_epochs=1)
    .rl_module(model_config={"fcnet_hiddens": [8]})
)
run = config.train(stop={"training_iteration": 3})
run
""",
    "run",
    """
with run.load() as algo:
    result = algo.train()
result
""",
    "import rllib.core\nrllib.core.is_initialized()",
)
RUN = """
import json, sys
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

book = new_notebook(cells=[new_code_cell(text) for text in sys.argv[1:]])
print(json.dumps([cell["outputs"] for cell in NotebookClient(book).execute()["cells"]]))
"""
WIDGETS = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The outputs of each cell, as a notebook's file has them."""
    pytest.importorskip("nbclient", reason="notebooks are run by nbclient")
    pytest.importorskip("ipykernel", reason="notebooks run in ipykernel")
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    done = subprocess.run(
        [sys.executable, "-c", RUN, *CELLS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_a_notebook_shows_a_bar_and_results_and_keeps_nothing_running(executed: list[Any]) -> None:
    training, run, result, running = executed
    (bar,) = (each["data"] for each in training if each["output_type"] == "display_data")
    assert WIDGETS not in bar
    assert '<progress max="1" value="1.0000"' in bar["text/html"]
    assert bar["text/plain"].startswith("iteration 3 | steps ")
    said = "".join(each["text"] for each in training if each["output_type"] == "stream")
    assert "PPO in CartPole-v1: 1 env runner" in said
    assert "finished: training_iteration = 3" in said
    for html in (of(training[-1:]), of(run)):
        assert "<polyline" in html
        assert "ppo_cartpole_v1" in html
    assert run[0]["data"]["text/plain"].startswith("SavedRun(path=")
    assert "<td>training iterations</td><td>4</td>" in of(result)
    assert result[0]["data"]["text/plain"].startswith("{'")
    assert running[0]["data"]["text/plain"] == "False"


def of(outputs: list[Any]) -> str:
    (output,) = outputs
    html: str = output["data"]["text/html"]
    return html


def test_elsewhere_there_is_none() -> None:
    assert not in_notebook()
    assert type(console_here()) is Console


def test_a_result_is_a_dict_like_any_other() -> None:
    result = Result({"training_iteration": 2, "env_runners": {"episode_return_mean": 21.5}})
    assert json.loads(json.dumps(result)) == result
    assert repr(result) == repr(dict(result))
    html = result_html(result)
    assert "<td>mean return</td><td>21.5</td>" in html
    assert "<td>env_runners/episode_return_mean</td>" in html


def test_runs_and_what_comes_of_them_are_shown(
    one: SavedRun, two: SavedRun, tmp_path: Path
) -> None:
    assert run_html(one) == one._repr_html_()
    assert "<polyline" in run_html(one)
    played = evaluate_run(one, episodes=2)
    assert evaluation_html(played) == played._repr_html_()
    assert evaluation_html(played).count("<tr>") == 3
    beside = compare([str(one.path), str(two.path)], tmp_path)
    assert comparison_html(beside) == beside._repr_html_()
    assert comparison_html(beside).count("<polyline") == 2
    assert "&lt;b&gt;" in run_html(SavedRun(tmp_path / "<b>"))


def progress(stop: dict[str, float], *rows: dict[str, float]) -> Progress:
    found = Progress(stop, started=0.0)
    for second, row in enumerate(rows, 1):
        found.update(row, float(second))
    return found


def test_a_bar_fills_up_to_the_nearest_criterion() -> None:
    assert progress({}).share is None
    assert progress({ENV_STEPS: 100}).share == 0.0
    assert progress({ENV_STEPS: 100}, {ENV_STEPS: 25}).share == 0.25
    both = {ENV_STEPS: 100, RETURN: 30.0}
    assert (
        progress(both, {ENV_STEPS: 25, RETURN: 10.0}, {ENV_STEPS: 50, RETURN: 25.0}).share == 0.75
    )
    assert progress(both, {ENV_STEPS: 25, RETURN: 10.0}, {ENV_STEPS: 50, RETURN: 5.0}).share == 0.5
    assert progress({RETURN: 30.0}, {RETURN: 40.0}).share == 1.0


def test_a_continued_run_fills_from_where_it_was_begun() -> None:
    history = [{ITERATION: 1, RETURN: 10.0}, {ITERATION: 2, RETURN: 20.0}]
    found = Progress({RETURN: 30.0}, started=0.0, history=history)
    found.update({ITERATION: 3, RETURN: 25.0}, 1.0)
    assert found.share == 0.75


def test_what_is_noted_meanwhile_stands_below_the_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "<td>stopping &lt;soon&gt;</td>" not in view(progress({}), 0.0)
    assert "stopping &lt;soon&gt;" in view(progress({}), 0.0, "stopping <soon>")
    assert '<progress max="1" style' in view(progress({}), 0.0)
    NotebookConsole().note("a logger hangs")
    assert capsys.readouterr().err == "a logger hangs\n"
