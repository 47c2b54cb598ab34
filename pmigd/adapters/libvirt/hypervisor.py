"""This host's libvirt daemon, and the peers' as far as they are asked where a guest is.

What each call is, in one place. Four kinds, none of which can take what another needs:

* the main connection: events and signs of life (:mod:`~pmigd.adapters.libvirt.connection`);
* looks and commands: :mod:`~pmigd.adapters.libvirt.calls`;
* the migrate calls: a thread and a connection each (:mod:`~pmigd.adapters.libvirt.perform`);
* questions to the peers' daemons: :mod:`~pmigd.adapters.libvirt.peers`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

import libvirt

from pmigd.adapters.libvirt import autostart, commands, looks
from pmigd.adapters.libvirt.calls import CommandCalls, LookCalls
from pmigd.adapters.libvirt.connection import MainConnection
from pmigd.adapters.libvirt.guest import guest_facts
from pmigd.adapters.libvirt.inspect import host_facts, inspect
from pmigd.adapters.libvirt.peers import PeerDaemons
from pmigd.adapters.libvirt.perform import Perform
from pmigd.adapters.libvirt.translate import Notice
from pmigd.adapters.pool import CallPool, Observer, Overdue
from pmigd.core.facts import DestinationFacts, GuestFacts, Question
from pmigd.core.model import Direction, Domain, Job, Plan, Power, Sample, Target, View
from pmigd.core.ports import DomainFacts, HostFacts, OwnHost, Permit, Settings, Ticket
from pmigd.core.problem import Refused

LOOKUP_DEADLINE_S: Final = 4.0
"""Somebody waits for the answer, and may as well be told that there is none."""
CLOSE_DEADLINE_S: Final = 1.0


class LocalHypervisor:
    """The libvirt daemon at `uri`.

    `notify` is told of libvirt's events, `connection_changed` of the connection's coming and
    going; both run on the loop and must return at once. `utc_now` stamps samples.
    """

    def __init__(
        self,
        uri: str,
        *,
        notify: Callable[[Notice], None],
        connection_changed: Callable[[bool], None],
        utc_now: Callable[[], datetime],
        own_host: OwnHost,
        observe: Observer | None = None,
    ) -> None:
        self.uri = uri
        self.own_host = own_host
        self._utc_now = utc_now
        self._tell = connection_changed
        self._main = MainConnection(
            uri, notify=notify, changed=self._changed, utc_now=utc_now, observe=observe
        )
        self._looks = LookCalls(uri, self._main, observe)
        self._commands = CommandCalls(uri, self._main, observe)
        self._peers = PeerDaemons(observe)

    @property
    def connected(self) -> bool:
        """Whether the main connection is up and the daemon answers on it."""
        return self._main.answers

    @property
    def facts(self) -> HostFacts:
        """What the daemon said about itself when it was last connected to."""
        return self._main.facts

    @property
    def reconnects(self) -> int:
        """How often the main connection was lost."""
        return self._main.reconnects

    @property
    def last_error(self) -> str:
        """Why there is no connection, or was none last."""
        return self._main.last_error

    @property
    def pools(self) -> tuple[CallPool, ...]:
        """The threads for calls, for the metrics."""
        return self._looks.pool, self._commands.pool, self._peers.pool

    @property
    def hung(self) -> Counter[str]:
        """Calls that should have come back by now, by the guest that does not answer."""
        out = self._looks.pool.overdue_by_key() + self._commands.pool.overdue_by_key()
        names = {key: key.name if isinstance(key, Domain) else "" for key in out}
        return Counter(names[key] for key in out.elements())

    async def run(self) -> None:
        """Keep the main connection up until cancelled."""
        await self._main.run()

    async def close(self) -> None:
        """Close the connections in good order, those that hang excepted."""
        with contextlib.suppress(Overdue):
            await self._looks.pool.call("close", CLOSE_DEADLINE_S, self._close_lines)
        await self._main.close()
        for pool in self.pools:
            pool.stop()

    def _changed(self, there: bool) -> None:
        if there:
            self._commands.be_ready()
        self._tell(there)

    def _close_lines(self) -> None:
        self._looks.lines.close()
        self._commands.lines.close()

    # Looks

    async def _find(self, name_or_uuid: str) -> Domain:
        """Which domain is meant; that much no guest can hold up."""
        return await self._looks.ask(
            "find",
            lambda c: looks.identity(looks.find(c, name_or_uuid)),
            deadline_s=LOOKUP_DEADLINE_S,
        )

    async def lookup(self, name_or_uuid: str) -> DomainFacts:
        """Find a domain by UUID, or else by name."""
        domain = await self._find(name_or_uuid)

        def see(connection: libvirt.virConnect) -> DomainFacts:
            found = connection.lookupByUUIDString(domain.uuid)
            return DomainFacts(looks.identity(found), looks.view(found)[0])

        return await self._looks.ask("lookup", see, about=domain, deadline_s=LOOKUP_DEADLINE_S)

    async def examine_guest(self, name_or_uuid: str, arriving_xml: str | None) -> GuestFacts:
        """Find a domain and look at it closely."""
        domain = await self._find(name_or_uuid)

        def see(connection: libvirt.virConnect) -> GuestFacts:
            found = connection.lookupByUUIDString(domain.uuid)
            known = DomainFacts(looks.identity(found), looks.view(found)[0])
            return guest_facts(connection, found, known, arriving_xml)

        return await self._looks.ask("examine_guest", see, about=domain)

    async def domains(self) -> list[DomainFacts]:
        """All domains of this host; their jobs are not asked for, so none holds it up."""
        return await self._looks.ask("list_domains", looks.listing, deadline_s=LOOKUP_DEADLINE_S)

    async def sample(self, domain: Domain) -> tuple[Job, Sample | None]:
        """Statistics of the domain's running job."""
        return await self._looks.ask(
            "job_stats", lambda c: looks.statistics(c, domain, self._utc_now), about=domain
        )

    async def settings(self, domain: Domain) -> Settings:
        """The settings in force; None for what this libvirt or QEMU does not tell."""
        return await self._looks.ask(
            "get_settings", lambda c: looks.settings(c, domain), about=domain
        )

    async def look_here(
        self, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """This host's copy. Never raises: what cannot be asked is UNKNOWN with a detail."""
        try:
            return await self._looks.ask(
                "view", lambda c: looks.look(c, domain, completed, self._utc_now), about=domain
            )
        except Refused as refused:
            return View(Power.UNKNOWN, detail=refused.problem.detail), None

    async def inspect_here(self, question: Question) -> DestinationFacts | None:
        """This host's answer to what a destination is asked; None if there is none."""
        try:
            return await self._looks.ask("inspect", lambda c: inspect(c, question))
        except Refused:
            return None

    # Commands

    async def abort_job(self, domain: Domain, permit: Permit) -> bool:
        """Abort the outgoing migration job.

        Only a job that libvirt calls an outgoing migration is aborted, not whatever else may hold
        the domain by now. libvirt refuses in post-copy, where an abort would lose the guest.
        """
        return await self._commands.make(
            "abort_job", domain, permit, lambda found: found.abortJob(), commands.leaves
        )

    async def start_postcopy(self, domain: Domain, permit: Permit) -> bool:
        """Switch the running migration to post-copy."""
        return await self._commands.make(
            "start_postcopy", domain, permit, lambda d: d.migrateStartPostCopy(0), commands.leaves
        )

    async def suspend(self, domain: Domain, permit: Permit) -> bool:
        """Pause the guest, but only while it migrates."""
        return await self._commands.make(
            "suspend", domain, permit, lambda found: found.suspend(), commands.leaves
        )

    async def resume(self, domain: Domain, permit: Permit) -> bool:
        """Let the guest run on, but only if it is paused and libvirt does nothing with it."""
        return await self._commands.make(
            "resume", domain, permit, lambda found: found.resume(), commands.rests
        )

    async def change(self, domain: Domain, settings: Settings, permit: Permit) -> bool:
        """Change those that are not None, in order; the first refusal ends it."""
        act = partial(commands.set_each, settings=settings)
        return await self._commands.make("change_settings", domain, permit, act, commands.leaves)

    async def autostart_here(self, domain: Domain, on: bool, permit: Permit) -> bool:
        """Have the guest start with this host, or not."""
        act = partial(autostart.set_flag, on=on)
        return await self._commands.make("autostart", domain, permit, act, autostart.has_flag)

    async def quiet(self, domain: Domain) -> None:
        """Return when no command for this domain waits or is out any more."""
        await self._commands.pool.quiet(domain)

    def perform(self, domain: Domain, plan: Plan, *, resume: bool = False) -> Ticket:
        """Make the blocking migrate call on a connection and in a thread of its own."""
        return Perform(self.uri, domain, plan, resume=resume)

    # Peers

    async def examine_peer(self, target: Target, domain: Domain) -> tuple[HostFacts, View]:
        """Reach the destination's daemon and learn who it is and what it has of the domain."""
        return await self._peers.ask(
            "peer_facts",
            target,
            lambda c: (host_facts(c), looks.look(c, domain, None, self._utc_now)[0]),
        )

    async def inspect_peer(self, target: Target, question: Question) -> DestinationFacts:
        """The destination's answer, over one connection."""
        return await self._peers.ask("peer_inspect", target, lambda c: inspect(c, question))

    async def autostart_there(
        self, target: Target, domain: Domain, on: bool, permit: Permit
    ) -> bool:
        """Have the guest start with the destination, or not."""
        return await self._peers.ask(
            "peer_autostart", target, lambda c: autostart.set_there(c, domain, permit, on=on)
        )

    async def look_there(
        self, target: Target, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """The destination's copy. Never raises: what cannot be asked is UNKNOWN with a detail."""
        try:
            return await self._peers.ask(
                "peer_view", target, lambda c: looks.look(c, domain, completed, self._utc_now)
            )
        except Refused as refused:
            return View(Power.UNKNOWN, detail=refused.problem.detail), None
