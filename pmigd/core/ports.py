"""What the daemon needs of a hypervisor, in the core's words: the seam between deciding and acting.

The one implementation is :mod:`pmigd.adapters.libvirt.hypervisor`. Calls that cannot be answered
raise :class:`~pmigd.core.problem.Refused` with the problem that explains it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol

from pmigd.core.facts import (
    DestinationFacts,
    GuestFacts,
    Leads,
    LocalFacts,
    Question,
)
from pmigd.core.facts import DomainFacts as DomainFacts
from pmigd.core.facts import HostFacts as HostFacts
from pmigd.core.model import Direction, Domain, Job, Plan, Sample, Target, View
from pmigd.core.model import Settings as Settings
from pmigd.core.problem import Problem, Refused


class OwnHost(Protocol):
    """The machine that pmigd runs on, beside its libvirt daemon. Nothing here raises."""

    async def look(self, question: Question, *, arriving: bool = False) -> LocalFacts | None:
        """What only the host itself can see; None if it takes too long."""

    async def where_leads(self, host: str) -> Leads | None:
        """Where a host name leads to from here; None if the resolver takes too long."""


class NotMade(Refused):
    """It is proven that libvirt was not called and will not be; `problem` says why.

    It was withdrawn in time, or libvirt could not be reached.
    """


class Permit(Protocol):
    """Whether a command is still wanted. Read on the worker's own thread, right before the call."""

    @property
    def wanted(self) -> bool:
        """False: the call is not made any more."""


class Ticket(Protocol):
    """A migrate call that was made, or is about to be."""

    def withdraw(self) -> bool:
        """Prevent the call. True: it is proven that it was not made and never will be."""

    def answer(self) -> Awaitable[Problem | None]:
        """What the call came back with: None is libvirt's success.

        Raises NotMade: it was withdrawn, or libvirt could not be opened in time.
        """


class Hypervisor(Protocol):
    """This host's libvirt daemon, and through it the peers'.

    Looks have deadlines: what is overdue is Refused with libvirt_unavailable, and a guest with an
    overdue look gets no second one. Commands have none: they return when the call has really ended,
    so a late result is a result. Whether a command is still wanted, and what must hold for it in
    libvirt, is looked at on the thread that makes the call, right before it.
    """

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""

    @property
    def facts(self) -> HostFacts:
        """What the daemon said about itself when it was last connected to."""

    @property
    def own_host(self) -> OwnHost:
        """The machine that the daemon runs on."""

    @property
    def hung(self) -> Mapping[str, int]:
        """Calls that should have come back by now, by the guest that does not answer; "" is of
        those about no single guest. Each holds a worker of the daemon."""

    async def lookup(self, name_or_uuid: str) -> DomainFacts:
        """Find a domain. Refused: domain_not_found, libvirt_unavailable."""

    async def domains(self) -> list[DomainFacts]:
        """All domains of this host."""

    async def sample(self, domain: Domain) -> tuple[Job, Sample | None]:
        """Statistics of the domain's running job."""

    async def settings(self, domain: Domain) -> Settings:
        """The settings of a running migration that libvirt knows."""

    async def look_here(
        self, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """This host's copy, and the final statistics of a migration in direction `completed`.

        Never raises: what cannot be asked is UNKNOWN with a detail.
        """

    async def look_there(
        self, target: Target, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """The destination's copy; like :meth:`look_here`."""

    async def examine_peer(self, target: Target, domain: Domain) -> tuple[HostFacts, View]:
        """Reach the destination: who is it, and what does it have of the domain?

        Refused: destination_unreachable, destination_auth.
        """

    async def examine_guest(self, name_or_uuid: str, arriving_xml: str | None) -> GuestFacts:
        """Find a domain and look at it closely. Refused: domain_not_found, libvirt_unavailable."""

    async def inspect_peer(self, target: Target, question: Question) -> DestinationFacts:
        """Look at the destination, over one connection.

        Refused: destination_unreachable, destination_auth.
        """

    async def inspect_here(self, question: Question) -> DestinationFacts | None:
        """This host's answer to the same question; None if it cannot be had."""

    def perform(self, domain: Domain, plan: Plan, *, resume: bool = False) -> Ticket:
        """Make the blocking migrate call on a connection and in a thread of its own.

        `resume` goes on with a broken post-copy instead of beginning.
        """

    # Commands. Each raises NotMade (no longer wanted, or no connection) or Refused (why not).

    async def abort_job(self, domain: Domain, permit: Permit) -> bool:
        """Abort the outgoing migration job. False: there is none (yet)."""

    async def start_postcopy(self, domain: Domain, permit: Permit) -> bool:
        """Switch the running migration to post-copy. False: no outgoing migration job (yet)."""

    async def suspend(self, domain: Domain, permit: Permit) -> bool:
        """Pause the guest. False: no outgoing migration job: it is not paused for nothing."""

    async def resume(self, domain: Domain, permit: Permit) -> bool:
        """Let the guest run on. False: it is not paused, or has a job."""

    async def change(self, domain: Domain, settings: Settings, permit: Permit) -> bool:
        """Change those that are not None. False: no outgoing migration job."""

    async def autostart_here(self, domain: Domain, on: bool, permit: Permit) -> bool:
        """Have the guest start with this host, or not. False: it has no definition here."""

    async def autostart_there(
        self, target: Target, domain: Domain, on: bool, permit: Permit
    ) -> bool:
        """Have the guest, under whatever name, start with the destination, or not.

        False: it has no definition there.
        """

    async def quiet(self, domain: Domain) -> None:
        """Return when no command for this domain is out any more: before its next migration."""
