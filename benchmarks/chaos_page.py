"""The tables of ``docs/faults.md``, from ``chaos.json``, ``chaos_checks.json`` and others.

Nothing is trained::

    python -m benchmarks.chaos_page
"""

from __future__ import annotations

from typing import Any

from benchmarks import facts
from benchmarks.marked import put

PAGE = facts.ROOT / "docs" / "faults.md"
TRAINED = ("| fault | reached 475 | faults | env steps beside clean | back after, median / p95 |",)


def main() -> None:
    """Write them."""
    PAGE.write_text(filled(PAGE.read_text()))


def filled(page: str) -> str:
    """The page with the tables of the results that there are."""
    page = put(page, "chaos", trained(facts.known_results("chaos")))
    checks = facts.known_results("chaos_checks")
    page = put(page, "pauses", pauses(facts.known_results("checkpoint_pause"), checks))
    page = put(page, "peers", peers(facts.known_results("chaos_peers")))
    page = put(page, "soak", soaked(facts.known_results("soak")))
    return put(page, "cost", costs(facts.known_results("fault_cost")))


def trained(results: dict[str, Any]) -> str:
    """A line for each row that was trained."""
    lines = [*TRAINED, "|---|---|---|---|---|"]
    for name, row in results.items():
        each = row["summary"]
        faults = each["kills"] + each["failures"]
        cells = [name, each["reached"], f"{faults}" if faults else "", _beside(each), _back(each)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _beside(summary: dict[str, Any]) -> str:
    ratio = summary.get("env_steps_beside_clean")
    return "" if ratio is None else f"{ratio:.2f}"


def _back(summary: dict[str, Any]) -> str:
    if "recovery_s_p95" not in summary:
        return ""
    return f"{summary['recovery_s_median']:.1f} s / {summary['recovery_s_p95']:.1f} s"


def pauses(results: dict[str, Any], checks: dict[str, Any]) -> str:
    """How long training stands still for a checkpoint, and what else was counted."""
    lines = ["| preset | stands still, median / longest | new bytes |", "|---|---|---|"]
    for name, row in results.items():
        pause, written = row["pause_ms"], row["new_bytes"]["median"]
        figures = f"{pause['median']:.0f} ms / {pause['max']:.0f} ms"
        lines.append(f"| {name} | {figures} | {written:,.0f} |")
    if writing := checks.get("killed while writing"):
        kills, lost = writing["kills"], writing["unreadable_or_lost"]
        text = f"A writer of checkpoints was killed {kills} times at random instants and went on"
        lines += ["", f"{text} from its newest one: {lost} were unreadable or lost."]
    if resumed := checks.get("same hash after kill -9"):
        same, differ = len(resumed["is_same"]), resumed["differ"]
        text = f"Runs that were killed and resumed, of {same} algorithms and layouts"
        lines += ["", f"{text}, against whole ones: the parameters of {differ} differ."]
    if alike := checks.get("asynchronous runs resumed"):
        lines += ["", _alike(alike)]
    if ended := checks.get("driver ended"):
        lines += ["", _ended(ended)]
    if full := checks.get("store and disk full"):
        lines += ["", _filled(full)]
    if capped := checks.get("memory capped"):
        lines += ["", _capped(capped)]
    if hostile := checks.get("hostile files"):
        lines += ["", _refused(hostile)]
    return "\n".join(lines)


def _alike(row: dict[str, Any]) -> str:
    told = []
    for preset, each in row["by_preset"].items():
        whole, killed = each["env_steps_whole"], each["env_steps_killed"]
        medians = f"{killed['median']:,.0f} env steps, {whole['median']:,.0f} in one go"
        told.append(f"`{preset}` {medians} (p = {each['p']:.2f})")
    num = len(next(iter(row["by_preset"].values()))["env_steps_whole"]["values"])
    text = f"Asynchronous runs of {num} seeds, killed amid learning and resumed, reached 450 after"
    return f"{text} (medians): {'; '.join(told)}."


def _filled(row: dict[str, Any]) -> str:
    held, lost, seconds = row["held_mib"], row["lost"], row["disk_full_s"]
    return (
        f"With {held} MiB in an object store of half that size, and then the disk full as well for "
        f"{seconds} s, {lost} values were lost, and training went on."
    )


def _capped(row: dict[str, Any]) -> str:
    ended, by_kernel = row["env_runners_ended"], row["ended_by_the_kernel"]
    return (
        f"In a control group of {row['gib']:g} GiB, with environments that take ever more, {ended} "
        f"env runners were ended in {row['trained_s']} s, each with the figures in its message, "
        f"and others took their place; the kernel ended {by_kernel} processes, and {row['lost']} "
        "values were lost."
    )


def _refused(row: dict[str, Any]) -> str:
    mutated, others = row["mutated"], dict(row["attacks"])
    presets = others.pop("mutated presets")
    kinds = ", ".join(f"{kind} {sum(found.values())}" for kind, found in others.items())
    read = sum(found.get("read", 0) for found in others.values())
    untyped = sum(found.get("untyped", 0) for found in (mutated, presets, *others.values()))
    touched = "was" if row["canary_touched"] else "was not"
    return (
        f"Of {sum(mutated.values()):,} mutated files of a checkpoint, sealed anew, "
        f"{mutated['refused']} were refused and {mutated.get('read', 0)} could still be read; of "
        f"{sum(presets.values())} mutated presets {presets['refused']} and "
        f"{presets.get('read', 0)}. Attempts to load what was made to do harm ({kinds}): {read} "
        f"were not refused. {untyped} of all ended in another error than rllib's, the canary "
        f"{touched} touched, and all took {row['memory_mib']:.0f} MiB more than before."
    )


def _ended(row: dict[str, Any]) -> str:
    signals = {name: found for name, found in row.items() if isinstance(found, dict)}
    drivers = ", ".join(f"{found['drivers']} by {name}" for name, found in signals.items())
    left = sum(
        sum(count for what, count in found.items() if what != "drivers")
        for found in signals.values()
    )
    return (
        f"Main processes were ended, {drivers}: {left} processes, segments, sockets or wrong exit "
        "codes were left behind."
    )


def peers(results: dict[str, Any]) -> str:
    """A line for each row of a peer's."""
    lines = ["| peer, fault | reached 475 | faults | what came of it |", "|---|---|---|---|"]
    for name, row in results.items():
        runs = [*row["runs"].values()]
        kills = sum(run.get("kills", 0) for run in runs)
        reached = f"{sum(run.get('reached', False) for run in runs)}/{len(runs)}"
        is_resumed = "after" in runs[0]
        cells = [name, "" if is_resumed else reached, f"{kills}" if kills else ""]
        lines.append(f"| {' | '.join([*cells, _fate(runs)])} |")
    return "\n".join(lines)


def _fate(runs: list[dict[str, Any]]) -> str:
    if "after" in runs[0]:
        lost = [run["before"]["env_steps"] - run["after"]["env_steps"] for run in runs]
        orphans = max(run["orphans_after_5_s"] for run in runs)
        returns = ", ".join(f"{_return(r['before'])} -> {_return(r['after'])}" for r in runs)
        return f"{max(lost):,.0f} env steps behind; mean return {returns}; {orphans} orphans"
    ends = {run["ended_with"].partition(":")[0] for run in runs if "ended_with" in run}
    if ends:
        steps = max(run["env_steps"] for run in runs)
        return f"training ends with {', '.join(sorted(ends))} after {steps:,.0f} env steps at most"
    recovery = sorted(each for run in runs for each in run.get("recovery_s", ()))
    if not recovery:
        return ""
    middle, longest = recovery[len(recovery) // 2], recovery[-1]
    return (
        f"{len(recovery)} came back, after {middle:.1f} s in the median and {longest:.1f} s at most"
    )


def _return(state: dict[str, Any]) -> str:
    value = state["return"]
    return "none" if value is None else f"{value:.0f}"


def soaked(found: dict[str, Any]) -> str:
    """What a long run among faults came to."""
    if not found:
        return ""
    counts, curve = found["counts"], found["curves"]["faults"]
    ended = counts["SIGTERM"] + counts["SIGKILL"]
    lines = [
        f"In {found['seconds'] / 60:.0f} minutes: {counts['faults']} kills and full stores, "
        f"{curve['env_faults']} faults of environments, {ended} ends of the main process; "
        f"{counts['lost']} values lost, {counts['left_behind']} processes left behind.",
        "",
        "| | median | most | growth per hour | flat |",
        "|---|---|---|---|---|",
    ]
    for name, each in found["growth"].items():
        slope = each.get("per_hour")
        growth = "" if slope is None else f"{slope:+.1f} ± {2 * each['standard_error']:.1f}"
        figures = f"{each['median']:g} | {each['most']:g} | {growth}"
        lines.append(f"| {name} | {figures} | {'yes' if each['is_flat'] else 'no'} |")
    lines += ["", "| curve | env steps to 475 | median return since | gaps or steps back |"]
    lines += ["|---|---|---|---|"]
    for name, each in found["curves"].items():
        steps = each["env_steps_to_475"]
        told = "never" if steps is None else f"{steps:,}"
        broken = "yes" if each["has_gaps_or_steps_back"] else "no"
        lines.append(f"| {name} | {told} | {each['median_return_since']} | {broken} |")
    return "\n".join(lines)


def costs(results: dict[str, Any]) -> str:
    """What fault tolerance costs when nothing fails."""
    lines = ["| settings | env steps/s beside none | 95 % | processor time |", "|---|---|---|---|"]
    for name, each in results.items():
        speed, cpu = each["sps_ratio"], each["cpu_ratio"]
        low, high = speed["interval_95"]
        figures = f"{speed['median']:.3f} | {low:.3f} to {high:.3f} | {cpu['median']:.3f}"
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
