"""What `init` takes, refuses by name, and tells of itself."""

import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from rllib import core


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("include_dashboard", True, "no dashboard"),
        ("local_mode", True, "inline"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused_by_name(
    option: str, value: object, reason: str
) -> None:
    with pytest.raises(ValueError, match=rf"init\({option}=.*not supported: .*{reason}"):
        core.init(address="inline", **{option: value})
    assert not core.is_initialized()


def test_options_that_ask_for_nothing_are_taken() -> None:
    with core.init(address="inline", include_dashboard=False, labels=None):
        assert core.is_initialized()


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'num_cpu'"):
        core.init(address="inline", num_cpu=2)


def test_the_environment_names_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLLIB_ADDRESS", "inline")
    with core.init() as context:
        assert context["address"] == "inline"
    with core.init(address="local", num_cpus=1) as context:
        assert context.address_info["address"] == "local"


def test_the_context_tells_where_it_is() -> None:
    with core.init(num_cpus=1, namespace="here") as context:
        assert context["namespace"] == "here"
        assert context["node_id"] == core.get_runtime_context().get_node_id()
        assert context["session_dir"].endswith(core.get_runtime_context().get_session_name())
        assert context.python_version == platform.python_version()
        assert context["node_ip_address"] == "127.0.0.1"
        assert context.dashboard_url == ""
        assert context.ray_version == "2.60.0"  # whose API it is
    assert set(context.address_info) == {"address", "namespace"}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"num_cpus": -1}, ValueError, "amount of CPU"),
        ({"num_cpus": float("nan")}, ValueError, "amount of CPU"),
        ({"num_cpus": "two"}, TypeError, "amount of CPU"),
        ({"num_gpus": -1}, ValueError, "amount of GPU"),
        ({"resources": {"CPU": 1}}, ValueError, "use num_cpus"),
        ({"resources": {"a": -1}}, ValueError, "amount of a"),
        ({"resources": {"a": "b"}}, TypeError, "amount of a"),
        ({"resources": {3: 1}}, TypeError, "must be a str"),
        ({"resources": ["a"]}, TypeError, "must map names"),
        ({"object_store_memory": -1}, ValueError, "positive number of bytes"),
        ({"object_store_memory": "1GB"}, TypeError, "number of bytes"),
        ({"namespace": 3}, TypeError, "namespace must be a str"),
        ({"namespace": ""}, ValueError, "namespace must not be empty"),
        ({"preload": "numpy"}, TypeError, "list of names of modules"),
        ({"_system_config": 3}, TypeError, "must map names"),
        ({"address": 3}, TypeError, "address must be a str"),
        ({"_temp_dir": 3}, TypeError, "_temp_dir must be a path"),
        ({"_temp_dir": "here"}, ValueError, "_temp_dir must be an absolute path"),
        ({"logging_level": "LOUD"}, ValueError, "LOUD"),
        ({"logging_format": 3}, TypeError, "logging_format must be a str"),
        ({"logging_config": {}}, TypeError, "must be a LoggingConfig"),
        ({"labels": ["zone"]}, TypeError, "labels must map keys"),
        ({"labels": {"zone": 3}}, TypeError, "label 'zone' must be a str"),
        ({"labels": {3: "a"}}, TypeError, "key of a label must be a str"),
        ({"labels": {"-zone": "a"}}, ValueError, "no key of a label"),
        ({"labels": {"a/b/zone": "a"}}, ValueError, "no key of a label"),
        ({"labels": {"zone": "a!"}}, ValueError, "cannot be 'a!'"),
        ({"labels": {"ray.io/node-id": "a"}}, ValueError, "the runtime's own"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        core.init(**{"address": "inline", **given})
    assert not core.is_initialized()


@pytest.mark.parametrize("ask", ["nodes", "cluster_resources", "available_resources"])
def test_without_a_runtime_there_is_nobody_to_ask(ask: str) -> None:
    with pytest.raises(core.exceptions.RaySystemError, match=r"call init\(\)"):
        getattr(core, ask)()
    with pytest.raises(RuntimeError, match=r"call init\(\)"):
        core.timeline()
    assert not core.is_initialized()


def test_sessions_lie_where_they_are_to(tmp_path: Path) -> None:
    short = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    with core.init(num_cpus=1, _temp_dir=short / "new") as context:
        assert Path(context["session_dir"]).is_relative_to(short / "new")
        assert core.get_runtime_context().get_temp_dir().startswith(str(short))
        assert core.get(core.remote(lambda: 1).remote()) == 1
    (base,) = (short / "new").iterdir()
    assert list(base.iterdir()) == []
    shutil.rmtree(short)
    with pytest.raises(ValueError, match="too long for the addresses of sockets"):
        core.init(_temp_dir=tmp_path / ("x" * 40))
    assert not core.is_initialized()


def test_the_end_may_be_told_to_wait() -> None:
    core.init(address="inline")
    core.shutdown(wait_for_processes=True)
    assert not core.is_initialized()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memory_usage_treshold": 0.9}, "did you mean 'memory_usage_threshold'"),
        ({"memory_usage_threshold": 95}, "a share, from 0 to 1"),
        ({"memory_usage_threshold": "much"}, "give a number"),
        ({"memory_monitor_refresh_ms": -1}, "0 to switch the monitor off"),
        ({"memory_monitor_refresh_ms": float("inf")}, "is inf: .* 0 to switch the monitor off"),
        ({"memory_monitor_refresh_ms": float("nan")}, "is nan: .* 0 to switch the monitor off"),
        ({"memory_monitor_refresh_ms": 1e30}, r"is 1e\+30: .* 0 to switch the monitor off"),
    ],
)
def test_a_wrong_system_config_says_what_is_right(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        core.init(address="inline", _system_config=given)
    assert not core.is_initialized()
