"""Why a head does not answer, tried out without gRPC, which does not tell.

It keeps trying whatever goes wrong between the two, be it a certificate that ran out years ago.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from rllib.core.cluster.credentials import TLS_NAME, Tls, split_address
from rllib.core.cluster.tunnels import MAGIC

_TRY_S = 3.0
_NOTHING = "nobody answers there in time"
_REFUSED = "it refuses this node's certificate, which has expired or is signed by another CA"


def why_nobody_answers(address: str, tls: Tls | None) -> str:
    """What goes wrong, in words. Takes seconds at most."""
    try:
        with _connected(address) as sock:
            told = _of_tls(sock, tls) if tls else _without_tls(sock)
        if tls and told.startswith(_REFUSED):
            _be_refused(address, tls)
        return told
    except ConnectionRefusedError:
        return "nobody listens there"
    except OSError as error:
        return f"{_NOTHING} ({error})"


def _connected(address: str) -> socket.socket:
    return socket.create_connection(split_address(address), _TRY_S)


def _be_refused(address: str, tls: Tls) -> None:
    """So that the head can tell in its log: of what gRPC refuses it hears nothing."""
    with contextlib.suppress(OSError), _connected(address) as sock:
        sock.sendall(MAGIC)
        with _context(tls).wrap_socket(sock, server_hostname=TLS_NAME) as secured:
            secured.recv(1)


def _without_tls(sock: socket.socket) -> str:
    """Whether the other side speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(sock):
            return "it speaks TLS, and this node does not: give --tls-cert, --tls-key and --tls-ca"
    except OSError:
        return _NOTHING


def _of_tls(sock: socket.socket, tls: Tls) -> str:
    """How far a handshake comes."""
    try:
        context = _context(tls)
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(sock, server_hostname=TLS_NAME) as secured:
            # What it thinks of this side comes after the handshake: gRPC just hangs up.
            return _NOTHING if secured.recv(1) else _REFUSED
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not valid here: {error.verify_message}"
    except ssl.SSLError as error:
        return _of_alert(error.reason or "")
    except OSError:
        return _NOTHING


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    return context


def _of_alert(reason: str) -> str:
    if "ALERT" in reason or "CERTIFICATE" in reason:
        return f"{_REFUSED} ({reason})"
    return f"it does not speak TLS, and this node does ({reason})"
