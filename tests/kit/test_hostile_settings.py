"""Settings in a checkpoint cannot name code that is run, at whatever depth, whatever the field."""

import collections.abc
import os
import sys
from typing import get_args, get_origin

import pytest

from rllib.algorithm import Algorithm
from rllib.algorithms.ppo import PPOConfig
from rllib.checkpoints import checkpoint
from rllib.config import AlgorithmConfig
from rllib.errors import CheckpointError, ConfigError
from rllib.modules.rl_module import RLModule
from rllib.registry import algorithm_names, get_config_class

CODE = "canary_in_checkpoint:Canary"
ENVIRONS = ("extra_python_environs_for_driver", "extra_python_environs_for_worker")
VALUES = (
    CODE,
    [CODE],
    {"module_class": CODE},
    {"rl_module_specs": {"default_policy": {"module_class": CODE}}},
    {"type": CODE, "default_policy": CODE, "config": CODE},
)
PLACES = {
    "at the top": lambda inner: inner,
    "of evaluation": lambda inner: {"evaluation_config": inner},
    "of a module": lambda inner: {"algorithm_config_overrides_per_module": {"a": inner}},
    "of a policy": lambda inner: {"policies": {"a": {"config": inner}}},
    "of a policy in a list": lambda inner: {"policies": {"a": [None, None, None, inner]}},
}
DEEP = ("of evaluation", "of a policy", "of a module", "of evaluation")
"""Places within places."""


def all_fields():
    """(config class, key) of every setting of every algorithm, those that they share once."""
    shared = set(AlgorithmConfig.public_fields())
    yield from ((PPOConfig, key) for key in [*shared, "callbacks", "model"])
    for name in algorithm_names():
        config_class = get_config_class(name)
        yield from ((config_class, key) for key in set(config_class.public_fields()) - shared)


def nested(key, value):
    for name, place in PLACES.items():
        yield name, place({key: value})
    inner = {key: value}
    for name in DEEP:
        inner = PLACES[name](inner)
    yield "within all", inner


def takes_callables(annotation):
    """Whether the type, rather than a mark that might have been forgotten, allows for code."""
    is_code = get_origin(annotation) is collections.abc.Callable
    return is_code or any(map(takes_callables, get_args(annotation)))


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A module that anybody could import, and that nobody may."""
    module = CODE.partition(":")[0]
    (tmp_path / f"{module}.py").write_text("class Canary: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield module
    assert module not in sys.modules


def use(config):
    """Everything that reads settings within settings."""
    list(config.problems())
    config.get_evaluation_config_object()
    for module_id in config.policy_ids:
        config.get_config_for_module(module_id)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:30])
def test_no_field_imports_what_a_checkpoint_names(canary, value):
    for config_class, key in all_fields():
        for place, settings in nested(key, value):
            try:
                use(config_class.from_state({"config": {"env": "CartPole-v1"} | settings}))
            except ConfigError:
                continue
            assert canary not in sys.modules, (key, place)


def test_every_field_that_may_hold_code_is_refused_everywhere(canary):
    found = set()
    for config_class, key in all_fields():
        field = config_class.field_behind(key)
        if takes_callables(field.annotation) or key == "rl_module_spec":
            value = {"module_class": CODE} if key == "rl_module_spec" else CODE
            found.add(key)
            for _, settings in nested(key, value):
                with pytest.raises(ConfigError, match=f"{key}: .* a checkpoint imports nothing"):
                    config_class.from_state({"config": settings})
    assert {"env", "callbacks", "callbacks_class", "on_episode_end", "learner_class"} <= found


@pytest.mark.parametrize("key", ENVIRONS)
def test_no_environment_variable_is_set(key):
    for _, settings in nested(key, {"LD_PRELOAD": "evil.so"}):
        with pytest.raises(ConfigError, match=f"{key}: a checkpoint sets no environment variables"):
            PPOConfig.from_state({"config": settings})
    assert PPOConfig.from_state({"config": {key: {}}})[key] == {}


@pytest.fixture
def small():
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .training(train_batch_size_per_learner=16, minibatch_size=None, num_epochs=1)
    )


@pytest.fixture
def forge(small, tmp_path):
    """Writes a checkpoint with other settings and facts."""
    with small.build_algo() as algo:
        snapshot = algo.snapshot()

    def write(settings, **facts):
        config = snapshot.metadata["config"] | settings
        metadata = snapshot.metadata | {"config": config} | facts
        checkpoint.save(tmp_path / "forged", snapshot.state, metadata=metadata)
        return tmp_path / "forged"

    return write


def test_loading_an_algorithm_imports_nothing(canary, forge, monkeypatch):
    monkeypatch.delenv("HOSTILE", raising=False)
    for key in ("callbacks_class", "env", "learner_class", "env_to_module_connector"):
        for _, settings in nested(key, CODE):
            with pytest.raises(ConfigError, match=r"imports nothing; .*_checkpoint\(path, config="):
                Algorithm.from_checkpoint(forge(settings))
    with pytest.raises(ConfigError, match="no environment variables"):
        Algorithm.from_checkpoint(forge({ENVIRONS[0]: {"HOSTILE": "1"}}))
    assert "HOSTILE" not in os.environ


def test_who_passes_the_config_means_it(small, forge, monkeypatch):
    monkeypatch.delenv("HOSTILE", raising=False)
    config = small.copy().python_environment(extra_python_environs_for_driver={"HOSTILE": "1"})
    with Algorithm.from_checkpoint(forge({}), config) as algo:
        assert algo.iteration == 0
    assert os.environ.pop("HOSTILE") == "1"


@pytest.mark.parametrize("module_class", [CODE, "elsewhere:Module"])
def test_loading_a_module_imports_nothing(canary, forge, module_class):
    facts = {"module_class": module_class, "model_config": {}}
    path = forge({}, algorithm=CODE, modules={"default_policy": facts})
    for load in (Algorithm.from_checkpoint, RLModule.from_checkpoint):
        with pytest.raises(CheckpointError):
            load(path)
