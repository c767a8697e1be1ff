"""Who acts for whom: the settings of several policies in one environment."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from rllib.config.spaces import read_space, write_space
from rllib.config.types import Mark, explicit
from rllib.errors import ConfigError

DEFAULT_POLICY_ID = "default_policy"
_NO_PART_OF_A_PATH = re.compile(r'[<>:"/\\|?*]|[ .]$|^$')
_FIELDS = ("policy_class", "observation_space", "action_space", "config")


@dataclass(frozen=True)
class PolicySpec:
    """What is particular about one policy; what is ``None`` comes from algorithm and environment.

    Attributes:
        policy_class: of RLlib's old API stack; must stay ``None``.
        observation_space: of the policy's agents.
        action_space: of the policy's agents.
        config: settings that differ from the algorithm's, as ``AlgorithmConfig.overrides`` gives
            them.
    """

    policy_class: None = None
    observation_space: Any = None
    action_space: Any = None
    config: Any = None

    def __post_init__(self) -> None:
        if self.policy_class is not None:
            raise ConfigError(
                "PolicySpec(policy_class=...) belongs to the old API stack; "
                "give modules by rl_module(rl_module_spec=MultiRLModuleSpec(...))"
            )

    def to_dict(self) -> dict[str, Any]:
        """What is not ``None``, as plain data but for the values in ``config``."""
        spaces = {
            name: write_space(space)
            for name in ("observation_space", "action_space")
            if (space := getattr(self, name)) is not None
        }
        return spaces | ({"config": dict(self.config)} if self.config else {})


def check_module_id(module_id: object) -> str:
    """The id itself, if it can be the name of a folder.

    Raises:
        ValueError: it cannot.
    """
    if isinstance(module_id, str) and not _NO_PART_OF_A_PATH.search(module_id):
        return module_id
    raise ValueError(
        f'{module_id!r} cannot be the id of a policy: a text without any of <>:"/\\|?* that does '
        "not end with a dot or a space"
    )


def _read_policies(value: Any) -> dict[str, PolicySpec] | None:
    """Ids alone, or each with its spec: ``None``, a mapping, a sequence of four, a PolicySpec."""
    if value is None:
        return None
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, list | tuple):
        value = dict.fromkeys(value)
    if not (isinstance(value, Mapping) and value):
        raise ValueError(f"should be ids of policies, or a mapping of ids to specs, got {value!r}")
    return {check_module_id(policy): _read_spec(policy, spec) for policy, spec in value.items()}


def _read_spec(policy: str, spec: Any) -> PolicySpec:
    if isinstance(spec, PolicySpec):
        return replace(spec, config=explicit(spec.config))
    if isinstance(spec, list | tuple) and len(spec) == len(_FIELDS):
        spec = dict(zip(_FIELDS, spec, strict=True))
    if not isinstance(spec, Mapping | None) or (spec or {}).keys() - set(_FIELDS):
        raise ValueError(
            f"{policy}: should be a PolicySpec with {', '.join(_FIELDS[1:])}, got {spec!r}"
        )
    fields = {"config": None} | dict(spec or {})
    for name in ("observation_space", "action_space"):
        fields[name] = read_space(fields.get(name))
    return PolicySpec(**fields | {"config": explicit(fields["config"])})


Policies = Annotated[
    dict[str, Any] | None,
    BeforeValidator(_read_policies),
    Mark.SETTINGS,
    WithJsonSchema({"anyOf": [{"type": "array"}, {"type": "object"}]}),
]
"""Ids of policies as a list or set, or a mapping of ids to ``PolicySpec``."""


def _read_ids(value: Any) -> Any:
    """Ids as a sorted tuple; a function stays one."""
    if isinstance(value, set | frozenset | list | tuple):
        return tuple(sorted(map(check_module_id, value)))
    return value


Ids = Annotated[tuple[str, ...], BeforeValidator(_read_ids)]

SpacePair = tuple[Any, Any]
"""(observation space, action space)"""


def complete_policies(
    specs: Mapping[str, PolicySpec],
    spaces: Mapping[str, SpacePair],
    env: Any,
    policy_of: Callable[[Any], str],
    default: SpacePair,
) -> dict[str, SpacePair]:
    """The spaces of every policy.

    Args:
        specs: what is known of each, by id; goes before everything else.
        spaces: of policies.
        env: an environment of one agent or several, or None.
        policy_of: id of the policy that acts for an agent; asked where agents have different
            spaces.
        default: spaces where nothing else tells.

    Raises:
        ConfigError: nothing tells a policy's spaces, or its agents have different ones.
    """
    agents = _spaces_of_agents(env)
    # Where all are the same nobody is asked who acts for whom, before there is an episode.
    are_same = all(pair == next(iter(agents.values())) for pair in agents.values())
    found = {}
    for policy, spec in specs.items():
        pairs = [each for agent, each in agents.items() if are_same or policy_of(agent) == policy]
        candidates = [
            (spec.observation_space, spec.action_space),
            spaces.get(policy, (None, None)),
            _only(policy, pairs),
            _single_spaces(env),
            default,
        ]
        observation, action = (
            next((pair[side] for pair in candidates if pair[side] is not None), None)
            for side in (0, 1)
        )
        if observation is None or action is None:
            raise ConfigError(f"the spaces of policy {policy!r} are unknown; set them in its spec")
        found[policy] = (observation, action)
    return found


def _spaces_of_agents(env: Any) -> dict[Any, SpacePair]:
    env = getattr(env, "unwrapped", env)
    agents = getattr(env, "possible_agents", None) or ()
    return {
        agent: (env.get_observation_space(agent), env.get_action_space(agent)) for agent in agents
    }


def _single_spaces(env: Any) -> SpacePair:
    """Of an environment of one agent, or of one in a vector."""
    env = getattr(env, "unwrapped", env)
    if getattr(env, "possible_agents", None):
        return None, None
    observation, action = (
        getattr(env, f"single_{name}", getattr(env, name, None))
        for name in ("observation_space", "action_space")
    )
    return observation, action


def _only(policy: str, pairs: list[SpacePair]) -> SpacePair:
    if any(pair != pairs[0] for pair in pairs):
        raise ConfigError(
            f"agents of different spaces map to policy {policy!r}: {pairs}; "
            "give each kind of agent a policy of its own"
        )
    return pairs[0] if pairs else (None, None)
