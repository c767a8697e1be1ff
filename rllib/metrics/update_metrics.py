"""One number for many: what the updates of an iteration come to, metric by metric."""

from collections.abc import Mapping, Sequence

from rllib.learning.learner import Metrics


def reduce_updates(updates: Sequence[Metrics]) -> dict[str, float | int]:
    """The metrics of all updates of an iteration, by the names that any of them has.

    Counts (``num_...``) and durations (``..._s``) add up; lifetime counts and current values
    (``..._lifetime``, ``curr_...``, ``..._learning_rate``) are the last; ``..._max`` and
    ``..._min`` keep the extreme; all others are means over the updates that have them. What is no
    number, such as an error per row, is left out.
    """
    names = {name: None for update in updates for name in update}
    columns = {name: [update[name] for update in updates if name in update] for name in names}
    return {
        name: _reduce(name, values)
        for name, values in columns.items()
        if isinstance(values[0], float | int)
    }


def reduce_modules(
    updates: Sequence[Mapping[str, Metrics]],
) -> dict[str, dict[str, float | int]]:
    """The same for each module, of updates by module id; of a module that none learnt, nothing."""
    modules = dict.fromkeys(name for update in updates for name in update)
    return {
        name: reduce_updates([update[name] for update in updates if name in update])
        for name in modules
    }


def total(
    modules: Mapping[str, Mapping[str, float | int]], is_single_agent: bool
) -> dict[str, float | int]:
    """What RLlib counts over all modules: rows trained on, and parameters.

    Of a single agent its rows are env steps, and are counted as such, too.
    """
    names = (
        "num_module_steps_trained",
        "num_module_steps_trained_lifetime",
        "num_trainable_parameters",
    )
    counts = {name: sum(each.get(name, 0) for each in modules.values()) for name in names}
    if is_single_agent:
        for name in names[:2]:
            counts[name.replace("module", "env")] = counts[name]
    return counts


def _reduce(name: str, values: list[float | int]) -> float | int:
    if name.endswith(("_lifetime", "_learning_rate")) or name.startswith("curr_"):
        return values[-1]
    if name == "num_trainable_parameters":
        return values[-1]
    if name.startswith("num_") or name.endswith("_s"):
        return sum(values)
    if name.endswith("_max"):
        return max(values)
    if name.endswith("_min"):
        return min(values)
    return values[0] if len(values) == 1 else sum(values) / len(values)
