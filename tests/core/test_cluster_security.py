"""Who may talk to a node service, and what becomes of what others send to its port."""

import asyncio
import contextlib
import os
import pickle
import random
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np
import psutil
import pytest
from cluster_actors import Counter, actor_on
from patience import patience

import rllib
from rllib import core
from rllib.core.cluster import credentials, messages
from rllib.core.cluster.credentials import (
    ClusterError,
    Credentials,
    Tls,
    check_exposure,
    read_token,
    token_file,
    write_token,
)
from rllib.core.cluster.options import TLS_VARIABLES, tls_of
from rllib.core.cluster.proofs import Prover
from rllib.core.cluster.services import PYTHON
from rllib.core.cluster.tunnels import GONE, MAGIC, TUNNEL
from rllib.core.native.session import base_directory
from rllib.core.native.sites import node_key
from rllib.core.testing import Cluster
from rllib.core.util import collective

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


@pytest.mark.parametrize(
    "content", ["", "\n", "short\n", "has spaces in it, and many\n", "\xff" * 20]
)
def test_a_file_without_a_token_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("RLLIB_HOME", str(tmp_path))
    token_file().write_text(content, "latin-1")
    token_file().chmod(0o600)
    for make in (False, True):
        with pytest.raises(ClusterError, match=rf"{token_file()} is no token.*rllib token --set"):
            read_token(make=make)


def test_a_token_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLLIB_HOME", str(tmp_path))
    read_token(make=True)
    me = os.getuid()
    if me == 0:
        os.chown(token_file(), 4321, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(ClusterError, match=f"{token_file()} is another user's: chown"):
        read_token(make=True)


def test_heads_that_start_at_once_make_one_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLLIB_HOME", str(tmp_path / "home"))
    at_once, make = threading.Barrier(4, timeout=30), secrets.token_urlsafe

    def makes(size: int) -> str:
        at_once.wait()  # none of them has found one
        return make(size)

    monkeypatch.setattr(secrets, "token_urlsafe", makes)
    with ThreadPoolExecutor(4) as heads:
        tokens = set(heads.map(lambda _: read_token(make=True), range(4)))
    assert tokens == {read_token(make=False)}
    assert list(token_file().parent.iterdir()) == [token_file()]


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
        node = cluster.add_node(num_cpus=1)
        core.init(address=cluster.address)
        core.get([actor_on(each).add.remote() for each in (cluster.head, node)])
        ports = [credentials.split_address(each.address) for each in (cluster.head, node)]
        assert [listening(each.pid) for each in (cluster.head, node)] == [ports[:1], ports[1:]]
        assert sorted(listening(os.getpid())) == ports  # of the driver's own there are none


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_ten_thousand_hostile_messages(tmp_path: Path, certify: Any, with_tls: bool) -> None:
    canary = tmp_path / "canary"
    if with_tls:
        certify("ours", 2020, 2049)
    with Cluster(head={"num_cpus": 1}) as cluster:
        service = psutil.Process(cluster.head.pid)
        before = service.memory_info().rss
        bomb = pickle.dumps(Touch(canary))
        recorded = overhear(cluster, bomb)
        _knock(cluster.address, 1_000, bomb, recorded)
        assert asyncio.run(_call(cluster, 9_000, bomb)) <= REFUSALS
        names = ["../" * 4 + "etc/passwd", "0" * 32, "zz", "", "a" * 700, "00/../" * 5 + "00"]
        assert {knock(cluster.address, call_of(cluster, name)) for name in names} == {GONE}
        with contextlib.suppress(ConnectionResetError):
            assert knock(cluster.address, bytes(2_000)) == b""
        began = time.monotonic()
        core.init(address=cluster.address)
        assert time.monotonic() - began < patience(1)
        assert core.get(Counter.remote(4).add.remote()) == 5
        assert service.memory_info().rss - before < MOST_MORE_BYTES
    assert not canary.exists()


REFUSALS = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,  # of a stream that gRPC itself has reset
}


