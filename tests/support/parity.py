"""The same migration by virsh and by pmigd, of two guests of one kind, and what each leaves behind.

What is compared is everything that libvirt tells about the guest on both hosts, and its disks byte
by byte. Only what differs by nature is taken out: names, UUIDs, numbers and ports.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import libvirt
import pytest
from lxml import etree

from contrib.lab import SHARED_DIR, Guest, Host, Lab, LabGuest
from contrib.lab.deadlines import until
from contrib.parity import record
from contrib.parity.rows import ROWS, Needs, Row, Version
from tests.lab.conftest import TERMINAL, Pmig
from tests.support.newer import FORCED

_AT_ONCE: Final = 4
"""Rows; each is two migrations, and a host's pmigd lets eight out."""
_PATIENCE_S: Final = 60
_COMPLETED: Final = (
    libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
)
_BINDING: Final = "this machine's libvirt library, which pmigd uses, is too old to ask for it"
# libvirt 9.0 never uses a port for disks again that was given by hand.
_ports = itertools.count(49300)
_numbers = itertools.count(1)

State = dict[str, Any]
Results = dict[str, "Future[Ran]"]


@dataclass(frozen=True)
class Pair:
    """From where to where."""

    lab: Lab
    source: Host
    destination: Host

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.source, self.destination

    @functools.cached_property
    def _versions(self) -> list[tuple[Version, Version]]:
        return [(host.libvirt_version, host.qemu_version) for host in self.hosts]

    @property
    def label(self) -> str:
        """What the record calls it: 'libvirt 9.0, QEMU 7.2 to libvirt 11.3, QEMU 10.0'."""
        return " to ".join(
            f"libvirt {libvirt[0]}.{libvirt[1]}, QEMU {qemu[0]}.{qemu[1]}"
            for libvirt, qemu in self._versions
        )

    def lacks(self, needs: Needs) -> bool:
        """Whether a row with these needs cannot move anything here."""
        return any(
            libvirt < needs.libvirt
            or qemu < needs.qemu
            or bool(needs.qemu_below and qemu >= needs.qemu_below)
            for libvirt, qemu in self._versions[: 1 if needs.source_only else 2]
        )


@dataclass(frozen=True)
class Side:
    """One way: whether the migration succeeded, what was said, and what it left on each host."""

    succeeded: bool
    said: str
    left: Mapping[str, State]


@dataclass(frozen=True)
class Ran:
    """A row that was run."""

    row: Row
    pair: Pair
    virsh: Side
    pmigd: Side

    @property
    def outcome(self) -> str:
        """What became of the guest: `moved` or `stayed`."""
        return record.MOVED if self.virsh.succeeded else record.STAYED

    def check(self) -> None:
        """Both ways the same, as the row says, and as it is noted for the docs."""
        self.compare()
        recorded = record.read().get(self.pair.label)
        if recorded is not None:
            assert recorded.get(self.row.name) == self.outcome, "docs/parity.md: make matrix"

    def compare(self) -> None:
        """Both ways the same, and what the row says."""
        said = f"virsh: {self.virsh.said}\npmigd: {self.pmigd.said}"
        virsh, pmigd = dict(self.virsh.left), dict(self.pmigd.left)
        if self.row.litters:
            there = self.pair.destination.name
            assert pmigd[there] == {"images": {}}, said
            virsh[there] = {**virsh[there], "images": {}}
        left = [json.dumps(state, indent=1).splitlines() for state in (virsh, pmigd)]
        difference = "\n".join(difflib.unified_diff(*left, "virsh", "pmigd", lineterm=""))
        assert not difference, f"{difference}\n{said}"
        lacking = self.pair.lacks(self.row.needs)
        moves = not (self.row.stays or lacking)
        assert (self.virsh.succeeded, self.pmigd.succeeded) == (moves, moves), said
        if lacking:
            assert re.search(r"needs (libvirt|QEMU) >= |has no compression", self.pmigd.said), said


