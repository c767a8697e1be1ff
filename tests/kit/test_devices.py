"""Where learners compute: what is asked for, and in which order minibatches get there."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
import torch

from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.config import AlgorithmConfig
from rllib.envs.make import probe_spaces
from rllib.errors import ConfigError
from rllib.learning.devices import Uploads, ahead, device_of, learner_device, meeting_device
from rllib.sampling.env_runner import EnvRunner

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


def learners(**settings):
    return AlgorithmConfig().learners(**settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "cpu"),
        ({"device": "cpu", "num_gpus_per_learner": 1}, "cpu"),
        ({"num_gpus_per_learner": 0.5}, "cuda:0"),
        ({"device": "cuda"}, "cuda:0"),
        ({"device": "cuda", "local_gpu_idx": 2}, "cuda:2"),
        ({"device": "cuda", "local_gpu_idx": 2, "num_learners": 1}, "cuda:0"),  # it sees but one
    ],
)
def test_the_device_that_is_meant(settings, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert learner_device(learners(**settings)) == torch.device(expected)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"device": "cuda", "local_gpu_idx": 3}, r"^device: asks for GPU 3, but .* finds 3 GPUs"),
        ({"num_gpus_per_learner": 1, "local_gpu_idx": 5}, "^num_gpus_per_learner: asks for GPU 5"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(settings, text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(ConfigError, match=text):
        learner_device(learners(**settings))


def test_learners_that_share_a_gpu_meet_on_the_cpu():
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert meeting_device(learners(num_gpus_per_learner=1), gpu) == gpu
    assert meeting_device(learners(num_gpus_per_learner=0.5), gpu) == cpu
    assert meeting_device(learners(device="cuda"), gpu) == cpu


def test_a_module_without_parameters_is_on_the_cpu():
    assert device_of(torch.nn.Tanh()) == torch.device("cpu")


class FakeCuda:
    """Torch's interface to streams; notes what is asked of it."""

    def __init__(self):
        self.log, self.now = [], "compute"

    def Stream(self, device):
        return "copies"

    @contextmanager
    def stream(self, name):
        self.now, before = name, self.now
        yield
        self.now = before

    def current_stream(self, device):
        return self

    def wait_stream(self, name):
        self.log.append(f"wait for {name}")

    def copy(self, tensor, device):
        self.log.append(f"copy {tensor.tolist()} on {self.now}")
        return FakeTensor(tensor, self.log)


class FakeTensor(torch.Tensor):
    """On a GPU, as it says."""

    def __new__(cls, tensor, log):
        made = tensor.as_subclass(cls)
        made.log = log
        return made

    def record_stream(self, stream):
        self.log.append(f"keep {self.tolist()} for {stream.now}")


class Rows(NamedTuple):
    x: torch.Tensor
    mask: torch.Tensor | None = None


def uploaded(batches):
    cuda = FakeCuda()
    for batch in ahead(batches, Uploads(torch.device("cuda:0"), cuda, cuda.copy)):
        assert isinstance(batch.x, FakeTensor)
        assert batch.mask is None
        cuda.log.append(f"learn from {batch.x.tolist()}")
    return cuda.log


def test_the_next_minibatch_is_on_its_way_while_one_is_learnt_from():
    ready = ["wait for copies", "keep [{0}] for compute", "learn from [{0}]"]
    assert uploaded(Rows(torch.tensor([i])) for i in range(3)) == [
        "copy [0] on copies",
        *[ready[0], ready[1].format(0), "copy [1] on copies", ready[2].format(0)],
        *[ready[0], ready[1].format(1), "copy [2] on copies", ready[2].format(1)],
        *[line.format(2) for line in ready],
    ]


def test_the_same_batch_is_sent_once():
    log = uploaded([Rows(torch.tensor([7]))] * 4)
    assert log.count("copy [7] on copies") == 1
    assert log.count("learn from [7]") == 4
    assert uploaded([]) == []


def ppo(device, env="CartPole-v1", **model):
    settings = PPOConfig().environment(env).rl_module(model_config={"fcnet_hiddens": (8,), **model})
    settings.env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    settings.training(train_batch_size_per_learner=128, minibatch_size=32, num_epochs=2, lr=1e-3)
    return settings.learners(device=device)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("model", [{}, {"use_lstm": True, "max_seq_len": 8}])
def test_a_gpu_learns_what_a_cpu_learns_and_state_moves_between_them(model):
    spaces = probe_spaces("CartPole-v1")
    cpu, gpu = (PPOLearner(ppo(device, **model), spaces) for device in ("cpu", "cuda"))
    runner = EnvRunner(ppo("cpu", **model), spaces, 0)
    runner.set_weights(gpu.get_weights(), 1)
    batch, _ = runner.sample()
    metrics = [learner.update(batch) for learner in (cpu, gpu)]
    assert metrics[0]["total_loss"] == pytest.approx(metrics[1]["total_loss"], rel=1e-3)
    for name, weight in cpu.get_module_state().items():
        np.testing.assert_allclose(gpu.get_module_state()[name], weight, atol=1e-4)
    back = PPOLearner(ppo("cpu", **model), spaces)
    back.set_state(gpu.get_state())
    gpu.set_state(cpu.get_state())
    assert gpu.optimizers["default_optimizer"].flat.device.type == "cuda"
    back.update(batch)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("mixed", ["bfloat16", "float16"])
def test_a_gpu_learns_in_16_bits(mixed):
    spaces = probe_spaces("CartPole-v1")
    learner = PPOLearner(ppo("cuda").learners(mixed_precision=mixed), spaces)
    runner = EnvRunner(ppo("cpu"), spaces, 0)
    runner.set_weights(learner.get_weights(), 1)
    batch, _ = runner.sample()
    losses = [learner.update(batch)["vf_loss"] for _ in range(10)]
    assert losses[-1] < losses[0]