def test_what_was_overheard_and_is_sent_again_opens_nothing(capfd: Any) -> None:
    with Cluster(head={"num_cpus": 1}) as cluster:
        sent = overhear(cluster, b"something")
        address = credentials.split_address(cluster.address)
        for _ in range(3):
            with socket.create_connection(address, 10) as sock:
                sock.sendall(sent)
                answer = b""
                while b"before" not in answer:  # the reason, in the trailers
                    answer += (more := sock.recv(1 << 16))
                    assert more, answer
    told = capfd.readouterr().err
    assert told.count("that was made before was refused") == 1


def test_each_kind_of_refusal_is_logged_once_for_a_host(capfd: Any) -> None:
    async def knock(cluster: Cluster) -> None:
        async with channel_to(cluster) as channel:
            stranger = Prover("another token", bytes(16))
            for number in range(6):
                shown = stranger.call(node_key(cluster.head.id), CONTROL) if number % 2 else ()
                call = channel.stream_stream(CONTROL)(metadata=shown)
                assert await call.code() is grpc.StatusCode.UNAUTHENTICATED

    with Cluster() as cluster:
        asyncio.run(knock(cluster))
    told = capfd.readouterr().err
    assert told.count("without a token was refused") == 1
    assert told.count("with a wrong token was refused") == 1
    assert read_token(make=False) not in told


def test_the_token_is_in_no_log_argument_environment_or_message(capfd: Any) -> None:
    with Cluster() as cluster:
        node = cluster.add_node()
        core.init(address=cluster.address)
        assert core.get(actor_on(node).add.remote()) == 1
        sent = overhear(cluster, b"something")
        token = read_token(make=False).encode()
        services = [psutil.Process(each.pid) for each in (cluster.head, node)]
        family = [*services, *(child for each in services for child in each.children(True))]
        assert len(family) > 4
        for process in family:
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):  # a spare worker may just have ended
                    assert token not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        written = [path for path in base_directory().rglob("*") if path.is_file()]
        assert written
        assert not [path for path in written if token in path.read_bytes()]
        assert token not in sent
    assert token.decode() not in "".join(capfd.readouterr())


def test_those_who_connect_and_say_nothing_keep_nobody_out() -> None:
    with Cluster(head={"num_cpus": 1}) as cluster, contextlib.ExitStack() as idle:
        address = credentials.split_address(cluster.address)
        for _ in range(500):
            idle.enter_context(socket.create_connection(address))
        core.init(address=cluster.address)
        assert core.get(Counter.remote(4).add.remote()) == 5
        assert core.get(actor_on(cluster.add_node()).add.remote()) == 1


CONTROL = "/rllib.Node/Control"


JOIN = messages.Join(
    *(messages.PROTOCOL, "b" * 32, "host", "127.0.0.1:1", {}, [], {}, bytes(16)),
    python=PYTHON,
    release=rllib.__version__,
)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"python": "3.7.1"}, f"it runs Python 3.7.1, and this head Python {PYTHON}"),
        ({"release": "9.8.7"}, f"it runs rllib 9.8.7, and this head rllib {rllib.__version__}"),
        ({"protocol": 3}, f"it speaks protocol 3, and this head {messages.PROTOCOL}"),
        ({"python": f"{PYTHON}rc1"}, ""),
    ],
)
def test_a_node_of_another_version_is_refused(said: dict[str, Any], reason: str) -> None:
    with Cluster() as cluster:
        answer = join_with(cluster, msgspec.structs.replace(JOIN, **said))
    (first, *_) = messages.read_down(answer)
    assert getattr(first, "reason", "").startswith(reason)
    assert isinstance(first, messages.Refused if reason else messages.Welcome)


def test_a_node_that_joins_in_another_way_hears_of_versions() -> None:
    with (
        Cluster() as cluster,
        pytest.raises(grpc.aio.AioRpcError, match="another version of rllib"),
    ):
        join_with(cluster, ["join", 3, "node"])


def join_with(cluster: Cluster, join: Any) -> bytes:
    """What the head says to it."""

    async def say() -> bytes:
        shown = Prover(read_token(make=False), os.urandom(16)).call(
            node_key(cluster.head.id), CONTROL
        )
        async with channel_to(cluster) as channel:
            call = channel.stream_stream(CONTROL)(metadata=shown)
            await call.write(messages.encode([join]))
            answer: bytes = await call.read()
            return answer

    return asyncio.run(say())


