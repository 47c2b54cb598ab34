"""A client that means harm, as a process of its own: python -m tests.support.attacker JSON.

It opens its connections first, then says the same on all of them, and goes on until it is told to
stop by the end of its input or its time is over. It prints what became of the connections.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

COMPRESSED_BYTES: Final = 265_000
CHUNKS: Final = 300_000
"""Of one byte each: 1.8 MB as they are sent."""


ANSWER_S: Final = 2.0
"""How long an answer is waited for."""


@dataclass(frozen=True)
class Attack:
    """`where` is a path or a port, `what` the name of a function below, `seconds` how long."""

    where: str | int
    what: str
    connections: int
    seconds: float
    method: str = "POST"
    path: str = "/v1/migrations"
    pair: tuple[str, str] | None = None
    tls: bool = False


def compressed(bytes_: int) -> bytes:
    """Zeroes, deflated to about that many bytes: a thousand times as much when inflated.

    The same block again and again, so that it costs whoever attacks nothing; it lacks its end.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * (bytes_ // len(block))


def head(attack: Attack, *more: str) -> bytes:
    """The head of a request."""
    lines = [f"{attack.method} {attack.path} HTTP/1.1", "Host: x", *more, "", ""]
    return "\r\n".join(lines).encode()


_JSON: Final = "Content-Type: application/json"


def gzip(attack: Attack) -> Iterator[bytes]:
    body = compressed(COMPRESSED_BYTES)
    yield head(attack, _JSON, "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body


def one_gzip(attack: Attack) -> Iterator[bytes]:
    body = compressed(1_000_000)
    yield head(attack, _JSON, "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body


def chunks(attack: Attack) -> Iterator[bytes]:
    yield head(attack, _JSON, "Transfer-Encoding: chunked") + b"1\r\n0\r\n" * CHUNKS


def plain(attack: Attack) -> Iterator[bytes]:
    body = b"[" + b"0," * 500_000 + b"0]"
    yield head(attack, _JSON, f"Content-Length: {len(body)}") + body


def slow_heads(attack: Attack) -> Iterator[bytes]:
    yield head(attack)[:-2]
    while True:
        yield b"X: y\r\n"
        time.sleep(0.02)


def huge_heads(attack: Attack) -> Iterator[bytes]:
    yield head(attack, *(f"X-{number}: {'y' * 8000}" for number in range(200)))


def pipelined(attack: Attack) -> Iterator[bytes]:
    while True:
        yield head(attack) * 500


never_read = pipelined


def _connect(attack: Attack, number: int) -> socket.socket:
    if isinstance(attack.where, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(ANSWER_S)
        sock.connect(attack.where)
        return sock
    source = f"127.0.0.{2 + number // 60}"
    address = ("127.0.0.1", attack.where)
    sock = socket.create_connection(address, timeout=ANSWER_S, source_address=(source, 0))
    if not attack.tls:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if attack.pair is not None:
        context.load_cert_chain(*attack.pair)
    return context.wrap_socket(sock)


def _one(attack: Attack, sock: socket.socket, until: float, seen: Counter[str]) -> None:
    try:
        for said in globals()[attack.what](attack):
            if attack.what == "never_read":
                sock.settimeout(max(0.1, until - time.monotonic()))
            sock.sendall(said)
            if attack.what == "pipelined":
                sock.setblocking(False)
                try:
                    while sock.recv(1 << 20):
                        pass
                except (BlockingIOError, ssl.SSLWantReadError):
                    pass
                sock.settimeout(ANSWER_S)
            if time.monotonic() > until:
                break
        if attack.what != "never_read":
            sock.settimeout(ANSWER_S)
            seen[sock.recv(12).decode(errors="replace")] += 1
    except OSError as error:
        seen[type(error).__name__] += 1
    finally:
        sock.close()


def main(untrusted: dict[str, Any]) -> None:
    """Attack, again and again on new connections, until the time is over."""
    attack = Attack(**untrusted)
    until = time.monotonic() + attack.seconds
    seen: Counter[str] = Counter()
    while time.monotonic() < until:
        socks = []
        for number in range(attack.connections):
            try:
                socks.append(_connect(attack, number))
            except OSError as error:
                seen[f"not connected: {type(error).__name__}"] += 1
        threads = [
            threading.Thread(target=_one, args=(attack, sock, until, seen)) for sock in socks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
