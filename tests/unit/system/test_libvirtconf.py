"""libvirt's configuration format, as its own parser takes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pmigd.adapters.system.libvirtconf import MalformedError, parse, read

QEMU_CONF = """\
# Master configuration file
user = "root"            # who QEMU runs as
group='root'
migration_port_min = 49152
max_core = -1
namespaces = []
cgroup_device_acl = [
    "/dev/null", "/dev/full",  # always
    # "/dev/kvm",
    '/dev/userfaultfd',
]
migration_address = ""
nvram = [ "/a.fd:/b.fd"
  , "/c.fd:/d.fd" ]
words = \"\"\"two
lines\"\"\"
"""


def test_every_form_is_read() -> None:
    assert parse(QEMU_CONF) == {
        "user": "root",
        "group": "root",
        "migration_port_min": 49152,
        "max_core": -1,
        "namespaces": [],
        "cgroup_device_acl": ["/dev/null", "/dev/full", "/dev/userfaultfd"],
        "migration_address": "",
        "nvram": ["/a.fd:/b.fd", "/c.fd:/d.fd"],
        "words": "two\nlines",
    }


def test_the_first_of_two_values_counts() -> None:
    assert parse("max_clients = 7\nmax_clients = 8\n") == {"max_clients": 7}


def test_a_sign_inside_a_string_is_text() -> None:
    assert parse('a = "# no, [comment]=" # yes\n') == {"a": "# no, [comment]="}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a = "x\n', "line 1: '\"' not expected"),
        ('a = "x"\nb\n', "line 2: = expected"),
        ("a = [1, 2", "string expected|sign expected|, expected"),
        ("a = yes", r"line 1: \[ expected"),
        ("= 1", "line 1: name expected"),
        ("a = 1\n\n? = 2", "line 3: '\\?' not expected"),
    ],
)
def test_what_libvirt_does_not_understand_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse(text)


def test_a_missing_file_sets_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "qemu.conf") == {}


def test_a_file_is_read_whatever_its_encoding(tmp_path: Path) -> None:
    file = tmp_path / "libvirtd.conf"
    file.write_bytes(b'host_uuid = "u" # caf\xe9\n')
    assert read(file) == {"host_uuid": "u"}


@pytest.mark.parametrize("name", ["libvirtd.conf", "qemu.conf", "virtqemud.conf", "virtlockd.conf"])
def test_the_files_that_libvirt_ships_are_read(name: str) -> None:
    file = Path("/etc/libvirt") / name
    if not file.exists():
        pytest.skip("not installed")
    # Shipped with every setting in a comment; those of one line are tried.
    shown = [
        line.removeprefix("#")
        for line in file.read_text().splitlines()
        if re.fullmatch(r"#[a-z0-9_]+ = .*[\]\"0-9]", line)
    ]
    assert len(shown) >= 3
    for line in shown:
        assert list(parse(line)) == [line.split()[0]]