def channel_to(cluster: Cluster, address: str = "") -> grpc.aio.Channel:
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    return Credentials("", tls_of()).channel(address or cluster.address, options)


def knock(address: str, text: bytes, said: bytes = b"") -> bytes:
    """Ask a gateway for a tunnel, as another one does; its answer."""
    with contextlib.ExitStack() as opened:
        sock = opened.enter_context(
            socket.create_connection(credentials.split_address(address), patience(10))
        )
        sock.sendall(MAGIC)
        if tls := tls_of():
            context = ssl.create_default_context(cafile=tls.ca)
            context.load_cert_chain(tls.cert, tls.key)
            sock = opened.enter_context(context.wrap_socket(sock, server_hostname="rllib"))
        sock.sendall(len(text).to_bytes(2, "little") + text + said)
        answer = b""
        while more := sock.recv(1 << 16):
            answer += more
        return answer


def call_of(cluster: Cluster, to: str) -> bytes:
    """What an honest gateway says first that wants that process of the head's."""
    prover = Prover(read_token(make=False), os.urandom(16))
    shown = dict(prover.call(node_key(cluster.head.id), TUNNEL, to))
    return f"{to} {shown['authorization']}".encode()


def overhear(cluster: Cluster, said: bytes) -> bytes:
    """What an honest node sends that calls a process of the head, where somebody listens."""
    with Wiretap(credentials.split_address(cluster.address)) as wire:
        answer = knock(wire.address, call_of(cluster, "0" * 32), said)
        assert answer == GONE  # which an admitted one hears
    return bytes(wire.heard)