def run(pair: Pair, rows: Iterable[Row]) -> Results:
    """Run the rows, a few at a time; an error of one is its own."""
    for host in pair.hosts:
        host.define_images_pool()
    # A guest that stays as it was will do for the next one that is to stay, too.
    groups: dict[str, _Twins] = {}
    results: Results = {}
    for row in rows:
        stays = row.stays or pair.lacks(row.needs)
        if libvirt.getVersion() < row.needs.binding and not stays:
            results[row.name] = Future()
            results[row.name].set_exception(pytest.skip.Exception(_BINDING))
            continue
        reusable = stays and row.starts and not (row.act or row.source or row.destination)
        key = str(row.guest) if reusable else row.name
        if key not in groups:
            groups[key] = _Twins(pair, row.guest)
        groups[key].rows.append(row)
    with ThreadPoolExecutor(_AT_ONCE, "parity") as pool:
        longest_first = sorted(groups.values(), key=lambda twins: -len(twins.rows))
        for finished in [pool.submit(twins.run) for twins in longest_first]:
            finished.result()
    for twins in groups.values():
        results |= twins.ran
    if FORCED and results.keys() == {row.name for row in ROWS}:
        record.add(pair.label, dict(_same(results)))
    return results


def _same(results: Results) -> Iterator[tuple[str, str]]:
    """The outcomes of the rows that came out the same."""
    for name, ran in results.items():
        if ran.exception() is None:
            with contextlib.suppress(AssertionError):
                ran.result().compare()
                yield name, ran.result().outcome


class _Twins:
    """Two guests of one kind, and the rows that are run with them one after the other."""

    def __init__(self, pair: Pair, spec: Mapping[str, Any]) -> None:
        self.pair = pair
        self.rows: list[Row] = []
        self.ran: dict[str, Future[Ran]] = {}
        number = next(_numbers)
        # Here, in one thread: the lab's bookkeeping is not made for several.
        self.guests = [
            pair.lab.guest(
                Guest(name=f"p{number}{way}", **{"memory_mib": 48, **spec}),
                pair.source,
                start=False,
            )
            for way in ("virsh", "pmigd")
        ]

    def run(self) -> None:
        """Run all of them."""
        self.ran = {row.name: Future() for row in self.rows}
        ways = [_ByVirsh(self.pair, self.guests[0]), _ByPmigd(self.pair, self.guests[1])]
        try:
            with ThreadPoolExecutor(len(ways), "way") as pool:
                for row in self.rows:
                    sides = [pool.submit(way.run, row) for way in ways]
                    try:
                        ran = Ran(row, self.pair, *(side.result() for side in sides))
                    except Exception as error:  # noqa: BLE001 - the row's test raises it
                        self.ran[row.name].set_exception(error)
                    else:
                        self.ran[row.name].set_result(ran)
        finally:
            for way in ways:
                way.forget()


