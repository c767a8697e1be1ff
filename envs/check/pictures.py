"""Whether films can be taken of an environment that says so."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rllib.envs.check.findings import Finding, warning
from rllib.envs.faults import close_env
from rllib.envs.make import EnvSource, make_single_env
from rllib.envs.members import describe
from rllib.envs.screen import draw_without_window

MODE = "rgb_array"


def check_pictures(source: EnvSource, config: Mapping[str, Any], env: Any) -> Iterator[Finding]:
    """Render one picture, if the mode that needs no window is there.

    Args:
        source: makes the environment.
        config: its arguments.
        env: made of them, to see which modes there are.
    """
    metadata = env.metadata or {}
    if MODE not in metadata.get("render_modes", ()):
        return
    if "render_fps" not in metadata:
        yield warning("metadata", "has render_modes and no render_fps", '"render_fps": 30')
    try:
        drawn = _draw(source, {**config, "render_mode": MODE})
    except Exception as failure:
        fix = "or leave it out of metadata['render_modes']: films are of it"
        yield warning("render()", f"{MODE!r} raised {type(failure).__name__}: {failure}", fix)
        return
    if not _is_picture(drawn):
        text = f"{MODE!r} gave {describe(drawn)}"
        yield warning("render()", text, "return np.uint8 of [height, width, 3]")


def _draw(source: EnvSource, config: Mapping[str, Any]) -> Any:
    draw_without_window()
    env = make_single_env(source, config)
    try:
        env.reset(seed=0)
        return env.render()
    finally:
        close_env(env)


def _is_picture(drawn: Any) -> bool:
    is_array = isinstance(drawn, np.ndarray) and drawn.dtype == np.uint8
    return bool(is_array and drawn.ndim == 3 and drawn.shape[-1] == 3)
