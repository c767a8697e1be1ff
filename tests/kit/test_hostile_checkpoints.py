"""Checkpoints and configs made to do harm: refused, and nothing of theirs runs."""

import contextlib
import json
import pickle
import random
import resource
import shutil
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from benchmarks.chaos_hostile import Canary, loaders_of, mutated, reseal, small_config
from rllib.algorithm import Algorithm
from rllib.checkpoints.checkpoint import MANIFEST, METADATA, STATE, TENSORS
from rllib.checkpoints.rows import SavedRows
from rllib.config.file import load_plan, read_draft
from rllib.errors import CheckpointError, ConfigError, RLlibError
from rllib.modules.rl_module import RLModule

NUM_MUTATIONS = 1000
MOST_BYTES = 64 * 2**20


@pytest.fixture(scope="module")
def algo():
    with small_config().build_algo() as made:
        made.train()
        yield made


@pytest.fixture(scope="module")
def good(algo, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "checkpoint"
    algo.snapshot(SavedRows()).write(path)
    return path


@pytest.fixture
def forged(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "forged"))


def test_a_thousand_mutated_files_are_refused_or_harmless(algo, good, forged, tmp_path):
    """Sealed anew after each mutation, so that it is the content that is looked at."""
    rng, canary = random.Random(5), tmp_path / "canary"
    payload = pickle.dumps(Canary(canary))
    files = sorted(path for path in good.iterdir() if path.name != MANIFEST)
    loaders = loaders_of(algo)
    warnings.simplefilter("ignore")  # numbers that overflow, for one
    refused, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(NUM_MUTATIONS):
        file = files[number % len(files)]
        (forged / file.name).write_bytes(mutated(file.read_bytes(), rng, payload))
        reseal(forged)
        try:
            loaders[number // len(files) % len(loaders)](forged)
        except RLlibError:
            refused += 1
        (forged / file.name).write_bytes(file.read_bytes())
    assert refused > NUM_MUTATIONS / 4  # in most of the others, a number is another one
    assert not canary.exists()
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_BYTES
    algo.restore_from_path(good)
    assert np.isfinite(algo.train()["learners"]["default_policy"]["total_loss"])


def forge(folder, *, config=None, facts=None, **others):
    """Change settings of a checkpoint, and what it says of its module."""
    metadata = json.loads((folder / METADATA).read_text())
    metadata["config"] |= config or {}
    metadata["modules"]["default_policy"] |= facts or {}
    (folder / METADATA).write_text(json.dumps(metadata | others))
    reseal(folder)


HUGE = {"fcnet_hiddens": [100_000, 100_000]}
LONG = {"fcnet_hiddens": [1] * 100_000}
BOX = {"Box": {"low": 0, "high": 1, "shape": [100_000, 100_000], "dtype": "float32"}}
MANY = {"Discrete": {"n": 10**12, "start": 0}}
BOMBS = {
    "networks": ({"model_config": HUGE}, {}),
    "networks of both": ({"model_config": HUGE}, {"model_config": HUGE}),
    "layers": ({"model_config": LONG}, {"model_config": LONG}),
    "observations": ({"observation_space": BOX}, {"observation_space": BOX}),
    "observations of a policy": ({"policies": {"a": {"observation_space": BOX}}}, {}),
    "actions": ({"action_space": MANY}, {"action_space": MANY}),
    "env runners": ({"num_env_runners": 10**6}, {}),
    "learners": ({"num_learners": 10**6}, {}),
    "environments": ({"num_envs_per_env_runner": 10**9}, {}),
    "evaluation": ({"evaluation_interval": 1, "evaluation_num_env_runners": 10**6}, {}),
    "environments of evaluation": ({"evaluation_config": {"num_envs_per_env_runner": 10**9}}, {}),
    "replay": ({"replay_buffer_config": {"capacity": 10**15}}, {}),
    "fragments": ({"rollout_fragment_length": 10**15}, {}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_asks_for_more_than_it_holds_is_refused_first(forged, bomb):
    config, facts = BOMBS[bomb]
    forge(forged, config=config, facts=facts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RLlibError, match=r"forged|replay_buffer_config|policy_mapping_fn"):
        Algorithm.from_checkpoint(forged)
    if facts:
        with pytest.raises(CheckpointError, match="forged"):
            RLModule.from_checkpoint(forged)
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 4 * MOST_BYTES


@pytest.mark.parametrize("value", [None, -1, 10**400, "../../etc/passwd", [], {}, [[]]])
def test_every_value_of_a_module_may_be_anything(good, forged, value):
    metadata = json.loads((good / METADATA).read_text())
    for path in [(), *values(metadata["modules"])]:
        changed = json.loads(json.dumps(metadata))
        parent, key = changed, "modules"
        for following in path:
            parent, key = parent[key], following
        parent[key] = value
        (forged / METADATA).write_text(json.dumps(changed))
        reseal(forged)
        with contextlib.suppress(CheckpointError, ConfigError):
            RLModule.from_checkpoint(forged)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "BF16", "C64"])
def test_numbers_that_nobody_writes_are_named(algo, good, forged, dtype):
    header = {"x": {"dtype": dtype, "shape": [16], "data_offsets": [0, _BITS[dtype] * 2]}}
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + bytes(_BITS[dtype] * 2)
    (forged / TENSORS).write_bytes(data)
    reseal(forged)
    for load in (algo.restore_from_path, Algorithm.from_checkpoint, RLModule.from_checkpoint):
        with pytest.raises(CheckpointError, match=f"{TENSORS}: 'x' is of {dtype}; known are"):
            load(forged)


_BITS = {"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "BF16": 16, "C64": 64}


def values(node, path=()):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from values(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from values(value, (*path, index))
    else:
        yield path


@pytest.mark.parametrize(
    "value", [None, -1, 2**62, 10**400, 1e300, "../../etc/passwd", "O", [], {}, [[]], True]
)
def test_every_value_of_the_state_may_be_anything(algo, good, forged, value):
    """Each value in turn is replaced; shapes, counts, names and dtypes are among them."""
    state = json.loads((good / STATE).read_text())
    warnings.simplefilter("ignore")
    tracemalloc.start()
    for path in values(state):
        changed = json.loads(json.dumps(state))
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = value
        (forged / STATE).write_text(json.dumps(changed))
        reseal(forged)
        try:
            algo.restore_from_path(forged)
        except RLlibError:
            continue
    assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    tracemalloc.stop()
    algo.restore_from_path(good)


def may_differ(name, shape):
    """Another layout has other env runners: what does not fit begins new episodes. So do streams
    of a replay buffer that are more or fewer."""
    return "/env_runners/" in name or ("/tails/" in name and len(shape) == 1)


def test_tensors_of_other_shapes_are_refused(algo, good, forged):
    for name in load_file(good / TENSORS):
        for shape in ((0,), (1, 1, 1, 1), (100_000,)):
            tensors = load_file(good / TENSORS)
            tensors[name] = np.zeros(shape, tensors[name].dtype)
            save_file(tensors, forged / TENSORS)
            reseal(forged)
            if may_differ(name, shape):
                with contextlib.suppress(RLlibError):
                    algo.restore_from_path(forged)
                    algo.train()
            else:
                with pytest.raises(CheckpointError):
                    algo.restore_from_path(forged)
    algo.restore_from_path(good)
    assert np.isfinite(algo.train()["learners"]["default_policy"]["total_loss"])


YAML = """\
algorithm: PPO
environment:
  env: CartPole-v1
training:
  lr: 1e-3
  gamma: 0.99
stop:
  training_iteration: 5
"""
HOSTILE = [
    "!!python/object/apply:pathlib.Path.touch [{canary}]",
    "!!python/object/new:os.system ['touch {canary}']",
    "!!python/name:os.system",
    "&a [*a, *a]",
    "../../../../etc/passwd",
]


def test_hostile_configs_are_refused(tmp_path):
    canary, file = tmp_path / "canary", tmp_path / "config.yaml"
    for text in HOSTILE:
        for line in YAML.splitlines()[2:]:
            if ": " in line:
                key = line.partition(":")[0]
                file.write_text(YAML.replace(line, f"{key}: {text.format(canary=canary)}"))
                with pytest.raises(RLlibError):
                    load_plan(str(file))
    assert not canary.exists()


def test_a_yaml_bomb_takes_no_memory(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join([YAML, *lines]))
    tracemalloc.start()
    with pytest.raises(RLlibError):
        load_plan(str(file))
    assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    tracemalloc.stop()


def test_mutated_presets_are_refused_or_read(tmp_path):
    rng, file = random.Random(3), tmp_path / "config.yaml"
    payload = b"!!python/object/apply:os.abort []"
    for _ in range(NUM_MUTATIONS // 4):
        file.write_bytes(mutated(YAML.encode(), rng, payload))
        try:
            read_draft(str(file), (), ())
        except RLlibError:
            continue
