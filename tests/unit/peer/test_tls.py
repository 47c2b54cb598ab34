"""Certificates are read whole, or it is said which file is wrong and why."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from pmigd.adapters.peer.tls import Certificates, PkiFiles, read_certificates
from pmigd.adapters.x509 import expires
from tests.support.certificates import Authority, Pair

pytestmark = pytest.mark.programs  # openssl makes the certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="module")
def files(authority: Authority) -> PkiFiles:
    return authority.files(authority.issue("hosta", "DNS:hosta"), authority.issue("asks"))


def test_both_ends_verify_the_other_and_speak_tls_1_2_or_later(files: PkiFiles) -> None:
    read = read_certificates(files)
    assert (read.server_fault, read.client_fault) == ("", "")
    for context in (read.server, read.client):
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert not context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
    assert read.client is not None
    assert read.client.check_hostname


def test_it_is_known_when_each_certificate_ends(authority: Authority) -> None:
    soon, late = authority.issue("soon", days=1), authority.issue("late", days=9)
    read = read_certificates(authority.files(soon, late))
    assert (read.server_ends, read.client_ends) == (expires(soon.cert), expires(late.cert))
    renewed = read_certificates(authority.files(late, late)).or_else(read)
    assert renewed.server_ends == expires(late.cert)


def test_a_form_of_certificate_that_only_openssl_can_read_is_used(
    authority: Authority, files: PkiFiles, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_text(files.cert.read_text().replace(" CERTIFICATE", " X509 CERTIFICATE"))
    read = read_certificates(replace(files, cert=other))
    assert (read.server_fault, read.server_ends) == ("", None)


@pytest.mark.parametrize("broken", ["ca", "cert", "key"])
@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "{}: No such file or directory"), ("", "{}"), ("-----BEGIN nothing", "{}")],
    ids=["missing", "empty", "garbage"],
)
def test_the_file_that_cannot_be_used_is_named(
    files: PkiFiles, tmp_path: Path, broken: str, content: str | None, told: str
) -> None:
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    read = read_certificates(replace(files, **{broken: bad}))
    assert read.server is None
    assert told.format(bad) in read.server_fault
    assert (read.client is None) == (broken == "ca")
    assert bool(read.client_fault) == (broken == "ca")


def test_a_directory_in_a_files_place(files: PkiFiles, tmp_path: Path) -> None:
    read = read_certificates(replace(files, client_key=tmp_path))
    assert read.client_fault == f"{tmp_path}: Is a directory"
    assert read.server is not None


def test_a_key_of_another_certificate(files: PkiFiles) -> None:
    read = read_certificates(replace(files, key=files.client_key))
    assert read.server_fault == f"{files.client_key} is not the key of {files.cert}"


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(
    files: PkiFiles, authority: Authority, tmp_path: Path
) -> None:
    locked = authority.lock(Pair(files.cert, files.key), tmp_path / "locked.key")
    read = read_certificates(replace(files, key=locked))
    assert read.server is None
    assert "a key without a password" in read.server_fault


def test_the_list_of_revoked_certificates_is_checked_where_there_is_one(
    authority: Authority, files: PkiFiles
) -> None:
    authority.revoke()
    try:
        for context in (read_certificates(files).server, read_certificates(files).client):
            assert context is not None
            assert context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
        files.crl.write_text("nothing")
        read = read_certificates(files)
        assert read.server is None
        assert read.server_fault == read.client_fault
        assert read.server_fault == f"{files.crl} is not a list of revoked certificates"
    finally:
        files.crl.unlink()


def test_what_cannot_be_used_leaves_what_was_there_before(files: PkiFiles, tmp_path: Path) -> None:
    before = read_certificates(files)
    read = read_certificates(replace(files, cert=tmp_path / "gone")).or_else(before)
    assert read.server is before.server
    assert read.server_fault == f"{tmp_path}/gone: No such file or directory"
    assert read.client is not before.client
    assert read_certificates(files).or_else(read).server_fault == ""
    assert (read.server_ends, read.client_ends) == (before.server_ends, before.client_ends)
    assert Certificates().server is None
    assert Certificates().server_fault
