"""What migrations hold on this host, by resource: the account behind every admission.

A migration takes a client of libvirtd on either side, a worker at the source for the whole of its
one call, and a worker at the destination while that prepares it, finishes it and goes through
post-copy. The table :func:`needs` is the only place that says so. An account can not go wrong by
lost messages or crashes: it is put together anew from what runs and from the leases in force.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, Self

from pmigd.core.model import Direction, Migration, Transport

Login = Literal["tls", "tcp", "ssh", "unix"]
"""How the source's libvirt daemon connects to the destination's."""

WORKERS_FOR_CONTROL: Final = 1
"""Of libvirtd's workers, those that no migration ever takes, whatever its phase: an abort, a look
at the statistics or a switch to post-copy finds one, for these calls are not prioritised ones."""


class Resource(StrEnum):
    """What there is only so much of."""

    OUTGOING_SLOT = "outgoing_slot"  # limits.max_outgoing
    INCOMING_SLOT = "incoming_slot"  # limits.max_incoming
    PREPARING_SLOT = "preparing_slot"  # limits.max_preparing, at the destination
    CLIENT = "client"  # libvirtd: max_clients
    ANONYMOUS_CLIENT = "anonymous_client"  # libvirtd: max_anonymous_clients
    WORKER = "worker"  # libvirtd: max_workers
    CLIENT_REQUEST = "client_request"  # libvirtd: max_client_requests, on one connection
    MIGRATION_PORT = "migration_port"  # qemu.conf: migration_port_min to _max
    SSH_STARTUP = "ssh_startup"  # limits.ssh_startups, sshd's MaxStartups


SHARED: Final = frozenset({Resource.CLIENT, Resource.WORKER})
"""What both those who leave and those who come need."""


class Phase(StrEnum):
    """How far a migration is, as far as it changes what it holds.

    The first two are of a migration that waits for its lease; once it has one, it holds what it
    needs to prepare.
    """

    NOT_READY = "not_ready"  # keeps its place, and is not granted
    READY = "ready"
    PREPARING = "preparing"
    TRANSFER = "transfer"
    POSTCOPY = "postcopy"
    FINISHING = "finishing"

    @property
    def waits(self) -> bool:
        """It has not begun."""
        return self in (Phase.NOT_READY, Phase.READY)


@dataclass(frozen=True, slots=True)
class Held:
    """One migration in the account. `ports` matters at the destination, `to` (the destination's
    name) at the source only.
    """

    direction: Direction
    phase: Phase = Phase.PREPARING
    ports: int = 1
    login: Login = "tls"
    to: str = ""

    @property
    def logs_in_by_ssh(self) -> bool:
        """Its connection between the hosts is being set up by ssh."""
        return self.login == "ssh" and (self.phase.waits or self.phase is Phase.PREPARING)


def needs(held: Held) -> Mapping[Resource, int]:
    """What a migration holds on this host in its present phase."""
    if held.direction is Direction.OUTGOING:
        return {Resource.OUTGOING_SLOT: 1, Resource.CLIENT: 1, Resource.WORKER: 1}
    preparing = held.phase.waits or held.phase is Phase.PREPARING
    return {
        Resource.INCOMING_SLOT: 1,
        Resource.PREPARING_SLOT: int(preparing),
        Resource.CLIENT: 1,
        Resource.ANONYMOUS_CLIENT: int(preparing),
        Resource.WORKER: int(held.phase is not Phase.TRANSFER),
        Resource.MIGRATION_PORT: held.ports,
        Resource.SSH_STARTUP: int(held.logs_in_by_ssh),
    }


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each resource migrations may hold; what is not in `usable` is not limited.

    `others`: in use by somebody else, which leaves less. `workers` is libvirtd's whole number:
    what is usable for a start is less, so that what has started always finds one to finish with.
    `busy` are the workers that nobody here accounts for at this moment; `hung` those inside overdue
    calls of pmigd's own, by the guest that does not answer.
    """

    usable: Mapping[Resource, int] = field(default_factory=dict)
    others: Mapping[Resource, int] = field(default_factory=dict)
    workers: int = 20
    busy: int = 0
    hung: Mapping[str, int] = field(default_factory=dict)

    @property
    def hung_words(self) -> str:
        """What those workers are held by, in plain words, or ""."""
        if not self.hung:
            return ""
        guests = ", ".join(sorted(filter(None, self.hung)))
        whose = f" about guests that do not answer: {guests}" if guests else ""
        return f"{sum(self.hung.values())} held by overdue calls{whose}"


