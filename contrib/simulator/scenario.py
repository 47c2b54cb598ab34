"""What a seed stands for: hosts, guests, what people want and when, and what goes wrong meanwhile.

All of it is plain data that was drawn beforehand. So a run can be told, repeated, and made smaller
by leaving something out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final, TypeVar

from pmigd.core.model import OnTimeout, Postcopy, Request, State

T = TypeVar("T")

TROUBLE_S: Final = 16.0
LAST_FAULT_S: Final = 14.0


class Kind(StrEnum):
    """What can go wrong, or be done by somebody else than pmigd."""

    KILL_PMIGD = "pmigd is killed"
    STOP_PMIGD = "pmigd is stopped"
    KILL_LIBVIRTD = "libvirtd is killed"
    FREEZE_LIBVIRTD = "libvirtd hangs"
    SLOW_LIBVIRTD = "libvirtd is slow"
    REFUSE = "QEMU refuses what it is told"
    CUT = "the network is cut"
    BREAK_STREAM = "the stream of memory breaks"
    HANG_QEMU = "the guest's QEMU hangs"
    END_GUEST = "the guest shuts down"
    DESTROY_GUEST = "the guest is destroyed"
    SLEEP = "the guest sleeps"
    START_AGAIN = "the guest is started again where it ended"
    DISK_FULL = "the journal's disk is full or read-only"
    DISK_HANGS = "the journal's disk hangs"
    DISK_SLOW = "the journal's disk is slow"
    CLOCK = "the clock is set an hour on or back"
    MESSAGES = "messages between pmigd get lost, doubled and late"
    VIRSH_ABORT = "somebody aborts libvirt's job"
    VIRSH_MIGRATE = "somebody migrates the guest by hand"
    VIRSH_SUSPEND = "somebody pauses the guest"


class Act(StrEnum):
    """What a person asks of a migration."""

    ABORT = "abort"
    SUSPEND = "suspend"
    POSTCOPY = "post-copy"
    SET = "set"
    RECOVER = "recover"


@dataclass(frozen=True)
class When:
    """A moment: `at_s` after the beginning, or after a migration first shows `state` at a side.

    `wish` is the number of the migration; `side` "source" or "destination".
    """

    at_s: float = 0.0
    wish: int | None = None
    state: State = State.QUEUED
    side: str = "source"

    def __str__(self) -> str:
        if self.wish is None:
            return f"at {self.at_s:.3f} s"
        where = f"{self.state} at its {self.side}"
        return f"{self.at_s * 1000:.1f} ms after migration {self.wish} is {where}"


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at `when` for `for_s`; what `host`, `peer`, `guest` mean, its kind
    says. `strength` is a factor or a number.
    """

    kind: Kind
    when: When
    host: int = 0
    peer: int = 1
    guest: int = 0
    for_s: float = 1.0
    strength: float = 0.5


@dataclass(frozen=True)
class Asked:
    """A person asks something of a migration at `when`, at its source or its destination."""

    act: Act
    when: When
    wish: int
    value: int = 0
    side: str = "source"


@dataclass(frozen=True)
class Wish:
    """A migration of guest number `guest` to host number `to`, wanted at `at_s`."""

    guest: int
    to: int
    at_s: float
    request: Request = Request("", "")  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class GuestSpec:
    """A guest that runs on host number `host`."""

    host: int
    memory_mib: int = 256
    dirty_mib_s: int = 10
    working_set_mib: int = 64
    persistent: bool = True


def _one_less(things: tuple[T, ...]) -> list[tuple[T, ...]]:
    return [things[:i] + things[i + 1 :] for i in range(len(things))]


