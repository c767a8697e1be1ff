"""What a notebook shows of results, where ``_repr_html_`` is asked for; elsewhere nobody does."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from rllib.errors import RunError
from rllib.metrics.stages import stages_of, verdict
from rllib.results.compare import Comparison, table
from rllib.results.curves import Group, curve_of
from rllib.results.evaluate import Evaluation
from rllib.results.page import LARGE, axis_words, legend, svg
from rllib.results.saved import SavedRun
from rllib.runs.progress import LENGTH
from rllib.runs.record import ENV_STEPS, ITERATION, Metrics, flatten
from rllib.runs.stopping import RETURN

HEADLINES = {
    "training iterations": ITERATION,
    "env steps": ENV_STEPS,
    "seconds of training": "time_total_s",
    "mean return": RETURN,
    "mean episode length": LENGTH,
}
_STYLE = (
    "<style>.rllib svg{max-width:720px;height:auto;display:block}"
    ".rllib svg text{fill:currentColor}.rllib .axis{stroke:currentColor;opacity:.2}"
    ".rllib td,.rllib th{text-align:left!important}</style>"
)


def result_html(result: Mapping[str, Any]) -> str:
    """What one call of ``train`` gave: the figures that most look for, and all the others."""
    metrics = flatten(result)
    stages = stages_of(metrics)
    said = {} if stages is None else {"bottleneck": verdict(stages)}
    return _cell(_table(_headlines(metrics) | said), _all_of(metrics))


def run_html(run: SavedRun) -> str:
    """A run: how far it has come, its curve, and where it lies."""
    last = run.rows[-1] if run.rows else {}
    facts = {"folder": str(run.path), **_headlines(last)}
    return _cell(f"<b>{escape(run.name)}</b>", _table(facts), _curve(run), _all_of(last))


def evaluation_html(evaluation: Evaluation) -> str:
    """The figures, and every episode."""
    rows = "".join(
        f"<tr><td>{each.seed}</td><td>{each.episode_return:.6g}</td><td>{each.length}</td></tr>"
        for each in evaluation.episodes
    )
    heads = "<tr><th>seed</th><th>return</th><th>env steps</th></tr>"
    return _cell(_text([str(evaluation)]), _folded("all episodes", f"<table>{heads}{rows}</table>"))


def comparison_html(comparison: Comparison) -> str:
    """The curves and the figures."""
    picture = svg(comparison.curves, axis_words(comparison.axis), LARGE)
    return _cell(legend(comparison.groups), picture, _text(table(comparison)))


def _cell(*parts: str) -> str:
    return f'<div class="rllib">{_STYLE}{"".join(parts)}</div>'


def _headlines(metrics: Metrics) -> dict[str, str]:
    found = ((label, metrics[key]) for label, key in HEADLINES.items() if key in metrics)
    return {label: number(value) for label, value in found}


def number(value: float) -> str:
    """With commas, and as many digits as anybody reads."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"


def _curve(run: SavedRun) -> str:
    """Of returns; nothing before the first episode has ended."""
    try:
        return svg([curve_of(Group(run.name, (run,)))], axis_words(ENV_STEPS), LARGE)
    except RunError:
        return ""


def _all_of(metrics: Metrics) -> str:
    rows = {key: number(value) for key, value in sorted(metrics.items())}
    return _folded("all metrics", _table(rows)) if rows else ""


def _folded(summary: str, inner: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>"


def _table(facts: Mapping[str, str]) -> str:
    rows = (
        f"<tr><td>{escape(key)}</td><td>{escape(text)}</td></tr>" for key, text in facts.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _text(lines: Iterable[str]) -> str:
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
