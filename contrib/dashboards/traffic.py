"""Migrations of every kind between real hosts, while a real Prometheus looks on.

What is played leaves something behind for every panel: an end of each kind, a broken post-copy that
is resumed, disks that are copied, a guest that is throttled, and at the end some that still run and
one that waits. It never sleeps: each act waits for what it is about to be seen.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from contrib.dashboards.questions import View
from contrib.lab import Guest, Lab, LabError, Prometheus, api
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contrib.lab import Host

RULES: Final = sorted(Path(__file__).parents[1].glob("prometheus/*.yml"))
_LIMITS: Final = {"max_outgoing": 3, "max_incoming": 3, "max_preparing": 3}
_ACT_S: Final = 90.0
"""How long anything may take, however busy the machine is."""

_RECOVERIES: Final = 5

# What a migration at 1 MiB/s has to send first: it runs for as long as it is needed.
_SLOW_MIB: Final = 56
# 25 MiB/s of writes: with a limit of 12 MiB/s no pre-copy gets to its end.
_WRITER: Final = {"memory_mib": 96, "dirty_pages_per_tick": 128, "working_set_mib": 16}
_THROTTLED: Final = {"bandwidth_mib_s": 12, "auto_converge": {"initial": 20, "increment": 1}}


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to look at, in Unix time: at `now` migrations run and wait.

    Prometheus scraped every `step` seconds.
    """

    start: float
    now: float
    step: int

    def view(self, *instances: str) -> View:
        """All of it, scrape by scrape; of every instance, or of some."""
        steps = math.floor((self.now - self.start) / self.step)
        return View(
            start=self.now - steps * self.step,
            end=self.now,
            step=self.step,
            scrape_s=self.step,
            chosen={"instance": instances} if instances else {},
        )


@contextlib.contextmanager
def hosts(number: int, name: str) -> Iterator[tuple[Lab, Prometheus]]:
    """Hosts with pmigd and leases over TLS, and a Prometheus with the shipped rules."""
    with Lab(number, leases=True, name=name, pmigd={"limits": _LIMITS}) as lab:
        prometheus = Prometheus(lab, rules=RULES)
        prometheus.start(wait_ready=False)
        for host in lab.hosts[2:]:
            host.configure_pmigd({"limits": {"max_outgoing": 1}})
        for host in lab.hosts:
            host.pmigd.start(wait_ready=False)
        for host in lab.hosts:
            host.pmigd.wait_ready()
        yield lab, prometheus


