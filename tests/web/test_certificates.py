"""When the certificates in force end, as a scrape of a real daemon sees it."""

from __future__ import annotations

import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Final

from pmigd.adapters.x509 import expires
from tests.support.certificates import Pair
from tests.web.conftest import Daemon, Pki

NAME: Final = "pmigd_tls_certificate_not_after_timestamp_seconds"


def _ends(daemon: Daemon, usage: str) -> float | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports[0]}/metrics", timeout=10) as got:
        lines = got.read().decode().splitlines()
    found = [line.split()[-1] for line in lines if line.startswith(f'{NAME}{{usage="{usage}"}}')]
    return float(found[0]) if found else None


def test_a_peers_certificate_counts_while_it_is_in_force(
    daemon: Daemon, pki: Pki, tmp_path: Path
) -> None:
    before = daemon.config.read_text()
    mine = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")

    def install(pair: Pair) -> datetime:
        mine.cert.write_bytes(pair.cert.read_bytes())
        mine.key.write_bytes(pair.key.read_bytes())
        return expires(pair.cert)

    assert _ends(daemon, "peer") is None
    asks = (
        f'{before}[peer]\nca = "{pki.authority.ca}"\ncert = "{tmp_path}/none"\n'
        f'client_cert = "{mine.cert}"\nclient_key = "{mine.key}"\n[peers.hostb]\n'
        'uri = "qemu+tcp://hostb.example.com/system"\npmigd = "https://hostb.example.com"\n'
    )
    first = install(pki.authority.issue("first", days=1))
    daemon.reload(asks)
    assert _ends(daemon, "peer") == first.timestamp()
    # A new file that nobody read yet protects nobody.
    second = install(pki.authority.issue("second", days=9))
    assert _ends(daemon, "peer") == first.timestamp()
    daemon.reload(asks)
    assert _ends(daemon, "peer") == second.timestamp()
    mine.cert.write_text("nothing")
    daemon.reload(asks)
    assert _ends(daemon, "peer") == second.timestamp()
    daemon.reload(before)
    assert _ends(daemon, "peer") is None
