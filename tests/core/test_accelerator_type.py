"""The option ``accelerator_type``: a machine has such GPUs, or the task waits for one that does."""

from pathlib import Path

import pytest

from rllib import core
from rllib.core.native import gpus


def test_it_is_a_resource_as_on_ray() -> None:
    model = core.remote(lambda: core.get_runtime_context().get_assigned_resources())
    with core.init(num_cpus=1, resources={"accelerator_type:T4": 1}):
        held = core.get(model.options(accelerator_type="T4").remote())
        assert held == {"CPU": 1.0, "accelerator_type:T4": 0.001}
        absent = model.options(accelerator_type="H100").remote()
        assert core.wait([absent], timeout=0.1) == ([], [absent])


@pytest.mark.parametrize(
    ("model", "name"),
    [("NVIDIA H100 80GB HBM3", "H100"), ("Tesla T4", "T4"), ("NVIDIA A100-SXM4-40GB", "A100")],
)
def test_the_driver_tells_which_gpus_there_are(
    model: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    assert gpus.gpu_resource() == {}
    (tmp_path / "0000:01:00.0").mkdir()
    text = f"Model: \t\t {model}\nIRQ:   \t\t 11\nGPU UUID: \t GPU-1\n"
    (tmp_path / "0000:01:00.0" / "information").write_text(text)
    assert gpus.gpu_resource() == {f"accelerator_type:{name}": 1.0}
