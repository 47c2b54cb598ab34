"""Whether a guest starts with its host, when it moves: the flag that libvirt leaves behind.

The rule that everything here follows: a host starts a guest at its boot only if no other may run
it. So the flag is taken away here *before* libvirt is called, and given back only when it is known
that the guest did not move; the destination gets it only once the guest has arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pmigd.core import ledger
from pmigd.core.commands import AT_THE_END, PMIGD, Command, Kind, Outcome
from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.model import Because, Migration, Now, Plan, Power, Request, State, View
from pmigd.core.problem import Code, Problem


@dataclass(frozen=True, slots=True)
class Flags:
    """The flag as both hosts had it before. None: the host has no definition of the guest."""

    here: bool | None = None
    there: bool | None = None


def planned(plan: Plan, flags: Flags, *, active: bool) -> Plan:
    """`plan` with what is to become of the flag. `active`: the guest has a copy that runs here.

    An offline migration leaves such a copy where it is: then the flag follows it by staying here.
    A transient guest has no flag that could be followed.
    """
    asked = plan.request.autostart
    if isinstance(asked, str):
        return plan
    moves = _moves(plan.request, active=active)
    wanted = (flags.here and moves) if asked is None else asked
    if asked is None and not wanted and not flags.there:
        wanted = None  # nobody's flag has to be taken away
    if not plan.persist_destination and flags.there is None:
        wanted = None  # nothing is defined there that could start
    off = flags.here is True and (moves or asked is True)
    return replace(plan, autostart_off=off, autostart_there=wanted)


def _moves(request: Request, *, active: bool) -> bool:
    return not (request.offline and active)


# What is owed for it


class Place(StrEnum):
    """Where the guest is when its migration ends, as far as a host may start it at its boot."""

    HERE = "here"
    THERE = "there"
    UNKNOWN = "unknown"  # somewhere else, or a part of it may still run on another host


def want_off(m: Migration, now: Now) -> Migration:
    """`m` that switches the flag off here before libvirt is called, if it is on."""
    if m.plan is None or not m.plan.autostart_off:
        return m
    reason = f"off at {m.source}, which must not start a second copy once it moves"
    return ledger.want(m, Kind.AUTOSTART_OFF, PMIGD, reason, now)


def place_of(m: Migration, source: View, destination: View) -> Place:
    """Where the guest of a migration that succeeded is now: others may have moved it since."""
    copied = m.request.offline and m.request.autostart is True
    if source.alive and not copied:
        return Place.HERE
    left = destination.gone and destination.because is Because.MIGRATED
    return Place.UNKNOWN if left or destination.power is Power.ABSENT else Place.THERE


def want_at_the_end(m: Migration, state: State, place: Place, now: Now) -> Migration:
    """`m` about to be in `state`, its guest at `place`, with what is owed to its flag."""
    taken = _taken(m)
    if taken and place is Place.HERE:
        reason = f"on again at {m.source}, where the guest is"
        m = ledger.want(m, Kind.AUTOSTART_BACK, PMIGD, reason, now)
    if taken and place is Place.UNKNOWN:
        m = ledger.leave(m, Kind.AUTOSTART_BACK, PMIGD, *_left_off(m), now)
    on = m.plan.autostart_there if m.plan is not None else None
    if state is not State.SUCCEEDED or on is None or (on and place is not Place.THERE):
        return m
    why = f"as it was at {m.source}" if m.request.autostart is None else "as asked for"
    reason = f"{_word(on=on)} at {m.destination}, {why}"
    return ledger.want(m, Kind.AUTOSTART_THERE, PMIGD, reason, now, value=int(on))


def _left_off(m: Migration) -> tuple[str, Problem]:
    """Why nobody gets the flag back, and what people have to do."""
    reason = f"on again at {m.source} or {m.destination}"
    detail = (
        f"Autostart is off at {m.source} and {m.destination}: neither is sure to have the guest for"
        f" itself. Where it is in the end, do: virsh autostart {m.domain.name}"
    )
    return reason, Problem(Code.WRONG_STATE, detail)


def _taken(m: Migration) -> bool:
    """Whether pmigd has switched it off here, or may have, and has not been told what became of
    giving it back."""
    for command in reversed(m.commands):
        if command.kind is Kind.AUTOSTART_BACK:
            return command.pending
        if command.kind is Kind.AUTOSTART_OFF and command.made:
            return True
    return False


def undone(m: Migration) -> Iterator[Command]:
    """What an operator has to do by hand now; the problem of each says it."""
    for command in m.commands:
        if command.kind in AT_THE_END and command.outcome is Outcome.REFUSED:
            yield command


def explained(m: Migration, command: Command, problem: Problem) -> Problem:
    """libvirt's refusal of `command`, with what it means and what is to be done now."""
    there = command.kind is Kind.AUTOSTART_THERE
    on = bool(command.value) if there else command.kind is Kind.AUTOSTART_BACK
    host = m.destination if there else m.source
    words = f"Autostart could not be switched {_word(on=on)} at {host}: {problem.detail}"
    if command.kind is not Kind.AUTOSTART_OFF:
        words = f"{words.rstrip('.')}. Do: {_by_hand(m, there=there, on=on)}"
    return replace(problem, detail=words)


