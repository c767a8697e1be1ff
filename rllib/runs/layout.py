"""The layout of a run: chosen once, told, and kept for as long as the run goes on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rllib.config.plan import RunPlan
from rllib.layout.choose import laid_out, lines, taken_over


def laid_out_plan(
    plan: RunPlan, earlier: RunPlan | None, say: Callable[[str], Any], *, is_serial: bool
) -> RunPlan:
    """The plan with what ``layout="auto"`` decides; that of an earlier run where it goes on.

    Args:
        plan: of the run.
        earlier: what the run that is to be continued was started with.
        say: is told each line of what was chosen.
        is_serial: whether actors run one after the other in this process.

    Raises:
        EnvError, TrainingError, ConfigError: as training would.
    """
    if earlier is not None:
        return replace(plan, config=taken_over(plan.config, earlier.config))
    config, layout = laid_out(plan.config, is_serial=is_serial)
    if layout is None:
        return plan
    for line in lines(config, layout):
        say(line)
    return replace(plan, config=config)
