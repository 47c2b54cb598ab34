"""A real daemon that has no libvirt, with all three doors open, and a client of each."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.web.conftest import Daemon, Pki, free_port


def request(method: str, path: str, *headers: str, body: bytes | None = None) -> bytes:
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, *length, "", ""])
    return head.encode() + (body or b"")


class Open(Daemon):
    """A pmigd with all three doors open."""

    def __init__(self, directory: Any, pki: Pki) -> None:
        super().__init__(directory)
        self.socket = directory / "sock"
        self.pki = pki
        self.peer_port = free_port("127.0.0.1")
        self.web.write_text("")
        with self.config.open("a") as config:
            config.write('[api.roles]\nadmin = ["root"]\n')
            config.write(f'[peer]\nlisten = "127.0.0.1:{self.peer_port}"\n')
            config.write('allowed_names = ["prometheus.example.com"]\n')
            config.write(f'ca = "{pki.authority.ca}"\ncert = "{pki.server.cert}"\n')
            config.write(f'key = "{pki.server.key}"\nclient_cert = "{pki.server.cert}"\n')
            config.write(f'client_key = "{pki.server.key}"\n')

    def minds(self, number: int) -> bool:
        """Whether its process, which may be just beginning, would outlive a signal."""
        if not hasattr(self, "process"):
            return False
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        masks = re.findall(r"^Sig(?:Ign|Cgt):\s+(\S+)", status, re.MULTILINE)
        return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)

    def connect(self, door: str) -> socket.socket:
        if door == "socket":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(60)
            sock.connect(str(self.socket))
            return sock
        port = self.ports[0] if door == "metrics" else self.peer_port
        sock = socket.create_connection(("127.0.0.1", port), timeout=90)
        if door == "metrics":
            return sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.pki.scraper.cert, self.pki.scraper.key)
        return context.wrap_socket(sock)

    def say(self, door: str, words: bytes) -> tuple[int, Any, bool]:
        """Status, body as JSON if it is any, and whether the connection is closed then."""
        with self.connect(door) as sock:
            sock.sendall(words)
            with closing(http.client.HTTPResponse(sock)) as response:
                response.begin()
                body = response.read()
                kind = response.headers["Content-Type"]
                closes = response.headers["Connection"] == "close"
            if closes:
                try:
                    closes = sock.recv(1) == b""
                except ConnectionError:
                    closes = True
        return response.status, json.loads(body) if "json" in kind else body, closes

    def status(self) -> Any:
        return self.say("socket", b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")[1]
