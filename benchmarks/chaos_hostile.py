"""Checkpoints, configs and presets made to do harm: what is refused, and what came of the rest.

All of it is tried in a process of its own, whose memory is looked at::

    python -m benchmarks.chaos_hostile 1000
"""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import facts
from rllib.algorithm import Algorithm
from rllib.algorithms.dqn import DQNConfig
from rllib.checkpoints import checkpoint
from rllib.checkpoints.checkpoint import MANIFEST, METADATA, STATE, TENSORS
from rllib.config.file import load_plan
from rllib.errors import RLlibError
from rllib.modules.multi_rl_module import MultiRLModule
from rllib.modules.rl_module import RLModule

if TYPE_CHECKING:
    Attack = tuple[str, Callable[[Path], None]]

COMPONENT = "learner_group/learner/rl_module"
CODE = "canary_in_checkpoint:Canary"
CONFIG = """\
algorithm: PPO
environment:
  env: CartPole-v1
training:
  lr: 1e-3
stop:
  training_iteration: 5
"""
YAML = (
    "!!python/object/apply:pathlib.Path.touch [{canary}]",
    "!!python/object/new:os.system ['touch {canary}']",
    "!!python/name:os.system",
    "&a [*a, *a]",
    "../../../../etc/passwd",
)


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def hostile_refused(num: int) -> dict[str, Any]:
    """So many mutated files, and attacks of every kind, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(facts.ROOT), *sys.path])}
    command = [sys.executable, "-m", "benchmarks.chaos_hostile", str(num)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def tried(num: int, folder: Path) -> dict[str, Any]:
    """The same here.

    Args:
        num: mutated files.
        folder: an empty one.
    """
    canary, good, forged = folder / "canary", folder / "good", folder / "forged"
    module = CODE.partition(":")[0]
    (folder / f"{module}.py").write_text(f"open({str(canary)!r}, 'w'); Canary = None\n")
    sys.path.insert(0, str(folder))
    warnings.simplefilter("ignore")  # numbers that overflow, for one
    payload = pickle.dumps(Canary(canary))
    with small_config().build_algo() as algo:
        algo.train()
        algo.save_to_path(good)
        before = _peak()
        loaders = loaders_of(algo)
        mutants = Counter(_mutants(num, good, forged, payload, loaders))
        kinds: dict[str, Counter[str]] = {}
        for kind, outcome in _attacked(good, forged, payload, loaders):
            kinds.setdefault(kind, Counter())[outcome] += 1
        for kind, outcome in _configs(num // 4, folder / "config.yaml", canary):
            kinds.setdefault(kind, Counter())[outcome] += 1
        algo.restore_from_path(good)
        algo.train()
    return {
        "mutated": dict(mutants),
        "attacks": {kind: dict(outcomes) for kind, outcomes in kinds.items()},
        "canary_touched": canary.exists() or module in sys.modules,
        "memory_mib": round(_peak() - before, 1),
    }


def small_config() -> DQNConfig:
    """Of everything that a checkpoint may have, as little as possible."""
    return (
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


def _peak() -> float:
    """Most memory (MiB) that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def loaders_of(algo: Any) -> tuple[Callable[[Path], Any], ...]:
    """Everything that reads a checkpoint."""
    module = algo.get_module()
    return (
        algo.restore_from_path,
        lambda path: Algorithm.from_checkpoint(path).stop(),
        RLModule.from_checkpoint,
        MultiRLModule.from_checkpoint,
        module.restore_from_path,
        lambda path: algo.restore_from_path(path, component=COMPONENT),
    )


def _outcome(load: Callable[[Path], Any], path: Path) -> str:
    try:
        load(path)
    except RLlibError:
        return "refused"
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return "untyped"
    return "read"


def reseal(folder: Path) -> None:
    """Who can write the folder can also seal it."""
    names = [path.name for path in folder.iterdir() if path.name != MANIFEST]
    seals = {name: checkpoint._seal_of(folder / name) for name in names}
    (folder / MANIFEST).write_bytes(checkpoint._manifest_json(seals))