@dataclass(frozen=True, slots=True)
class Shortage:
    """The resource of `host` that keeps a migration from starting, and how full it is."""

    resource: str
    host: str
    used: int
    limit: int


class Account:
    """Who holds what. Every change is one step, and takes all of a migration's needs or none."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._used: Counter[tuple[Direction, Resource]] = Counter()
        self._number: Counter[Direction] = Counter()
        self._startups: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[str, Held]]:
        return iter(self._held.items())

    def used(self, resource: Resource, *directions: Direction) -> int:
        """How much of `resource` is held, by migrations in `directions` or else by all."""
        return sum(self._used[direction, resource] for direction in directions or Direction)

    def number(self, direction: Direction) -> int:
        """How many migrations in that direction hold something."""
        return self._number[direction]

    def startups(self, to: str) -> int:
        """How many connections are being set up by ssh from here to that destination."""
        return self._startups[to]

    def put(self, key: str, held: Held) -> None:
        """`key` holds this from now on, instead of what it held before."""
        self.drop(key)
        self._held[key] = held
        self._count(held, 1)

    def drop(self, key: str) -> None:
        """`key` holds nothing any more; one that held nothing is no mistake."""
        held = self._held.pop(key, None)
        if held is not None:
            self._count(held, -1)

    def copy(self) -> Self:
        """The same account, to try something on."""
        other = type(self)()
        for key, held in self:
            other.put(key, held)
        return other

    def _count(self, held: Held, sign: int) -> None:
        self._number[held.direction] += sign
        if held.direction is Direction.OUTGOING:
            self._startups[held.to] += sign * held.logs_in_by_ssh
        for resource, number in needs(held).items():
            self._used[held.direction, resource] += sign * number


def lacking(account: Account, limits: Limits, host: str, wanted: Held) -> Shortage | None:
    """What keeps a migration that begins with `wanted` from starting now, or None.

    Both directions must always be able to go on: whoever leaves needs a worker elsewhere that
    somebody who comes from there may be waiting for here. So neither takes the last of the other
    where there are two, and all together stay so few that each can finish at the same time.
    """
    for resource, number in needs(wanted).items():
        usable = limits.usable.get(resource)
        if number == 0 or usable is None:
            continue
        others = limits.others.get(resource, 0)
        used = account.used(resource) + others
        if used + number > usable:
            return Shortage(resource, host, used, usable)
        own = account.used(resource, wanted.direction) + others
        if resource in SHARED and usable - others > 1 and own + number > usable - 1:
            return Shortage(resource, host, own, usable - 1)
    return _no_worker_to_finish_with(account, limits, host, wanted)


def _no_worker_to_finish_with(
    account: Account, limits: Limits, host: str, wanted: Held
) -> Shortage | None:
    if Resource.WORKER not in limits.usable:
        return None
    others = limits.others.get(Resource.WORKER, 0)
    peak = max(1, limits.workers - WORKERS_FOR_CONTROL - others)
    total = sum(account.number(direction) for direction in Direction)
    if total + 1 > peak:
        return Shortage(Resource.WORKER, host, total, peak)
    own = account.number(wanted.direction)
    if peak > 1 and own + 1 > peak - 1:
        return Shortage(Resource.WORKER, host, own, peak - 1)
    return None


def held_of(migration: Migration) -> Held | None:
    """What a migration holds on this host; None when nothing is going on between the hosts."""
    held = migration.state.about.held
    if not held or migration.ending is not None:
        return None
    return Held(
        migration.direction,
        Phase(held),
        ports=ports_of(migration),
        login=login_of(migration.target.uri if migration.target else ""),
        to=migration.destination,
    )


def ports_of(migration: Migration) -> int:
    """Migration ports at the destination: one for memory, one for the disks that are copied."""
    request = migration.request
    over_unix = (request.migrate_uri or "").startswith("unix:")
    if request.offline or request.transport is Transport.TUNNELLED or over_unix:
        return 0
    return 1 + int(request.copy_storage.value != "none")


def login_of(uri: str) -> Login:
    """How a libvirt URI connects; without a scheme of its own it is TLS."""
    scheme = uri.partition("://")[0].partition("+")[2]
    match scheme:
        case "tcp" | "ssh" | "unix":
            return scheme
        case _:
            return "tls"
