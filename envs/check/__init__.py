"""Everything that can be found wrong with an environment before training on it.

    check_env(source, env_config) -> findings: errors, warnings, notes

Random play shows observations, rewards, flags, masks and ends; the same seed twice shows what is
not repeatable, resets and closing what is left behind; gymnasium's own checker, pickling, a picture
and a vector of two show the rest.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rllib.envs.check.agents import AgentsPlay, is_multi_agent
from rllib.envs.check.findings import LEVELS, Finding, error, is_bad, raised
from rllib.envs.check.leaks import check_leaks
from rllib.envs.check.outside import check_gymnasium, check_travel, check_vector
from rllib.envs.check.pictures import check_pictures
from rllib.envs.check.play import Env, Play
from rllib.envs.check.repeat import check_agents_repeat, check_repeats
from rllib.envs.check.spaces import check_spaces, check_unchanged, mask_sizes_of, spaces_of
from rllib.envs.check.watch import (
    BufferWatch,
    EndWatch,
    FlagWatch,
    MaskWatch,
    ObservationWatch,
    RewardWatch,
    Watch,
)
from rllib.envs.faults import EnvSetupError, close_env
from rllib.envs.make import EnvSource, make_single_env

__all__ = ["Finding", "check_env", "is_bad"]

_SEED = 7


def check_env(
    source: EnvSource,
    env_config: Mapping[str, Any] | None = None,
    num_steps: int = 2_000,
    seconds: float = 3.0,
) -> list[Finding]:
    """Look for mistakes in an environment of one agent or several.

    Args:
        source: gymnasium id, or a callable that takes ``env_config`` and makes an environment.
        env_config: its arguments.
        num_steps: env steps of random play at most.
        seconds: of random play, about.

    Returns:
        Errors first, then warnings, then notes.
    """
    config = dict(env_config or {})
    found = list(_check(source, config, num_steps, seconds))
    return sorted(dict.fromkeys(found), key=lambda finding: LEVELS.index(finding.level))


def _check(
    source: EnvSource, config: dict[str, Any], num_steps: int, seconds: float
) -> Iterator[Finding]:
    envs: list[Env] = []

    def make() -> Env:
        envs.append(make_single_env(source, config))
        return envs[-1]

    try:
        env = make()
        if is_multi_agent(env):
            yield from _check_agents(env, make, source, num_steps, seconds)
        else:
            yield from _check_single(env, make, source, config, num_steps, seconds)
    except EnvSetupError as failure:
        yield error("env", str(failure))
    finally:
        for each in envs:
            close_env(each)


def _check_agents(
    env: Any, make: Any, source: EnvSource, num_steps: int, seconds: float
) -> Iterator[Finding]:
    found = list(AgentsPlay(env).run(num_steps, seconds))
    yield from found
    if not is_bad(found):
        yield from check_agents_repeat(make(), make())
        yield from check_travel(source)
        yield from check_leaks(make)


def _check_single(
    env: Env, make: Any, source: EnvSource, config: dict[str, Any], num_steps: int, seconds: float
) -> Iterator[Finding]:
    found = list(check_spaces(env))
    if not is_bad(found):
        before = spaces_of(env)
        play = Play(env, _watches(env), mask_sizes_of(env), _SEED)
        found += play.run(num_steps, seconds)
        found += check_unchanged(env, before)
        found += play.findings()
    yield from found
    if is_bad(found):
        return  # what follows would only say the same in other words
    sizes = mask_sizes_of(env)
    try:
        yield from check_repeats(make(), make(), sizes)
    except Exception as failure:
        yield raised("seed", failure)
    if not sizes:  # gymnasium's checker would do what masks forbid
        own = " ".join(str(finding) for finding in found if finding.level == "warning")
        yield from (each for each in check_gymnasium(make()) if not _is_told(each.text, own))
    yield from check_travel(source, env.observation_space, env.action_space)
    yield from check_leaks(make)
    yield from check_pictures(source, config, env)
    yield from check_vector(source, config)


def _watches(env: Env) -> list[Watch]:
    watches: list[Watch] = [
        ObservationWatch(env.observation_space),
        RewardWatch(),
        FlagWatch(),
        BufferWatch(),
        EndWatch(env.spec.max_episode_steps if env.spec else None),
    ]
    if sizes := mask_sizes_of(env):
        watches.append(MaskWatch(sizes))
    return watches


def _is_told(text: str, own: str) -> bool:
    """Whether gymnasium's checker says what was found and told with its place already."""
    return any(theirs in text and ours in own for theirs, ours in _SAME.items())


_SAME = {
    "Deterministic": "seed",
    "obs": "obs",
    "reward": "reward",
    "share an object": "wrote into the array",
    "terminat": "terminated",
    "truncat": "truncated",
}
