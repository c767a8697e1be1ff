"""RLlib's import paths: each leads to what is meant, or says what to do instead."""

import importlib
import json
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rllib.compat import import_hook
from rllib.compat.modules import ValueFunctionAPI
from rllib.compat.names import METRICS
from rllib.compat.table import ABSENT, ABSENT_NAMES, ALIASES
from rllib.compat.tools import check, override

NAMES = [(module, name) for module, names in ALIASES.items() for name in names if name != "*"]

SCRIPT = """
from rllib import tune
from rllib.algorithms.algorithm import Algorithm
from rllib.algorithms.algorithm_config import AlgorithmConfig
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.algorithms.ppo.ppo import PPOConfig as SameConfig
from rllib.callbacks.callbacks import RLlibCallback
from rllib.connectors.env_to_module import FlattenObservations, MeanStdFilter
from rllib.core import DEFAULT_MODULE_ID, Columns
from rllib.core.columns import Columns as SameColumns
from rllib.core.rl_module.apis import ValueFunctionAPI
from rllib.core.rl_module.default_model_config import DefaultModelConfig
from rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from rllib.core.rl_module.torch import TorchRLModule
from rllib.policy.policy import PolicySpec
from rllib.tune.registry import get_trainable_cls, register_env
from rllib.utils.annotations import override
from rllib.utils.framework import try_import_torch
from rllib.utils.metrics import (
    ENV_RUNNER_RESULTS, EPISODE_RETURN_MEAN, NUM_ENV_STEPS_SAMPLED_LIFETIME
)
from rllib.utils.metrics.metrics_logger import MetricsLogger
from rllib.utils.typing import EpisodeType, ModuleID, TensorType

assert SameConfig is PPOConfig and SameColumns is Columns and get_trainable_cls("PPO") is PPO
assert tune.register_env is register_env
assert (ENV_RUNNER_RESULTS, EPISODE_RETURN_MEAN) == ("env_runners", "episode_return_mean")
assert issubclass(TorchRLModule, RLModule) and DEFAULT_MODULE_ID == "default_policy"
torch, nn = try_import_torch()
assert torch.nn is nn
"""


def exists(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_path_of_rllibs_leads_to_ours(module: str, name: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from {module} import {name}", namespace)
    assert namespace[name] is import_hook.resolve(module, name)


@pytest.mark.parametrize("module", [module for module in ABSENT if not exists(module)])
def test_what_is_absent_says_what_to_do_instead(module: str) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(f"{module}.anything")
    # Of one below another that is absent, the upper one says it.
    known = [name for name in ABSENT if module == name or module.startswith(f"{name}.")]
    assert str(caught.value) == f"no module {known[0]!r}: {ABSENT[known[0]]}"


@pytest.mark.parametrize(
    ("module", "name"), [(m, name) for m, names in ABSENT_NAMES.items() for name in names]
)
def test_a_name_that_is_absent_says_what_to_do_instead(module: str, name: str) -> None:
    expected = f"no {name!r} in {module!r}: {ABSENT_NAMES[module][name]}"
    with pytest.raises(ImportError) as caught:
        exec(f"from {module} import {name}", {})
    assert str(caught.value) == expected
    with pytest.raises((ImportError, AttributeError)) as caught:
        getattr(importlib.import_module(module), name)
    assert str(caught.value) == expected
    assert name not in ALIASES[module]


def test_a_trainable_has_its_default_config() -> None:
    from rllib.algorithms.ppo import PPOConfig

    registry = importlib.import_module("rllib.tune.registry")
    assert type(registry.get_trainable_cls("PPO").get_default_config()) is PPOConfig


def test_a_module_of_rllibs_leaves_its_parents_own_torch_usable() -> None:
    code = """
from rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from rllib.algorithms import ppo
import torch
assert ppo.torch.from_numpy is torch.from_numpy and ppo.torch.min is torch.min
assert PPOTorchLearner is ppo.PPOLearner
try:
    ppo.torch.anything_else
except AttributeError as error:
    print(error)
"""
    assert python(code) == "module 'rllib.algorithms.ppo.torch' has no attribute 'anything_else'\n"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_scripts_imports_work_in_a_fresh_process() -> None:
    python(SCRIPT)


def test_the_runtime_stays_free_of_reinforcement_learning() -> None:
    code = "import rllib.core, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(python(code))
    assert not {name for name in loaded if name.partition(".")[0] in ("torch", "numpy")}
    assert {name for name in loaded if name.startswith("rllib.c")} >= {"rllib.core"}
    assert "rllib.columns" not in loaded


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import rllib.nonsense", "no 'nonsense' in 'rllib': RLlib's own parts are not ours"),
        ("import rllib.core.nonsense", "no 'nonsense' in 'rllib.core': RLlib's own"),
        ("import rllib.core.Columns", "No module named 'rllib.core.Columns'"),
        ("from rllib import PPOCnofig", "no 'PPOCnofig' in 'rllib'; did you mean 'PPOConfig'?"),
        ("from rllib.core.rl_module import RLModul", "; did you mean 'RLModule'?"),
        ("from rllib.algorithms.ppo import PPOTorchPolicy", "ppo': it belongs to the old API st"),
        (
            "from rllib.algorithms.ppo.ppo_catalog import PPOCatalog",
            "no 'ppo_catalog' in",
        ),
        (
            "from rllib.policy.sample_batch import MultiAgentBatch",
            "rllib.core.Columns",
        ),
        ("from rllib.policy.torch_mixins import LearningRateSchedule", "belongs to the old API st"),
        ("import rllib.utils.tf_utils", "no 'tf_utils' in 'rllib.utils': networks are torch's"),
        ("from rllib.utils.metrics import LEARN_ON_BATCH_TIMER", "results are plain dicts"),
        ("from rllib.algorithms.algorithm_config import NotProvided", "docs/your-own-algorithm.md"),
        ("from rllib.connectors.learner import ComputeReturnsToGo", "rllib.connectors.Connector"),
        ("from rllib.callbacks.callbacks import Nonsense", "docs/coming-from-rllib.md lists what"),
        ("import rllib; rllib.init()", "no 'init' in 'rllib': `from rllib import core`"),
    ],
)
def test_what_there_is_not_says_what_there_is(code: str, message: str) -> None:
    with pytest.raises((ImportError, AttributeError)) as caught:
        exec(code, {})
    assert message in str(caught.value)


