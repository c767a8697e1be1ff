"""Checkpoints and configs made to do harm: refused, and nothing of theirs runs."""

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

from rllib.algorithms.dqn import DQNConfig
from rllib.checkpoints import checkpoint as checkpoint_module
from rllib.checkpoints.checkpoint import MANIFEST, STATE, TENSORS
from rllib.checkpoints.rows import SavedRows
from rllib.config.file import load_plan, read_draft
from rllib.errors import RLlibError

NUM_MUTATIONS = 1000
MOST_BYTES = 64 * 2**20


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def algo():
    config = (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .training(
            replay_buffer_config={"type": "PrioritizedEpisodeReplayBuffer", "capacity": 100},
            num_steps_sampled_before_learning_starts=10,
            train_batch_size_per_learner=4,
        )
        .reporting(min_sample_timesteps_per_iteration=60)
    )
    with config.build_algo() as made:
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


def reseal(folder):
    """Who can write the folder can also seal it."""
    names = [path.name for path in folder.iterdir() if path.name != MANIFEST]
    seals = {name: checkpoint_module._seal_of(folder / name) for name in names}
    (folder / MANIFEST).write_bytes(checkpoint_module._manifest_json(seals))


def test_a_thousand_mutated_files_are_refused_or_harmless(algo, good, forged, tmp_path):
    """Sealed anew after each mutation, so that it is the content that is looked at."""
    rng, canary = random.Random(5), tmp_path / "canary"
    payload = pickle.dumps(Canary(canary))
    files = sorted(path for path in good.iterdir() if path.name != MANIFEST)
    warnings.simplefilter("ignore")  # numbers that overflow, for one
    refused, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(NUM_MUTATIONS):
        file = files[number % len(files)]
        (forged / file.name).write_bytes(mutated(file.read_bytes(), rng, payload))
        reseal(forged)
        try:
            algo.restore_from_path(forged)
        except RLlibError:
            refused += 1
        (forged / file.name).write_bytes(file.read_bytes())
    assert refused > NUM_MUTATIONS / 4  # in most of the others, a number is another one
    assert not canary.exists()
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < MOST_BYTES
    algo.restore_from_path(good)
    assert np.isfinite(algo.train()["learners"]["default_policy"]["total_loss"])


def mutated(data, rng, payload):
    at = rng.randrange(len(data))
    match rng.randrange(7):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + data[rng.randrange(len(data)) :]
        case 3:
            return data[:at] + payload + data[at:]
        case 4:
            return data[:at] + b"9" * rng.choice((1, 20, 400)) + data[at:]
        case 5:
            return data[:at] + rng.choice((b"[", b"{", b"null", b"-", b"1e999")) * 50 + data[at:]
        case _:
            return payload


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


def test_tensors_of_other_shapes_are_refused(algo, good, forged):
    for name in load_file(good / TENSORS):
        for shape in ((0,), (1, 1, 1, 1), (100_000,)):
            tensors = load_file(good / TENSORS)
            tensors[name] = np.zeros(shape, tensors[name].dtype)
            save_file(tensors, forged / TENSORS)
            reseal(forged)
            try:
                algo.restore_from_path(forged)
            except RLlibError:
                continue
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