class _Way:
    """A guest that is to be moved in one of the two ways."""

    def __init__(self, pair: Pair, guest: LabGuest) -> None:
        self.pair = pair
        self.guest = guest
        self.content: dict[str, str] | None = None

    def migrate(self, row: Row, values: Mapping[str, str]) -> tuple[bool, str]:
        """Whether it succeeded, and what was said."""
        raise NotImplementedError

    def run(self, row: Row) -> Side:
        """Prepare what the row wants, migrate, and look at both hosts."""
        source, destination = self.pair.hosts
        if self.content is None:
            self._prepare(running=row.starts)
        if row.images_ready:
            self.guest.create_disks(destination)
            destination.refresh_images_pool()
        values = self._values()
        for host, lines in ((source, row.source), (destination, row.destination)):
            for line in lines:
                host.virsh(*line.format_map(values | self._files(values)).split())
        succeeded, said = self.migrate(row, values)
        left = {host.name: self._left(host) for host in self.pair.hosts}
        if "postcopy" in row.request:
            # After post-copy libvirt clears it there, or does not: that is a race of its own.
            left[destination.name].pop("completed job", None)
        if self.guest.disks and not succeeded:
            # The next row of this guest finds none there.
            self.guest.remove_disks(destination)
        return Side(succeeded, said, left)

    def _prepare(self, *, running: bool) -> None:
        source, guest = self.pair.source, self.guest
        guest.create_disks(source, filled=True)
        self.content = {disk.spec.target: disk.digest(source) for disk in guest.disks}
        with _connected(source) as connection:
            if not guest.spec.persistent:
                connection.createXML(guest.xml)
            else:
                domain = connection.defineXML(guest.xml)
                if running:
                    domain.create()
        if running:
            guest.heartbeats.wait(host=source.name, timeout=_PATIENCE_S)

    def _values(self) -> dict[str, str]:
        """What stands for the names in braces."""
        with _connected(self.pair.source) as connection:
            domain = connection.lookupByUUIDString(self.guest.uuid)
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)
        return {
            "name": self.guest.name,
            "address": self.pair.destination.address,
            "destination": self.pair.destination.name,
            "port": str(next(_ports)),
            "memory": f"{SHARED_DIR}/{self.guest.name}.memory",
            "disks": f"{SHARED_DIR}/{self.guest.name}.disks",
        } | {name: change(xml) for name, change in _DEFINITIONS.items()}

    def _files(self, values: Mapping[str, str]) -> dict[str, str]:
        """Paths of files that hold the definitions, the same on every host."""
        paths = {name: f"{SHARED_DIR}/{self.guest.name}.{name}.xml" for name in _DEFINITIONS}
        for name, path in paths.items():
            self.pair.source.write_file(path, values[name])
        return paths

    def _copies(self) -> bool:
        """Whether memory of the guest is being copied."""
        with _connected(self.pair.source) as connection:
            stats = connection.lookupByUUIDString(self.guest.uuid).jobStats()
        return bool(stats.get("memory_processed") and stats.get("memory_iteration"))

    def _left(self, host: Host) -> State:
        """What the host knows and has of the guest."""
        assert self.content is not None
        state: State = {
            "images": {
                disk.spec.target: disk.digest(host) == self.content[disk.spec.target]
                for disk in self.guest.disks
                if host.path(disk.path).exists()
            }
        }
        with _connected(host) as connection:
            domain = _find(connection, self.guest)
            if domain is None:
                return state
            power, reason = domain.state()
            state |= {
                "state": power,
                "reason": reason,
                "persistent": bool(domain.isPersistent()),
                "updated": bool(domain.isUpdated()),
                "managed save": domain.hasManagedSaveImage(),
                "completed job": _completed_job(domain),
                "bandwidth": domain.migrateGetMaxSpeed(),
            }
            if domain.isActive():
                state["xml"] = self._comparable(domain.XMLDesc())
                state["max downtime"] = domain.migrateGetMaxDowntime()
            if domain.isPersistent():
                xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
                state["definition"] = self._comparable(xml)
                state["autostart"] = domain.autostart()
        if power == libvirt.VIR_DOMAIN_RUNNING:
            self.guest.heartbeats.wait(host=host.name, since=time.monotonic())
            state["memory whole"] = self.guest.heartbeats.memory_ok
        return state

    def _comparable(self, xml: str) -> list[str]:
        """A definition, line by line, without what differs by nature."""
        root = etree.fromstring(xml)
        root.attrib.pop("id", None)
        for source in root.iterfind("devices/*[@type='udp']/source"):
            source.attrib.pop("service")
        for graphics in root.iterfind("devices/graphics[@autoport='yes']"):
            graphics.attrib.pop("port", None)
        text = etree.tostring(root, encoding="unicode")
        return text.replace(self.guest.name, "NAME").replace(self.guest.uuid, "UUID").splitlines()

    def forget(self) -> None:
        """Leave nothing of the guest on the hosts."""
        for host in self.pair.hosts:
            with _connected(host) as connection:
                domain = _find(connection, self.guest)
                if domain is not None and domain.isActive():
                    domain.destroy()
                domain = _find(connection, self.guest)
                if domain is not None:
                    domain.undefine()
            for disk in self.guest.disks:
                disk.remove(host)


