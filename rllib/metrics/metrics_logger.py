"""Metrics of one's own: logged anywhere, put together in the algorithm, part of every result.

::

    env runner: log_value, ..., reduce() --stats--> algorithm: aggregate([...]), compile() -> result

A metric that was logged once is in every result from then on: what nobody has logged in an
iteration keeps its last value, and a sum is 0.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, ClassVar

from rllib.absent import NamesNearest
from rllib.metrics.stats import KINDS, Stats, Sum, make_stats

Key = str | Sequence[str]
"""A name, or the names of nested ones."""
Path = tuple[str, ...]
StatsTree = dict[str, Any]
"""Nested dicts whose leaves are ``Stats``."""


class MetricsLogger(NamesNearest):
    """Collects values by key.

    Args:
        clock: seconds; for throughput and ``log_time``.
    """

    INSTEAD: ClassVar[Mapping[str, str]] = {
        "merge_and_log_n_dicts": "it is called aggregate here",
        "set_value": "log_value adds a value; delete forgets those before",
        "peek_results": "reduce(compile=True) and peek give values",
    }

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._stats: dict[Path, Stats] = {}
        self._clock = clock
        self._measured: dict[Path, tuple[float, float]] = {}
        """Throughput of a sum: its value and the time when it was last reduced."""

    # Logging.

    def log_value(
        self,
        key: Key,
        value: Any,
        *,
        reduce: str | None = None,
        window: int | None = None,
        ema_coeff: float | None = None,
        percentiles: Sequence[float] | bool | None = None,
        clear_on_reduce: bool | None = None,
        with_throughput: bool = False,
        throughput_ema_coeff: float | None = None,
        reduce_per_index_on_aggregate: bool = False,
    ) -> None:
        """Add a value.

        Args:
            key: name, or tuple of names: ``("agents", "a0", "hits")``.
            value: a number, or anything for ``"item"`` and ``"item_series"``; NaN is left out.
            reduce: "mean", "ema", "min", "max", "sum", "lifetime_sum", "item", "item_series" or
                "percentiles"; by default "mean" with a window, and "ema" without. It and what
                follows need to be said once: the first call for a key decides.
            window: number of last values that count, over iterations.
            ema_coeff: weight of a new value.
            percentiles: which ones, in percent.
            clear_on_reduce: whether each iteration begins anew.
            with_throughput: whether the result tells what is added per second, too.
            throughput_ema_coeff: only ``None``: a throughput is that of one iteration.
            reduce_per_index_on_aggregate: only False: what several have logged is put together.

        Raises:
            ValueError: one of the last two is given, the reduction is another than before, there
                is none of that name, or the key is a part of another key.
        """
        _refuse(throughput_ema_coeff, reduce_per_index_on_aggregate)
        path = _path(key)
        stats = self._stats.get(path)
        if stats is None:
            reduce = reduce or ("ema" if window is None else "mean")
            stats = make_stats(reduce, window, ema_coeff, percentiles, clear_on_reduce)
            self._add(path, stats)
            if with_throughput:
                self._measure(path)
        elif reduce is not None and not _is_of(stats, reduce):
            raise ValueError(f"{_shown(path)} is logged with reduce={stats.kind!r}, not {reduce!r}")
        try:
            stats.push(value)
        except (TypeError, ValueError):
            text = f"{_shown(path)}: {value!r} is no number, which {stats.kind!r} takes; take each "
            raise ValueError(text + "number by itself, or reduce='item', which takes all") from None

    def log_dict(self, value_dict: Mapping[str, Any], *, key: Key = (), **how: Any) -> None:
        """Add every value of a nested dict, below ``key``; ``how`` as for ``log_value``.

        Without ``reduce`` it is "mean".
        """
        for name, value in value_dict.items():
            path = (*_path(key), name)
            if isinstance(value, Mapping):
                self.log_dict(value, key=path, **how)
            else:
                self.log_value(path, value, **{"reduce": "mean"} | how)

    @contextmanager
    def log_time(self, key: Key, **how: Any) -> Iterator[None]:
        """Add the seconds that the ``with`` block takes; ``how`` as for ``log_value``."""
        started = self._clock()
        yield
        self.log_value(key, self._clock() - started, **how)

    # Putting together.

    def aggregate(self, stats_dicts: Sequence[StatsTree], *, key: Key = ()) -> None:
        """Add what others have collected (their ``reduce()``), below ``key``.

        Raises:
            ValueError: two of them do not reduce a key in the same way.
        """
        for tree in stats_dicts:
            for path, stats in _leaves(tree, _path(key)):
                mine = self._stats.get(path)
                if mine is None:
                    mine = stats.empty()
                    self._add(path, mine)
                if type(mine) is not type(stats):
                    raise ValueError(
                        f"{_shown(path)} is logged with reduce={stats.kind!r} in one place and "
                        f"{mine.kind!r} in another"
                    )
                mine.merge(stats)

    def reduce(self, compile: bool = False) -> dict[str, Any]:
        """End an iteration.

        Args:
            compile: True gives values, as a result has them. False gives what ``aggregate`` takes,
                with everything since the last call, and leaves nothing here.
        """
        if not compile:
            out = _tree(self._stats)
            self._stats = {path: stats.empty() for path, stats in self._stats.items()}
            return out
        values = {path: stats.value() for path, stats in self._stats.items()}
        for path in self._measured:
            values[*path[:-1], f"{path[-1]}_throughput"] = self._throughput(path)
        for stats in self._stats.values():
            if stats.clear_on_reduce:
                stats.clear()
        for path in self._measured:
            self._measure(path)
        return _tree(values)

    def compile(self) -> dict[str, Any]:
        """``reduce(compile=True)``."""
        return self.reduce(compile=True)

    # Looking.

    def peek(
        self,
        key: Key | None = None,
        default: Any = None,
        *,
        compile: bool = True,
        throughput: bool = False,
    ) -> Any:
        """The present value of a key, or a dict of those below it; changes nothing.

        Args:
            key: name, tuple of names, or nothing for everything.
            default: where there is none of that name, or it has no throughput.
            compile: only True, which gives values; ``reduce`` gives what may be aggregated.
            throughput: what is added per second instead; needs ``with_throughput``.

        Raises:
            KeyError: there is none of that name, and no default.
            ValueError: ``compile`` is False.
        """
        if not compile:
            raise ValueError("peek(compile=False) is not supported: it gives values; see reduce()")
        path = () if key is None else _path(key)
        if throughput:
            has_none = path not in self._measured and default is not None
            return default if has_none else self._throughput(path)
        if path in self._stats:
            return self._stats[path].value()
        depth = len(path)
        below = {p[depth:]: s.value() for p, s in self._stats.items() if p[:depth] == path}
        if below or not path:
            return _tree(below)
        if default is None:
            raise KeyError(_shown(path))
        return default

    def __contains__(self, key: Key) -> bool:
        path = _path(key)
        return any(known[: len(path)] == path for known in self._stats)

    def delete(self, *key: str, key_error: bool = True) -> None:
        """Forget a key and all below it.

        Raises:
            KeyError: there is none of that name, unless ``key_error`` is False.
        """
        if key not in self:
            if key_error:
                raise KeyError(_shown(key))
            return
        for path in [path for path in self._stats if path[: len(key)] == key]:
            del self._stats[path]
            self._measured.pop(path, None)

    def reset(self) -> None:
        """Forget everything."""
        self._stats, self._measured = {}, {}

    # Going on later.

    def get_state(self) -> dict[str, Any]:
        """State tree; of items, those alone that are JSON scalars."""
        return {
            str(index): {"key": list(path), "kind": stats.kind, "state": _plain(stats)}
            | {"with_throughput": path in self._measured}
            for index, (path, stats) in enumerate(self._stats.items())
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``get_state``; what was there before is forgotten."""
        self.reset()
        for _, entry in sorted(state.items(), key=lambda item: int(item[0])):
            path = tuple(entry["key"])
            self._add(path, _unplain(entry["kind"], entry["state"]))
            if entry["with_throughput"]:
                self._measure(path)

    def _add(self, path: Path, stats: Stats) -> None:
        for known in self._stats:
            if known[: len(path)] == path or path[: len(known)] == known:
                raise ValueError(f"{_shown(path)} cannot stand beside {_shown(known)}")
        self._stats[path] = stats

    def _measure(self, path: Path) -> None:
        stats = self._stats[path]
        if not isinstance(stats, Sum):
            raise ValueError(f"{_shown(path)}: only a sum has a throughput, not {stats.kind!r}")
        self._measured[path] = (stats.total, self._clock())

    def _throughput(self, path: Path) -> float:
        if path not in self._measured:
            raise KeyError(f"{_shown(path)} is not logged with_throughput")
        before, since = self._measured[path]
        elapsed = self._clock() - since
        return float((self._stats[path].value() - before) / elapsed) if elapsed > 0 else 0.0


