"""Measurements in the text format that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, groupby

from rllib.core.measurements import Measurement


def exposition(measurements: Iterable[Measurement]) -> str:
    """One block for each metric, with a line for each sample; empty for no measurements."""
    found = sorted(measurements, key=_name_and_kind)
    lines: list[str] = []
    for (name, kind), group in groupby(found, _name_and_kind):
        members = list(group)
        lines.append(f"# HELP {name} {_escaped(members[0].series.description)}")
        lines.append(f"# TYPE {name} {kind}")
        for measurement in members:
            lines += _samples(measurement)
    return "\n".join(lines) + "\n" if lines else ""


def _name_and_kind(measurement: Measurement) -> tuple[str, str]:
    return measurement.series.name, measurement.series.kind


def _samples(measurement: Measurement) -> list[str]:
    series, value, counts = measurement
    if series.kind != "histogram":
        return [f"{series.name}{_labels(series.tags)} {_number(value)}"]
    ends = (*map(_number, series.boundaries), "+Inf")
    below = list(accumulate(counts))
    return [
        *(
            f"{series.name}_bucket{_labels((*series.tags, ('le', end)))} {count}"
            for end, count in zip(ends, below, strict=True)
        ),
        f"{series.name}_sum{_labels(series.tags)} {_number(value)}",
        f"{series.name}_count{_labels(series.tags)} {below[-1]}",
    ]


def _labels(tags: Iterable[tuple[str, str]]) -> str:
    pairs = [f'{key}="{_escaped(value, quoted=True)}"' for key, value in tags]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _escaped(text: str, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