class _ByVirsh(_Way):
    """virsh of the source's own version."""

    def migrate(self, row: Row, values: Mapping[str, str]) -> tuple[bool, str]:
        source = self.pair.source
        words = row.virsh.format_map(dict(values) | self._files(values)).split()
        process = source.popen(
            [
                *(*source.root_prefix, "virsh", "migrate", *words),
                *(self.guest.name, self.pair.destination.uri_from_peer),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                if row.act is not None:
                    until(
                        lambda: process.poll() is not None or self._copies(),
                        f"virsh's migration of {self.guest.name} to copy",
                        timeout=_PATIENCE_S,
                    )
                    source.virsh(*row.act.virsh.format_map(values).split())
                said = process.communicate(timeout=_PATIENCE_S)[0].strip()
            except BaseException:
                process.kill()
                raise
        return process.returncode == 0, said


class _ByPmigd(_Way):
    """pmigd of the source."""

    def migrate(self, row: Row, values: Mapping[str, str]) -> tuple[bool, str]:
        pmig = Pmig(self.pair.source)
        body = {
            "domain": self.guest.name,
            "destination": self.pair.destination.name,
            **_filled(row.fields, values),
        }
        status, m = pmig.host.pmigd.request("POST", "/v1/migrations", body)
        if status != 202:
            assert 400 <= status < 500, m
            return False, json.dumps(m, indent=1)
        path = f"/v1/migrations/{m['id']}"
        if row.act is not None:
            pmig.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
            until(
                self._copies,
                f"pmigd's migration of {self.guest.name} to copy",
                timeout=_PATIENCE_S,
            )
            status, answer = pmig.host.pmigd.request(
                row.act.method, path + row.act.path, row.act.body
            )
            assert status in (200, 202), answer
        m = pmig.call("GET", f"{path}?wait={_PATIENCE_S - 5}")
        assert m["state"] in TERMINAL, m
        return m["state"] == "succeeded", json.dumps(m, indent=1)


def _titled(title: str) -> Callable[[str], str]:
    return lambda xml: xml.replace("</uuid>", f"</uuid><title>{title}</title>", 1)


_DEFINITIONS: Final[dict[str, Callable[[str], str]]] = {
    "live": _titled("live"),
    "kept": _titled("kept"),
    "wrong": lambda xml: xml.replace("</devices>", "<watchdog model='i6300esb'/></devices>"),
}


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """A request with the names in braces filled in; ports are numbers."""
    match value:
        case str():
            text = value.format_map(values)
            return int(text) if text.isdecimal() else text
        case Mapping():
            return {key: _filled(each, values) for key, each in value.items()}
        case list():
            return [_filled(each, values) for each in value]
    return value


@contextlib.contextmanager
def _connected(host: Host) -> Iterator[libvirt.virConnect]:
    with contextlib.closing(libvirt.open(host.libvirt_uri)) as connection:
        yield connection


def _find(connection: libvirt.virConnect, guest: LabGuest) -> libvirt.virDomain | None:
    return next((d for d in connection.listAllDomains() if d.UUIDString() == guest.uuid), None)


def _completed_job(domain: libvirt.virDomain) -> State:
    """What libvirt remembers of the last job, without what depends on the moment."""
    try:
        stats = domain.jobStats(_COMPLETED)
    except libvirt.libvirtError as error:
        return {"error": error.get_error_code()}
    return {key: stats.get(key) for key in ("type", "operation", "memory_total", "disk_total")}
