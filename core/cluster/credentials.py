"""Who may talk to a node service: a token that all nodes share, and TLS.

The token is a file of mode 0600, ``$RLLIB_HOME/token`` (``~/.rllib/token``), made on first use. It
is never an argument, never in the environment of a child, never printed but by ``rllib token``, and
never sent: calls prove that they come from somebody who has it (`proofs`). Who has it may run code
as the user who started the node. What follows such a proof could be changed on its way, so without
TLS calls cross the machine's own loopback interface only, unless somebody says that the network is
trusted.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
from pathlib import Path
from typing import NamedTuple

import grpc

TLS_NAME = "rllib"
"""The name for which the certificate of every node is made."""


class ClusterError(RuntimeError):
    """A cluster cannot be started, joined or reached; the text says why and what to do."""


def home() -> Path:
    """The user's folder for what outlives a session: token, logs."""
    return Path(os.environ.get("RLLIB_HOME") or Path.home() / ".rllib")


def token_file() -> Path:
    """Where the token lies."""
    return home() / "token"


def read_token(*, make: bool) -> str:
    """The token; a new one where there is none, if ``make``.

    Raises `ClusterError` where there is none, for a file that is or can be read by others, and for
    what is no token: with an empty one everybody could prove to have it.
    """
    path = token_file()
    try:
        found = path.stat()
    except FileNotFoundError:
        if not make:
            raise ClusterError(
                f"there is no token in {path}: copy that file from the head node (mode 0600), or "
                "pipe what `rllib token` prints there into `rllib token --set` here"
            ) from None
        return _first_token(path)
    if found.st_uid not in (os.getuid(), 0):
        raise ClusterError(f"{path} is another user's: chown {os.getuid()} {path}")
    if found.st_mode & 0o077:
        raise ClusterError(f"{path} can be read by others: chmod 600 {path}")
    token = path.read_text(errors="replace").strip()
    if not _is_token(token):
        raise ClusterError(
            f"what is in {path} is no token ({_RULE}): remove the file on the head node, which "
            "makes a new one; elsewhere pipe what `rllib token` prints there into "
            "`rllib token --set`"
        )
    return token


_RULE = "at least 16 printable characters without spaces"


def _is_token(text: str) -> bool:
    return len(text) >= 16 and text.isascii() and text.isprintable() and " " not in text


def _first_token(path: Path) -> str:
    """A new one, or that of another process that makes one at the same time, and is first."""
    draft = _draft(path, secrets.token_urlsafe(32))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return read_token(make=False)


def write_token(token: str) -> str:
    """Keep it instead of the one that is there. Raises `ClusterError`."""
    if not _is_token(token):
        raise ClusterError(f"a token is {_RULE}")
    path = token_file()
    _draft(path, token).replace(path)
    return token


def _draft(path: Path, token: str) -> Path:
    """A file beside that one, with the token as a whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"token.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(token + "\n")
    return draft


class Tls(NamedTuple):
    """Files of the certificate that all nodes show, its key, and who has signed it."""

    cert: str
    key: str
    ca: str


class Credentials(NamedTuple):
    """What a node shows, and what it wants to see."""

    token: str
    tls: Tls | None = None

    def __repr__(self) -> str:
        return f"Credentials(token=..., tls={self.tls})"

    def channel(self, address: str, options: list[tuple[str, object]]) -> grpc.aio.Channel:
        """The way to another node."""
        if self.tls is None:
            return grpc.aio.insecure_channel(address, options)
        given = grpc.ssl_channel_credentials(*self._files())
        named = ("grpc.ssl_target_name_override", TLS_NAME)
        return grpc.aio.secure_channel(address, given, [*options, named])

    def listen(self, server: grpc.aio.Server, address: str) -> None:
        """Have the server listen there. Raises `ClusterError`."""
        if self.tls is None:
            server.add_insecure_port(address)
            return
        ca, key, cert = self._files()
        # Nodes show their certificate to each other: one that is stolen of a token alone opens
        # nothing.
        given = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
        server.add_secure_port(address, given)

    def _files(self) -> tuple[bytes, bytes, bytes]:
        assert self.tls is not None
        try:
            paths = (self.tls.ca, self.tls.key, self.tls.cert)
            ca, key, cert = (Path(path).read_bytes() for path in paths)
        except OSError as error:
            raise ClusterError(f"a file of TLS cannot be read: {error}") from error
        return ca, key, cert


def is_loopback(host: str) -> bool:
    """Whether that address never leaves the machine."""
    try:
        return all(
            ipaddress.ip_address(found[4][0]).is_loopback
            for found in socket.getaddrinfo(bare(host), None, type=socket.SOCK_STREAM)
        )
    except (OSError, ValueError):
        return False


def check_exposure(host: str, tls: Tls | None, *, insecure: bool) -> None:
    """Raise `ClusterError` where the token would cross a network that may be listened to."""
    if tls is None and not insecure and not is_loopback(host):
        raise ClusterError(
            f"{host} can be reached from other machines, and the token opens everything here: give "
            "--tls-cert, --tls-key and --tls-ca (or set RLLIB_TLS_CERT, _KEY and _CA), or say "
            "--insecure (or set RLLIB_INSECURE=1) if the network is trusted"
        )


def split_address(address: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port. Raises `ClusterError` for anything else."""
    host, colon, port = address.rpartition(":")
    if not (bare(host) and colon and port.isdigit() and int(port) < 1 << 16):
        raise ClusterError(f"{address!r} is no address: write HOST:PORT")
    return bare(host), int(port)


def joined_address(host: str, port: int) -> str:
    """The address that `split_address` takes apart."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bare(host: str) -> str:
    """Without the brackets of IPv6."""
    return host.removeprefix("[").removesuffix("]")


def is_anywhere(host: str) -> bool:
    """Whether who listens there listens at all addresses of the machine."""
    return host in ("0.0.0.0", "::")


def is_same(one: str, other: str) -> bool:
    """Whether two addresses, perhaps one by name and one by number, are of the same port."""
    return one == other or bool(_ends(one) & _ends(other))


def _ends(address: str) -> set[tuple[str, int]]:
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {(str(each[4][0]), port) for each in found}


def own_address(towards: str) -> str:
    """The address of this machine from which ``towards`` is reached."""
    host, port = split_address(towards)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise ClusterError(f"there is no machine {host!r}: {error}") from error
    with socket.socket(found[0], socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(found[4])  # sends nothing
        except OSError as error:
            raise ClusterError(
                f"this machine has no way to {towards} ({error}), by which its own address would "
                "be known: say --host ADDRESS"
            ) from error
        return str(probe.getsockname()[0])