def _mutants(
    num: int, good: Path, forged: Path, payload: bytes, loaders: tuple[Callable[[Path], Any], ...]
) -> Iterator[str]:
    rng = random.Random(5)
    files = sorted(path for path in good.iterdir() if path.name != MANIFEST)
    shutil.copytree(good, forged)
    for number in range(num):
        file = files[number % len(files)]
        (forged / file.name).write_bytes(mutated(file.read_bytes(), rng, payload))
        reseal(forged)
        yield _outcome(loaders[number // len(files) % len(loaders)], forged)
        (forged / file.name).write_bytes(file.read_bytes())


def mutated(data: bytes, rng: random.Random, payload: bytes) -> bytes:
    """Cut off, changed, or with something else in it."""
    at = rng.randrange(len(data))
    choices = (
        data[:at],
        data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        data[:at] + data[rng.randrange(len(data)) :],
        data[:at] + payload + data[at:],
        data[:at] + b"9" * rng.choice((1, 20, 400)) + data[at:],
        data[:at] + rng.choice((b"[", b"{", b"null", b"-", b"1e999")) * 50 + data[at:],
        payload,
    )
    return rng.choice(choices)


def _attacked(
    good: Path, forged: Path, payload: bytes, loaders: tuple[Callable[[Path], Any], ...]
) -> Iterator[tuple[str, str]]:
    restore, build, alone, *_ = loaders
    for kind, attack in _attacks(payload):
        # Settings are read by what builds an algorithm of them, and a module's by what builds that.
        readers = {"settings": (build,), "modules": (build, alone)}.get(
            kind, (restore, build, alone)
        )
        for load in readers:
            shutil.rmtree(forged, ignore_errors=True)
            shutil.copytree(good, forged)
            attack(forged)
            yield kind, _outcome(load, forged)


def _attacks(payload: bytes) -> Iterator[Attack]:
    for name in (METADATA, STATE, TENSORS):
        yield "pickle payloads", _writing(name, payload)
    yield "zip bombs", _zip_bomb
    for name in ("../metadata.json", "/etc/passwd", "a/b", ".."):
        yield "traversal", _listing(name)
    for name in (MANIFEST, METADATA, STATE, TENSORS):
        yield "symlinks", _linking(name)
    for header in _headers():
        yield "shape bombs", _writing(TENSORS, header)
    for settings in _settings():
        yield "settings", _saying(settings, {})
    for module in _modules():
        yield "modules", _saying(module, module)


def _writing(name: str, data: bytes) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        (folder / name).write_bytes(data)
        reseal(folder)

    return attack


def _zip_bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / TENSORS, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(2**26))
    reseal(folder)


def _listing(name: str) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"][name] = manifest["files"][METADATA]
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return attack


def _linking(name: str) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        elsewhere = folder.parent / f"elsewhere_{name}"
        shutil.copyfile(folder / name, elsewhere)
        (folder / name).unlink()
        (folder / name).symlink_to(elsewhere)

    return attack


def _headers() -> Iterator[bytes]:
    """Tensors that are said to be larger than their data, or than can be."""
    for dtype, shape, stop in (
        ("F32", [2**40], 2**42),
        ("F32", [2**31, 2**31, 4], 16),
        ("F32", [-1], 4),
        ("F8_E4M3", [16], 16),
        ("F4", [32], 16),
    ):
        header = {"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, stop]}}
        text = json.dumps(header).encode()
        yield len(text).to_bytes(8, "little") + text + bytes(16)
    yield (2**62).to_bytes(8, "little") + b"{}"


def _settings() -> Iterator[dict[str, Any]]:
    """Those that name code, set environment variables, or ask for too much."""
    for key in ("callbacks_class", "env", "learner_class", "env_to_module_connector"):
        yield {key: CODE}
        yield {"evaluation_config": {key: CODE}}
        yield {"policies": {"a": {"config": {key: CODE}}}}
        yield {"algorithm_config_overrides_per_module": {"a": {key: CODE}}}
    yield {"callbacks": CODE}
    yield {"extra_python_environs_for_driver": {"LD_PRELOAD": "evil.so"}}
    yield {"extra_python_environs_for_worker": {"PYTHONPATH": "/evil"}}
    yield {"num_env_runners": 10**6}
    yield {"num_learners": 10**6}
    yield {"num_envs_per_env_runner": 10**9}
    yield {"evaluation_interval": 1, "evaluation_num_env_runners": 10**6}
    yield {"replay_buffer_config": {"capacity": 10**15}}


def _modules() -> Iterator[dict[str, Any]]:
    """Networks and spaces that would fill the memory."""
    box = {"low": 0, "high": 1, "shape": [100_000, 100_000], "dtype": "float32"}
    yield {"model_config": {"fcnet_hiddens": [100_000, 100_000]}}
    yield {"model_config": {"fcnet_hiddens": [1] * 100_000}}
    yield {"observation_space": {"Box": box}}
    yield {"action_space": {"Discrete": {"n": 10**12, "start": 0}}}


def _saying(settings: dict[str, Any], module: dict[str, Any]) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        metadata = json.loads((folder / METADATA).read_text())
        metadata["config"] |= settings
        metadata["modules"]["default_policy"] |= module
        (folder / METADATA).write_text(json.dumps(metadata))
        reseal(folder)

    return attack


def _configs(num: int, file: Path, canary: Path) -> Iterator[tuple[str, str]]:
    """Config files, and presets, which are such files."""
    for text in YAML:
        for line in CONFIG.splitlines()[2:]:
            if ": " in line:
                key = line.partition(":")[0]
                file.write_text(CONFIG.replace(line, f"{key}: {text.format(canary=canary)}"))
                yield "YAML", _outcome(lambda path: load_plan(str(path)), file)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    file.write_text("\n".join([CONFIG, *lines]))
    yield "YAML", _outcome(lambda path: load_plan(str(path)), file)
    rng = random.Random(3)
    for _ in range(num):
        file.write_bytes(mutated(CONFIG.encode(), rng, b"!!python/object/apply:os.abort []"))
        yield "mutated presets", _outcome(lambda path: load_plan(str(path)), file)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(tried(int(sys.argv[1]), Path(temporary))))
