"""A report as one HTML file: curves, figures, films, settings, machine, faults; nothing from
elsewhere."""

import base64
import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rllib
from rllib.errors import RunError
from rllib.results.compare import Comparison, table
from rllib.results.curves import Curve, Group, curve_of
from rllib.results.saved import SavedRun
from rllib.runs.record import ENV_STEPS, Metrics
from rllib.runs.settings import telling
from rllib.runs.starts import words
from rllib.runs.stopping import RETURN
from rllib.runs.watchdog import STALLS

LEFT, RIGHT, BOTTOM, TOP = 70, 20, 40, 15
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by everybody (Okabe and Ito)."""
FURTHER = {
    "env_runners/episode_len_mean": "episode length",
    "num_env_steps_sampled_lifetime_throughput": "env steps per second",
    "learners/default_policy/total_loss": "loss",
    "learners/default_policy/entropy": "entropy of the policy",
    "learners/default_policy/vf_explained_var": "variance that the values explain",
    "learners/default_policy/qf_mean": "mean action value",
}
"""Small curves, of those that are in a result."""
LARGEST_FILM = 20 * 2**20
"""Bytes of an MP4 that still goes into a report."""

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #ddd; --box: #f5f5f5 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #181818; --faint: #444; --box: #252525 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em;
  color: var(--ink); background: var(--paper) }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } h3 { font-size: 1em }
table { border-collapse: collapse }
td, th { padding: 2px 16px 2px 0; text-align: left; vertical-align: top }
td { overflow-wrap: anywhere } td:first-child { min-width: 11em }
pre { background: var(--box); padding: 1em; overflow-x: auto } code { overflow-wrap: anywhere }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--ink) }
.axis { stroke: var(--faint) }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)) }
.legend span { margin-right: 1.5em; white-space: nowrap } .when { white-space: nowrap }
figure { margin: 0 0 1em } figcaption { text-align: center }
video { display: block; margin: auto; max-width: min(100%, 600px); max-height: 500px }
"""


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the report of a run or of several."""
    path.write_text(page(comparison), encoding="utf-8")


def page(comparison: Comparison) -> str:
    """The report's HTML; it asks no network for anything."""
    title = " and ".join(group.name for group in comparison.groups)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(comparison.metric)} over {axis_words(comparison.axis)}</p>",
        legend(comparison.groups),
        svg(comparison.curves, axis_words(comparison.axis), LARGE),
        "<h2>Figures</h2>",
        f"<pre>{escape(chr(10).join(table(comparison)))}</pre>",
        *_settings(comparison),
        *_further(comparison),
        *_runs(comparison),
        f"<p>rllib {rllib.__version__}</p>",
        f'<script type="application/json" id="figures">{_embedded(comparison)}</script>',
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(
        [*body, "</body></html>", ""]
    )


def legend(groups: Sequence[Group]) -> str:
    """Beside the pictures, where no curve runs through it."""
    names = []
    for index, group in enumerate(groups):
        line = f'<b style="color:{COLOURS[index % len(COLOURS)]}">\u2501</b>'
        names.append(f"<span>{line} {escape(group.name)}</span>")
    return f'<p class="legend">{" ".join(names)}</p>'


def _embedded(comparison: Comparison) -> str:
    return json.dumps(comparison.to_dict()).replace("<", "\\u003c")


def axis_words(axis: str) -> str:
    """What is written below the picture."""
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


def _further(comparison: Comparison) -> Iterator[str]:
    """Small curves of what else tells how training went."""
    words = axis_words(comparison.axis)
    drawn = []
    for metric, label in FURTHER.items():
        if metric != comparison.metric and (curves := _curves(comparison, metric)):
            caption = f"<figcaption>{escape(label)}</figcaption>"
            drawn.append(f"<figure>{caption}{svg(curves, words, SMALL)}</figure>")
    if drawn:
        yield from ('<h2>Further curves</h2><div class="small">', *drawn, "</div>")


def _curves(comparison: Comparison, metric: str) -> list[Curve]:
    """Of the groups that have it."""
    found = []
    for group in comparison.groups:
        with contextlib.suppress(RunError):
            found.append(curve_of(group, metric, comparison.axis))
    return found


def _runs(comparison: Comparison) -> Iterator[str]:
    for group in comparison.groups:
        run = group.runs[0]
        yield f"<h2>{escape(group.name)}</h2>"
        yield from _film(run)
        yield from _table(_facts(group))
        yield "<h3>Settings that are not by default</h3>"
        yield from _table((key, f"{value}") for key, value in telling(run.plan.config).items())
        text = escape(run.plan.to_yaml())
        yield f"<details><summary>complete config</summary><pre>{text}</pre></details>"
        yield "<h3>Machine and commands</h3>"
        yield from _starts(group)
        yield "<h3>Faults survived</h3>"
        yield from _table(_faults(group.runs))


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield "<table>"
    yield from (f"<tr><td>{escape(key)}</td><td>{escape(text)}</td></tr>" for key, text in rows)
    yield "</table>"


def _facts(group: Group) -> Iterator[tuple[str, str]]:
    run = group.runs[0]
    last = run.rows[-1] if run.rows else {}
    yield "folder" + "s" * (len(group.runs) > 1), ", ".join(str(each.path) for each in group.runs)
    yield "algorithm", run.plan.config.algo_name
    yield "environment", str(run.plan.config.env)
    for label, key in _LAST.items():
        if key in last:
            yield label, f"{last[key]:,.6g}" if last[key] % 1 else f"{last[key]:,.0f}"


