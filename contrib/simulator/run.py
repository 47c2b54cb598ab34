"""One run: the scenario's world from its beginning through its trouble to the end of everything.

First things are wanted and go wrong; then all is healed, and from then on everything must come to
its end: that is the second half of what is judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

import libvirt
import structlog

from contrib.simulator import domains, loop
from contrib.simulator.daemon import Pmigd, limits_of
from contrib.simulator.exchange import Chances, SimulatedChannel
from contrib.simulator.faults import befall
from contrib.simulator.journal import Disk
from contrib.simulator.judge import Judge
from contrib.simulator.libvirtd import Libvirtd
from contrib.simulator.scenario import Act, Asked, Fault, Scenario, When, Wish
from contrib.simulator.world import MIB, PAUSED, RUNNING, Guest, World
from pmigd.adapters.system.uuid7 import Uuid7Sequence
from pmigd.core.model import Domain, Migration, MigrationId, State
from pmigd.core.ports import Settings
from pmigd.core.problem import Refused

END_WITHIN_S: Final = 480.0
"""After the healing: libvirt's and pmigd's longest patience (300 s for a peer), and room."""
QUIET: Final = 5 * MIB
"""What guests write in the end, so that a migration without a deadline has one too."""
CLEAR_AWAY_S: Final = 60.0
BROKEN: Final = {
    PAUSED: (libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP),
    RUNNING: (libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED,),
}
SETTLE_S: Final = 90.0
"""What leases, locks and calls may take to be over when every migration is."""


@dataclass
class Outcome:
    """What came of a run."""

    scenario: Scenario
    wrong: list[str]
    timeline: list[tuple[float, str]]
    ends: Counter[str] = field(default_factory=Counter)
    migrations: int = 0
    virtual_s: float = 0.0
    seen: frozenset[State] = frozenset()
    """The states that migrations of pmigd's were in."""
    happened: Counter[str] = field(default_factory=Counter)
    """Which faults befell something, and what people asked for."""

    @property
    def ok(self) -> bool:
        """Nothing was wrong."""
        return not self.wrong

    @property
    def kind(self) -> str:
        """What was wrong first, without names and numbers: the same fault looks the same."""
        return self.wrong[0].partition(":")[0] if self.wrong else ""


