"""Every finding of the checks: made when it should be, and only then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pmigd.core import checks
from pmigd.core.checks import (
    Destination,
    ask,
    check_destination,
    check_guest,
    check_pmigd,
    goes_by_hostname,
    predict,
)
from pmigd.core.facts import (
    Definition,
    DestinationFacts,
    DiskFacts,
    GuestFacts,
    HostDevice,
    HostFacts,
    ImageFacts,
    Leads,
    LocalFacts,
    Question,
    TlsFiles,
    Userfaultfd,
)
from pmigd.core.finding import Finding, Level, anyway, blocking
from pmigd.core.findings import FINDINGS
from pmigd.core.model import (
    Because,
    Compression,
    CopyStorage,
    Domain,
    Job,
    Postcopy,
    Power,
    Request,
    Target,
    Transport,
    View,
)
from pmigd.core.named import NAMED, Named
from pmigd.core.problem import Code
from pmigd.core.request_check import check_request
from pmigd.core.versions import too_old

BLOCK, WARN, INFO = Level.BLOCK, Level.WARN, Level.INFO
GIB = 1 << 30
NOW = datetime(2026, 11, 21, tzinfo=UTC)
WEB = Domain("web", "5e0e9b1a-0000-4000-8000-000000000001")
OTHER = "5e0e9b1a-0000-4000-8000-000000000002"
HOSTA = HostFacts("hosta", "uuid-a", "9.0.0", "QEMU", "7.2.0")
HOSTB = HostFacts("hostb", "uuid-b", "9.0.0", "QEMU", "7.2.0")
PEER = Target("hostb", "qemu+tls://hostb/system")
IMAGE = "/images/web.qcow2"
VDA = DiskFacts("vda", path=IMAGE)
CD = DiskFacts("sda", device="cdrom", path="/iso/cd.iso", read_only=True)
PLAIN = Definition(
    emulator="/usr/bin/qemu", arch="x86_64", machine="pc-q35-7.2", virt_type="kvm", memory_bytes=GIB
)
COPY = {"copy_storage": CopyStorage.ALL}


def request(**fields: Any) -> Request:
    return Request("web", "hostb", **fields)


def local(**facts: Any) -> LocalFacts:
    return LocalFacts(NOW, qemu_user="libvirt-qemu", **facts)


def guest(definition: Definition = PLAIN, **facts: Any) -> GuestFacts:
    facts.setdefault("view", View(Power.RUNNING))
    facts.setdefault("arriving", definition)
    return GuestFacts(WEB, definition=definition, **facts)


def levels(findings: list[Finding]) -> dict[str, Level]:
    assert len({f.code for f in findings}) == len(findings)
    return {f.code: f.level for f in findings}


def at_source(
    found: GuestFacts, host: HostFacts = HOSTA, own: LocalFacts | None = None, **fields: Any
) -> dict[str, Level]:
    return levels(check_guest(request(**fields), found, host, own))


def has(**changes: Any) -> GuestFacts:
    return guest(replace(PLAIN, **changes))


ON_XFS = local(filesystems=((IMAGE, "xfs"),))
ON_NFS = local(filesystems=((IMAGE, "nfs4"),))
SOURCE: list[tuple[str, Level | None, GuestFacts, LocalFacts | None, dict[str, Any]]] = [
    ("domain_not_running", BLOCK, guest(view=View(Power.SHUTOFF)), None, {}),
    ("domain_not_running", None, guest(view=View(Power.SHUTOFF)), None, {"offline": True}),
    ("domain_busy", BLOCK, guest(view=View(Power.RUNNING, job=Job.OTHER)), None, {}),
    (
        "postcopy_paused_guest",
        BLOCK,
        guest(view=View(Power.PAUSED, Because.USER)),
        None,
        {"postcopy": Postcopy.ALLOWED},
    ),
    ("postcopy_paused_guest", None, guest(view=View(Power.PAUSED, Because.USER)), None, {}),
    ("postcopy_paused_guest", None, guest(), None, {"postcopy": Postcopy.ALLOWED}),
    ("guest_asleep", BLOCK, guest(view=View(Power.ASLEEP)), None, {}),
    ("guest_asleep", None, guest(view=View(Power.ASLEEP)), None, {"offline": True}),
    ("guest_asleep", None, guest(), None, {}),
    ("block_job", BLOCK, guest(block_jobs=("vda",)), None, {}),
    ("snapshots", BLOCK, guest(snapshots=2), None, {}),
    ("snapshots", BLOCK, guest(snapshots=2), None, {"offline": True}),
    ("transient_disk", BLOCK, has(disks=(replace(VDA, transient=True),)), None, COPY),
    ("transient_disk", None, has(disks=(replace(VDA, transient=True),)), None, {"offline": True}),
    ("unsafe_storage", BLOCK, has(disks=(VDA,)), ON_XFS, {}),
    ("unsafe_storage", WARN, has(disks=(VDA,)), ON_XFS, {"unsafe": True}),
    ("unsafe_storage", BLOCK, has(disks=(DiskFacts("vda", kind="nvme"),)), None, {}),
    ("unsafe_storage", None, has(disks=(VDA,)), ON_XFS, COPY),
    ("unsafe_storage", BLOCK, has(disks=(VDA,)), ON_XFS, {**COPY, "migrate_disks": ("vdb",)}),
    ("unsafe_storage", None, has(disks=(VDA,)), ON_NFS, {}),
    ("unsafe_storage", None, has(disks=(replace(VDA, read_only=True),)), ON_XFS, {}),
    ("unsafe_storage", None, has(disks=(replace(VDA, path=""),)), ON_XFS, {}),
    ("unsafe_storage", None, has(disks=(replace(VDA, kind="block"),)), ON_XFS, {}),
    ("unsafe_storage", None, has(disks=(DiskFacts("vda", kind="network"),)), ON_XFS, {}),
    ("storage_not_checked", WARN, has(disks=(VDA,)), None, {}),
    ("storage_not_checked", None, has(disks=(VDA,)), ON_NFS, {}),
    ("disk_cache", WARN, has(disks=(replace(VDA, cache="unsafe"),)), ON_NFS, {}),
    ("disk_cache", None, has(disks=(replace(VDA, cache="writeback"),)), ON_NFS, {}),
    ("disk_cache", None, has(disks=(replace(VDA, cache="unsafe"),)), ON_XFS, COPY),
    ("rdma_needs_hard_limit", BLOCK, guest(), None, {"migrate_uri": "rdma://hostb"}),
    ("rdma_needs_hard_limit", None, has(memory_limited=True), None, {"migrate_uri": "rdma://b"}),
    ("disk_not_copyable", BLOCK, has(disks=(VDA,)), None, {**COPY, "migrate_disks": ("vdz",)}),
    ("disk_not_copyable", BLOCK, has(disks=(CD,)), None, {**COPY, "migrate_disks": ("sda",)}),
    ("disk_not_copyable", None, has(disks=(VDA,)), None, {**COPY, "migrate_disks": ("vda",)}),
    ("filesystem", WARN, has(filesystems=("path",)), None, {}),
    ("virtiofs", BLOCK, has(filesystems=("virtiofs",)), None, {}),
    ("shared_memory", BLOCK, has(shared_memory=(("s", "peer"),)), None, {}),
    ("shared_memory", None, has(shared_memory=(("s", "master"),)), None, {}),
    ("invariant_tsc", BLOCK, has(invariant_tsc=True), None, {}),
    ("invariant_tsc", None, has(invariant_tsc=True, tsc_frequency=True), None, {}),
    ("not_checked", INFO, guest(unknown=("snapshots (why)",)), None, {}),
    ("not_checked", None, guest(), None, {}),
]


@pytest.mark.parametrize(("code", "level", "found", "own", "fields"), SOURCE)
def test_what_the_source_says(code, level, found, own, fields) -> None:
    assert at_source(found, own=own, **fields).get(code) is level


def test_a_plain_guest_has_nothing_against_it() -> None:
    assert at_source(guest()) == {}


@pytest.mark.parametrize(
    ("kind", "qemu", "level"),
    [
        ("pci", "7.2.0", BLOCK),
        ("mdev", "7.2.0", BLOCK),
        ("vdpa", "8.0.5", BLOCK),
        ("pci", "8.1.0", WARN),
        ("scsi_host", "10.0.0", BLOCK),
        ("capabilities", "7.2.0", BLOCK),
        ("usb", "5.2.0", WARN),
        ("scsi", "7.2.0", WARN),
        ("scsi", "5.2.0", BLOCK),
    ],
)
def test_devices_of_the_host(kind: str, qemu: str, level: Level) -> None:
    host = replace(HOSTA, hypervisor_version=qemu)
    assert at_source(has(host_devices=(HostDevice(kind),)), host) == {"host_device": level}


def test_a_card_with_a_stand_in_is_unplugged_by_itself() -> None:
    assert at_source(has(host_devices=(HostDevice("pci", replaceable=True),))) == {}


@pytest.mark.parametrize("qemu", ["9.0.0", "10.0.2", "unreadable", ""])
def test_a_guest_that_is_asleep_is_refused_only_where_qemu_surely_hangs(qemu: str) -> None:
    host = replace(HOSTA, hypervisor_version=qemu)
    assert "guest_asleep" not in at_source(guest(view=View(Power.ASLEEP)), host)


def test_newer_qemu_may_move_virtiofs() -> None:
    host = replace(HOSTA, hypervisor_version="8.2.0")
    assert at_source(has(filesystems=("virtiofs",)), host) == {"virtiofs": WARN}


# The destination


def found_at_destination(
    definition: Definition = PLAIN,
    facts: DestinationFacts | None = None,
    *,
    own: LocalFacts | None = None,
    here: LocalFacts | None = None,
    control: DestinationFacts | None = None,
    leads: Leads | None = None,
    allocated: tuple[tuple[str, int], ...] = (),
    target: Target = PEER,
    **fields: Any,
) -> list[Finding]:
    wanted = request(**fields)
    found = guest(definition, allocated_bytes=allocated)
    there = Destination(facts or answer(), HOSTA, own, here, control, leads)
    question = ask(wanted, target, found)
    return check_destination(wanted, target, found, question, there)


def at_destination(*args: Any, **facts: Any) -> dict[str, Level]:
    return levels(found_at_destination(*args, **facts))


def answer(**facts: Any) -> DestinationFacts:
    facts.setdefault("host", HOSTB)
    facts.setdefault("view", View(Power.ABSENT))
    return DestinationFacts(**facts)


def image(**facts: Any) -> DestinationFacts:
    return answer(images=(ImageFacts(facts.pop("path", IMAGE), **facts),))


ON_DISK = replace(PLAIN, disks=(VDA,))
WITH_CD = replace(PLAIN, disks=(CD,))
HUGE = replace(PLAIN, hugepages=((2048, GIB),))
CPU = replace(PLAIN, cpu_xml="<cpu/>", cpu_checked=True)
NO_CPU = answer(refuses_cpu="no avx")
EXPIRED = TlsFiles("/pki", (), NOW)
SOON = TlsFiles("/pki", (), NOW + timedelta(days=1))
FRESH = TlsFiles("/pki", (), NOW + timedelta(days=300))
NO_KEY = TlsFiles("/pki", ("client-key.pem",))
ALL_PORTS = tuple(range(49152, 49216))
POSTCOPY = {"postcopy": Postcopy.ALLOWED}
INC = {"copy_storage": CopyStorage.INC}
UNSEEN = local(paths_unseen=(IMAGE,))
BRIDGE = Named("link", "br0", "network card")
BRIDGED = {"definition": replace(PLAIN, named=(BRIDGE,))}
NO_BRIDGE = answer(lacks=(BRIDGE,))
THERE: list[tuple[str, Level | None, dict[str, Any]]] = [
    ("same_host", BLOCK, {"facts": answer(host=replace(HOSTB, host_uuid="uuid-a"))}),
    ("same_host", BLOCK, {"facts": answer(host=replace(HOSTB, hostname="hosta"))}),
    ("destination_has_domain", BLOCK, {"facts": answer(view=View(Power.RUNNING))}),
    (
        "destination_has_domain",
        None,
        {"facts": answer(view=View(Power.SHUTOFF), known_as="web")},
    ),
    (
        "destination_has_domain",
        BLOCK,
        {"facts": answer(view=View(Power.SHUTOFF), known_as="old")},
    ),
    (
        "destination_has_domain",
        BLOCK,
        {"facts": answer(view=View(Power.SHUTOFF), known_as="web"), "dname": "new"},
    ),
    ("destination_has_domain", BLOCK, {"facts": answer(name_taken_by=OTHER)}),
    ("machine_unknown", BLOCK, {"facts": answer(refuses_machine="no")}),
    (
        "machine_unknown",
        WARN,
        {"facts": answer(refuses_machine="no"), "control": answer(refuses_machine="no")},
    ),
    ("machine_unknown", None, {"facts": answer(refuses_machine="no"), "offline": True}),
    ("cpu_incompatible", BLOCK, {"definition": CPU, "facts": NO_CPU, "control": answer()}),
    ("cpu_incompatible", WARN, {"definition": CPU, "facts": NO_CPU, "control": NO_CPU}),
    ("cpu_incompatible", WARN, {"definition": PLAIN, "facts": NO_CPU}),
    ("hugepages_short", WARN, {"definition": HUGE, "facts": answer(free_hugepages=((2048, 9),))}),
    (
        "hugepages_short",
        None,
        {"definition": HUGE, "facts": answer(free_hugepages=((2048, 512),))},
    ),
    ("memory_short", WARN, {"facts": answer(memory_available_bytes=GIB - 1)}),
    ("memory_short", None, {"facts": answer(memory_available_bytes=GIB)}),
    ("memory_short", BLOCK, {"own": local(memory_limit_bytes=GIB - 1)}),
    ("memory_short", None, {"own": local(memory_limit_bytes=GIB)}),
    (
        "memory_short",
        None,
        {
            "definition": replace(PLAIN, memory_in_one=False),
            "own": local(memory_limit_bytes=GIB - 1),
        },
    ),
    ("bridge_missing", BLOCK, {**BRIDGED, "facts": NO_BRIDGE, "control": answer()}),
    ("bridge_missing", WARN, {**BRIDGED, "facts": NO_BRIDGE, "control": NO_BRIDGE}),
    ("bridge_missing", WARN, {**BRIDGED, "facts": NO_BRIDGE}),
    ("bridge_missing", BLOCK, {**BRIDGED, "own": local(lacks=(BRIDGE,))}),
    ("bridge_missing", None, {**BRIDGED, "facts": NO_BRIDGE, "own": local()}),
    ("image_missing", WARN, {"definition": ON_DISK, "facts": image(pool="p")}),
    ("image_missing", None, {"definition": ON_DISK, "facts": image(pool="p", known=True)}),
    ("image_missing", None, {"definition": ON_DISK, "facts": image()}),
    (
        "image_missing",
        BLOCK,
        {"definition": ON_DISK, "facts": image(), "own": local(paths_missing=(IMAGE,))},
    ),
    ("image_missing", None, {"definition": ON_DISK, "facts": image(), "own": UNSEEN}),
    ("image_missing", WARN, {"definition": ON_DISK, "facts": image(pool="p"), "own": UNSEEN}),
    ("image_missing", WARN, {"definition": ON_DISK, "facts": image(), "own": UNSEEN, **INC}),
    ("no_pool_for_copy", WARN, {"definition": ON_DISK, "facts": image(), "own": UNSEEN, **COPY}),
    ("image_missing", None, {"definition": ON_DISK, "facts": image(pool="p"), "own": local()}),
    ("image_missing", None, {"definition": ON_DISK, "facts": image(pool="p"), **COPY}),
    ("image_missing", WARN, {"definition": ON_DISK, "facts": image(pool="p"), **INC}),
    (
        "image_missing",
        BLOCK,
        {"definition": ON_DISK, "facts": image(), "own": local(paths_missing=(IMAGE,)), **INC},
    ),
    ("medium_missing", WARN, {"definition": WITH_CD, "facts": image(path=CD.path, pool="p")}),
    (
        "medium_missing",
        None,
        {
            "definition": replace(PLAIN, disks=(replace(CD, optional=True),)),
            "facts": image(path=CD.path, pool="p"),
        },
    ),
    ("no_pool_for_copy", WARN, {"definition": ON_DISK, "facts": image(), **COPY}),
    ("no_pool_for_copy", None, {"definition": ON_DISK, "facts": image(pool="p"), **COPY}),
    ("no_pool_for_copy", None, {"definition": ON_DISK, "facts": image(), "own": local(), **COPY}),
    (
        "no_pool_for_copy",
        BLOCK,
        {"definition": ON_DISK, "facts": image(), "own": local(paths_missing=(IMAGE,)), **COPY},
    ),
    (
        "pool_full",
        WARN,
        {
            "definition": ON_DISK,
            "facts": image(pool="p", available_bytes=9),
            "allocated": (("vda", 10),),
            **COPY,
        },
    ),
    (
        "pool_full",
        None,
        {
            "definition": ON_DISK,
            "facts": image(pool="p", available_bytes=10),
            "allocated": (("vda", 10),),
            **COPY,
        },
    ),
    ("destination_hostname", WARN, {"leads": Leads.HERE}),
    ("destination_hostname", BLOCK, {"leads": Leads.NOWHERE, "own": local()}),
    ("destination_hostname", None, {"leads": Leads.ELSEWHERE}),
    ("destination_hostname", None, {"leads": Leads.HERE, "own": local(migration_host="b")}),
    ("destination_hostname", None, {"leads": Leads.HERE, "migrate_uri": "tcp://10.0.0.2"}),
    (
        "destination_hostname",
        None,
        {"leads": Leads.HERE, "target": replace(PEER, migrate_uri="tcp://10.0.0.2")},
    ),
    ("destination_hostname", None, {"leads": Leads.HERE, "transport": Transport.TUNNELLED}),
    (
        "destination_hostname",
        WARN,
        {
            "facts": answer(host=replace(HOSTB, hostname="localhost.localdomain")),
            "leads": Leads.ELSEWHERE,
        },
    ),
    (
        "port_in_use",
        BLOCK,
        {"own": local(busy_ports=(4999,)), "migrate_uri": "tcp://hostb:4999"},
    ),
    ("port_in_use", BLOCK, {"own": local(busy_ports=(4998,)), "disks_port": 4998, **COPY}),
    (
        "port_in_use",
        BLOCK,
        {"own": local(busy_ports=(4997,)), "disks_uri": "tcp://[::1]:4997", **COPY},
    ),
    ("port_in_use", None, {"own": local(busy_ports=(4999,)), "migrate_uri": "tcp://hostb:5000"}),
    ("no_free_port", BLOCK, {"own": local(busy_ports=ALL_PORTS)}),
    ("no_free_port", BLOCK, {"own": local(busy_ports=ALL_PORTS[1:]), **COPY}),
    ("no_free_port", None, {"own": local(busy_ports=ALL_PORTS[1:])}),
    ("no_free_port", None, {"own": local(busy_ports=ALL_PORTS), "transport": Transport.TUNNELLED}),
    ("tls_forced", BLOCK, {"here": local(tls_forced=True)}),
    ("tls_forced", None, {"here": local(tls_forced=True), "tls": True}),
    ("tls_forced", None, {"here": local(tls_forced=True), "transport": Transport.TUNNELLED}),
    (
        "tls_not_set_up",
        BLOCK,
        {"here": local(tls_client=TlsFiles("/pki", ("ca-cert.pem",))), "tls": True},
    ),
    ("tls_not_set_up", WARN, {"here": local(tls_client=NO_KEY), "tls": True}),
    ("tls_not_set_up", BLOCK, {"here": local(tls_client=NO_KEY), "own": local(), "tls": True}),
    (
        "tls_not_set_up",
        WARN,
        {
            "here": local(tls_client=NO_KEY),
            "own": local(tls_verifies_clients=False),
            "tls": True,
        },
    ),
    (
        "tls_not_set_up",
        BLOCK,
        {"own": local(tls_server=TlsFiles("/pki", ("server-key.pem",))), "tls": True},
    ),
    ("tls_not_set_up", None, {"here": local(tls_client=NO_KEY)}),
    ("tls_expired", BLOCK, {"here": local(tls_client=EXPIRED), "tls": True}),
    ("tls_expires_soon", WARN, {"here": local(tls_client=SOON), "tls": True}),
    ("tls_expires_soon", None, {"here": local(tls_client=FRESH), "tls": True}),
    ("postcopy_no_userfaultfd", BLOCK, {"own": local(userfaultfd=Userfaultfd.ROOT), **POSTCOPY}),
    ("postcopy_no_userfaultfd", BLOCK, {"own": local(userfaultfd=Userfaultfd.DEVICE), **POSTCOPY}),
    (
        "postcopy_no_userfaultfd",
        None,
        {
            "own": local(userfaultfd=Userfaultfd.DEVICE),
            "facts": answer(host=replace(HOSTB, libvirt_version="10.1.0")),
            **POSTCOPY,
        },
    ),
    (
        "postcopy_no_userfaultfd",
        None,
        {"own": replace(local(userfaultfd=Userfaultfd.ROOT), qemu_user="root"), **POSTCOPY},
    ),
    ("postcopy_no_userfaultfd", None, {"own": local(userfaultfd=Userfaultfd.NOBODY)}),
    (
        "clocks_apart",
        WARN,
        {"here": local(), "own": replace(local(), utc=NOW - timedelta(seconds=3))},
    ),
    (
        "clocks_apart",
        None,
        {"here": local(), "own": replace(local(), utc=NOW + timedelta(seconds=1))},
    ),
    ("not_checked", INFO, {}),
    ("not_checked", None, {"own": local()}),
    ("not_checked", INFO, {"own": local(unknown=("ports (why)",))}),
    ("not_checked", INFO, {"own": local(), "facts": answer(unknown=("memory (why)",))}),
    ("not_checked", None, {"offline": True}),
]


@pytest.mark.parametrize(("code", "level", "case"), THERE)
def test_what_the_destination_says(code, level, case) -> None:
    assert at_destination(**case).get(code) is level


def test_with_a_pmigd_there_a_plain_guest_has_nothing_against_it() -> None:
    assert at_destination(own=local(), here=local(), leads=Leads.ELSEWHERE) == {}


def test_what_nobody_could_look_at_is_one_finding() -> None:
    wanted = request(tls=True, **POSTCOPY)
    found = guest(replace(PLAIN, disks=(VDA, CD)))
    facts = answer(images=(ImageFacts(IMAGE, known=True), ImageFacts(CD.path)), unknown=("x (y)",))
    question = ask(wanted, PEER, found)
    (finding,) = check_destination(wanted, PEER, found, question, Destination(facts, HOSTA))
    assert finding.detail == (
        "Not checked at the destination: x (y), /iso/cd.iso, ports, TLS files, userfaultfd, clock."
    )


def test_of_a_destination_that_is_this_host_nothing_more_is_said() -> None:
    facts = answer(host=HOSTA, lacks=(BRIDGE,), view=View(Power.RUNNING))
    assert at_destination(replace(PLAIN, named=(BRIDGE,)), facts) == {"same_host": BLOCK}


def test_without_a_guest_the_destination_is_still_looked_at() -> None:
    question = Question(Domain("web", ""), "web")
    there = Destination(answer(name_taken_by=OTHER), HOSTA)
    found = check_destination(request(), PEER, None, question, there)
    assert levels(found) == {"destination_has_domain": BLOCK}


class TestTheQuestion:
    def test_it_has_the_arriving_name_and_what_arrives(self) -> None:
        arriving = replace(PLAIN, machine="pc-q35-8.0")
        asked = ask(request(dname="new", xml="<domain/>"), PEER, guest(arriving=arriving))
        assert (asked.domain, asked.name, asked.wants) == (WEB, "new", arriving)

    def test_offline_it_wants_nothing_started(self) -> None:
        assert ask(request(offline=True), PEER, guest()).wants is None

    def test_its_ports_are_those_given(self) -> None:
        target = replace(PEER, migrate_uri="tcp://10.0.0.2:4000")
        wanted = request(disks_port=4001, disks_uri="unix:///run/x", **COPY)
        assert ask(wanted, target, guest()).ports == (4001, 4000)

    def test_its_paths_are_told_once(self) -> None:
        disks = (VDA, replace(VDA, target="vdb"), DiskFacts("vdc", kind="network"), CD)
        assert ask(request(), PEER, has(disks=disks)).paths == (IMAGE, CD.path)


def test_only_a_native_transfer_without_an_address_goes_by_host_name() -> None:
    assert goes_by_hostname(request(), PEER)
    assert not goes_by_hostname(request(offline=True), PEER)


class TestPrediction:
    running = guest(
        replace(PLAIN, disks=(VDA, CD)),
        resident_bytes=3 * GIB,
        allocated_bytes=(("vda", GIB), ("sda", GIB)),
    )

    def test_memory_in_use_but_not_more_than_it_may_have(self) -> None:
        said = predict(request(bandwidth_mib_s=100), self.running)
        assert said is not None
        assert (said.memory_bytes, said.disk_bytes, said.seconds_at_least) == (GIB, 0, 10.2)

    def test_copied_disks_come_on_top(self) -> None:
        said = predict(request(bandwidth_mib_s=100, **COPY), self.running)
        assert said is not None
        assert (said.disk_bytes, said.seconds_at_least) == (GIB, 20.5)

    @pytest.mark.parametrize(
        ("fields", "found"),
        [
            ({}, running),
            ({"bandwidth_mib_s": 1}, None),
            ({"bandwidth_mib_s": 1}, guest()),
            ({"bandwidth_mib_s": 1, "offline": True}, running),
            ({"bandwidth_mib_s": 1, "compression": Compression(("xbzrle",))}, running),
        ],
    )
    def test_what_is_not_known_is_not_guessed(self, fields, found) -> None:
        assert predict(request(**fields), found) is None


class TestTheProblem:
    def test_one_that_blocks_alone_keeps_its_code(self) -> None:
        found = check_guest(request(), has(disks=(VDA,)), HOSTA, ON_XFS)
        problem = blocking(found)
        assert problem is not None
        assert problem.code is Code.UNSAFE_STORAGE

    def test_different_ones_are_a_failed_check_that_names_them_all(self) -> None:
        found = check_guest(request(), guest(ON_DISK, snapshots=1), HOSTA, ON_XFS)
        problem = blocking(found)
        assert problem is not None
        assert problem.code is Code.CHECK_FAILED
        assert [error.field for error in problem.errors] == ["domain", "copy_storage"]

    def test_warnings_are_none(self) -> None:
        assert blocking(check_guest(request(), has(filesystems=("path",)), HOSTA, None)) is None


# What a hook mends, and what an administrator starts in spite of

HOOKED = {"hooks": ("/etc/libvirt/hooks/qemu",)}


@pytest.mark.parametrize(("code", "level", "situation"), [row for row in THERE if row[1] is BLOCK])
def test_what_a_hook_of_the_destination_may_mend_is_a_warning(code, level, situation) -> None:
    own = replace(situation.get("own") or local(), **HOOKED)
    if code == "bridge_missing":
        own = replace(own, lacks=(BRIDGE,))
    found = {f.code: f for f in found_at_destination(**{**situation, "own": own})}[code]
    mendable = code in ("no_pool_for_copy", "machine_unknown") or code.endswith("_missing")
    assert found.level is (WARN if mendable else BLOCK)
    assert ("/etc/libvirt/hooks/qemu" in found.detail) is mendable


NOT_PMIGDS = {
    *("domain_not_running", "domain_busy", "postcopy_paused_guest", "block_job", "snapshots"),
    *("disk_not_copyable", "same_host", "destination_has_domain"),
    *("machine_unknown", "cpu_incompatible"),
}


def test_start_anyway_is_for_what_pmigd_itself_looked_at() -> None:
    blocks = [
        *((row[0], check_guest(request(**row[4]), row[2], HOSTA, row[3])) for row in SOURCE),
        *((row[0], found_at_destination(**row[2])) for row in THERE),
    ]
    for code, found in blocks:
        before, after = levels(found), levels(anyway(found))
        changed = {code for code in before if before[code] is not after[code]}
        wanted = {code for code in before if before[code] is BLOCK} - NOT_PMIGDS
        assert changed == wanted, code
        assert all(after[code] is WARN for code in changed)


def test_start_anyway_never_lets_a_conflict_or_the_wrong_host_through() -> None:
    conflicts = check_request(request(transport=Transport.TUNNELLED, parallel_connections=2))
    assert blocking(conflicts)
    elsewhere = check_pmigd(PEER, HOSTB, "uuid-of-another")
    too_new = too_old(request(zerocopy=True), replace(HOSTA, libvirt_version="6.0.0"), HOSTB)
    for found in (conflicts, elsewhere, too_new):
        assert found
        assert anyway(found) == found


def lacking(kind: str, **facts: Any) -> Finding:
    """What is said of a thing of `kind` that is named and not there."""
    thing = Named(kind, "/x", "console")
    own = local(lacks=(thing,), paths_missing=("/x",), **facts)
    wants = replace(PLAIN, named=(thing,))
    (found,) = found_at_destination(wants, answer(lacks=(thing,)), own=own)
    return found


@pytest.mark.parametrize("kind", sorted(NAMED))
def test_what_the_xml_names_is_pmigds_own_look_and_a_hook_may_mend_it(kind: str) -> None:
    row = NAMED[kind]
    level = BLOCK if row.sure and row.finding.level is BLOCK else WARN
    alone, hooked = lacking(kind), lacking(kind, hooks=("/hook",))
    assert (alone.code, alone.level) == (row.finding.code, level)
    assert hooked.level is (BLOCK if kind == "model" else WARN)
    assert ("/hook" in hooked.detail) is (level is BLOCK and kind != "model")
    assert anyway([alone])[0].level is WARN


def test_a_port_for_the_migration_itself_no_hook_frees() -> None:
    own = local(busy_ports=(4999,), **HOOKED)
    assert at_destination(own=own, migrate_uri="tcp://hostb:4999") == {"port_in_use": BLOCK}


DEVICES = (HostDevice("pci"), HostDevice("usb"))


def test_no_finding_is_made_at_a_level_that_its_row_does_not_have() -> None:
    found = [
        *(f for row in SOURCE for f in check_guest(request(**row[4]), row[2], HOSTA, row[3])),
        *(f for row in THERE for f in found_at_destination(**row[2])),
        *map(lacking, NAMED),
        *check_guest(request(), has(host_devices=DEVICES), HOSTA, None),
    ]
    for finding in found:
        kind = FINDINGS[finding.code]
        assert finding.kind == kind
        assert finding.level is kind.level or (finding.level is WARN and kind.unsure), kind.code
        assert "{" not in finding.remedy
    made = {finding.code for finding in found}
    assert {kind.code for kind in checks.KINDS} - made == {"pmigd_elsewhere"}