def test_all_names_of_a_module_come_by_a_star() -> None:
    names: dict[str, object] = {}
    exec("from rllib.utils.metrics import *; from rllib.core.rl_module.rl_module import *", names)
    assert names["ENV_RUNNER_RESULTS"] == "env_runners"
    assert names["ALL_MODULES"] == "__all_modules__"
    assert "RLModuleSpec" in names


def test_a_module_of_aliases_tells_its_names() -> None:
    module = importlib.import_module("rllib.core.rl_module.rl_module")
    assert dir(module) == ["DefaultModelConfig", "RLModule", "RLModuleSpec"]
    with pytest.raises(AttributeError, match=r"rllib.core.rl_module.rl_module' has no attribute"):
        module.nonsense  # noqa: B018


def test_the_hook_is_installed_once() -> None:
    import_hook.install()
    finders = [finder for finder in sys.meta_path if isinstance(finder, import_hook.AliasFinder)]
    assert len(finders) == 1
    assert finders[0].find_spec("numpy") is None


def test_keys_of_results_are_named_as_in_rllib() -> None:
    assert METRICS["NUM_ENV_STEPS_SAMPLED_LIFETIME"] == "num_env_steps_sampled_lifetime"
    assert METRICS["EVALUATION_RESULTS"] == "evaluation"


# Tools.


class Base:
    def method(self) -> int:
        return 1


def test_override_says_whose_method_is_replaced() -> None:
    class Derived(Base):
        @override(Base)
        def method(self) -> int:
            return 2

    assert Derived().method() == 2
    with pytest.raises(
        NameError, match=r"@override\(Base\): 'Base' object has no attribute 'other'"
    ):

        @override(Base)
        def other() -> None:
            """Replaces nothing."""


def test_override_says_what_there_is_instead() -> None:
    from rllib.algorithms.ppo import PPOLearner

    with pytest.raises(NameError, match=r"compute_losses is not supported: it is called"):

        @override(PPOLearner)
        def compute_losses() -> None:
            """Is called otherwise here."""


def test_a_value_function_has_to_be_there() -> None:
    with pytest.raises(TypeError, match="compute_values"):
        ValueFunctionAPI()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("x", "y", "same"),
    [
        ({"a": [1.0, (2,)]}, {"a": (1.000001, [2])}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [1], False),
        ([1.0], [1.1], False),
        (None, None, True),
        ("a", "b", False),
        (True, True, True),
        ([[1.0, float("nan")]], [[1.0, float("nan")]], True),
        (1.0, [1.0], False),
    ],
)
def test_nested_structures_are_nearly_the_same_or_not(x: object, y: object, same: bool) -> None:
    check(x, y, false=not same)
    with pytest.raises(AssertionError):
        check(x, y, false=same)


def test_tolerances_go_before_decimals() -> None:
    check(1.0, 1.05, atol=0.1)
    check(100.0, 101.0, rtol=0.1)
    check(1.0, 1.05, decimals=1)
    with pytest.raises(AssertionError, match=r"1.0 is not 1.05"):
        check(1.0, 1.05)


def test_names_of_columns_are_also_where_the_old_stack_has_them() -> None:
    from rllib.policy.sample_batch import SampleBatch  # type: ignore[import-not-found]

    assert (SampleBatch.OBS, SampleBatch.ACTIONS) == ("obs", "actions")
    with pytest.raises(TypeError, match=r"rllib\.batch\.SampleBatch"):
        SampleBatch({"obs": []})


def test_a_preprocessor_is_given_observations_alone() -> None:
    from rllib.compat.connectors import SingleAgentObservationPreprocessor
    from rllib.envs.make import Spaces
    from rllib.envs.packing import Packer

    class Asking(SingleAgentObservationPreprocessor):
        def preprocess(self, observation: Any, episode: Any) -> Any:
            return {"x": -observation["x"]} if observation["x"] > 0 else episode.get_return()

    space = gym.spaces.Dict(x=gym.spaces.Box(-1, 1, ()))
    asking = Asking()
    assert asking.connect(Spaces(space, gym.spaces.Discrete(2)), 2).observation == space
    ones = np.stack([Packer(space).pack_one({"x": np.float32(1)})] * 2)
    assert asking.on_reset(ones)["x"].tolist() == [-1, -1]
    ones["x"] = 0.0
    with pytest.raises(AttributeError, match=r"no episode with 'get_return'; a rllib.*Connector"):
        asking.on_reset(ones)
    with pytest.raises(TypeError, match=r"Bad\.__call__ would never be called"):
        type("Bad", (SingleAgentObservationPreprocessor,), {"__call__": lambda self: None})
