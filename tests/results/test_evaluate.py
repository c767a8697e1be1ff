"""Playing the policy of a run: so many episodes, the same every time, and films of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import train
from typer.testing import CliRunner

from rllib.cli import app
from rllib.envs.screen import has_screen
from rllib.errors import ConfigError, EnvError, RunError
from rllib.results.enjoy import watch
from rllib.results.evaluate import Evaluation, evaluate_run
from rllib.results.play import Episode, Player
from rllib.results.saved import SavedRun, find_run
from rllib.results.video import film, tiles


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_exactly_so_many_episodes_are_played_and_each_can_be_repeated(one: SavedRun) -> None:
    all_of_them = evaluate_run(one, episodes=5, seed=3)
    assert [episode.seed for episode in all_of_them.episodes] == [3, 4, 5, 6, 7]
    assert all(each.episode_return == each.length for each in all_of_them.episodes)
    assert evaluate_run(one, episodes=1, seed=6).episodes[0] == all_of_them.episodes[3]


def test_a_run_goes_by_its_name_or_path_and_a_checkpoint_by_its_iteration(
    one: SavedRun, runs_dir: Path
) -> None:
    assert find_run(str(runs_dir / "one"), Path("nowhere")).path == one.path
    with pytest.raises(RunError, match="did you mean 'one'"):
        find_run("onee", runs_dir)
    with pytest.raises(RunError, match="there are none in nowhere"):
        find_run("one", Path("nowhere"))
    assert one.checkpoint(4) == one.checkpoint()
    with pytest.raises(RunError, match="no checkpoint of iteration 3; there are: 4"):
        one.checkpoint(3)


def test_figures_are_those_of_the_episodes() -> None:
    episodes = [Episode(i, float(value), 10, value > 2) for i, value in enumerate([1, 2, 3, 10])]
    found = Evaluation("r", "runs/r/checkpoints/iteration_1", False, episodes).to_dict()
    assert found["mean"]["estimate"] == 4.0
    assert found["iqm"]["estimate"] == 2.5
    assert (found["min"], found["max"], found["num_truncated"]) == (1.0, 10.0, 2)
    assert found["episodes"][3]["episode_return"] == 10.0


def test_the_command_prints_words_or_json(one: SavedRun, runs_dir: Path) -> None:
    common = ("evaluate", "one", "--episodes", "3", "--runs-dir", str(runs_dir))
    code, text = run(*common)
    assert code == 0
    assert "3 episodes, seeds 0 to 2, most likely actions" in text
    assert "95 % interval" in text
    code, text = run(*common, "--json", "--explore")
    assert code == 0
    assert json.loads(text)["num_episodes"] == 3
    code, text = run("evaluate", "on", "--runs-dir", str(runs_dir))
    assert (code, text) == (2, "error: no run 'on'; did you mean 'one'?\n")


def test_several_agents_play_until_all_are_done(runs_dir: Path) -> None:
    saved = train(
        *(runs_dir, "agents", "num_envs_per_env_runner=1"), preset="ppo_multi_agent_cartpole"
    )
    found = evaluate_run(saved, episodes=2)
    assert all(each.episode_return > each.length > 0 for each in found.episodes)


def test_a_policy_with_memory_and_normalised_observations_plays(runs_dir: Path) -> None:
    memory = ("model_config.use_lstm=true", "observation_filter=MeanStdFilter")
    saved = train(runs_dir, "memory", *memory)
    assert len(evaluate_run(saved, episodes=2).episodes) == 2


def test_an_environment_that_raises_is_named_with_the_seed(one: SavedRun) -> None:
    with one.load() as algo, Player(algo) as player:

        def fall(*_: Any) -> None:
            raise ValueError("the robot fell over")

        player.env.step = fall
        with pytest.raises(EnvError, match="ValueError in the episode of seed 7: the robot"):
            player.play(7)


# Films.


def test_tiles_stand_beside_each_other_and_the_shorter_film_stands_still() -> None:
    def frame(value: int) -> Any:
        return np.full((2, 3, 3), value, np.uint8)

    shown = list(tiles([[frame(1), frame(2)], [frame(7)], [frame(5)]]))
    assert [each.shape for each in shown] == [(4, 6, 3)] * 2
    corners = [tuple(each[::2, ::3, 0].ravel()) for each in shown]
    assert corners == [(1, 7, 5, 0), (2, 7, 5, 0)]


def test_a_film_has_the_frames_of_the_longest_episode(one: SavedRun, tmp_path: Path) -> None:
    reader = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    played = film(one, path, episodes=2)
    frames, _ = reader.count_frames_and_secs(str(path))
    assert frames == max(each.length for each in played) + 1


def test_without_a_screen_enjoy_films(one: SavedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imageio_ffmpeg")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if has_screen():
        pytest.skip("this system always has a screen")
    said: list[str] = []
    watch(one, 1, 0, False, None, said.append)
    assert said[0].startswith("seed 0: return ")
    assert "enjoy.mp4" in said[-1]
    (one.path / "enjoy.mp4").unlink()


def test_an_environment_without_pictures_is_told(runs_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    saved = train(runs_dir, "blind", "env=rllib.envs.masked_walk:MaskedWalk-v0")
    with pytest.raises(ConfigError, match="rgb_array"):
        film(saved, tmp_path / "film.mp4", episodes=1)
    assert not (tmp_path / "film.mp4").exists()
