"""The listeners for Prometheus of a real daemon, as the web configuration file says."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from contrib.lab.deadlines import until
from pmigd.adapters.metrics.labels import POOLS
from pmigd.adapters.x509 import expires
from pmigd.api.door import HANDSHAKE_DEADLINE_S
from tests.support.certificates import Pair
from tests.web.conftest import PASSWORD, Daemon, Pki, free_port, hashed

pytestmark = pytest.mark.timeout(400)  # each starts a daemon, beside all other tests

PATHS: Final = ("/", "/metrics", "/-/healthy", "/nothing")
SCRAPED_S: Final = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def _trusting(pki: Pki, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.authority.ca))
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


def ask(
    port: int,
    path: str = "/metrics",
    *,
    tls: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
    host: str = "127.0.0.1",
    authorization: str = "",
) -> Answer:
    connection = (
        http.client.HTTPSConnection(host, port, context=tls, timeout=10)
        if tls
        else http.client.HTTPConnection(host, port, timeout=10)
    )
    if login is not None:
        authorization = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    headers = {"Authorization": authorization} if authorization else {}
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, dict(response.headers), response.read().decode())
    finally:
        connection.close()


def _file(pair: Pair, *more: str) -> str:
    tls = ", ".join((f"cert_file: {pair.cert}", f"key_file: {pair.key}", *more))
    users = f'basic_auth_users: {{ann: "{hashed(PASSWORD)}"}}'
    return f"tls_server_config: {{{tls}}}\n{users}\n"


def _sample(body: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in body.splitlines() if line.startswith(name))


def test_without_tls_and_password_anybody_reads_on_every_address(daemon: Daemon) -> None:
    daemon.write("http_server_config: {}\n")
    for host, port in zip(("127.0.0.1", "::1"), daemon.ports, strict=True):
        answer = ask(port, host=host)
        assert answer.status == 200
        assert _sample(answer.body, "pmigd_web_config_last_reload_successful") == 1
        assert set(re.findall('pool="([^"]+)"', answer.body)) == set(POOLS)
        links = re.findall('href="([^"]+)"', ask(port, "/", host=host).body)
        assert links == ["/metrics", "/-/healthy", "/-/ready"]
        # There is no libvirt here: it is not ready, and says so.
        assert [ask(port, link, host=host).status for link in links] == [200, 200, 503]


def test_who_takes_gzip_gets_the_same_in_a_quarter_of_the_bytes(daemon: Daemon) -> None:
    daemon.write("")
    plain = ask(daemon.ports[0])
    connection = http.client.HTTPConnection("127.0.0.1", daemon.ports[0], timeout=10)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    packed = response.read()
    connection.close()
    assert "Content-Encoding" not in plain.headers
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(packed) < len(plain.body) / 4
    names = [line.split()[0] for line in gzip.decompress(packed).decode().splitlines()]
    assert set(names) >= {line.split()[0] for line in plain.body.splitlines()}


def test_every_path_needs_the_password(daemon: Daemon, pki: Pki) -> None:
    daemon.write(f'basic_auth_users: {{ann: "{hashed(PASSWORD)}", bob: "{hashed("b" * 72)}"}}\n')
    port = daemon.ports[0]
    wrong = ({}, {"login": ("ann", "x")}, {"login": ("nobody", PASSWORD)}, {"login": ("ann", "")})
    garbage = ({"authorization": text} for text in ("Basic", "Basic %", "Basic eA==", "Bearer x"))
    for path in PATHS:
        for given in (*wrong, *garbage):
            answer = ask(port, path, **given)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Basic")
        right = ask(port, path, login=("ann", PASSWORD))
        assert right.status == (404 if path == "/nothing" else 200)
    assert ask(port, login=("bob", "b" * 99)).status == 200
    body = ask(port, login=("ann", PASSWORD)).body
    assert _sample(body, 'pmigd_scrape_refusals_total{reason="not_allowed"}') >= 16


def test_the_file_and_its_certificates_are_taken_up_when_they_change(
    daemon: Daemon, pki: Pki, tmp_path: Path
) -> None:
    port, tls = daemon.ports[0], _trusting(pki)
    mine = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")

    def install(pair: Pair) -> None:
        mine.cert.write_bytes(pair.cert.read_bytes())
        mine.key.write_bytes(pair.key.read_bytes())

    def serial() -> str:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            tls.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            return str((secure.getpeercert() or {})["serialNumber"])

    install(pki.server)
    daemon.write(_file(mine))
    first = serial()
    assert ask(port, tls=tls, login=("ann", PASSWORD)).status == 200
    install(pki.other)
    until(lambda: serial() != first, "the other certificate", timeout=5, evidence=daemon.log)
    body = ask(port, tls=tls, login=("ann", PASSWORD)).body
    ends = _sample(body, 'pmigd_tls_certificate_not_after_timestamp_seconds{usage="metrics"}')
    assert ends == expires(pki.other.cert).timestamp()

    second = serial()
    daemon.write("basic_auth_users: {ann: x}\n")
    assert "web configuration cannot be used" in daemon.log()
    assert "ann: is not accepted" in daemon.log()
    body = ask(port, tls=tls, login=("ann", PASSWORD)).body
    assert _sample(body, "pmigd_web_config_last_reload_successful") == 0
    assert serial() == second

    daemon.write(_file(mine).replace("ann", "eve"))
    assert ask(port, tls=tls, login=("ann", PASSWORD)).status == 401
    body = ask(port, tls=tls, login=("eve", PASSWORD)).body
    assert _sample(body, "pmigd_web_config_last_reload_successful") == 1


def test_a_reload_takes_up_another_file_and_never_a_bad_one(
    daemon: Daemon, pki: Pki, tmp_path: Path
) -> None:
    daemon.write(_file(pki.server))
    port, tls, login = daemon.ports[0], _trusting(pki), ("ann", PASSWORD)
    before, other = daemon.config.read_text(), tmp_path / "other.yml"

    other.write_text("basic_auth_users: {ann: x}\n")
    daemon.reload(before.replace(str(daemon.web), str(other)), "configuration not reloaded")
    assert ask(port, tls=tls, login=login).status == 200
    other.write_text("")
    daemon.reload(before.replace(str(daemon.web), str(other)))
    assert ask(port).status == 200
    daemon.reload(before.replace(f'"{daemon.web}"', '""'))
    plain = ask(port).body
    assert "\npmigd_web_config_last_reload_successful " not in plain
    assert 'usage="metrics"' not in plain
    daemon.reload(before)
    assert ask(port, tls=tls, login=login).status == 200


def test_each_socket_that_systemd_passes_is_served_as_the_file_says(
    tmp_path: Path, pki: Pki
) -> None:
    daemon = Daemon(tmp_path)
    daemon.web.write_text(_file(pki.server))
    passed = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    try:
        daemon.start(passed)
        for sock in passed:
            answer = ask(sock.getsockname()[1], tls=_trusting(pki), login=("ann", PASSWORD))
            assert answer.status == 200
        with pytest.raises(ConnectionRefusedError):
            ask(daemon.ports[0])
    finally:
        for sock in passed:
            sock.close()
        daemon.stop()


def test_a_right_password_is_checked_once(daemon: Daemon) -> None:
    daemon.write(f'basic_auth_users: {{ann: "{hashed(PASSWORD, 13)}"}}\n')
    began = time.monotonic()
    assert ask(daemon.ports[0], login=("ann", PASSWORD)).status == 200
    slow_s = time.monotonic() - began
    began = time.monotonic()
    for _ in range(5):
        assert ask(daemon.ports[0], "/-/healthy", login=("ann", PASSWORD)).status == 200
    assert time.monotonic() - began < slow_s


def test_plain_http_old_tls_and_silence_are_let_go(daemon: Daemon, pki: Pki) -> None:
    daemon.write(_file(pki.server, "min_version: TLS13"))
    with socket.create_connection(("127.0.0.1", daemon.ports[0]), timeout=20) as silent:
        began = time.monotonic()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            ask(daemon.ports[0])
        tls = _trusting(pki)
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(daemon.ports[0], tls=tls, login=("ann", PASSWORD))
        assert silent.recv(1) == b""
        assert abs(time.monotonic() - began - HANDSHAKE_DEADLINE_S) < 2
    body = ask(daemon.ports[0], tls=_trusting(pki), login=("ann", PASSWORD)).body
    for reason in ("plain_http", "bad_tls", "too_slow"):
        assert _sample(body, f'pmigd_scrape_refusals_total{{reason="{reason}"}}') >= 1


def test_a_certificate_of_the_client_is_asked_for_as_the_file_says(
    daemon: Daemon, pki: Pki
) -> None:
    port, login = daemon.ports[0], ("ann", PASSWORD)

    def served(pair: Pair | None) -> int:
        try:
            return ask(port, tls=_trusting(pki, pair), login=login).status
        except (ssl.SSLError, ConnectionError):
            return 0

    ca = f"client_ca_file: {pki.authority.ca}"
    required = "client_auth_type: RequireAndVerifyClientCert"
    daemon.write(_file(pki.server, ca, "client_auth_type: VerifyClientCertIfGiven"))
    assert (served(None), served(pki.scraper)) == (200, 200)
    daemon.write(_file(pki.server, ca, required))
    assert (served(None), served(pki.scraper), served(pki.stranger)) == (0, 200, 200)
    sans = "client_allowed_sans: [prometheus.example.com]"
    daemon.write(_file(pki.server, ca, required, sans))
    assert (served(None), served(pki.scraper), served(pki.stranger)) == (0, 200, 403)


@contextmanager
def _prometheus(directory: Path, jobs: list[dict[str, Any]]) -> Iterator[str]:
    """A Prometheus that scrapes each second; its URL."""
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    config = directory / "prometheus.yml"
    every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    config.write_text(json.dumps({"global": every, "scrape_configs": jobs}))
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data"]
    command += [f"--web.listen-address={address}", "--log.level=warn"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _scraped(url: str) -> dict[str, tuple[str, str]]:
    """Health and last error of each job, once it was scraped."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/targets", timeout=5) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
    except OSError:
        return {}
    return {
        t["labels"]["job"]: (t["health"], t["lastError"])
        for t in targets
        if t["health"] != "unknown"
    }


def test_a_real_prometheus_scrapes_by_tls_and_password(
    daemon: Daemon, pki: Pki, tmp_path: Path
) -> None:
    daemon.write(_file(pki.server))
    jobs = [
        {
            "job_name": name,
            "scheme": "https",
            "basic_auth": {"username": "ann", "password": password},
            "tls_config": {"ca_file": str(pki.authority.ca)},
            "static_configs": [{"targets": [f"127.0.0.1:{daemon.ports[0]}"]}],
        }
        for name, password in (("right", PASSWORD), ("wrong", "x"))
    ]
    wanted = {
        "right": ("up", ""),
        "wrong": ("down", "server returned HTTP status 401 Unauthorized"),
    }
    with _prometheus(tmp_path, jobs) as url:
        # On a busy machine a first scrape may be too slow for its second.
        until(
            lambda: _scraped(url) == wanted,
            "both scrapes",
            timeout=SCRAPED_S,
            interval=0.1,
            evidence=lambda: str(_scraped(url)),
        )
