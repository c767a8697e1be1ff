"""Watching a policy: in a window, or in a film where there is no screen."""

from collections.abc import Callable
from typing import Any

from rllib.envs.faults import EnvSetupError
from rllib.envs.screen import has_screen
from rllib.errors import ConfigError
from rllib.results.play import Episode, Player
from rllib.results.saved import SavedRun
from rllib.results.video import film

FILM = "enjoy.mp4"


def watch(
    run: SavedRun,
    episodes: int,
    seed: int,
    explore: bool,
    iteration: int | None,
    say: Callable[[str], Any],
) -> None:
    """Show episodes of a run's policy, and say what came of each; see ``evaluate_run``.

    Raises:
        ConfigError: the environment cannot be shown, or the film not be written.
    """
    if has_screen():
        with run.load(iteration) as algo, _windowed(algo, explore) as player:
            for episode in player.episodes(episodes, seed):
                say(_line(episode))
        return
    path = run.path / FILM
    for episode in film(run, path, episodes, seed, explore, iteration):
        say(_line(episode))
    say(f"there is no screen here, so it was filmed: {path}")


def _windowed(algo: Any, explore: bool) -> Player:
    try:
        return Player(algo, explore, render_mode="human")
    except EnvSetupError as error:
        raise ConfigError(f"no window: {error}") from error


def _line(episode: Episode) -> str:
    return f"seed {episode.seed}: return {episode.episode_return:g}, {episode.length} env steps"