def _by_hand(m: Migration, *, there: bool, on: bool) -> str:
    uri = f"-c {m.target.uri} " if there and m.target is not None else ""
    name = (m.request.dname or m.domain.name) if there else m.domain.name
    return f"virsh {uri}autostart {'' if on else '--disable '}{name}"


def _word(*, on: bool) -> str:
    return "on" if on else "off"


# What a check says of it


def _kind(code: str, level: Level, title: str, remedy: str) -> FindingKind:
    return FindingKind(code, title, level, Origin.RULE, "autostart", remedy)


THERE: Final = _kind(
    "autostart_there",
    Level.WARN,
    "The destination has a definition of the guest that starts with that host.",
    "Switch it off there: 'virsh -c {uri} autostart --disable {domain}'.",
)
LOST: Final = _kind(
    "autostart_lost",
    Level.WARN,
    "The guest starts with its host now, and after the move with none.",
    "Let it arrive persistent, without 'autostart': 'leave'; or start it by other means after a "
    "boot.",
)
SECOND_COPY: Final = _kind(
    "autostart_second_copy",
    Level.WARN,
    "The guest's definition stays here and starts with this host: a second copy at its next boot.",
    "Leave 'autostart': 'leave' out, and it is switched off here.",
)
FOLLOWS: Final = _kind(
    "autostart",
    Level.INFO,
    "What becomes of it that the guest starts with its host.",
    "Nothing to do; to have it otherwise give 'autostart'.",
)
KINDS: Final = (THERE, LOST, SECOND_COPY, FOLLOWS)


def check(plan: Plan, flags: Flags, name: str, *, active: bool) -> Iterator[Finding]:
    """What will become of the flag of the guest called `name`, and where it is a danger."""
    there = plan.target.name
    if flags.there:
        yield THERE.found(
            f"{there} has a definition of it that starts with that host: booted before the guest "
            "has arrived, it runs a second copy.",
            uri=plan.target.uri,
            domain=name,
        )
    moves = _moves(plan.request, active=active)
    if plan.request.autostart == "leave":
        if flags.here and moves:
            yield _left(plan)
        return
    wanted = plan.request.autostart is True or (plan.request.autostart is None and flags.here)
    if wanted and moves and plan.autostart_there is None:
        yield LOST.found(f"It will not start with {there}: no definition of it is kept there.")
    if plan.autostart_off or plan.autostart_there is not None:
        yield FOLLOWS.found(_what_happens(plan))


def _what_happens(plan: Plan) -> str:
    said = []
    if plan.autostart_off:
        said.append(
            "It starts with this host: that is switched off before it moves, and on again if it "
            "does not."
        )
    if plan.autostart_there is not None:
        will = "will" if plan.autostart_there else "will not"
        said.append(f"Once it has arrived it {will} start with {plan.target.name}.")
    return " ".join(said)


def _left(plan: Plan) -> Finding:
    """libvirt's way with a flag that is on here."""
    if plan.undefine_source:
        return LOST.found(
            "It starts with this host, and after the move with none: libvirt does not carry that."
        )
    return SECOND_COPY.found(
        "It starts with this host and its definition stays here: at this host's next boot a second "
        "copy runs."
    )
