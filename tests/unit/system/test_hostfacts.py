"""What a host sees of itself, on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pmigd.adapters.system.hostfacts import certificates_end, look, where_leads
from pmigd.adapters.x509 import expires
from pmigd.core.facts import Definition, DiskFacts, Leads, LocalFacts, Question, Userfaultfd
from pmigd.core.model import Domain
from pmigd.core.named import Named

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DOMAIN = Domain("web", "5e0e9b1a-0000-4000-8000-000000000001")


def asking(*paths: str, ports: tuple[int, ...] = (), named: tuple[Named, ...] = ()) -> Question:
    disks = tuple(DiskFacts(f"vd{n}", path=path) for n, path in enumerate(paths))
    return Question(DOMAIN, "web", Definition(disks=disks, named=named), ports)


def seen(question: Question, conf: Path) -> LocalFacts:
    return look(question, NOW, arriving=True, qemu_conf=conf)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "qemu.conf"


def certificate(directory: Path, name: str, days: int) -> None:
    directory.mkdir(exist_ok=True)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-noenc", "-subj", "/CN=x", "-days", str(days)),
            *("-keyout", directory / f"{name}-key.pem", "-out", directory / f"{name}-cert.pem"),
        ],
        check=True,
        capture_output=True,
    )


def test_without_a_qemu_conf_all_is_as_libvirt_has_it(conf: Path) -> None:
    found = seen(asking(), conf)
    assert (found.utc, found.qemu_user, found.migration_ports) == (
        NOW,
        "libvirt-qemu",
        (49152, 49215),
    )
    assert (found.migration_host, found.tls_forced, found.tls_verifies_clients) == ("", False, True)
    assert found.unknown == ()


def test_qemu_conf_counts(conf: Path) -> None:
    conf.write_text(
        'user = "qemu"\nmigration_host = "10.0.0.2"\nmigration_port_min = 5000\n'
        "migration_port_max = 5009\nmigrate_tls_force = 1\ndefault_tls_x509_verify = 0\n"
    )
    found = seen(asking(), conf)
    assert (found.qemu_user, found.migration_host, found.migration_ports) == (
        "qemu",
        "10.0.0.2",
        (5000, 5009),
    )
    assert (found.tls_forced, found.tls_verifies_clients) == (True, False)


def test_a_qemu_conf_that_makes_no_sense_is_said_and_hides_nothing(conf: Path) -> None:
    conf.write_text("user = \n")
    found = seen(asking("/nowhere/x"), conf)
    assert [what.split(" (")[0] for what in found.unknown] == ["qemu.conf"]
    assert found.paths_missing == ("/nowhere/x",)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_is_busy_while_something_listens(conf: Path, family: socket.AddressFamily) -> None:
    with socket.socket(family) as listener:
        listener.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert port not in seen(asking(ports=(port,)), conf).busy_ports
        listener.listen()
        assert port in seen(asking(ports=(port,)), conf).busy_ports
        assert port not in seen(asking(ports=(1,)), conf).busy_ports


def test_nothing_arrives_at_a_source_so_its_ports_are_left_alone(conf: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        asked = asking(ports=(listener.getsockname()[1],))
        assert look(asked, NOW, arriving=False, qemu_conf=conf).busy_ports == ()


@pytest.mark.programs
def test_files_devices_and_mounts(conf: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    links = (Named("link", "lo"), Named("link", "br-none"))
    found = seen(asking(str(image), "/nowhere/x", named=links), conf)
    assert found.paths_missing == ("/nowhere/x",)
    assert found.lacks == (Named("link", "br-none"),)
    said = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "-T", image], check=True, capture_output=True, text=True
    )
    assert found.filesystem_of(str(image)) == said.stdout.strip()
    assert found.filesystem_of("/not/asked") == ""
    conf.write_text(f'shared_filesystems = [ "{tmp_path}" ]\n')
    assert seen(asking(str(image)), conf).filesystem_of(str(image)) == "shared"


def test_memory_is_bounded_by_ram_and_swap_unless_the_kernel_promises_all(conf: Path) -> None:
    promises = Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "1"
    limit = seen(asking(), conf).memory_limit_bytes
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert limit is None if promises else limit is not None and limit >= ram


def test_userfaultfd_is_as_the_kernel_says(conf: Path) -> None:
    setting = Path("/proc/sys/vm/unprivileged_userfaultfd")
    expected = Userfaultfd.NOBODY
    if setting.exists():
        device = Path("/dev/userfaultfd").exists()
        expected = Userfaultfd.DEVICE if device else Userfaultfd.ROOT
        if setting.read_text().strip() == "1":
            expected = Userfaultfd.EVERYBODY
    assert seen(asking(), conf).userfaultfd is expected


@pytest.mark.programs
def test_tls_files_of_each_role(conf: Path, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    conf.write_text(f'migrate_tls_x509_cert_dir = "{pki}"\n')
    assert seen(asking(), conf).tls_client.missing == (
        "ca-cert.pem",
        "client-cert.pem",
        "client-key.pem",
    )
    certificate(pki, "ca", 40)
    certificate(pki, "server", 20)
    found = seen(asking(), conf)
    assert found.tls_client.missing == ("client-cert.pem", "client-key.pem")
    assert (found.tls_server.directory, found.tls_server.missing) == (str(pki), ())
    assert found.tls_server.expires == expires(pki / "server-cert.pem")
    (pki / "server-cert.pem").write_text("nothing")
    assert "has no certificate" in seen(asking(), conf).unknown[0]


@pytest.mark.programs
def test_of_qemus_certificates_the_one_that_ends_first_counts(conf: Path, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    conf.write_text(f'migrate_tls_x509_cert_dir = "{pki}"\n')
    assert certificates_end(conf) is None
    certificate(pki, "ca", 1)
    certificate(pki, "client", 40)
    assert certificates_end(conf) == expires(pki / "client-cert.pem")
    certificate(pki, "server", 20)
    assert certificates_end(conf) == expires(pki / "server-cert.pem")
    (pki / "client-cert.pem").write_text("nothing")
    with pytest.raises(ValueError, match="has no certificate"):
        certificates_end(conf)


@pytest.mark.programs
@pytest.mark.parametrize("days", [1, 30, 12000])
def test_a_certificate_ends_when_openssl_says(tmp_path: Path, days: int) -> None:
    """12000 days from now is beyond 2049, where the form of the date changes."""
    certificate(tmp_path, "x", days)
    file = tmp_path / "x-cert.pem"
    said = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-dateopt", "iso_8601", "-in", file],
        check=True,
        capture_output=True,
        text=True,
    )
    text = said.stdout.strip().removeprefix("notAfter=")
    assert expires(file) == datetime.strptime(text, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
    assert expires(file) - datetime.now(UTC) < timedelta(days=days)


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.pem"
    file.write_text(text)
    with pytest.raises(ValueError, match="no certificate"):
        expires(file)


@pytest.mark.parametrize(
    ("host", "leads"),
    [
        ("127.0.0.1", Leads.HERE),
        ("127.0.1.1", Leads.HERE),
        ("192.0.2.1", Leads.ELSEWHERE),
        ("no-such-host.invalid", Leads.NOWHERE),
    ],
)
def test_where_a_name_leads(host: str, leads: Leads) -> None:
    assert where_leads(host) is leads


def test_hooks_are_those_that_libvirt_runs(conf: Path, tmp_path: Path) -> None:
    hook = tmp_path / "hooks" / "qemu"
    found = look(asking(), NOW, arriving=True, qemu_conf=conf, hook=hook)
    assert found.hooks == ()
    (tmp_path / "hooks" / "qemu.d" / "a-folder").mkdir(parents=True)
    files = (hook, tmp_path / "hooks" / "qemu.d" / "b", tmp_path / "hooks" / "qemu.d" / "README")
    for file in files:
        file.touch()
        file.chmod(0o700)
    files[2].chmod(0o644)
    found = look(asking(), NOW, arriving=True, qemu_conf=conf, hook=hook)
    assert found.hooks == tuple(map(str, files[:2]))
    assert found.unknown == ()
