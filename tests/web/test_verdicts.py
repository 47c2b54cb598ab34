"""The verdict on a web configuration file is promtool's; where it is not, the reason is here."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from pmigd.adapters.web import WebConfigRefused, read
from tests.web.conftest import Daemon, Pki, hashed

pytestmark = pytest.mark.timeout(400)  # each starts a daemon, beside all other tests

PAIR: Final = "tls_server_config: {cert_file: server.pem, key_file: server.key"
HASH: Final = hashed("x", 4)

SAME: Final = {
    "empty": "",
    "only a comment": "# nothing\n",
    "null": "~\n",
    "not a table": "[]\n",
    "text": "foo\n",
    "not YAML": "a: [\n",
    "tabs": "a:\n\tb: 1\n",
    "two faults of YAML": "a: b: c\n",
    "pair": f"{PAIR}}}\n",
    "tables without keys": "tls_server_config:\nhttp_server_config: {}\nbasic_auth_users:\n",
    "a table that is text": "tls_server_config: x\n",
    "a table that is a number": "tls_server_config: 5\n",
    "a table that is empty text": 'tls_server_config: ""\n',
    "unknown section": "tls_config: {}\n",
    "unknown key": f"{PAIR}, cert: x}}\n",
    "unknown http key": "http_server_config: {http3: true}\n",
    "rate_limit": "rate_limit: {burst: 1}\n",
    "a section twice": f'basic_auth_users: {{a: "{HASH}"}}\nbasic_auth_users: {{b: "{HASH}"}}\n',
    "a key twice": f"{PAIR}, key_file: server.key}}\n",
    "no key": "tls_server_config: {cert_file: server.pem}\n",
    "no certificate": "tls_server_config: {key_file: server.key}\n",
    "empty certificate": 'tls_server_config: {cert_file: "", key_file: server.key}\n',
    "missing file": "tls_server_config: {cert_file: none.pem, key_file: server.key}\n",
    "not its key": "tls_server_config: {cert_file: server.pem, key_file: other.key}\n",
    "not a certificate": "tls_server_config: {cert_file: server.key, key_file: server.key}\n",
    "only a version": "tls_server_config: {min_version: TLS12}\n",
    "auth without a pair": "tls_server_config: {client_auth_type: NoClientCert}\n",
    **{
        f"auth {kind or 'empty'}": f'{PAIR}, client_auth_type: "{kind}"}}\n'
        for kind in ("", "NoClientCert", "RequestClientCert", "requestclientcert", "Any")
    },
    **{
        f"{kind} with a CA": f"{PAIR}, client_ca_file: cacert.pem, client_auth_type: {kind}}}\n"
        for kind in (
            *("NoClientCert", "RequestClientCert"),
            *("VerifyClientCertIfGiven", "RequireAndVerifyClientCert"),
        )
    },
    "auth without a CA": f"{PAIR}, client_auth_type: RequireAndVerifyClientCert}}\n",
    "a CA without auth": f"{PAIR}, client_ca_file: cacert.pem}}\n",
    "missing CA": f"{PAIR}, client_ca_file: no, client_auth_type: VerifyClientCertIfGiven}}\n",
    **{
        f"min {version}": f"{PAIR}, min_version: {version}}}\n"
        for version in ("TLS10", "TLS11", "TLS12", "TLS13", "SSL30", "tls12", "1.2", "12", "[]")
    },
    "max TLS14": f"{PAIR}, max_version: TLS14}}\n",
    "a suite that is not safe": f"{PAIR}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}\n",
    "suites as text": f"{PAIR}, cipher_suites: TLS_AES_128_GCM_SHA256}}\n",
    "suites of no value": f"{PAIR}, cipher_suites: }}\n",
    "unknown curve": f"{PAIR}, curve_preferences: [P-256]}}\n",
    "another header": "http_server_config: {headers: {Server: x}}\n",
    "http keys of no value": "http_server_config: {http2: , headers: }\n",
    "users": f'basic_auth_users: {{a: "{HASH}", on: "{HASH}", 7: "{HASH}"}}\n',
    "htpasswd's form": f'basic_auth_users: {{a: "{HASH.replace("$2b", "$2y")}"}}\n',
    "an older form": f'basic_auth_users: {{a: "{HASH.replace("$2b", "$2a")}"}}\n',
    "a password": "basic_auth_users: {a: secret}\n",
    "no hash": "basic_auth_users: {a: }\n",
    "a short hash": f'basic_auth_users: {{a: "{HASH[:-9]}"}}\n',
    "a newer form": f'basic_auth_users: {{a: "{HASH.replace("$2b", "$3b")}"}}\n',
    "cost 3": f'basic_auth_users: {{a: "{HASH.replace("$04$", "$03$")}"}}\n',
    "cost 32": f'basic_auth_users: {{a: "{HASH.replace("$04$", "$32$")}"}}\n',
    "users as a list": f'basic_auth_users: ["{HASH}"]\n',
    "an anchor": f'basic_auth_users: {{a: &same "{HASH}", b: *same}}\n',
    "an unknown anchor": "basic_auth_users: {a: *same}\n",
    "JSON": f'{{"basic_auth_users": {{"a": "{HASH}"}}}}\n',
}
REFUSED_HERE: Final = {
    "Python's TLS cannot ask for a certificate and verify nothing": (
        f"{PAIR}, client_auth_type: RequireAnyClientCert}}\n"
    ),
    "the same under its old name": f"{PAIR}, client_auth_type: RequireClientCert}}\n",
    "nobody's certificate could be verified": (
        f"{PAIR}, client_ca_file: server.key, client_auth_type: VerifyClientCertIfGiven}}\n"
    ),
    **{
        f"{key} is not chosen in it": f"{PAIR}, {key}: {value}}}\n"
        for key, value in (
            ("cipher_suites", "[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
            ("prefer_server_cipher_suites", "no"),
            ("curve_preferences", "[CurveP384]"),
            ("max_version", "TLS13"),
        )
    },
    "there is no HTTP/2": "http_server_config: {http2: true}\n",
    "no header is added": "http_server_config: {headers: {X-Frame-Options: deny}}\n",
    "a guess would take longer than a scrape waits": (
        f'basic_auth_users: {{a: "{HASH.replace("$04$", "$16$")}"}}\n'
    ),
    "the library does not know $2$": f'basic_auth_users: {{a: "$2{HASH[3:]}x"}}\n',
    "promtool reads the first document and not the second": "---\n---\nunknown: 1\n",
}
ACCEPTED_HERE: Final = {
    "newer exporters have it than Debian 12's promtool": (
        f"{PAIR}, client_ca_file: cacert.pem, client_auth_type: RequireAndVerifyClientCert,"
        " client_allowed_sans: [prometheus.example.com]}\n"
    ),
}


@pytest.fixture
def file(pki: Pki) -> Path:
    """Beside the certificates: names in it are relative to its directory."""
    return pki.authority.directory / "web.yml"


def _promtool(file: Path) -> bool:
    command = ["promtool", "check", "web-config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def _ours(file: Path) -> bool:
    try:
        read(file)
    except WebConfigRefused:
        return False
    return True


@pytest.mark.parametrize("text", SAME.values(), ids=SAME.keys())
def test_the_verdict_is_promtools(file: Path, text: str) -> None:
    file.write_text(text)
    assert _ours(file) == _promtool(file)


@pytest.mark.parametrize("text", REFUSED_HERE.values(), ids=REFUSED_HERE.keys())
def test_what_could_not_be_served_as_it_says_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert _promtool(file)
    assert not _ours(file)


@pytest.mark.parametrize("text", ACCEPTED_HERE.values(), ids=ACCEPTED_HERE.keys())
def test_what_is_newer_than_promtool_is_accepted(file: Path, text: str) -> None:
    file.write_text(text)
    assert not _promtool(file)
    assert _ours(file)


def test_what_is_not_chosen_in_it_is_told_key_by_key(file: Path) -> None:
    file.write_text(
        "tls_server_config:\n  cipher_suites: []\n  prefer_server_cipher_suites: true\n"
        "  curve_preferences: []\n  max_version: TLS13\n"
        "http_server_config:\n  http2: false\n  headers: {}\n"
    )
    with pytest.raises(WebConfigRefused) as refused:
        read(file)
    faults = sorted(refused.value.faults, key=lambda fault: fault.line or 0)
    assert [fault.line for fault in faults] == [2, 3, 4, 5, 7, 8]
    assert all("is not supported: remove it; " in fault.message for fault in faults)


def test_check_tells_every_fault_with_its_line_and_no_secret(tmp_path: Path, pki: Pki) -> None:
    daemon = Daemon(tmp_path)
    daemon.web.write_text(
        f"tls_server_config:\n  cert_file: {pki.server.cert}\n  min_version: TLS9\n  certs: x\n"
        "basic_auth_users:\n  ann: hunter2\nhttp_server_config:\n  http2: true\n  http3: x\n"
    )
    done = daemon.run("--check")
    assert done.returncode == 2
    where = str(daemon.web)
    versions = 'one of "TLS10", "TLS11", "TLS12", "TLS13"'
    said = done.stdout.splitlines()
    assert f'{where}:3: tls_server_config.min_version = "TLS9": is not accepted; ' in said[1]
    assert said[1].endswith(f"accepted: {versions}")
    assert said[0].startswith(f"{where}:4: tls_server_config.certs: is not a known key;")
    assert f"{where}:8: http_server_config.http2: is not supported: remove it; pmigd " in said[2]
    assert said[3] == f"{where}:9: http_server_config.http3: is not a known key"
    assert said[4].startswith(f"{where}:6: basic_auth_users.ann: is not accepted; accepted: a bcry")
    assert len(said) == 5
    assert "hunter2" not in done.stdout
    daemon.web.write_text("")
    assert daemon.run("--check").returncode == 0


def test_a_bad_file_keeps_pmigd_from_starting(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.web.write_text("tls_server_config: {cert_file: x}\n")
    done = daemon.run()
    assert done.returncode == 2
    assert "key_file: is required" in done.stderr
