"""Hosts whose libvirt and QEMU are of another Debian suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contrib.lab import Disk, Guest, Lab, LabError, LabUnavailable, available_roots, build_root
from contrib.lab import roots as module
from tests.support import newer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def mixed(able: None) -> Iterator[Lab]:
    newer.require()
    with Lab(3, roots={"hostb": newer.SUITE}, tls=True, ssh=True, name="mixed") as lab:
        yield lab


@pytest.mark.hypervisor
@pytest.mark.timeout(900)
def test_a_guest_and_its_disk_move_to_a_newer_libvirt_and_back(mixed: Lab) -> None:
    a, b, c = mixed.hosts
    assert b.libvirt_version > a.libvirt_version == c.libvirt_version
    assert b.qemu_version > a.qemu_version
    guest = mixed.guest(Guest(name="between", disks=(Disk(mib=4),)), on=a)
    content = guest.disk_digest(a)
    for source, to in ((a, b), (b, a)):
        guest.migrate(to, "--live", "--p2p", "--copy-storage-all")
        guest.heartbeats.wait(host=to.name)
        assert guest.disk_digest(to) == content
        guest.remove_disks(source)
    for to in (b, c):
        guest.migrate(to, "--live", "--p2p", "--tls", "--copy-storage-all", uri=to.tls_uri)
    assert guest.heartbeats.hosts == ["hosta", "hostb", "hosta", "hostb", "hostc"]
    assert guest.heartbeats.memory_ok
    assert guest.heartbeats.restarts == guest.heartbeats.duplicated == 0
    guest.destroy()


@pytest.mark.hypervisor
@pytest.mark.timeout(900)
def test_a_newer_host_is_reached_and_reaches_others_by_all_ways(mixed: Lab) -> None:
    a, b, _ = mixed.hosts
    guest = mixed.guest(Guest(name="ways"), on=a)
    for way in ("ssh_uri", "unix_uri", "tls_uri"):
        for to in (b, a):
            guest.migrate(to, uri=getattr(to, way))
            assert guest.where() == [to]
    guest.destroy()


@pytest.mark.hypervisor
@pytest.mark.timeout(900)
def test_a_guest_started_on_the_newer_host_has_a_machine_the_older_one_knows(mixed: Lab) -> None:
    a, b, _ = mixed.hosts
    guest = mixed.guest(Guest(name="born-newer"), on=b)
    guest.migrate(a)
    guest.destroy()
    new = mixed.guest(Guest(name="too-new", machine="pc"), on=b)
    with pytest.raises(LabError, match="machine type"):
        new.migrate(a)
    new.destroy()


@pytest.mark.hypervisor
@pytest.mark.timeout(900)
def test_a_host_writes_to_its_files_and_not_to_the_root(mixed: Lab) -> None:
    b = mixed.hosts[1]
    cached = available_roots()[newer.SUITE]
    b.run([*b.root_prefix, "sh", "-c", "echo mine > /etc/mine; rm /etc/debian_version"])
    assert not (cached / "etc" / "mine").exists()
    assert (cached / "etc" / "debian_version").exists()
    # The home is moved in the host only.
    assert ":/root:" in (cached / "etc" / "passwd").read_text()
    assert "VERSION_CODENAME=trixie" in b.run([*b.root_prefix, "cat", "/etc/os-release"]).stdout
    b.libvirtd.restart()
    assert b.libvirt_version >= (10,)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "pmigd-lab" / "roots"
    place.mkdir(parents=True)
    return place


def test_a_half_made_or_outdated_root_is_none(cache: Path) -> None:
    ready = module._stamp()
    for name, stamp in (("good", ready), ("old", "{}"), ("half", None)):
        (cache / name).mkdir()
        if stamp is not None:
            (cache / name / module._STAMP).write_text(stamp)
    assert available_roots() == {"good": cache / "good"}
    lines: list[str] = []
    assert build_root("good", lines.append) == cache / "good"
    assert lines == [f"{cache / 'good'} is ready"]


def test_a_lab_without_its_root_says_how_to_make_it(able: None, cache: Path) -> None:
    with pytest.raises(LabUnavailable, match=r"python -m contrib\.lab root trixie"):
        Lab(roots={"hostb": "trixie"})
    with pytest.raises(ValueError, match="hostz"):
        Lab(roots={"hostz": "trixie"})


def test_a_suite_that_does_not_exist_leaves_no_root(able: None, cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "contrib.lab", "root", "no-such-suite"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert "mmdebstrap failed" in done.stderr
    assert available_roots() == {}