class Traffic:
    """The guests, and what is done with them; `rounds` of ordinary migrations before and after."""

    def __init__(self, lab: Lab, prometheus: Prometheus, *, rounds: int = 0) -> None:
        self._lab = lab
        self._prometheus = prometheus
        self._rounds = rounds
        self._a, self._b = lab.hosts[:2]
        self._fleet: dict[str, Host] = {}  # ordinary guests, and where they are

    def play(self) -> Seen:
        """Everything, in order."""
        self._begin()
        self._prometheus.wait_ready()
        start = time.time()
        for number in range(self._rounds):
            self._round(number)
        self._split()
        self._every_end()
        for number in range(self._rounds):
            self._round(self._rounds + number)
        self._stay()
        return Seen(start, time.time(), self._prometheus.interval_s)

    def stop(self) -> None:
        """End pmigd and the guests: what Prometheus has stays to be looked at."""
        for host in self._lab.hosts:
            host.pmigd.stop()
        for host in self._lab.hosts:
            for name in host.virsh("list", "--name").split():
                # Incoming ones end with their source.
                host.run(["virsh", "destroy", name], check=False)

    # The acts

    def _begin(self) -> None:
        a, b = self._a, self._b
        self._guest(
            "cache1", a, memory_mib=64, dirty_pages_per_tick=8, working_set_mib=8, fill_mib=12
        )
        self._guest("db1", a, **_WRITER, fill_mib=8)
        self._guest("files1", a, disk_mib=64)
        self._guest("mail1", a, fill_mib=_SLOW_MIB)
        self._guest("batch1", a, fill_mib=_SLOW_MIB)
        self._guest("web1", a, fill_mib=_SLOW_MIB)
        self._guest("web2", b, fill_mib=8)
        if self._rounds:
            for number in range(3 * len(self._lab.hosts)):
                host = self._lab.hosts[number % len(self._lab.hosts)]
                name = f"app{number + 1}"
                self._guest(name, host, fill_mib=8 + 8 * (number % 5), dirty_pages_per_tick=16)
                self._fleet[name] = host

    def _round(self, number: int) -> None:
        """Every guest of the fleet goes to another host; there is room for some at a time."""
        hosts = self._lab.hosts
        begun = []
        for place, (name, source) in enumerate(self._fleet.items()):
            step = 1 + (place + number) % (len(hosts) - 1)
            to = hosts[(hosts.index(source) + step) % len(hosts)]
            begun.append((name, to, api.submit(source, name, to.name, bandwidth_mib_s=24)))
        for name, to, iden in begun:
            api.end(self._fleet[name], iden, "succeeded", timeout=_ACT_S)
            self._fleet[name] = to

    def _split(self) -> None:
        """A post-copy breaks, is seen to be broken, and is resumed by an operator."""
        a, b = self._a, self._b
        slow = {"bandwidth_mib_s": 4, "postcopy_bandwidth_mib_s": 4}
        iden = api.submit(a, "cache1", b.name, postcopy="allowed", recover_attempts=0, **slow)
        self._wait(iden, "precopy", "its progress", lambda m: m["progress"] is not None)
        api.call(a, "POST", f"/v1/migrations/{iden}/postcopy")
        self._wait(iden, "postcopy")
        # Until the destination's libvirt knows of the switch it would end the guest with the link.
        until(
            lambda: "post-copy" in b.virsh("domstate", "--reason", "cache1"),
            "the destination's libvirt to know of the switch",
            timeout=_ACT_S,
        )
        self._lab.link(a).reset_connections()
        self._wait(iden, "postcopy_paused")
        # Both ends tell of it.
        self._seen('count(ALERTS{alertname="PmigdPostcopyPaused", alertstate="firing"}) == 2')
        # Right after the break QEMU may not be ready yet: then it says so, and is asked again.
        for _ in range(_RECOVERIES):
            api.call(a, "POST", f"/v1/migrations/{iden}/recover")
            until(lambda: self._answered(iden), "an answer to 'recover'", timeout=_ACT_S)
            if self._migration(iden)["state"] != "postcopy_paused":
                break
        api.end(a, iden, "succeeded", timeout=_ACT_S)

    def _answered(self, iden: str) -> bool:
        m = self._migration(iden)
        return m["state"] != "postcopy_paused" or "failed" in m["actions"][-1]["reason"]

    def _every_end(self) -> None:
        """Successes in both directions, a time limit that passes, and one that is given up."""
        a, b = self._a, self._b
        timed = api.submit(a, "batch1", b.name, bandwidth_mib_s=1, timeout_s=2)
        there = api.submit(a, "web1", b.name)
        back = api.submit(b, "web2", a.name)
        unwanted = api.submit(a, "mail1", b.name, bandwidth_mib_s=1)
        with contextlib.suppress(LabError):  # so that a call of libvirt fails
            api.submit(a, "nosuch", b.name)
        api.end(b, back, "succeeded", timeout=_ACT_S)
        api.end(a, there, "succeeded", timeout=_ACT_S)
        api.end(a, timed, "failed", timeout=_ACT_S)
        self._wait(unwanted, "precopy", "its progress", lambda m: m["progress"] is not None)
        api.abort(a, unwanted)
        api.end(a, unwanted, "cancelled", timeout=_ACT_S)

    def _stay(self) -> None:
        """Some run and one waits, until Prometheus has seen all there is to see of them."""
        a, b = self._a, self._b
        api.submit(a, "db1", b.name, **_THROTTLED)
        api.submit(a, "mail1", b.name, bandwidth_mib_s=1, timeout_s=900)
        api.submit(b, "web1", a.name, bandwidth_mib_s=1)
        self._seen("count_over_time(pmigd_migration_cpu_throttle_ratio[1m]) > 2")
        api.submit(a, "files1", b.name, copy_storage="all", bandwidth_mib_s=4)
        api.submit(a, "batch1", b.name, bandwidth_mib_s=1)
        self._seen("sum(pmigd_migrations_queued) == 1")
        self._seen("count_over_time(pmigd_migration_disk_transfer_bytes_per_second[1m]) > 2")
        self._seen('rate(pmigd_migration_transferred_bytes_total{kind="disk"}[5s]) > 0')
        self._seen("min(up) == 1")  # on a busy machine a scrape may have failed

    # What they are made of

    def _guest(self, name: str, on: Host, **spec: Any) -> None:
        self._lab.guest(Guest(name=name, **spec), on=on, timeout=_ACT_S)

    def _migration(self, iden: str) -> dict[str, Any]:
        return api.migration(self._a, iden)

    def _wait(
        self,
        iden: str,
        state: str,
        what: str = "",
        also: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> None:
        """Until a migration of the first host is in a state, and more."""

        def there() -> bool:
            m = self._migration(iden)
            return m["state"] == state and also(m)

        until(
            there,
            f"{state} {what}",
            timeout=_ACT_S,
            evidence=lambda: f"{self._migration(iden)}\n{self._a.pmigd.log_tail()}",
        )

    def _seen(self, expression: str) -> None:
        """Until Prometheus finds something."""
        until(
            lambda: self._prometheus.instant(expression, time.time()),
            expression,
            timeout=_ACT_S,
            interval=0.2,
            evidence=lambda: "\n".join(host.pmigd.log_tail(20) for host in self._lab.hosts),
        )
