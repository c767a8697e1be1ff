"""Who may talk to a node service, and what becomes of what others send to its port."""

import asyncio
import contextlib
import os
import pickle
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from cluster_actors import Counter, actor_on

from rllib import core
from rllib.core.cluster import credentials
from rllib.core.cluster.credentials import (
    ClusterError,
    Credentials,
    Tls,
    check_exposure,
    read_token,
    token_file,
    write_token,
)
from rllib.core.testing import Cluster

MOST_MORE_BYTES = 50 * 2**20


class Touch:
    """Who unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


# -- the token and the bind ------------------------------------------------------------------------


def test_a_token_is_made_once_and_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLLIB_HOME", str(tmp_path / "home"))
    with pytest.raises(ClusterError, match="copy that file"):
        read_token(make=False)
    token = read_token(make=True)
    assert read_token(make=True) == read_token(make=False) == token
    assert token_file().stat().st_mode & 0o777 == 0o600
    assert token_file().parent.stat().st_mode & 0o777 == 0o700
    token_file().chmod(0o644)
    with pytest.raises(ClusterError, match="chmod 600"):
        read_token(make=True)
    with pytest.raises(ClusterError, match="16"):
        write_token("short")
    assert token not in repr(Credentials(token))


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer tokeN", "token", b"Bearer \xff", None])
def test_only_the_token_is_admitted(given: Any) -> None:
    assert Credentials("token").admits("Bearer token")
    assert not Credentials("token").admits(given)


def test_beyond_loopback_tls_or_a_word_is_wanted() -> None:
    check_exposure("127.0.0.7", None, insecure=False)
    check_exposure("localhost", None, insecure=False)
    check_exposure("0.0.0.0", None, insecure=True)
    check_exposure("0.0.0.0", Tls("a", "b", "c"), insecure=False)
    for host in ("0.0.0.0", "192.0.2.1", "::"):
        with pytest.raises(ClusterError, match="--insecure"):
            check_exposure(host, None, insecure=False)


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:x", "host:70000"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ClusterError, match="HOST:PORT"):
        credentials.split_address(address)


# -- the port --------------------------------------------------------------------------------------


def listening(pid: int) -> list[tuple[str, int]]:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    found = []
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # a spare worker may just have ended
            found += each.net_connections("inet")
    ends = [each.laddr for each in found if each.status == psutil.CONN_LISTEN]
    return [(ip.removeprefix("::ffff:"), port) for ip, port in ends]


def test_a_node_listens_at_one_port_and_its_workers_at_none() -> None:
    with Cluster(head={"num_cpus": 2}) as cluster:
        core.init(address=cluster.address)
        core.get(actor_on(cluster.head).add.remote())
        host, port = credentials.split_address(cluster.address)
        assert listening(cluster.head.pid) == [(host, port)]


def test_ten_thousand_hostile_messages(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with Cluster(head={"num_cpus": 1}) as cluster:
        service = psutil.Process(cluster.head.pid)
        before = service.memory_info().rss
        bomb = pickle.dumps(Touch(canary))
        _knock(cluster.address, 1_000, bomb)
        codes = asyncio.run(_call(cluster.address, 9_000, bomb))
        assert codes <= {
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.INTERNAL,  # of a stream that gRPC itself has reset
        }
        began = time.monotonic()
        core.init(address=cluster.address)
        assert time.monotonic() - began < 1
        assert core.get(Counter.remote(4).add.remote()) == 5
        assert service.memory_info().rss - before < MOST_MORE_BYTES
    assert not canary.exists()


def _knock(address: str, count: int, bomb: bytes) -> None:
    """What speaks no gRPC at all, or breaks off."""
    chance = random.Random(1)
    host, port = credentials.split_address(address)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for number in range(count):
        with socket.create_connection((host, port)) as sock:
            noise = chance.randbytes(chance.randrange(1, 200))
            settings = b"\xff\xff\xff\x04\x00\x00\x00\x00\x00"
            sock.send([noise, preface + noise, preface[:9], preface + settings, bomb][number % 5])


async def _call(address: str, count: int, bomb: bytes) -> set[Any]:
    """gRPC calls with and without the token, whose content is wrong in many ways; their codes."""
    token = read_token(make=False)
    right, wrong = (("authorization", f"Bearer {each}") for each in (token, token[:-1] + "_"))
    large = bytes(65 * 2**20)
    names = ["../" * 4 + "etc/passwd", "0" * 32, "zz", "", "a" * 4_000, "00/../" * 5 + "00"]
    async with grpc.aio.insecure_channel(
        address, [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    ) as channel:

        async def one(number: int) -> Any:
            kind = number % 9
            shown = [(), (wrong,), (right,)][min(kind, 2)]
            method = "Control" if kind < 6 else "Tunnel"
            extra = (("to", names[number % len(names)]),) if method == "Tunnel" else ()
            call = channel.stream_stream(f"/rllib.Node/{method}")(metadata=(*shown, *extra))
            said = [bomb, bomb, bomb, b"\x91\x91" * 500, b"\xdf\xff\xff\xff\xff", os.urandom(90)]
            if number == 5:
                said[5] = large
            try:
                await call.write(said[kind % len(said)])
                await call.read()
            except asyncio.InvalidStateError:
                pass
            except grpc.aio.AioRpcError:
                pass
            return await call.code()

        codes: set[Any] = set()
        for start in range(0, count, 100):
            codes |= set(await asyncio.gather(*map(one, range(start, start + 100))))
        return codes


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def certify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a certificate that is valid in these years, and has clusters use it."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made by openssl")

    def make(name: str, first: int, last: int) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "index").touch()
        (folder / "ca.cnf").write_text(AUTHORITY.format(folder=folder))
        for order in (REQUEST, SIGN):
            years = {"first": f"{first}0101000000Z", "last": f"{last}0101000000Z"}
            filled = [part.format(folder=folder, **years) for part in order.split()]
            subprocess.run(["openssl", *filled], check=True, capture_output=True)
        monkeypatch.setenv("RLLIB_TLS_CERT", str(folder / "cert"))
        monkeypatch.setenv("RLLIB_TLS_KEY", str(folder / "key"))
        monkeypatch.setenv("RLLIB_TLS_CA", str(folder / "cert"))

    return make


REQUEST = (
    "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=rllib -addext "
    "subjectAltName=DNS:rllib -keyout {folder}/key -out {folder}/request"
)
SIGN = (
    "ca -selfsign -batch -notext -create_serial -config {folder}/ca.cnf -keyfile {folder}/key -in "
    "{folder}/request -out {folder}/cert -startdate {first} -enddate {last}"
)
AUTHORITY = """
[ca]
default_ca = this
[this]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


def test_nodes_with_tls_refuse_those_without_and_those_of_another_authority(
    certify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify("ours", 2020, 2049)
    with Cluster(head={"num_cpus": 1}) as cluster:
        node = cluster.add_node()
        core.init(address=cluster.address)
        assert core.get(actor_on(node).echo.remote(bytes(10**6))) == bytes(10**6)
        core.shutdown()
        monkeypatch.setattr("rllib.core.testing.JOIN_TIMEOUT_S", 1.0)
        certify("theirs", 2020, 2049)
        with pytest.raises(ClusterError, match="cannot join"):
            cluster.add_node()
        for name in ("CERT", "KEY", "CA"):
            monkeypatch.delenv(f"RLLIB_TLS_{name}")
        with pytest.raises(ClusterError, match="cannot join"):
            cluster.add_node()


def test_an_expired_certificate_is_refused(certify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    certify("old", 2020, 2021)
    monkeypatch.setattr("rllib.core.testing.JOIN_TIMEOUT_S", 1.0)
    with Cluster() as cluster, pytest.raises(ClusterError, match="cannot join"):
        cluster.add_node()
