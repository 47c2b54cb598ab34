"""Whatever is wrong with this host's certificates is found on this host, and said of its file."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pmigd.adapters.peer.proofs import PkiFault, faults
from pmigd.adapters.peer.tls import PkiFiles
from tests.support.certificates import Authority, Pair

pytestmark = pytest.mark.programs  # openssl makes the certificates

BOTH = ("server", "client")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="module")
def good(authority: Authority) -> Pair:
    return authority.issue("good", "DNS:hosta.example.com")


@pytest.fixture
def files(authority: Authority, good: Pair) -> PkiFiles:
    return authority.files(good, good)


def found(files: PkiFiles, host: str = "hosta", here: tuple[str, ...] = ()) -> list[PkiFault]:
    return faults(files, BOTH, host, is_here=lambda name: name in here)


def use(files: PkiFiles, pair: Pair, role: str) -> PkiFiles:
    cert, key = {"server": ("cert", "key"), "client": ("client_cert", "client_key")}[role]
    return replace(files, **{cert: pair.cert, key: pair.key})


def self_signed(folder: Path) -> Pair:
    pair = Pair(folder / "self.pem", folder / "self.key")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    named = ("-subj", "/CN=hosta", "-addext", "subjectAltName=DNS:hosta")
    out = ("-keyout", str(pair.key), "-out", str(pair.cert))
    subprocess.run(["openssl", *new, *named, *out], check=True, capture_output=True)
    return pair


def test_good_ones_have_no_fault(files: PkiFiles) -> None:
    assert found(files) == []
    assert found(files, "hosta.example.com") == []


@pytest.mark.parametrize("role", BOTH)
def test_a_self_signed_one_is_called_that(files: PkiFiles, tmp_path: Path, role: str) -> None:
    (fault,) = found(use(files, self_signed(tmp_path), role))
    assert fault.field == {"server": "cert", "client": "client_cert"}[role]
    assert "self-signed" in fault.message
    assert f"signed by an authority in {files.ca}" in fault.accepted


@pytest.mark.parametrize("role", BOTH)
@pytest.mark.parametrize("kind", ["foreign", "old", "use", "name"])
def test_what_others_would_refuse(
    authority: Authority, files: PkiFiles, tmp_path: Path, role: str, kind: str
) -> None:
    other = {"server": "clientAuth", "client": "serverAuth"}[role]
    pair, message = {
        "foreign": lambda: (Authority(tmp_path / "x").issue("p", "DNS:hosta"), "not signed by"),
        "old": lambda: (authority.issue(f"o{role}", "DNS:hosta", old=True), "ended 2020-01-02"),
        "use": lambda: (authority.issue(f"u{role}", "DNS:hosta", usage=other), "not for this use"),
        "name": lambda: (authority.issue(f"n{role}", "DNS:hostz"), "certificate of hostz, and not"),
    }[kind]()
    (fault,) = found(use(files, pair, role))
    assert fault.file == pair.cert
    assert message in fault.message
    assert fault.accepted


def test_one_that_is_not_valid_yet(authority: Authority, files: PkiFiles) -> None:
    pair = authority.issue("future", "DNS:hosta", begins="20900101000000Z")
    (fault,) = found(use(files, pair, "server"))
    assert fault.message == "is not valid yet"
    assert "clock" in fault.accepted


def test_a_server_is_reached_by_any_name_that_leads_here(authority, files) -> None:
    pair = authority.issue("alias", "DNS:migrate-a.example.com")
    assert found(use(files, pair, "server"), here=("migrate-a.example.com",)) == []
    # Who asks others is believed by the name that it gives itself.
    (fault,) = found(use(files, pair, "client"), here=("migrate-a.example.com",))
    assert "daemon.name" in fault.accepted


@pytest.mark.parametrize("field", ["ca", "cert", "key", "client_cert", "client_key"])
@pytest.mark.parametrize("content", [None, "", "no PEM\n"], ids=["missing", "empty", "text"])
def test_a_file_that_cannot_be_used_is_named(files, tmp_path, field: str, content) -> None:
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    (fault,) = found(replace(files, **{field: bad}))
    assert (fault.field, fault.file) == (field, bad)
    assert "PEM" in fault.accepted


def test_a_key_of_another_certificate(authority: Authority, files: PkiFiles) -> None:
    other = authority.issue("other", "DNS:hosta")
    (fault,) = found(replace(files, key=other.key))
    assert (fault.field, fault.message) == ("key", f"{other.key} is not the key of {files.cert}")


def test_all_faults_are_told(authority: Authority, files: PkiFiles, tmp_path: Path) -> None:
    wrong = use(use(files, self_signed(tmp_path), "server"), authority.issue("z"), "client")
    assert [fault.field for fault in found(wrong)] == ["cert", "client_cert"]
    assert faults(wrong, (), "hosta", is_here=bool) == []
