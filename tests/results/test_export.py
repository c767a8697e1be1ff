"""A policy outside of this package: onnxruntime alone acts as training did."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from small_runs import train

from rllib.config.file import load_plan
from rllib.connectors import FrameStacking
from rllib.dry_run.probe import small
from rllib.errors import ConfigError, TrainingError
from rllib.exporting import program
from rllib.exporting.export import export, observations
from rllib.exporting.graph import PolicyGraph
from rllib.exporting.onnx import parity, write_onnx
from rllib.results.saved import SavedRun
from rllib.runs.starts import words

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def graph_of(algo: Any) -> PolicyGraph:
    interface = algo.interface
    module_id = interface.module_ids[0]
    spaces, pipeline = interface.env_spaces_of(module_id), interface.pipeline_of(module_id)
    return PolicyGraph(algo.get_module(module_id), spaces, pipeline)


def session_of(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("preset", "overrides", "inputs"),
    [
        ("sac_pendulum", (), ["observation"]),
        ("ppo_masked_walk", (), ["action_mask", "observation.place"]),
        ("rainbow_cartpole", ("observation_filter=MeanStdFilter",), ["observation"]),
    ],
)
def test_onnxruntime_acts_as_the_policy_does(
    preset: str, overrides: tuple[str, ...], inputs: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "policy.onnx"
    with small(load_plan(preset, overrides).config).build_algo() as algo:
        algo.train()
        graph = graph_of(algo)
        assert graph.inputs == inputs
        write_onnx(graph, path)
        (seen,) = observations(algo, 40).values()
        actions = [algo.compute_single_action(obs) for obs in seen]
        packed = np.concatenate([graph.packer.pack_one(obs)[None] for obs in seen])
        tensors = graph.tensors(packed, {})
        feed = {name: each.numpy() for name, each in zip(inputs, tensors, strict=True)}
        found = session_of(path).run(["action"], feed)[0]
    assert found == pytest.approx(np.asarray(actions), abs=1e-4)


def test_choices_are_one_hot_and_count_from_where_their_space_begins() -> None:
    with small(load_plan("dqn_frozenlake").config).build_algo() as algo:
        algo.train()
        graph = graph_of(algo)
        seen = np.arange(16)
        actions = [algo.compute_single_action(int(obs)) for obs in seen]
    assert graph(torch.from_numpy(seen))[0].tolist() == actions


@pytest.mark.parametrize("preset", ["ppo_cartpole", "sac_pendulum"])
def test_a_memory_goes_in_and_comes_out(preset: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    memory = ("model_config.use_lstm=true", "model_config.lstm_cell_size=8")
    config = load_plan(preset, (*memory, "observation_filter=MeanStdFilter")).config
    with small(config).build_algo() as algo:
        algo.train()
        write_onnx(graph_of(algo), path)
        (seen,) = observations(algo, 20).values()
        episode = algo.begin_episode()
        actions = [algo.compute_single_action(obs, episode=episode) for obs in seen[:15]]
    session = session_of(path)
    names = ("state_in.h", "state_in.c")
    state = {name: np.zeros(_shape(session, name), np.float32) for name in names}
    for observation, action in zip(seen, actions, strict=False):
        feed = {"observation": observation[None], **state}
        found, h, c = session.run(["action", "state_out.h", "state_out.c"], feed)
        state = {"state_in.h": h, "state_in.c": c}
        np.testing.assert_allclose(found[0], action, rtol=1e-4)


def _shape(session: Any, name: str) -> list[int]:
    (shape,) = [each.shape for each in session.get_inputs() if each.name == name]
    return [1, *shape[1:]]


def test_the_normaliser_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    config = load_plan("ppo_cartpole", ("observation_filter=MeanStdFilter",)).config
    with small(config).build_algo() as algo:
        algo.train()
        graph = graph_of(algo)
        write_onnx(graph, path)
    session, observation = session_of(path), np.ones((1, 4), np.float32)
    mean, std = graph.normaliser_mean.numpy(), graph.normaliser_std.numpy()
    (default,) = session.run(["action_dist_inputs"], {"observation": observation})
    same = {"normaliser_mean": mean, "normaliser_std": std, "observation": observation}
    assert np.array_equal(session.run(["action_dist_inputs"], same)[0], default)
    moved = same | {"observation": observation + 1, "normaliser_mean": mean + 1}
    assert session.run(["action_dist_inputs"], moved)[0] == pytest.approx(default, abs=1e-5)


def test_a_difference_is_found(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    with small(load_plan("ppo_cartpole").config).build_algo() as algo:
        graph = graph_of(algo)
        write_onnx(graph, path)
        for weight in graph.module.parameters():
            weight.data.add_(0.1)
        with pytest.raises(TrainingError, match="other outputs than the policy"):
            parity(graph, path, np.ones((3, 4), np.float32))


def test_what_has_no_graph_is_told() -> None:
    stacked, composite = load_plan("ppo_cartpole").config, load_plan("ppo_cartpole").config
    stacked.env_to_module_connector = lambda *_: FrameStacking(2)
    composite.env = lambda _: _Composite()
    for config, said in ((stacked, "FrameStacking cannot be"), (composite, "actions Tuple")):
        with small(config).build_algo() as algo, pytest.raises(ConfigError, match=said):
            graph_of(algo)


class _Composite(gym.Env[Any, Any]):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Discrete(3)])

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {}


def test_all_files_of_a_run(one: SavedRun, tmp_path: Path) -> None:
    said: list[str] = []
    folder = export(one, tmp_path / "out", episodes=3, say=said.append)
    names = sorted(path.name for path in folder.iterdir())
    graphs, others = ["policy.onnx", "policy.pt2"], ["README.md", "config.yaml"]
    assert names == sorted([*graphs, *others, "policy.safetensors"])
    for line, name in zip(said, graphs, strict=False):
        assert f"{name}: same action for 100.00% of 256 observations" in line
    weights = load_file(folder / "policy.safetensors")
    with one.load() as algo:
        expected = algo.get_module().get_state(inference_only=True)
    assert all(np.array_equal(weights[name], part) for name, part in expected.items())
    card = (folder / "README.md").read_text()
    assert "Evaluated over 3 episodes (seeds 0 to 2, most likely actions)" in card
    assert "algorithm: PPO" in card
    assert words(one.starts[0]) in card


def test_the_programs_of_a_card_run_beside_it(
    one: SavedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(one, tmp_path, ["onnx", "torch", "card"], episodes=1, say=[].append)
    monkeypatch.chdir(tmp_path)
    texts = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    assert len(texts) == 2
    for text in texts:
        names: dict[str, Any] = {}
        exec(text, names)
        assert names["action"].shape == (1,)


def test_the_file_needs_nothing_of_this_package(one: SavedRun, tmp_path: Path) -> None:
    export(one, tmp_path, ["onnx"], say=[].append)
    code = (
        "import sys, numpy as np, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(tmp_path / 'policy.onnx')!r})\n"
        "print(session.run(['action'], {'observation': np.zeros((7, 4), np.float32)})[0].shape)\n"
        "assert not {'torch', 'rllib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(7,)\n"


def test_torch_alone_acts_as_the_policy_does(tmp_path: Path) -> None:
    path = tmp_path / "policy.pt2"
    memory = ("model_config.use_lstm=true", "model_config.lstm_cell_size=8")
    with small(load_plan("ppo_cartpole", memory).config).build_algo() as algo:
        graph = graph_of(algo)
        program.write_program(graph, path)
        assert program.parity(graph, path, np.ones((5, 4), np.float32)).same_actions == 1.0
        for weight in graph.module.parameters():
            weight.data.add_(0.1)
        with pytest.raises(TrainingError, match=r"torch\.export comes to other outputs"):
            program.parity(graph, path, np.ones((3, 4), np.float32))
    code = (
        "import sys, torch\n"
        f"policy = torch.export.load({str(path)!r}).module()\n"
        "print([tuple(each.shape) for each in policy(torch.zeros(7, 4), *torch.zeros(2, 7, 8))])\n"
        "assert 'rllib' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[(7,), (7, 2), (7, 8), (7, 8)]\n"


def test_several_policies_have_a_file_each(runs_dir: Path, tmp_path: Path) -> None:
    saved = train(
        *(runs_dir, "exported", "num_envs_per_env_runner=1"), preset="ppo_multi_agent_cartpole"
    )
    export(saved, tmp_path, ["safetensors"], say=[].append)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["policy_even.safetensors", "policy_odd.safetensors"]
