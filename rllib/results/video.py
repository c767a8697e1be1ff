"""Films of a trained policy, without a window: several episodes at once, as tiles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.envs.faults import EnvSetupError
from rllib.envs.screen import draw_without_window
from rllib.errors import ConfigError
from rllib.results.play import Episode, Player
from rllib.results.saved import SavedRun

Frame = NDArray[np.uint8]
"""[height, width, 3]"""

FPS = 30
MISSING = 'films need the extra "video": pip install "rllib-scale[video]"'


def film(
    run: SavedRun,
    path: Path,
    episodes: int = 4,
    seed: int = 0,
    explore: bool = False,
    iteration: int | None = None,
) -> list[Episode]:
    """Write an MP4 of several episodes beside each other; those that end first stand still.

    Args:
        run: whose policy plays.
        path: the file.
        episodes: number of tiles.
        seed: of the first episode; each further one has the next seed.
        explore: whether actions are drawn.
        iteration: of the checkpoint; by default the latest.

    Returns:
        The episodes.

    Raises:
        ConfigError: the environment has no pictures, or the encoder is not installed.
    """
    check_film(path)
    films: list[list[Frame]] = []
    with run.load(iteration) as algo, film_player(algo, explore) as player:
        fps = int(player.env.metadata.get("render_fps", FPS))
        played = []
        for each in range(seed, seed + episodes):
            frames: list[Frame] = []
            played.append(player.play(each, partial(add_picture, frames)))
            films.append(frames)
    write(path, tiles(films), fps)
    return played


def check_film(path: Path) -> None:
    """See whether a film can be written there, before anything is played for it.

    Raises:
        ConfigError: the encoder is not installed, or there cannot be such a file.
    """
    if not find_spec("imageio_ffmpeg"):
        raise ConfigError(MISSING)
    if path.suffix != ".mp4":
        raise ConfigError(f"{path}: films are MP4 files; call it {path.with_suffix('.mp4')}")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}")


@contextmanager
def film_player(algo: Any, explore: bool) -> Iterator[Player]:
    """Plays where pictures can be taken, without a window.

    Raises:
        ConfigError: the environment cannot be made with pictures.
    """
    draw_without_window()
    try:
        player = Player(algo, explore, render_mode="rgb_array")
    except EnvSetupError as error:
        raise ConfigError(f"no film: {error}") from error
    with player:
        yield player


def add_picture(frames: list[Frame], env: Any) -> None:
    """Append what an environment looks like now."""
    frames.append(picture(env))


def picture(env: Any) -> Frame:
    """What an environment looks like now.

    Raises:
        ConfigError: it has no pictures.
    """
    frame = env.render() if "rgb_array" in env.metadata.get("render_modes", ()) else None
    if not (isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[-1] == 3):
        text = 'a film needs the render mode "rgb_array", whose render() returns [height, width, 3]'
        raise ConfigError(f"{text}; {env} has none")
    return frame.astype(np.uint8)


def tiles(films: Sequence[Sequence[Frame]]) -> Iterator[Frame]:
    """Frames of all films beside each other, nearly as many rows as columns."""
    columns = int(np.ceil(np.sqrt(len(films))))
    black = np.zeros_like(films[0][0])
    empty = [black] * (-len(films) % columns)
    for moment in range(max(map(len, films))):
        cells = [frames[min(moment, len(frames) - 1)] for frames in films] + empty
        rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
        yield np.concatenate(rows, 0)


def write(path: Path, frames: Iterator[Frame], fps: int) -> None:
    """Encode frames as H.264 in an MP4."""
    from imageio_ffmpeg import write_frames

    first = next(frames)
    size = (first.shape[1], first.shape[0])
    writer = write_frames(str(path), size, fps=fps, macro_block_size=2, ffmpeg_log_level="error")
    writer.send(None)
    try:
        writer.send(np.ascontiguousarray(first))
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()
