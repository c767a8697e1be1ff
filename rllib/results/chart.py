"""Curves in a terminal, of braille dots, which are two by four to a character."""

from collections.abc import Sequence

import numpy as np

from rllib.results.curves import Curve

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a character, by row and column."""
_BLANK = 0x2800
_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue")
_LETTERS = "*o+x#@"


def chart(
    curves: Sequence[Curve], width: int = 78, height: int = 14, braille: bool = True
) -> list[str]:
    """Lines of text with rich's markup, the axes' ends included.

    Args:
        curves: at least one; each has its colour, and where there are no dots its letter.
        width: of the lines, in characters.
        height: of the plot, in lines.
        braille: whether there are braille dots; otherwise letters.
    """
    low = min(float(curve.low.min()) for curve in curves)
    high = max(float(curve.high.max()) for curve in curves)
    labels = [f"{high:.6g}", f"{low:.6g}"]
    margin = max(map(len, labels)) + 1
    columns = max(10, width - margin - 1)
    cells = _cells(curves, (low, high), columns, height, braille)
    ends = [labels[0], *[""] * (height - 2), labels[1]]
    lines = [f"{end:>{margin}}|{row}" for end, row in zip(ends, cells, strict=True)]
    start, end = (f"{edge:,.6g}" for edge in _span(curves))
    lines.append(" " * (margin + 1) + start + end.rjust(max(1, columns - len(start))))
    return lines


def legend(curves: Sequence[Curve], braille: bool = True) -> list[str]:
    """One line for each curve, with its mark and name, in rich's markup."""
    marks = ["⣿"] * len(curves) if braille else list(_LETTERS)
    return [
        f"  [{_colour(index)}]{marks[index % len(marks)]}[/] {curve.name}"
        for index, curve in enumerate(curves)
    ]


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _span(curves: Sequence[Curve]) -> tuple[float, float]:
    starts, ends = ([float(curve.x[edge]) for curve in curves] for edge in (0, -1))
    return min(starts), max(ends)


def _cells(
    curves: Sequence[Curve], limits: tuple[float, float], columns: int, height: int, braille: bool
) -> list[str]:
    across, down = (2, 4) if braille else (1, 1)
    first, last = _span(curves)
    owner = np.full((height, columns), -1)
    dots = np.zeros((height, columns), np.int64)
    for index, curve in enumerate(curves):
        grid = np.linspace(first, last or 1.0, columns * across)
        inside = (grid >= curve.x[0]) & (grid <= curve.x[-1])
        levels = (np.interp(grid, curve.x, curve.y) - limits[0]) / ((limits[1] - limits[0]) or 1.0)
        rows = np.rint((1.0 - levels) * (height * down - 1)).astype(int)
        for place in np.flatnonzero(inside):
            row, column = rows[place] // down, place // across
            dots[row, column] |= _DOTS[rows[place] % down][place % across]
            owner[row, column] = index
    return [
        "".join(_cell(dots[i, j], owner[i, j], braille) for j in range(columns))
        for i in range(height)
    ]


def _cell(dots: int, owner: int, braille: bool) -> str:
    if owner < 0:
        return " "
    mark = chr(_BLANK + int(dots)) if braille else _LETTERS[owner % len(_LETTERS)]
    return f"[{_colour(owner)}]{mark}[/]"