class Run:
    """A scenario on its way."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.names = tuple(f"host{chr(97 + i)}" for i in range(scenario.hosts))
        self.world = World(self.names, Random(scenario.seed))
        self.judge = Judge(self.world, scenario.outgoing, scenario.incoming, scenario.workers[0])
        self.guests: list[Guest] = []
        self.disks = {name: Disk(self.world.random) for name in self.names}
        self.pmigds: dict[str, Pmigd] = {}
        self.heals: list[Callable[[], None]] = []
        self.ids: dict[int, tuple[str, MigrationId]] = {}
        self.lives: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting: list[tuple[When, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._uuids = {name: Uuid7Sequence() for name in self.names}
        for name in self.names:
            Libvirtd(self.world, self.world.machines[name])
        self.chances = {frozenset((a, b)): Chances() for a in self.names for b in self.names}
        for number, spec in enumerate(scenario.guests):
            uuid = f"00000000-0000-4000-8000-{number:012x}"
            guest = Guest(
                Domain(f"g{number}", uuid),
                spec.memory_mib * MIB,
                spec.dirty_mib_s * MIB,
                spec.working_set_mib * MIB,
                spec.persistent,
                autostart=number % 2 == 0,
            )
            self.guests.append(guest)
            self.world.add(guest, self.names[spec.host])

    def _channel(self, a: str, b: str) -> SimulatedChannel:
        chances = self.chances[frozenset((a, b))]
        return SimulatedChannel(self.world, a, b, chances, lambda: self.pmigds.get(b))

    async def go(self) -> Outcome:
        """All of it."""
        for name in self.names:
            self.start_pmigd(name)
        for number, wish in enumerate(self.scenario.wishes):
            self.begin(self._wish(number, wish))
        for asked in self.scenario.asked:
            self._when(asked.when, lambda asked=asked: self._ask(asked))  # type: ignore[misc]
        for fault in self.scenario.faults:
            self._when(fault.when, lambda fault=fault: self._befall(fault))  # type: ignore[misc]
        await asyncio.sleep(self.scenario.trouble_s)
        if not self.world.wrong:
            await self._end_everything()
        for complaint in loop.complaints:
            self.world.fault(f"asyncio complains: {complaint}")
        return Outcome(
            self.scenario,
            self.world.wrong,
            self.world.timeline,
            self.judge.ends,
            self.judge.ends.total(),
            self.world.now,
            frozenset(self.judge.seen),
            self.happened,
        )

    # What a scenario's things need

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let it happen beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def start_pmigd(self, name: str) -> None:
        """Its next life, if it has none now."""
        if name in self.pmigds:
            return
        self.lives[name] += 1
        pmigd = Pmigd(
            self.world,
            name,
            self.disks[name],
            {other: self._channel(name, other) for other in self.names if other != name},
            limits=limits_of(self.scenario),
            ids=self._uuids[name],
            first_seq=round(self.world.utc(name).timestamp() * 1000) << 20,
            on_step=self._stepped,
        )
        self.pmigds[name] = pmigd
        if self.lives[name] > 1:
            self.world.note(f"pmigd of {name} starts again")
        pmigd.start()

    def kill_pmigd(self, name: str) -> bool:
        """End its life; False if it has none."""
        pmigd = self.pmigds.pop(name, None)
        if pmigd is None:
            return False
        pmigd.kill()
        return True

    async def stop_pmigd(self, name: str) -> None:
        """End its life in good order."""
        pmigd = self.pmigds.pop(name, None)
        if pmigd is not None:
            await pmigd.stop()

    def resume_by_hand(self, guest: Guest) -> None:
        """Whoever paused it lets it run on."""
        for copy in self.world.copies_of(guest):
            if copy.state == PAUSED and copy.guest.paused_by_person and copy.job is None:
                daemon = self.world.daemons[copy.host]
                self.begin(self._resumed(daemon, guest))

    async def _resumed(self, daemon: Libvirtd, guest: Guest) -> None:
        with contextlib.suppress(Exception):
            await daemon.call(lambda: domains.resume(daemon, guest.domain.uuid, by="somebody"))

    # What is wanted

    def _when(self, when: When, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if when.wish is None:
            self.begin(self._later(when.at_s, act))
        else:
            self._waiting.append((when, act))

    async def _later(self, delay_s: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await asyncio.sleep(delay_s)
        await act()

    def _stepped(self, host: str, before: Migration | None, after: Migration) -> None:
        """Look at every step, and let happen what waits for one."""
        self.judge.stepped(host, before, after)
        pmigd = self.pmigds.get(host)
        if pmigd is not None:
            self.judge.account(host, pmigd.gate, pmigd.migrations, pmigd.peering.granting.book)
        if before is not None and before.state is after.state:
            return
        for item in tuple(self._waiting):
            when, act = item
            if after.state is when.state and self._meant(when, host, after):
                self._waiting.remove(item)
                self.begin(self._later(when.at_s, act))

    def _meant(self, when: When, host: str, migration: Migration) -> bool:
        assert when.wish is not None
        if when.side == "source":
            return self.ids.get(when.wish, ("", ""))[1] == migration.id
        wish = self.scenario.wishes[when.wish]
        uuid = self.guests[wish.guest].domain.uuid
        return migration.external and migration.domain.uuid == uuid and host == self.names[wish.to]

    async def _wish(self, number: int, wish: Wish) -> None:
        await asyncio.sleep(wish.at_s)
        guest, to = self.guests[wish.guest], self.names[wish.to]
        here = [c.host for c in self.world.alive(guest)]
        if not here or here[0] == to:
            return
        pmigd = self.pmigds.get(here[0])
        if pmigd is None or not pmigd.listening:
            return
        request = replace(wish.request, domain=guest.domain.uuid, destination=to)
        self.world.note(f"somebody wants {guest.name} moved from {here[0]} to {to} ({number})")
        with contextlib.suppress(Refused, asyncio.CancelledError):
            task = pmigd.life.spawn(
                pmigd.intake.submit(request, pmigd.target(to), by="somebody", key=f"k{number}")
            )
            migration = await task
            self.ids[number] = (here[0], migration.id)
            self.judge.numbers[migration.id] = number
            if migration.state is State.QUEUED:
                self._stepped(here[0], None, migration)

    async def _ask(self, asked: Asked) -> None:
        found = self._asked_of(asked)
        if found is None:
            return
        pmigd, iden = found
        self.happened[asked.act] += 1
        self.world.note(f"somebody asks migration {asked.wish} on {pmigd.name} for: {asked.act}")
        controls = pmigd.controls
        work: Coroutine[Any, Any, Migration]
        match asked.act:
            case Act.ABORT:
                work = controls.abort(iden, by="somebody", reason="it is not wanted any more")
            case Act.SUSPEND:
                work = controls.suspend(iden, by="somebody")
            case Act.POSTCOPY:
                work = controls.postcopy(iden, by="somebody")
            case Act.RECOVER:
                work = controls.recover(iden, by="somebody")
            case Act.SET:
                work = controls.change(iden, Settings(max_downtime_ms=asked.value), by="somebody")
        with contextlib.suppress(Refused, asyncio.CancelledError):
            after = await pmigd.life.spawn(work)
            if asked.act is Act.ABORT:
                self.judge.aborts.add(after.id)

    def _asked_of(self, asked: Asked) -> tuple[Pmigd, MigrationId] | None:
        """The daemon that is asked, and what it knows the migration as."""
        if asked.side == "source":
            host, iden = self.ids.get(asked.wish, ("", MigrationId("")))
            pmigd = self.pmigds.get(host)
            known = pmigd is not None and pmigd.migrations.get(iden) is not None
            return (pmigd, iden) if pmigd is not None and known else None
        wish = self.scenario.wishes[asked.wish]
        pmigd = self.pmigds.get(self.names[wish.to])
        if pmigd is None:
            return None
        coming = pmigd.migrations.of_domain(self.guests[wish.guest].domain.uuid)
        return None if coming is None else (pmigd, coming.id)

    async def _befall(self, fault: Fault) -> None:
        if self._healed:
            return
        self.happened[fault.kind] += 1
        await befall(self, fault)

    # The end

    _healed = False

    async def _end_everything(self) -> None:
        self._healed = True
        self._waiting.clear()
        for heal in self.heals:
            heal()
        for guest in self.guests:
            self.resume_by_hand(guest)
            guest.dirty_bytes_per_second = min(guest.dirty_bytes_per_second, QUIET)
        self.world.note("everything is healed; from now on all must come to its end")
        end = self.world.now + END_WITHIN_S
        while (still := self._open()) and self.world.now < end:
            await asyncio.sleep(1.0)
            if self.world.wrong:
                return
            for pmigd, migration in still:
                await self._help(pmigd, migration)
            if self.world.now > end - END_WITHIN_S + CLEAR_AWAY_S:
                self._clear_away()
        if still:
            for pmigd, m in still:
                about = f"{self.judge.name(pmigd.name, m)} is {m.state}"
                self.world.fault(
                    f"still {m.state} {END_WITHIN_S:g} s after all was healed: {about}"
                )
            return
        await self._nothing_is_held()
        await self._ready()
        if not self.world.wrong:
            await self._the_next_one_works()
        self.judge.copies()

    def _open(self) -> list[tuple[Pmigd, Migration]]:
        return [(p, m) for p in self.pmigds.values() for m in p.migrations.open()]

    async def _help(self, pmigd: Pmigd, migration: Migration) -> None:
        """What only people can do: go on with post-copy, and close what cannot be known."""
        m = pmigd.migrations.get(migration.id)
        if m is None or m.external:
            return
        with contextlib.suppress(Refused):
            if m.state is State.POSTCOPY_PAUSED and round(self.world.now) % 10 == 0:
                await pmigd.controls.recover(m.id, by="somebody")
            if m.state is State.UNRESOLVED and self.judge.may_stay_unresolved(m):
                self.judge.resolved.add(m.id)
                await pmigd.controls.resolve(m.id, State.FAILED, by="somebody")

    def _clear_away(self) -> None:
        """What is left of a guest whose other half is gone for good only a person ends."""
        for guest in self.guests:
            copies = [c for c in self.world.copies_of(guest) if c.active]
            if len(copies) == 1 and copies[0].reason in BROKEN.get(copies[0].state, ()):
                self.world.daemons[copies[0].host].guest_ends(copies[0], "destroyed")

    async def _nothing_is_held(self) -> None:
        end = self.world.now + SETTLE_S
        while (held := self._held()) and self.world.now < end:
            await asyncio.sleep(1.0)
        for what in held:
            self.world.fault(f"still held when nothing runs: {what}")

    async def _ready(self) -> None:
        """Every pmigd can start something again."""
        end = self.world.now + SETTLE_S
        while self.world.now < end:
            if all(
                p.listening and p.gate.situation().blocked is None for p in self.pmigds.values()
            ):
                return
            await asyncio.sleep(0.5)
        self.world.fault(f"not ready {SETTLE_S:g} s after all was healed")

    def _held(self) -> list[str]:
        found = []
        for name, p in self.pmigds.items():
            found += [f"{key} in the account of {name}" for key, _ in p.gate.account]
            found += [
                f"a lease of {lease.domain.name} at {name}" for lease in p.peering.granting.book
            ]
            found += [f"a wish for a lease at {name}" for _ in p.gate.leases]
            found += [f"{iden} about to start at {name}" for iden in p.gate.taking]
            if p.hypervisor.threads:
                found.append(f"{p.hypervisor.threads} threads at {name}")
            if self.disks[name].leases:
                found.append(f"a lease in the journal of {name}")
        return found

    async def _the_next_one_works(self) -> None:
        """Whatever happened: a guest that runs can be moved now."""
        for guest in self.guests:
            copies = self.world.alive(guest)
            if len(copies) != 1 or not copies[0].executes or copies[0].job is not None:
                continue
            here = copies[0].host
            to = next(
                (
                    name
                    for name in self.names
                    if (c := self.world.machines[name].copies.get(guest.domain.uuid)) is None
                    or not c.active
                ),
                None,
            )
            if to is None:
                continue
            await self._moves(guest, here, to)
            return

    async def _moves(self, guest: Guest, here: str, to: str) -> None:
        pmigd = self.pmigds[here]
        wish = Wish(0, 0, 0.0)
        request = replace(wish.request, domain=guest.domain.uuid, destination=to)
        try:
            m = await pmigd.intake.submit(request, pmigd.target(to), by="somebody")
        except Refused as refused:
            self.world.fault(f"the next migration is refused: {refused.problem.detail}")
            return
        end = self.world.now + 120.0
        while self.world.now < end:
            await asyncio.sleep(0.5)
            after = pmigd.migrations.get(m.id)
            if after is not None and after.state.terminal:
                if after.state is not State.SUCCEEDED:
                    problem = after.problem.detail if after.problem else ""
                    self.world.fault(f"the next migration is {after.state}: {problem}")
                return
        self.world.fault("the next migration does not end: 120 s")


def run(scenario: Scenario) -> Outcome:
    """Run a scenario on a loop of its own."""
    loop.complaints.clear()

    worlds: list[World] = []

    async def go() -> Outcome:
        here = Run(scenario)
        worlds.append(here.world)
        return await here.go()

    try:
        with _told_of_mistakes(worlds):
            return loop.run(go())
    except loop.Stuck as stuck:
        return Outcome(scenario, [f"stuck: {stuck}"], worlds[0].timeline)


@contextlib.contextmanager
def _told_of_mistakes(worlds: list[World]) -> Iterator[None]:
    """Every traceback that pmigd logs is something wrong; all other lines are dropped."""

    def look(
        _logger: object, _name: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if line.get("exc_info") and worlds:
            worlds[0].fault(f"pmigd logs a traceback: {_traceback(line)}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[look],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _traceback(line: MutableMapping[str, Any]) -> str:
    found = sys.exc_info()[1]
    where = traceback.extract_tb(found.__traceback__)[-1] if found is not None else None
    place = f"{where.filename.rpartition('/')[2]}:{where.lineno}" if where else "?"
    return f"{line.get('event')}: {found!r} at {place}"