def _starts(group: Group) -> Iterator[str]:
    starts = [start for run in group.runs for start in run.starts]
    if not starts:
        yield "<p>not recorded</p>"
        return
    yield "<table>"
    for start in starts:
        how = f"goes on after iteration {start['iteration']}" if start["iteration"] else "begins"
        line = f"<code>{escape(start['command'])}</code><br>{escape(words(start))}"
        when = start["time"].replace("T", " ").replace("+00:00", " UTC")
        yield f'<tr><td class="when">{escape(when)}<br>{how}</td><td>{line}</td></tr>'
    yield "</table>"
    last = starts[-1]
    versions = {"python": last["python"], **last["versions"], "commit": last["commit"] or "none"}
    yield f"<p>{escape(', '.join(f'{key} {value}' for key, value in versions.items()))}</p>"


def _faults(runs: Sequence[SavedRun]) -> Iterator[tuple[str, str]]:
    for label, key in _FAULTS.items():
        yield label, f"{sum(_total(run.rows, key) for run in runs):,.0f}"
    yield "continued after an end", f"{sum(max(0, len(run.starts) - 1) for run in runs):,}"
    stalls = (len(list((run.path / STALLS).glob("*"))) for run in runs)
    yield "times when nothing went on for long", f"{sum(stalls):,}"


def _total(rows: Sequence[Metrics], key: str) -> float:
    """The sum of a count that begins anew whenever the run is continued."""
    counts = [0.0, *(row[key] for row in rows if key in row)]
    return sum(now if now < before else now - before for before, now in pairwise(counts))


def _film(run: SavedRun) -> Iterator[str]:
    """The newest film in the run's folder, within the page."""
    films = sorted(run.path.glob("*.mp4"), key=lambda path: path.stat().st_mtime)
    if films and films[-1].stat().st_size <= LARGEST_FILM:
        data = base64.b64encode(films[-1].read_bytes()).decode()
        caption = f"<figcaption>{escape(films[-1].name)}</figcaption>"
        source = f"data:video/mp4;base64,{data}"
        yield f'<figure><video controls muted loop src="{source}"></video>{caption}</figure>'


_LAST = {
    "training iterations": "training_iteration",
    "env steps": ENV_STEPS,
    "seconds of training": "time_total_s",
    "episodes": "env_runners/num_episodes_lifetime",
    "newest mean return": RETURN,
}
_FAULTS = {
    "env runners started anew": "fault_tolerance/num_remote_worker_restarts",
    "env runners given up": "fault_tolerance/num_env_runners_dropped_lifetime",
    "learners started anew": "fault_tolerance/num_learner_restarts",
    "environments started anew": "env_runners/num_env_step_failures_lifetime",
}


# The picture.


class Size(NamedTuple):
    """Of a picture, in units of its text's size."""

    width: int
    height: int
    ticks: int


LARGE, SMALL = Size(860, 420, 5), Size(420, 220, 4)


def svg(curves: Sequence[Curve], x_label: str, size: Size) -> str:
    """Curves with their bands as an SVG element."""
    x0, x1 = (f([float(c.x[edge]) for c in curves]) for f, edge in ((min, 0), (max, -1)))
    y0, y1 = min(float(c.low.min()) for c in curves), max(float(c.high.max()) for c in curves)
    scale = _Scale(x0, x1 if x1 > x0 else x0 + 1.0, y0, y1 if y1 > y0 else y0 + 1.0, size)
    parts = [*_axes(scale, x_label)]
    for index, curve in enumerate(curves):
        parts += _drawn(curve, scale, COLOURS[index % len(COLOURS)])
    return f'<svg viewBox="0 0 {size.width} {size.height}" font-size="13">{"".join(parts)}</svg>'


def _drawn(curve: Curve, scale: "_Scale", colour: str) -> Iterator[str]:
    band = [
        *zip(curve.x, curve.high, strict=True),
        *zip(curve.x[::-1], curve.low[::-1], strict=True),
    ]
    if np.any(curve.high > curve.low):
        yield f'<polygon points="{scale.points(band)}" fill="{colour}" opacity="0.18"/>'
    line = scale.points(zip(curve.x, curve.y, strict=True))
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'


class _Scale:
    """From data to places in the picture."""

    def __init__(self, x0: float, x1: float, y0: float, y1: float, size: Size) -> None:
        self.x0, self.x1, self.y0, self.y1, self.size = x0, x1, y0, y1, size

    def x(self, value: float) -> float:
        width = self.size.width - LEFT - RIGHT
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * width

    def y(self, value: float) -> float:
        height = self.size.height - TOP - BOTTOM
        return TOP + height - (value - self.y0) / (self.y1 - self.y0) * height

    def points(self, pairs: Any) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in pairs)


def _axes(scale: _Scale, x_label: str) -> Iterator[str]:
    width, height, count = scale.size
    for value in _ticks(scale.y0, scale.y1, count):
        y = scale.y(value)
        place = f'x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        yield f'<line class="axis" {place}/>'
        yield _text(LEFT - 6, y + 4, f"{value:,.10g}", 'text-anchor="end"')
    for value in _ticks(scale.x0, scale.x1, count):
        yield _text(scale.x(value), height - BOTTOM + 18, f"{value:,.10g}", _MIDDLE)
    yield _text((LEFT + width) / 2, height - 4, x_label, _MIDDLE)


_MIDDLE = 'text-anchor="middle"'


def _text(x: float, y: float, text: str, how: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escape(text)}</text>'


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers between two, about so many: 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [round(float(each * step), 12) + 0.0 for each in np.arange(first, last + 1)]
