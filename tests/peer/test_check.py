"""``pmigd --check`` says of this host's certificates what other hosts would say of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pmigd.adapters.peer.tls import PkiFiles
from tests.support.certificates import Authority

pytestmark = pytest.mark.timeout(400)  # each starts a daemon, beside all other tests


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ours")


def check(folder: Path, files: PkiFiles, more: str) -> tuple[int, list[str]]:
    """Exit code and lines of pmigd --check."""
    config = folder / "pmigd.toml"
    lines = [f'{name} = "{getattr(files, name)}"' for name in PkiFiles.__dataclass_fields__]
    config.write_text("\n".join(['daemon.name = "hosta"', "[peer]", *lines, more]))
    argv = [sys.executable, "-m", "pmigd.daemon.main", "--check", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.replace(str(config), "FILE").splitlines()


LISTEN = 'listen = "127.0.0.1:9717"'
ASK = """[peers.hostb]
uri = "qemu+tls://hostb.example.com/system"
pmigd = "https://hostb.example.com"
"""


def test_good_ones_pass(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("good", "DNS:hosta")
    files = authority.files(pair, pair)
    assert check(tmp_path, files, f"{LISTEN}\n{ASK}") == (0, ["The configuration is valid."])


def test_each_one_that_is_used_is_told_with_key_file_and_what_is_accepted(
    authority: Authority, tmp_path: Path
) -> None:
    old = authority.issue("old", "DNS:hosta", old=True)
    other = authority.issue("other", "DNS:hostz")
    files = authority.files(old, other)
    code, lines = check(tmp_path, files, f"{LISTEN}\n{ASK}")
    assert code == 2
    assert lines[0] == (
        f'FILE: peer.cert = "{old.cert}": ended 2020-01-02 00:00 UTC; '
        "accepted: a certificate that is valid now"
    )
    assert lines[1].startswith(
        f'FILE: peer.client_cert = "{other.cert}": is a certificate of hostz'
    )
    assert len(lines) == 2
    # What nobody is shown is nobody's business.
    assert [line.partition(" =")[0] for line in check(tmp_path, files, LISTEN)[1]] == [
        "FILE: peer.cert"
    ]
    assert check(tmp_path, files, "")[0] == 0
