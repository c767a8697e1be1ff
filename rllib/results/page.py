"""A report as one HTML file: curves, figures, settings and machine, and nothing from elsewhere."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import rllib
from rllib.results.compare import Comparison, table
from rllib.results.curves import Curve
from rllib.runs.record import ENV_STEPS

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 860, 420, 70, 40, 15
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by everybody (Okabe and Ito)."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse } td, th { padding: 2px 12px 2px 0; text-align: left }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto } svg { width: 100%; height: auto }
"""


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the report of a run or of several."""
    path.write_text(page(comparison), encoding="utf-8")


def page(comparison: Comparison) -> str:
    """The report's HTML; it asks no network for anything."""
    title = " and ".join(group.name for group in comparison.groups)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(comparison.metric)} over {_axis_words(comparison.axis)}</p>",
        svg(comparison.curves, _axis_words(comparison.axis)),
        "<h2>Figures</h2>",
        f"<pre>{escape(chr(10).join(table(comparison)))}</pre>",
        *_settings(comparison),
        *_runs(comparison),
        f"<p>rllib {rllib.__version__}</p>",
        f'<script type="application/json" id="figures">{_embedded(comparison)}</script>',
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(
        [*body, "</body></html>", ""]
    )


def _embedded(comparison: Comparison) -> str:
    return json.dumps(comparison.to_dict()).replace("<", "\\u003c")


def _axis_words(axis: str) -> str:
    return "env steps" if axis == ENV_STEPS else "seconds of training"


def _settings(comparison: Comparison) -> Iterator[str]:
    """What is different between the groups."""
    rows = list(comparison.different_settings())
    if len(comparison.groups) < 2 or not rows:
        return
    heads = "".join(f"<th>{escape(group.name)}</th>" for group in comparison.groups)
    yield f"<h2>Settings that differ</h2><table><tr><th>setting</th>{heads}</tr>"
    for key, values in rows:
        cells = "".join(f"<td>{escape(json.dumps(value))}</td>" for value in values)
        yield f"<tr><td>{escape(key)}</td>{cells}</tr>"
    yield "</table>"


def _runs(comparison: Comparison) -> Iterator[str]:
    for group in comparison.groups:
        run = group.runs[0]
        last = run.rows[-1] if run.rows else {}
        yield f"<h2>{escape(group.name)}</h2><table>"
        for name, value in _facts(group.runs, last):
            yield f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        yield "</table>"
        text = escape(run.plan.to_yaml())
        yield f"<details><summary>complete config</summary><pre>{text}</pre></details>"


def _facts(runs: Sequence[Any], last: dict[str, float]) -> Iterator[tuple[str, str]]:
    yield "folders", ", ".join(str(run.path) for run in runs)
    for label, key in _LAST.items():
        if key in last:
            yield label, f"{last[key]:,.6g}"


_LAST = {
    "training iterations": "training_iteration",
    "env steps": ENV_STEPS,
    "seconds of training": "time_total_s",
    "episodes": "env_runners/num_episodes_lifetime",
    "env runners started anew": "fault_tolerance/num_remote_worker_restarts",
}


# The picture.


def svg(curves: Sequence[Curve], x_label: str) -> str:
    """Curves with their bands as an SVG element."""
    x0, x1 = (f([float(c.x[edge]) for c in curves]) for f, edge in ((min, 0), (max, -1)))
    y0, y1 = min(float(c.low.min()) for c in curves), max(float(c.high.max()) for c in curves)
    scale = _Scale(x0, x1 if x1 > x0 else x0 + 1.0, y0, y1 if y1 > y0 else y0 + 1.0)
    parts = [*_axes(scale, x_label)]
    for index, curve in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        band = [
            *zip(curve.x, curve.high, strict=True),
            *zip(curve.x[::-1], curve.low[::-1], strict=True),
        ]
        if np.any(curve.high > curve.low):
            parts.append(f'<polygon points="{scale.points(band)}" fill="{colour}" opacity="0.18"/>')
        line = scale.points(zip(curve.x, curve.y, strict=True))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 18 * (index + 1)
        parts.append(f'<text x="{LEFT + 12}" y="{y}" fill="{colour}">{escape(curve.name)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13">{"".join(parts)}</svg>'


class _Scale:
    """From data to places in the picture."""

    def __init__(self, x0: float, x1: float, y0: float, y1: float) -> None:
        self.x0, self.x1, self.y0, self.y1 = x0, x1, y0, y1

    def x(self, value: float) -> float:
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - 10)

    def y(self, value: float) -> float:
        height = HEIGHT - TOP - BOTTOM
        return TOP + height - (value - self.y0) / (self.y1 - self.y0) * height

    def points(self, pairs: Any) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in pairs)


def _axes(scale: _Scale, x_label: str) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for value in np.linspace(scale.y0, scale.y1, 5):
        y = scale.y(value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    for value in np.linspace(scale.x0, scale.x1, 5):
        x = scale.x(value)
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:,.0f}</text>'
    middle = (LEFT + WIDTH) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