def overlaid(
    tree: Mapping[str, Any], more: Mapping[str, Any], but: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy of nested dicts with all of ``more``, but for what is in ``but`` as well."""
    both = dict(tree)
    for name, value in more.items():
        kept = but.get(name, {})
        if isinstance(value, Mapping) and isinstance(kept, Mapping):
            both[name] = overlaid(both.get(name, {}), value, kept)
        elif name not in but:
            both[name] = value
    return both


def filled(tree: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested dicts with what ``more`` has besides; what is in both stays as it is."""
    both = dict(tree)
    for name, value in more.items():
        mine = both.get(name)
        if name not in both:
            both[name] = value
        elif isinstance(mine, Mapping) and isinstance(value, Mapping):
            both[name] = filled(mine, value)
    return both


def hidden(
    tree: Mapping[str, Any], more: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[str]:
    """What ``filled`` leaves out of ``more``, as names joined by slashes."""
    for name in tree.keys() & more.keys():
        mine, others = tree[name], more[name]
        if isinstance(mine, Mapping) and isinstance(others, Mapping):
            yield from hidden(mine, others, (*path, name))
        else:
            yield "/".join((*path, name))


def _path(key: Key) -> Path:
    return (key,) if isinstance(key, str) else tuple(map(str, key))


def _shown(path: Sequence[str]) -> str:
    return f"the metric {'/'.join(path)!r}"


def _refuse(throughput_ema_coeff: float | None, reduce_per_index_on_aggregate: bool) -> None:
    """Arguments of RLlib's that have one value here."""
    if throughput_ema_coeff is not None:
        text = "a throughput is that of one iteration; log it by log_value(reduce='ema')"
        raise ValueError(f"throughput_ema_coeff is not supported: {text}")
    if reduce_per_index_on_aggregate:
        text = "what several have logged is put together; reduce='item_series' keeps all of it"
        raise ValueError(f"reduce_per_index_on_aggregate is not supported: {text}")


def _is_of(stats: Stats, reduce: str) -> bool:
    kind = {"lifetime_sum": "sum"}.get(reduce, reduce)
    return stats.kind in (kind, f"window_{kind}")


def _leaves(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Stats]]:
    for name, value in tree.items():
        if isinstance(value, Stats):
            yield (*path, str(name)), value
        else:
            yield from _leaves(value, (*path, str(name)))


def _tree(flat: Mapping[Path, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        place = tree
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    return tree


def _plain(stats: Stats) -> dict[str, Any]:
    """The fields as JSON; what is none is left out."""
    fields = {name: _list(value) for name, value in asdict(stats).items()}
    return {name: value for name, value in fields.items() if _is_json(value)}


def _list(value: Any) -> Any:
    """A series as a list; percentiles by number have no place in JSON and come again."""
    return value if isinstance(value, str | dict) or not hasattr(value, "__iter__") else [*value]


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, bool | int | float | str)


def _unplain(kind: str, fields: Mapping[str, Any]) -> Stats:
    return KINDS[kind](**dict(fields))