class Wiretap:
    """Passes one connection on, and keeps what the one who connects sends."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.heard = bytearray()
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve)]

    def _serve(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._to)
        back = threading.Thread(target=self._pass_on, args=(far, near, bytearray()))
        back.start()
        self._pass_on(near, far, self.heard)
        back.join()
        near.close()
        far.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                kept += data
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Wiretap":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for each in self._threads:
            each.join()
        self._listener.close()


def _knock(address: str, count: int, bomb: bytes, recorded: bytes) -> None:
    """What speaks no gRPC at all, breaks off, or has been heard before."""
    chance = random.Random(1)
    host, port = credentials.split_address(address)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for number in range(count):
        with socket.create_connection((host, port)) as sock:
            noise = chance.randbytes(chance.randrange(1, 200))
            settings = b"\xff\xff\xff\x04\x00\x00\x00\x00\x00"
            cut = recorded[: chance.randrange(len(recorded))]
            said = [
                *(noise, preface + noise, preface[:9], preface + settings, bomb, recorded, cut),
                *(MAGIC + noise, MAGIC + b"\xff\xff" + bomb, MAGIC[:5]),
            ]
            sock.send(said[number % len(said)])


async def _call(cluster: Cluster, count: int, bomb: bytes) -> set[Any]:
    """gRPC calls with and without the token, whose content is wrong in many ways; their codes."""
    token, key = read_token(make=False), node_key(cluster.head.id)
    right, wrong = (Prover(each, os.urandom(16)) for each in (token, token[:-1] + "_"))
    again = right.call(key, CONTROL)
    large = bytes(65 * 2**20)
    async with channel_to(cluster) as channel:

        async def one(number: int) -> Any:
            kind = number % 6
            shown = [(), wrong.call(key, CONTROL), again, right.call(key, CONTROL)][min(kind, 3)]
            call = channel.stream_stream(CONTROL)(metadata=shown)
            said = [bomb, bomb, bomb, b"\x91\x91" * 500, b"\xdf\xff\xff\xff\xff", os.urandom(90)]
            if number == 5:
                said[5] = large
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await call.write(said[kind % len(said)])
                await call.read()
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


def test_tensors_of_a_group_over_nodes_open_no_port(certify: Any) -> None:
    class Member:
        def total(self, rank: int) -> tuple[str, float, int]:
            collective.init_collective_group(2, rank, timeout_s=60.0)
            values = np.full(100_000, rank + 1.0)
            collective.allreduce(values)
            ends = psutil.Process(os.getpid()).net_connections("inet")
            where = core.get_runtime_context().get_node_id()
            return where, float(values.min()), len(ends)

    certify("nodes", 2020, 2049)
    board = {"board": 1.0}
    with Cluster(head={"resources": board}) as cluster:
        cluster.add_node(resources=board)
        core.init(address=cluster.address)
        pair = [core.remote(resources=board)(Member).remote() for _ in range(2)]
        found = core.get([each.total.remote(rank) for rank, each in enumerate(pair)], timeout=120)
    assert len({where for where, _, _ in found}) == 2
    assert [rest for _, *rest in found] == [[3.0, 0]] * 2


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
        ca = os.environ["RLLIB_TLS_CA"]
        certify("theirs", 2020, 2049)
        with pytest.raises(ClusterError, match="its certificate is not valid here"):
            cluster.add_node()
        monkeypatch.setenv("RLLIB_TLS_CA", ca)
        with pytest.raises(ClusterError, match="refuses this node's certificate"):
            cluster.add_node()
        without_tls(monkeypatch)
        with pytest.raises(ClusterError, match="it speaks TLS, and this node does not"):
            cluster.add_node()


def test_an_expired_certificate_is_refused(certify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    certify("old", 2020, 2021)
    monkeypatch.setattr("rllib.core.testing.JOIN_TIMEOUT_S", 1.0)
    with Cluster() as cluster, pytest.raises(ClusterError, match="certificate has expired"):
        cluster.add_node()


def test_of_an_expired_certificate_the_head_tells_once(
    certify: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    monkeypatch.setattr("rllib.core.testing.JOIN_TIMEOUT_S", 1.0)
    certify("old", 2020, 2021)
    certify("ours", 2020, 2049)
    monkeypatch.setenv("RLLIB_TLS_CA", str(tmp_path / "old" / "cert"))
    with Cluster() as cluster:
        monkeypatch.setenv("RLLIB_TLS_CA", str(tmp_path / "ours" / "cert"))
        monkeypatch.setenv("RLLIB_TLS_CERT", str(tmp_path / "old" / "cert"))
        monkeypatch.setenv("RLLIB_TLS_KEY", str(tmp_path / "old" / "key"))
        for _ in range(2):
            with pytest.raises(ClusterError, match="refuses this node's certificate"):
                cluster.add_node()
        told = capfd.readouterr().err
    assert told.count("was refused") == 1
    assert "not valid here (certificate has expired) was refused" in told


def test_of_a_node_with_another_token_the_head_tells_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    with Cluster() as cluster:
        monkeypatch.setenv("RLLIB_HOME", str(tmp_path))
        write_token("another-token-altogether")
        for _ in range(2):
            with pytest.raises(ClusterError, match="has another token than"):
                cluster.add_node()
        told = capfd.readouterr().err
    assert told.count("with a wrong token was refused") == told.count("was refused") == 1


@pytest.mark.parametrize("head_has_tls", [True, False])
def test_of_a_node_that_does_as_to_tls_what_it_does_not_the_head_tells_once(
    certify: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any, head_has_tls: bool
) -> None:
    monkeypatch.setattr("rllib.core.testing.JOIN_TIMEOUT_S", 1.0)
    if head_has_tls:
        certify("ours", 2020, 2049)
    with Cluster() as cluster:
        if head_has_tls:
            without_tls(monkeypatch)
        else:
            certify("ours", 2020, 2049)
        for _ in range(2):
            with pytest.raises(ClusterError, match="TLS, and this node does"):
                cluster.add_node()
        told = capfd.readouterr().err
    word = (
        "without TLS, which this node speaks" if head_has_tls else "with TLS, which this node does"
    )
    assert told.count("was refused") == told.count(word) == 1


def test_who_cannot_join_hears_why(certify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rllib.core.testing.JOIN_TIMEOUT_S", 1.0)
    with Cluster() as cluster:
        certify("ours", 2020, 2049)
        with pytest.raises(ClusterError, match="it does not speak TLS, and this node does"):
            cluster.add_node()
        without_tls(monkeypatch)
        with socket.create_server(("127.0.0.1", 0)) as free:
            cluster.address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ClusterError, match="nobody listens there"):
            cluster.add_node()


def without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TLS_VARIABLES:
        monkeypatch.delenv(name)
