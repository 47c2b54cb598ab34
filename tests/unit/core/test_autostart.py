"""The flag that libvirt leaves behind: what becomes of it, and that no boot finds it on twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.core import autostart, controls, engine
from pmigd.core import events as ev
from pmigd.core.autostart import Flags
from pmigd.core.commands import Command, Kind, Outcome
from pmigd.core.effects import Do, Effect, Look, Prepare, Wake
from pmigd.core.finding import Level
from pmigd.core.holdings import held_of
from pmigd.core.model import Call, Job, Migration, Request, Settings, State
from pmigd.core.plan import make_plan
from pmigd.core.problem import Code, Problem
from tests.support import build
from tests.support.build import (
    ABSENT,
    ARRIVED,
    LEFT,
    POSTCOPY_BROKEN_THERE,
    RUNS,
    SHUT_DOWN,
    TARGET,
    at,
    done,
    migration,
    play,
    replied,
    returned,
    sample,
)
from tests.support.examples import examples

OFF, BACK, THERE = Kind.AUTOSTART_OFF, Kind.AUTOSTART_BACK, Kind.AUTOSTART_THERE
AWAY = Problem(Code.LIBVIRT_UNAVAILABLE, "libvirt does not answer")
LOCKED = Problem(Code.JOB_LOCK_TIMEOUT, "Timed out during operation: cannot acquire lock")
UNREACHABLE = Problem(Code.DESTINATION_UNREACHABLE, "No route to host")
BROKE = Problem(Code.CONNECTION_BROKE, "Connection reset by peer")
NO_ACCESS = Problem(Code.DESTINATION_AUTH, "access denied")


def plan_of(flags: Flags, *, active: bool = True, persistent: bool = True, **fields: object):
    request = Request("web1", "hostb", **fields)
    return make_plan(
        request, TARGET, guest_is_persistent=persistent, guest_is_active=active, flags=flags
    )


ON_HERE = Flags(here=True)


def prepared(flags: Flags = ON_HERE, **fields: object) -> ev.Prepared:
    return replace(build.PREPARED, plan=plan_of(flags, **fields))


FOLLOWS = prepared()


class TestWhatIsWanted:
    """(request, flags before) -> whether it is switched off here first, and what there."""

    @pytest.mark.parametrize(
        ("fields", "flags", "off", "there"),
        [
            # Follow the guest.
            ({}, Flags(True, None), True, True),
            ({}, Flags(True, False), True, True),
            ({}, Flags(True, True), True, True),
            ({}, Flags(False, None), False, None),
            ({}, Flags(False, False), False, None),
            ({}, Flags(False, True), False, False),  # an old definition there has it on
            ({"undefinesource": False}, Flags(True, None), True, True),
            ({"persistent": False}, Flags(True, None), True, None),  # nothing is defined there
            ({"persistent": False}, Flags(True, False), True, True),  # an old definition stays
            # As asked for.
            ({"autostart": True}, Flags(False, None), False, True),
            ({"autostart": True}, Flags(True, None), True, True),
            ({"autostart": False}, Flags(True, None), True, False),
            ({"autostart": False}, Flags(False, None), False, False),
            ({"autostart": True, "persistent": False}, Flags(True, None), True, None),
            # libvirt's way.
            ({"autostart": "leave"}, Flags(True, True), False, None),
            ({"autostart": "leave"}, Flags(False, True), False, None),
            # A definition moves, or is copied, of a guest that does not run.
            ({"offline": True, "active": False}, Flags(True, None), True, True),
            ({"offline": True, "active": False}, Flags(False, True), False, False),
            # Only a definition is copied: the guest runs on here, and its flag stays with it.
            ({"offline": True}, Flags(True, None), False, None),
            ({"offline": True}, Flags(True, True), False, False),
            ({"offline": True, "autostart": False}, Flags(True, None), False, False),
            ({"offline": True, "autostart": True}, Flags(True, None), True, True),
            # A transient guest has no flag that could be followed.
            ({"persistent": None, "transient": True}, Flags(None, True), False, None),
            ({"transient": True, "persistent": True}, Flags(None, None), False, None),
            (
                {"transient": True, "persistent": True, "autostart": True},
                Flags(None, None),
                False,
                True,
            ),
        ],
    )
    def test_table(self, fields, flags, off, there) -> None:
        fields = dict(fields)
        transient = fields.pop("transient", False)
        active = fields.pop("active", True)
        request = Request("web1", "hostb", **fields)
        plan = make_plan(
            request, TARGET, guest_is_persistent=not transient, guest_is_active=active, flags=flags
        )
        assert (plan.autostart_off, plan.autostart_there) == (off, there)


class TestBeforeTheCall:
    def test_it_is_switched_off_here_first_and_only_then_is_libvirt_called(self) -> None:
        step = play(migration(), ev.Admitted(), FOLLOWS)
        assert done(step) == [(OFF, None)]
        assert step.migration.call is Call.NOT_MADE
        assert engine.durable(step.migration).pending(OFF).made  # the intent is in the journal
        step = play(step.migration, replied(OFF))
        assert done(step) == [(Kind.PERFORM, None)]

    def test_one_that_does_not_start_with_its_host_waits_for_nothing(self) -> None:
        step = play(migration(), ev.Admitted(), prepared(Flags(False)))
        assert done(step) == [(Kind.PERFORM, None)]

    def test_what_libvirt_refuses_ends_it_before_it_began(self) -> None:
        step = play(migration(), ev.Admitted(), FOLLOWS, replied(OFF, LOCKED))
        m = step.migration
        assert m.state is State.FINISHING  # it may have been done by an earlier try
        assert m.call is Call.NOT_MADE
        assert done(step) == [(BACK, None)]
        m = play(m, replied(BACK)).migration
        assert (m.state, m.problem.code) == (State.FAILED, Code.JOB_LOCK_TIMEOUT)
        assert "could not be switched off at hosta: Timed out" in m.problem.detail
        assert all(c.kind is not Kind.PERFORM or not c.made for c in m.commands)

    def test_without_a_definition_there_is_nothing_to_switch_off(self) -> None:
        step = play(migration(), ev.Admitted(), FOLLOWS, replied(OFF, found=False))
        assert done(step) == [(Kind.PERFORM, None)]

    def test_libvirt_that_is_away_is_waited_for_and_then_the_queue_waits(self) -> None:
        m = play(migration(), ev.Admitted(), FOLLOWS, replied(OFF, AWAY)).migration
        assert m.pending(OFF).waits == AWAY.detail
        m = play(m, ev.WatchLost()).migration
        m = play(m, ev.Ticked(), start=60).migration
        assert m.state is State.PREPARING
        assert m.pending(BACK).waits  # it may have been switched off
        step = play(m, ev.WatchBack(), start=61)
        assert done(step) == [(BACK, None)]
        m = play(step.migration, replied(BACK), start=62).migration
        assert m.state is State.QUEUED
        assert m.started_at is None

    def test_without_a_journal_nothing_is_switched(self) -> None:
        step = play(migration(), ev.Admitted(), FOLLOWS)
        held = engine.withhold(step, Problem(Code.JOURNAL_UNAVAILABLE, "disk full"), at(1))
        assert done(held) == []
        assert not held.migration.pending(OFF).made
        # It is owed still, and done as soon as the journal takes it.
        assert done(play(held.migration, ev.Ticked(), start=5)) == [(OFF, None)]

    def test_a_call_that_was_not_journalled_gives_it_back(self) -> None:
        step = play(migration(), ev.Admitted(), FOLLOWS, replied(OFF))
        held = engine.withhold(step, Problem(Code.JOURNAL_UNAVAILABLE, "disk full"), at(1))
        assert done(held) == []
        assert held.migration.state is State.PREPARING
        step = play(held.migration, ev.Ticked(), start=5)
        assert done(step) == [(BACK, None)]
        assert play(step.migration, replied(BACK), start=6).migration.state is State.QUEUED

    @pytest.mark.parametrize("answered", [False, True])
    def test_an_abort_before_the_call_gives_it_back(self, answered) -> None:
        m = play(migration(), ev.Admitted(), FOLLOWS).migration
        step = play(m, ev.AbortAsked("root", "asked for by root"))
        assert step.migration.state is State.FINISHING
        assert done(step) == []  # not before libvirt has answered the first one
        step = play(step.migration, replied(OFF, made=answered))
        assert done(step) == [(BACK, None)]
        m = play(step.migration, replied(BACK)).migration
        assert m.state is State.CANCELLED
        assert m.call is Call.NOT_MADE

    def test_killed_before_the_call_it_is_given_back_before_it_is_queued_again(self) -> None:
        m = crashed(play(migration(), ev.Admitted(), FOLLOWS).migration)
        step = play(m, ev.Restarted(), start=3)
        assert step.migration.state is State.PREPARING
        assert done(step) == [(BACK, None)]
        # Once more in between: nothing is forgotten.
        step = play(crashed(step.migration), ev.Restarted(), start=6)
        assert done(step) == [(BACK, None)]
        m = play(step.migration, replied(BACK), start=7).migration
        assert m.state is State.QUEUED
        # And it is taken anew when its turn comes.
        assert done(play(m, ev.Admitted(), FOLLOWS, start=8)) == [(OFF, None)]

    def test_one_whose_flag_is_not_given_back_does_not_go_without_it(self) -> None:
        m = crashed(play(migration(), ev.Admitted(), FOLLOWS).migration)
        m = play(m, ev.Restarted(), replied(BACK, NO_ACCESS), start=3).migration
        assert m.state is State.FAILED
        assert m.problem.detail.endswith("Do: virsh autostart web1")

    def test_what_is_asked_while_it_goes_back_to_the_queue_counts(self) -> None:
        m = crashed(play(migration(), ev.Admitted(), FOLLOWS).migration)
        m = play(m, ev.Restarted(), start=3).migration
        assert controls.may_abort(m) is None
        m = play(m, ev.SetAsked("root", build.PLAN and Settings(bandwidth_mib_s=7))).migration
        assert m.request.bandwidth_mib_s == 7
        m = play(m, ev.AbortAsked("root", "asked for by root"), replied(BACK), start=4).migration
        assert m.state is State.CANCELLED


def crashed(m: Migration) -> Migration:
    return msgspec.json.decode(msgspec.json.encode(engine.durable(m)), type=Migration)


def under_way(event: ev.Prepared = FOLLOWS, **fields: object) -> Migration:
    m = play(migration(request=fields), ev.Admitted(), event, replied(OFF)).migration
    return play(m, ev.Sampled(Job.OUTGOING, sample())).migration


def arrived(m: Migration, start: float = 1.0) -> engine.Step:
    return play(m, ev.Left(), returned(None), ev.Looked(LEFT, ARRIVED), start=start)


class TestAtTheEnd:
    def test_it_ends_when_the_destination_has_the_flag(self) -> None:
        step = arrived(under_way())
        m = step.migration
        assert (m.state, m.verdict) == (State.FINISHING, State.SUCCEEDED)
        assert done(step) == [(THERE, 1)]
        assert m.result is None
        m = play(m, replied(THERE), start=9).migration
        assert m.state is State.SUCCEEDED
        assert m.result.duration_s == pytest.approx(1.2)  # not what it waited for since
        assert m.finished_at == at(9).utc

    def test_meanwhile_no_evidence_counts_and_nothing_is_held(self) -> None:
        m = arrived(under_way()).migration
        assert held_of(m) is None
        for event in (
            ev.Looked(RUNS, ABSENT),
            ev.Sampled(Job.NONE, None),
            ev.GuestEnded(),
            ev.AbortAsked("root", "late"),
            ev.Resolved(State.FAILED, "root"),
        ):
            step = play(m, event, start=4)
            assert step.migration.verdict is State.SUCCEEDED
            assert not [e for e in step.effects if not isinstance(e, Wake)]
        assert controls.may_abort(m).code is Code.WRONG_STATE

    def test_a_silent_destination_is_tried_for_about_a_minute_and_then_people_are_told(
        self,
    ) -> None:
        m = arrived(under_way()).migration
        now, tries = 2.0, 1
        while m.open:
            step = play(m, replied(THERE, UNREACHABLE), start=now)
            m = step.migration
            for effect in step.effects:
                now += effect.after_s
            step = play(m, ev.Ticked(), start=now)
            m, tries = step.migration, tries + len(done(step))
        assert m.state is State.SUCCEEDED
        assert tries == 10
        assert 30 < now < 60
        (refused,) = autostart.undone(m)
        assert refused.problem.code is Code.DESTINATION_UNREACHABLE
        assert refused.problem.detail == (
            "Autostart could not be switched on at hostb: No route to host. "
            "Do: virsh -c qemu+tls://hostb/system autostart web1"
        )

    def test_what_the_destination_will_not_do_is_not_tried_again(self) -> None:
        m = play(arrived(under_way()).migration, replied(THERE, NO_ACCESS), start=9).migration
        assert m.state is State.SUCCEEDED
        assert [c.kind for c in autostart.undone(m)] == [THERE]

    def test_the_hint_is_about_the_guests_new_name(self) -> None:
        m = under_way(dname="web2")
        m = play(arrived(m).migration, replied(THERE, NO_ACCESS), start=9).migration
        (refused,) = autostart.undone(m)
        assert refused.problem.detail.endswith("autostart web2")

    def test_a_definition_that_is_gone_again_is_no_trouble(self) -> None:
        m = play(arrived(under_way()).migration, replied(THERE, found=False), start=9).migration
        assert m.state is State.SUCCEEDED
        assert not list(autostart.undone(m))

    def test_it_does_not_need_the_local_libvirt(self) -> None:
        m = arrived(under_way()).migration
        m = play(m, replied(THERE, UNREACHABLE), ev.WatchLost(), start=4).migration
        assert done(play(m, ev.Ticked(), start=9)) == [(THERE, 1)]

    def test_one_that_stayed_starts_with_its_host_again(self) -> None:
        m = under_way()
        m = play(m, ev.AbortAsked("root", "asked for by root"), replied(Kind.ABORT)).migration
        step = play(
            m, returned(Problem(Code.ABORTED_ELSEWHERE, "")), ev.Looked(RUNS, ABSENT), start=2
        )
        assert (step.migration.state, step.migration.verdict) == (State.FINISHING, State.CANCELLED)
        assert done(step) == [(BACK, None)]
        assert play(step.migration, replied(BACK), start=3).migration.state is State.CANCELLED

    def test_taking_back_is_owed_for_as_long_as_libvirt_does_not_answer(self) -> None:
        m = failed(under_way())
        for minute in range(1, 30):
            m = play(m, replied(BACK, AWAY), start=60.0 * minute).migration
            step = play(m, ev.Ticked(), start=60.0 * minute + 30)
            assert done(step) == [(BACK, None)]
            m = step.migration
        assert m.verdict is State.FAILED
        assert play(m, replied(BACK), start=4000).migration.state is State.FAILED

    def test_what_libvirt_will_not_take_back_is_for_people(self) -> None:
        refusal = Problem(Code.MIGRATION_FAILED, "Failed to create symlink: No space left.")
        m = play(failed(under_way()), replied(BACK, refusal), start=4).migration
        assert m.state is State.FAILED
        (refused,) = autostart.undone(m)
        assert refused.problem.detail.endswith("No space left. Do: virsh autostart web1")

    def test_a_domain_that_is_gone_has_no_flag(self) -> None:
        m = play(failed(under_way()), replied(BACK, found=False), start=4).migration
        assert m.state is State.FAILED
        assert not list(autostart.undone(m))

    @pytest.mark.parametrize(
        ("verdict", "command"),
        [(State.SUCCEEDED, (THERE, 1)), (State.FAILED, (BACK, None))],
    )
    def test_an_operators_word_counts_like_a_look(self, verdict, command) -> None:
        m = under_way()
        m = play(m, returned(Problem(Code.CONNECTION_BROKE, ""))).migration
        for second in range(2, 40, 2):
            m = play(m, ev.Looked(ABSENT, ABSENT), start=second).migration
        assert m.state is State.UNRESOLVED
        step = play(m, ev.Resolved(verdict, "root"), start=50)
        assert step.migration.verdict is verdict
        assert done(step) == [command]
        assert play(step.migration, replied(command[0]), start=51).migration.state is verdict

    @pytest.mark.parametrize(
        ("here", "there", "command"),
        [
            (LEFT, SHUT_DOWN, (THERE, 1)),  # it ended there, and is that host's
            (LEFT, ARRIVED, (THERE, 1)),
            (RUNS, ABSENT, (BACK, None)),  # it was moved back since
            (RUNS, SHUT_DOWN, (BACK, None)),
            (LEFT, LEFT, None),  # it was moved on since: nobody here knows who has it
            (LEFT, ABSENT, None),
        ],
    )
    def test_the_flag_is_given_to_the_host_that_has_it_by_then(self, here, there, command) -> None:
        step = play(under_way(), ev.Left(), returned(None), ev.Looked(here, there), start=1)
        m = step.migration
        assert m.verdict is State.SUCCEEDED
        assert done(step) == ([command] if command else [])
        told = [c.problem.detail for c in autostart.undone(m)]
        assert len(told) == (command is None)
        assert all(detail.endswith("do: virsh autostart web1") for detail in told)

    def test_while_a_half_of_it_may_run_nobody_starts_it(self) -> None:
        m = play(under_way(), ev.PostcopyBegan(), ev.PostcopyBroke(), returned(BROKE)).migration
        m = play(m, ev.Looked(SHUT_DOWN, POSTCOPY_BROKEN_THERE), start=9).migration
        assert (m.state, m.problem.code) == (State.FAILED, Code.POSTCOPY_LOST)
        assert [c.kind for c in autostart.undone(m)] == [BACK]

    @pytest.mark.parametrize("answer", [replied(THERE), replied(THERE, NO_ACCESS)])
    def test_a_restart_takes_it_up_and_knows_the_verdict(self, answer) -> None:
        m = crashed(arrived(under_way()).migration)
        step = play(m, ev.Restarted(), start=100)
        assert done(step) == [(THERE, 1)]
        assert not [e for e in step.effects if isinstance(e, Look)]
        m = play(step.migration, answer, start=101).migration
        assert m.state is State.SUCCEEDED
        assert m.adopted
        assert m.result.duration_s == pytest.approx(1.2)

    def test_a_restart_knows_nothing_of_a_libvirt_that_was_away_before(self) -> None:
        m = play(failed(under_way()), replied(BACK, AWAY), ev.WatchLost(), start=4).migration
        whole = msgspec.json.decode(msgspec.json.encode(m), type=Migration)
        assert done(play(whole, ev.Restarted(), start=100)) == [(BACK, None)]

    def test_with_leave_nothing_is_touched(self) -> None:
        m = under_way(prepared(autostart="leave"), autostart="leave")
        assert arrived(m).migration.state is State.SUCCEEDED
        assert not [c for c in m.commands if c.kind in (OFF, BACK, THERE)]


def failed(m: Migration) -> Migration:
    broke = Problem(Code.MIGRATION_FAILED, "")
    m = play(m, returned(broke), ev.Looked(RUNS, ABSENT), start=2).migration
    assert m.verdict is State.FAILED
    return m


class TestCheck:
    @staticmethod
    def found(flags: Flags, **fields: object) -> dict[str, Level]:
        active = bool(fields.pop("active", True))
        plan = plan_of(flags, active=active, **fields)
        return {f.code: f.level for f in autostart.check(plan, flags, "web1", active=active)}

    def test_it_says_what_will_be_done(self) -> None:
        assert self.found(Flags(True)) == {"autostart": Level.INFO}
        assert self.found(Flags(False)) == {}
        assert self.found(Flags(False), autostart=True) == {"autostart": Level.INFO}
        assert self.found(Flags(True), offline=True) == {}

    def test_it_warns_of_a_second_copy_at_a_boot(self) -> None:
        leave = {"autostart": "leave"}
        kept = self.found(Flags(True), undefinesource=False, **leave)
        assert kept == {"autostart_second_copy": Level.WARN}
        there = self.found(Flags(False, True))
        assert there == {"autostart_there": Level.WARN, "autostart": Level.INFO}

    def test_it_warns_where_nothing_will_start_it_any_more(self) -> None:
        assert self.found(Flags(True), autostart="leave") == {"autostart_lost": Level.WARN}
        lost = self.found(Flags(True), persistent=False)
        assert lost == {"autostart_lost": Level.WARN, "autostart": Level.INFO}


@dataclass
class World:
    """Two hosts as far as the flag goes: where it is on, and which of them has the guest."""

    moves: bool  # what becomes of the guest when libvirt is called
    here: bool = True
    there: bool = False
    moved: bool = False

    def carry_out(self, command: Command) -> None:
        match command.kind:
            case Kind.AUTOSTART_OFF:
                self.here = False
            case Kind.AUTOSTART_BACK:
                self.here = True
            case Kind.AUTOSTART_THERE:
                self.there = bool(command.value)
            case Kind.PERFORM:
                self.moved = self.moves


@dataclass
class Life:
    """A migration in that world: what is out about it, and what its journal has."""

    world: World
    m: Migration
    journalled: Migration
    journal: bool = True
    now: float = 0.0
    out: list[Effect] = field(default_factory=list)

    def happens(self, event: ev.Event) -> None:
        before = self.m
        step = engine.step(before, event, at(self.now))
        if engine.durable(step.migration) != engine.durable(before) and not self.journal:
            step = engine.withhold(step, Problem(Code.JOURNAL_UNAVAILABLE, ""), at(self.now))
        self.m = step.migration
        self.out += step.effects
        if self.journal:
            self.journalled = crashed(self.m)

    def crash(self) -> None:
        self.m = self.journalled
        self.out.clear()
        self.happens(ev.Restarted())

    def goes_on(self) -> None:
        self.happens(ev.Admitted() if self.m.state is State.QUEUED else ev.Ticked())

    def answer(self, effect: Effect, what: str) -> None:
        world = self.world
        match effect:
            case Prepare() if world.moved:
                gone = Problem(Code.DOMAIN_NOT_RUNNING, "")
                self.happens(ev.PrepareFailed(gone))
            case Prepare():
                self.happens(prepared(Flags(world.here, world.there)))
            case Look():
                self.happens(ev.Looked(*((LEFT, ARRIVED) if world.moved else (RUNS, ABSENT))))
            case Do(command):
                self.happens(self._done(command, what))
            case _:
                self.happens(ev.Ticked())

    def _done(self, command: Command, what: str) -> ev.Event:
        match what:
            case "not made":
                return ev.Answered(command.id, AWAY, made=False)
            case "refused" if command.kind is not Kind.PERFORM or not self.world.moves:
                return ev.Answered(command.id, NO_ACCESS)
            case "lost":
                self.world.carry_out(command)
                return ev.Answered(command.id, AWAY)
            case _:
                self.world.carry_out(command)
                stays = command.kind is Kind.PERFORM and not self.world.moves
                return ev.Answered(command.id, NO_ACCESS if stays else None)

    def holds(self) -> None:
        world = self.world
        assert not (world.here and world.moved), "on at the source, and the guest has left"
        assert not (world.there and not world.moved), "on there, and the guest is here"


STORY = st.lists(
    st.one_of(
        st.tuples(
            st.just("answer"),
            st.integers(-2, 2),
            st.sampled_from(["done", "done", "done", "lost", "refused", "not made"]),
        ),
        st.tuples(
            st.sampled_from(["crash", "abort", "away", "back", "tick", "no journal", "journal"])
        ),
    ),
    max_size=30,
)


@examples(200)
@given(STORY, st.booleans(), st.sampled_from([0, -1]))
def test_no_boot_finds_it_on_where_another_host_runs_the_guest(story, moves, turn) -> None:
    """In whatever order answers, crashes and aborts come; and in the end it is where it belongs."""
    world = World(moves)
    life = Life(world, migration(), migration())
    for what in (("tick",), *story):
        life.now += 1.0
        match what:
            case ("answer", number, how) if life.out:
                life.answer(life.out.pop(number % len(life.out)), how)
            case ("crash",):
                life.crash()
            case ("abort",):
                life.happens(ev.AbortAsked("root", "asked for by root"))
            case ("away",):
                life.happens(ev.WatchLost())
            case ("back",):
                life.happens(ev.WatchBack())
            case ("journal",) | ("no journal",):
                life.journal = what == ("journal",)
            case _:
                life.goes_on()
        life.holds()
    life.journal = True
    life.happens(ev.WatchBack())
    for _ in range(40):
        if not life.m.open:
            break
        life.now += 2.0
        life.goes_on()
        for _ in range(len(life.out)):
            life.answer(life.out.pop(turn), "done")
            life.holds()
    m = life.m
    assert not m.open, (m.state, m.ending)
    assert all(c.outcome is not Outcome.PENDING for c in m.commands)
    refused = {c.kind for c in autostart.undone(m)}
    if world.moved:
        assert not world.here
        # The journal may have lost that it was wanted, together with the migration.
        assert world.there or THERE in refused or m.state is not State.SUCCEEDED
    else:
        assert world.here or BACK in refused