@dataclass(frozen=True)
class Scenario:
    """Everything that a run is made of, besides the chances of its `seed`."""

    seed: int
    hosts: int
    guests: tuple[GuestSpec, ...]
    wishes: tuple[Wish, ...]
    asked: tuple[Asked, ...] = ()
    faults: tuple[Fault, ...] = ()
    outgoing: int = 2
    incoming: int = 2
    preparing: int = 2
    workers: tuple[int, int] = (20, 15)
    """Of each libvirt daemon, and how many of them migrations may begin with."""
    trouble_s: float = TROUBLE_S
    """How long things go wrong before all is healed."""

    def smaller(self) -> list[Scenario]:
        """The same with one thing less, the greatest things first."""
        less_wrong = [replace(self, faults=rest) for rest in _one_less(self.faults)]
        less_asked = [replace(self, asked=rest) for rest in _one_less(self.asked)]
        wishes = range(len(self.wishes) if len(self.wishes) > 1 else 0)
        return [*less_wrong, *less_asked, *(self._without(i) for i in wishes)]

    def _without(self, wish: int) -> Scenario:
        """Without one migration, and without what hangs on it."""

        def moved(when: When) -> When | None:
            if when.wish is None or when.wish < wish:
                return when
            return None if when.wish == wish else replace(when, wish=when.wish - 1)

        asked = tuple(
            replace(a, when=w, wish=a.wish - (a.wish > wish))
            for a in self.asked
            if a.wish != wish and (w := moved(a.when)) is not None
        )
        faults = tuple(replace(f, when=w) for f in self.faults if (w := moved(f.when)) is not None)
        wishes = self.wishes[:wish] + self.wishes[wish + 1 :]
        return replace(self, wishes=wishes, asked=asked, faults=faults)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)
    hosts = random.choice((2, 2, 2, 3, 3, 4))
    guests = tuple(_guest(random, hosts) for _ in range(random.randint(1, 4)))
    wishes = tuple(
        _wish(random, guests, hosts) for _ in range(random.randint(2, 3 * len(guests) + 3))
    )
    asked = tuple(_asked(random, wishes) for _ in range(random.choice((0, 1, 1, 2, 3, 4))))
    faults = tuple(
        _fault(random, hosts, guests, wishes)
        for _ in range(random.choice((0, 1, 2, 2, 3, 4, 5, 6)))
    )
    return Scenario(
        seed,
        hosts,
        guests,
        wishes,
        asked,
        faults,
        outgoing=random.choice((1, 2, 4)),
        incoming=random.choice((1, 2, 4)),
        workers=random.choice(((20, 15), (20, 15), (5, 2), (4, 2))),
        trouble_s=random.choice((TROUBLE_S, TROUBLE_S, TROUBLE_S, 4 * TROUBLE_S)),
    )


def _guest(random: Random, hosts: int) -> GuestSpec:
    return GuestSpec(
        random.randrange(hosts),
        random.choice((64, 128, 256)),
        random.choice((0, 5, 20, 60, 150)),
        random.choice((8, 32, 64)),
        random.random() < 0.8,
    )


def _wish(random: Random, guests: tuple[GuestSpec, ...], hosts: int) -> Wish:
    guest = random.randrange(len(guests))
    converges = guests[guest].dirty_mib_s < 60
    postcopy = random.choice(
        (Postcopy.NEVER, Postcopy.NEVER, Postcopy.ALLOWED, Postcopy.AFTER_PRECOPY)
    )
    request = Request(
        "",
        "",
        postcopy=postcopy,
        bandwidth_mib_s=random.choice((0, 0, 0, 50)),
        max_downtime_ms=random.choice((None, None, 50, 500)),
        timeout_s=random.choice((0, 5, 10)) if converges else random.choice((4, 8)),
        on_timeout=random.choice(
            (OnTimeout.ABORT, OnTimeout.SUSPEND)
            if postcopy is Postcopy.NEVER
            else (OnTimeout.ABORT, OnTimeout.SUSPEND, OnTimeout.POSTCOPY)
        ),
        recover_attempts=random.choice((0, 3)),
        suspend=postcopy is Postcopy.NEVER and random.random() < 0.1,
        priority=random.choice((0, 50, 50, 100)),
    )
    return Wish(guest, random.randrange(hosts), round(random.uniform(0, 12), 3), request)


def _when(random: Random, wishes: tuple[Wish, ...]) -> When:
    if random.random() < 0.4:
        return When(round(random.uniform(0.2, LAST_FAULT_S), 4))
    state = random.choice([s for s in State if s is not State.UNRESOLVED])
    delay_s = random.choice((0.0, 0.0005, 0.002, 0.005, 0.02, 0.1, 0.5))
    side = random.choice(("source", "source", "destination"))
    return When(delay_s * random.random(), random.randrange(len(wishes)), state, side)


def _asked(random: Random, wishes: tuple[Wish, ...]) -> Asked:
    wish = random.randrange(len(wishes))
    act = random.choice((Act.ABORT, Act.ABORT, Act.ABORT, Act.SUSPEND, Act.POSTCOPY, Act.SET))
    when = _when(random, wishes)
    if when.wish is not None:
        when = replace(when, wish=wish, side="source")
    return Asked(act, when, wish, random.choice((20, 50, 200, 1000)))


_LONG: Final = (0.05, 0.5, 1.5, 3.0, 8.0, 40.0)


def _fault(
    random: Random, hosts: int, guests: tuple[GuestSpec, ...], wishes: tuple[Wish, ...]
) -> Fault:
    kind = random.choice(list(Kind) + [Kind.KILL_PMIGD] * 3 + [Kind.KILL_LIBVIRTD, Kind.CUT])
    when = _when(random, wishes)
    host = random.randrange(hosts)
    peer = random.choice([h for h in range(hosts) if h != host])
    guest = random.randrange(len(guests))
    if when.wish is not None:
        wish = wishes[when.wish]
        guest = wish.guest
        near = [guests[guest].host, wish.to]
        host = random.choice(near)
        others = [h for h in near if h != host] or [peer if peer != host else (host + 1) % hosts]
        peer = others[0]
    return Fault(
        kind,
        when,
        host,
        peer,
        guest,
        for_s=round(random.choice(_LONG) * random.uniform(0.5, 1.5), 3),
        strength=random.choice((1, 2, 10, 100, 400)),
    )
