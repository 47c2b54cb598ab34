"""No secret leaves the host in a support bundle, in whatever form it was written."""

from __future__ import annotations

import pytest

from pmigd.core.redact import LEFT_OUT, redacted, without_secrets

SECRET = "hunter2hunter2"
KEY = f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----"
BCRYPT = f"$2y$10${SECRET}abcdefghijklmnopqrstuv"


@pytest.mark.parametrize(
    "text",
    [
        f"qemu+ssh://root:{SECRET}@hostb/system: no",
        f"https://:{SECRET}@collector/",
        f"https://collector/?token={SECRET}&x=1",
        f"password={SECRET}, and more",
        f'{{"passwd": "{SECRET}"}}',
        f"passphrase '{SECRET}'",
        f"Authorization: Basic {SECRET}",
        f"sent Bearer {SECRET}",
        f"-object secret,id=masterKey0,format=raw,data={SECRET},iv={SECRET}",
        f"at line 1: <graphics type='vnc' passwd='{SECRET}'/> is wrong",
        f"<domain>\n<name>x</name>\n<secret>{SECRET}",
        KEY,
        KEY[:50],
        f"prometheus: {BCRYPT}",
    ],
)
def test_it_is_left_out(text: str) -> None:
    said = redacted(text)
    assert SECRET[:5] not in said
    assert LEFT_OUT in said


@pytest.mark.parametrize(
    "text",
    [
        "no secret with matching uuid '0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f'",
        "qemu+tls://hostb.example.com/system",
        "qemu+ssh://root@hostb/system",
        "peer.key = /etc/pki/libvirt/private/serverkey.pem",
        "iterations < 3 and > 1",
        "journal cannot be written: database or disk is full",
        "unable to stat: /x: No such file or directory",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redacted(text) == text


def test_it_is_looked_for_at_any_depth_and_under_telling_names() -> None:
    found = without_secrets(
        {
            "a": [{"password": "x", "detail": f"password={SECRET}"}],
            "basic_auth_users": {"prometheus": BCRYPT},
            "tokens": ["t"],
            "password_file": "/etc/p",
            "count": 3,
            "none": None,
        }
    )
    assert found == {
        "a": [{"password": LEFT_OUT, "detail": f"password={LEFT_OUT}"}],
        "basic_auth_users": {"prometheus": f"hash {LEFT_OUT}"},
        "tokens": LEFT_OUT,
        "password_file": "/etc/p",
        "count": 3,
        "none": None,
    }
