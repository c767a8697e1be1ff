"""``rllib start``, ``status``, ``train --address``, ``stop``, in that order."""

import re
import socket
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clusters import Command

from rllib.core.cluster.credentials import ClusterError, home, own_address
from rllib.core.cluster.launch import local_services

TRAIN = [
    "train",
    "--config",
    "ppo_cartpole",
    "num_env_runners=3",
    "--stop",
    "num_env_steps_sampled_lifetime=4000",
]


def test_a_cluster_is_started_used_and_ended_by_commands(command: Command) -> None:
    started = command("start", "--head", "--port", "0", "--num-cpus", "1")
    (address,) = re.findall(r"runs at (\S+),", started)
    command("start", "--address", address, "--num-cpus", "2", "--labels", '{"zone": "north"}')
    found = command("status")
    assert "CPU: 0 of 3" in found
    assert found.count("127.0.0.1") == 2
    assert "finished" in command(*TRAIN, "--address", address)
    assert command("stop").count("stopped the node at") == 2
    assert not list(local_services())
    assert "no node" in command("stop")
    assert "there is no node" in command("status", code=2)


def test_a_cluster_is_used_from_a_machine_without_a_node(command: Command) -> None:
    host, before = own_host(), logs()
    started = command("start", "--head", "--host", host, "--insecure", "--port", "0")
    (address,) = re.findall(r"runs at (\S+),", started)
    with TemporaryDirectory(dir="/tmp") as elsewhere:  # nodes of one machine are found there
        away = partial(command, TMPDIR=elsewhere)
        assert "--insecure" in away("status", "--address", address, code=2)
        found = away("status", "--address", address, "--insecure", "--nodes", "1")
        assert "Nodes: 1\n" in found, "its own is none"
        told = away("status", "--address", address, "--nodes", "2", code=2, RLLIB_INSECURE="1")
        assert "there are 1 nodes, not 2" in told
        assert "--insecure" in away(*TRAIN, "--address", address, code=2)
        assert "finished" in away(*TRAIN, "--address", address, RLLIB_INSECURE="1")
        told = away("status", "--address", address, "--insecure")
    assert not re.search("is gone|node service|  node ", told)
    (log,) = logs() - before
    assert "is gone" not in log.read_text(), "nodes of one driver alone end with it"


def logs() -> set[Path]:
    """Those of all nodes that were ever started here."""
    return set((home() / "logs").glob("node-*.log"))


def own_host() -> str:
    """An address of this machine that is not loopback."""
    try:
        return own_address("192.0.2.1:9")
    except ClusterError:
        pytest.skip("this machine has no network")


def test_a_port_that_is_in_use_is_said_to_be(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port} cannot be listened at: it is in use" in command(
            "start", "--head", "--port", port, code=2
        )
    elsewhere = ["--host", "192.0.2.1", "--insecure"]  # nobody's (RFC 5737)
    told = command("start", "--head", "--port", "0", *elsewhere, code=2)
    assert "or no address of this machine" in told
    for log in (home() / "logs").iterdir():
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start"], "--head"),
        (["start", "--head", "--address", "127.0.0.1:1"], "--head"),
        (["start", "--head", "--host", "0.0.0.0"], "--insecure"),
        (["start", "--head", "--resources", "[1]"], "--resources"),
        (["start", "--head", "--tls-cert", "x"], "RLLIB_TLS_KEY"),
        (["start", "--address", "nowhere"], "HOST:PORT"),
    ],
)
def test_what_makes_no_sense_starts_nothing(
    command: Command, arguments: list[str], message: str
) -> None:
    assert message in command(*arguments, code=2)
    assert not list(local_services())


def test_the_token_is_printed_and_kept(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLLIB_HOME", str(tmp_path / "home"))
    token = command("token")
    assert len(token.strip()) > 30
    assert command("token") == token
