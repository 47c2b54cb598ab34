"""What is concluded from ssh's own word about where it would connect."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pmigd.adapters.libvirt.ssh import CLIENT, direct_host, first_hop, own_uri

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[3]
TOLD = "user root\nhostname 10.0.0.2\nport 2222\nproxyusefdpass no\n"


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an ssh into PATH that says this, and keeps how it was called."""

    def say(answer: str, code: int = 0) -> Path:
        (tmp_path / "answer").write_text(answer)
        ssh = tmp_path / "ssh"
        keep = f'printf "%s\\n" "$@" > {tmp_path}/called'
        ssh.write_text(f"#!/bin/sh\n{keep}\ncat {tmp_path}/answer\nexit {code}\n")
        ssh.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "called"

    return say


def test_other_ways_than_ssh_lead_where_they_say() -> None:
    assert first_hop("qemu+tls://hostb/system") == ("hostb", 16514)
    assert first_hop("qemu+tcp://[2001:db8::1]:99/system") == ("2001:db8::1", 99)
    assert first_hop("qemu+unix:///system?socket=/run/x") is None


def test_ssh_is_asked_as_libvirt_calls_it(says) -> None:
    called = says(TOLD)
    assert first_hop("qemu+ssh://CORP%5Cops@hostb:22/system") == ("10.0.0.2", 2222)
    wanted = ["-G", "-p", "22", "-l", "CORP\\ops", "-T", "-e", "none", "--", "hostb"]
    assert called.read_text().splitlines() == wanted


@pytest.mark.parametrize(
    ("written", "host"),
    [("My_Host", "My_Host"), ("[fe80::1]:2", "fe80::1"), ("x@10.0.0.9", "10.0.0.9")],
)
def test_ssh_is_asked_for_the_host_as_it_is_written(says, written: str, host: str) -> None:
    called = says(TOLD)
    first_hop(f"qemu+ssh://{written}/system")
    assert called.read_text().splitlines()[-1] == host


@pytest.mark.parametrize(
    "more", ["proxyjump hostc\n", "proxycommand nc %h %p\n", "controlpath /proc/self/exe\n"]
)
def test_where_the_way_is_not_a_plain_connection_nothing_is_tried(says, more: str) -> None:
    says(TOLD + more)
    assert first_hop("qemu+ssh://hostb/system") is None


@pytest.mark.parametrize("more", ["proxycommand none\n", "controlpath /nowhere/socket\n"])
def test_what_is_configured_and_not_used_changes_nothing(says, more: str) -> None:
    says(TOLD + more)
    assert first_hop("qemu+ssh://hostb/system") == ("10.0.0.2", 2222)


@pytest.mark.parametrize(("answer", "code"), [("", 0), (TOLD, 255), ("hostname x\nport y\n", 0)])
def test_without_an_answer_libvirt_may_try(says, answer: str, code: int) -> None:
    says(answer, code)
    assert first_hop("qemu+ssh://hostb/system") is None


def test_another_port_than_sshs_may_be_a_tunnels_end(says) -> None:
    says("hostname 127.0.0.1\nport 2222\n")
    assert direct_host("qemu+ssh://hostb/system") is None
    says("hostname 127.0.0.1\nport 22\n")
    assert direct_host("qemu+ssh://hostb/system") == "127.0.0.1"
    assert direct_host("qemu+tls://hostb:1/system") == "hostb"


def test_pmigds_own_ssh_is_never_the_one_that_others_share(says) -> None:
    called = says("")
    assert own_uri("qemu+ssh://hostb/system") == f"qemu+ssh://hostb/system?command={CLIENT}"
    assert own_uri("qemu+tls://hostb/system") == "qemu+tls://hostb/system"
    subprocess.run([CLIENT, "-T", "--", "hostb", "a b"], check=True)
    assert called.read_text().splitlines() == ["-o", "ControlMaster=no", "-T", "--", "hostb", "a b"]


def test_it_can_still_be_run_once_it_was_packed(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = zipfile.ZipFile(wheel).getinfo("pmigd/adapters/libvirt/ssh-client")
    assert packed.external_attr >> 16 & 0o111 == 0o111
