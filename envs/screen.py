"""Whether windows can be opened, and drawing where they cannot."""

import os
import sys


def has_screen() -> bool:
    """Whether windows can be opened."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def draw_without_window() -> None:
    """Keep what draws from looking for a screen where there is none."""
    if not has_screen():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
