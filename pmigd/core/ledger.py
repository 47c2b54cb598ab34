"""The ledger of a migration: what is wanted of libvirt, what is owed still, what came of it.

What was asked for is owed until it is done, refused or overtaken; an answer that is late, lost or
never comes changes nothing in that. :data:`RULES` says for each kind of command what must hold
right before its call, when it is tried again, when it is of no use any more, and whether a new life
of pmigd takes it up. :func:`drive` is applied after every step, so whatever happens (an event, a
sample, libvirt's return, a restart, the clock) has everything that is owed looked at again.

A command has one call out at the most, and that call has no deadline: how long libvirt has not
answered is seen from when it was tried, not from a call that was given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pmigd.core.commands import AT_THE_END, AUTOSTART, CALLS, SETTINGS, Command, Kind, Outcome
from pmigd.core.events import Answered
from pmigd.core.model import Call, Migration, Now, State
from pmigd.core.problem import Code, Problem

MAX_ENTRIES: Final = 64
"""Entries that are kept of one migration: nobody can make its record grow without end."""
SLOW_S: Final = 2.0
"""From when on it is said that libvirt does not answer."""

ACCEPTED_S: Final = 5.0
"""How long libvirt's job may go on after it has accepted an abort, before it is told again."""

SILENT: Final = "libvirt does not answer"
NO_JOB: Final = "libvirt has no job for it yet"
AWAY: Final = "the local libvirt daemon does not answer"
RESTARTED: Final = "pmigd was restarted meanwhile"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is true of all commands of one kind.

    `waits` says why it cannot be called now, `over` why it is of no use any more; both are empty
    where that is not so. `passes`: whether it is worth trying again after such a refusal, with the
    pauses of `delays_s` (seconds, the last one repeats) and `tries` calls at the most (0: for as
    long as it is of use). `survives`: a restart of pmigd takes it up.
    """

    waits: Callable[[Migration], str]
    over: Callable[[Migration], str]
    passes: Callable[[Problem], bool]
    delays_s: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
    tries: int = 0
    survives: bool = True


def _never(_: object) -> bool:
    return False


def _passing(problem: Problem) -> bool:
    return problem.code in (Code.LIBVIRT_UNAVAILABLE, Code.JOB_LOCK_TIMEOUT)


def _away(problem: Problem) -> bool:
    return problem.code is Code.LIBVIRT_UNAVAILABLE


def _of_this_host(problem: Problem | None) -> bool:
    codes = (Code.LIBVIRT_UNAVAILABLE, Code.JOURNAL_UNAVAILABLE)
    return problem is None or problem.code in codes


def _retryable(problem: Problem) -> bool:
    return problem.retryable


def _not_ready_yet(problem: Problem) -> bool:
    # QEMU refuses until its first pass has begun; what it or libvirt cannot do at all stays so.
    return problem.code not in (Code.UNSUPPORTED_BY_LIBVIRT, Code.SOURCE_AUTH)


def _no(_: Migration) -> str:
    return ""


def _until_off(m: Migration) -> str:
    pending = m.pending(Kind.AUTOSTART_OFF) is not None
    return "it must not start with this host any more, and still does" if pending else ""


def _off_is_out(m: Migration) -> str:
    out = any(c.calling and c.kind is Kind.AUTOSTART_OFF for c in m.commands)
    return "libvirt is still at switching it off" if out else ""


def _until_memory_travels(m: Migration) -> str:
    travels = m.state in (State.PRECOPY, State.POSTCOPY)
    return "" if travels else "its memory is not on its way yet"


def _past_switch(m: Migration) -> str:
    late = m.state.holds_slot and not m.state.about.before_switch
    return "it is too late: the guest was being switched over" if late else ""


def _past_transfer(m: Migration) -> str:
    return "it is too late: nothing is sent any more" if m.state is State.FINISHING else ""


def _postcopy_began(m: Migration) -> str:
    return "the guest runs at the destination since post-copy began" if m.evidence.postcopy else ""


def _events_missed(m: Migration) -> str:
    missed = m.evidence.blind
    return "events were missed, so the guest may have run at the destination" if missed else ""


def _goes_on_again(m: Migration) -> str:
    return "the post-copy goes on already" if m.state in _GOES_ON else ""


def _call_is_out(m: Migration) -> str:
    if m.call is Call.MADE:
        return "the call before it has not come back yet"
    return (
        "" if m.state is State.POSTCOPY_PAUSED else "both hosts are being asked what became of it"
    )


_GOES_ON: Final = frozenset({State.POSTCOPY, State.FINISHING})

_ELSEWHERE: Final = CALLS | {Kind.AUTOSTART_THERE}
"""What does not go over the connection to the local daemon that is watched."""

_SHOWS_FIRST: Final = CALLS | {Kind.SUSPEND}
"""Whose effect libvirt may tell before it answers the call itself."""

_WITHOUT_A_JOB: Final = CALLS | frozenset(AUTOSTART)
"""What is about the guest, whichever job it has or had."""

_SETTING: Final = Rule(_until_memory_travels, _past_transfer, _passing)

RULES: Final[dict[Kind, Rule]] = {
    # Never made twice: after a restart both hosts are asked what became of it instead.
    Kind.PERFORM: Rule(_until_off, _no, _never, survives=False),
    Kind.RECOVER: Rule(_call_is_out, _goes_on_again, _never, (2.0, 5.0), survives=False),
    # Safe to repeat. libvirt refuses it in post-copy, where it would lose the guest.
    Kind.ABORT: Rule(_no, _postcopy_began, _retryable),
    # A guest that was paused for nothing is resumed when the migration fails.
    Kind.SUSPEND: Rule(_until_memory_travels, _past_switch, _passing),
    # Asked for only with a proof of that moment, so it is taken again after a restart.
    Kind.RESUME: Rule(_no, _events_missed, _passing, survives=False),
    Kind.POSTCOPY: Rule(
        _until_memory_travels, _past_switch, _not_ready_yet, (0.5, 0.5, 1.0, 2.0, 5.0), tries=12
    ),
    **dict.fromkeys(SETTINGS, _SETTING),
    # A second try finds what the first has done. What is refused ends the migration before it
    # began; what was taken is owed for as long as libvirt does not say no; the destination may be
    # gone for good, so about a minute.
    Kind.AUTOSTART_OFF: Rule(_no, _no, _away),
    Kind.AUTOSTART_BACK: Rule(_off_is_out, _no, _passing),
    Kind.AUTOSTART_THERE: Rule(_no, _no, _retryable, (1.0, 2.0, 5.0), tries=10),
}

_NOT_FOUND: Final = {
    Kind.RESUME: "the guest is not paused any more",
    **dict.fromkeys(AUTOSTART, "no definition of it is there"),
}
"""Of what there is no second try when there was nothing to do it to, and why it is of no use."""


def get(m: Migration, number: int) -> Command | None:
    """The entry with that number, or None."""
    return next((c for c in reversed(m.commands) if c.id == number), None)


def want(
    m: Migration,
    kind: Kind,
    by: str,
    reason: str,
    now: Now,
    *,
    value: int | None = None,
    code: Code | None = None,
) -> Migration:
    """`m` with a command that is owed. Asking for what is pending joins it.

    Another value of a setting overtakes the one that is still pending.
    """
    same = m.pending(kind)
    if same is not None and same.value == value:
        return m
    if same is not None:
        m = _put(m, _overtaken(same, f"another value was asked for by {by}", now))
    return _add(m, Command(0, kind, by, reason, now.utc, value=value, code=code))


def note(m: Migration, kind: Kind, by: str, reason: str, now: Now) -> Migration:
    """`m` with an entry of pmigd's own record."""
    entry = Command(0, kind, by, reason, now.utc, outcome=Outcome.DONE, ended_at=now.utc)
    return _add(m, entry)


def leave(m: Migration, kind: Kind, by: str, reason: str, problem: Problem, now: Now) -> Migration:
    """`m` with an entry for what is not even tried, and why."""
    entry = Command(
        0, kind, by, reason, now.utc, outcome=Outcome.REFUSED, problem=problem, ended_at=now.utc
    )
    return _add(m, entry)


def settle(m: Migration, answer: Answered, now: Now) -> tuple[Migration, float | None]:
    """`m` with what came of a call, and in how many seconds it is tried again (None: it is not)."""
    command = get(m, answer.id)
    if command is None or not command.calling:
        return m, None  # nobody waits for it
    rule = RULES[command.kind]
    attempts = command.attempts if answer.made else max(0, command.attempts - 1)
    tried = command.attempts
    command = replace(command, attempts=attempts, calling=False, call_mono=now.mono)
    if not command.pending:
        return _put(m, command), None
    # A migrate call that came back is over, whatever it found: it is not made twice.
    if answer.problem is None and (answer.found or (answer.made and command.kind in CALLS)):
        done = replace(command, outcome=Outcome.DONE, ended_at=now.utc, waits="")
        return _put(m, done), None
    if command.kind in _NOT_FOUND and not answer.found:
        return _put(m, _overtaken(command, _NOT_FOUND[command.kind], now)), None
    if command.kind is Kind.PERFORM and not answer.made:
        why = answer.problem.detail if answer.problem else "it was not called"
        return _put(m, _overtaken(command, why, now)), None
    passes = answer.problem is None or rule.passes(answer.problem)
    passes = passes or (not answer.made and _of_this_host(answer.problem))
    if passes and not (rule.tries and tried >= rule.tries):
        delay = rule.delays_s[min(max(tried, 1), len(rule.delays_s)) - 1]
        waits = answer.problem.detail if answer.problem else NO_JOB
        return _put(m, replace(command, waits=waits, again_mono=now.mono + delay)), delay
    problem = answer.problem or Problem(Code.WRONG_STATE, NO_JOB)
    refused = replace(command, outcome=Outcome.REFUSED, problem=problem, ended_at=now.utc, waits="")
    return _put(m, refused), None


def drive(m: Migration, now: Now) -> tuple[Migration, tuple[Command, ...]]:
    """`m` after everything owed was looked at, and the commands to be called now."""
    called = []
    for command in m.commands:
        if not command.pending:
            continue
        rule = RULES[command.kind]
        # While it is out its answer is to come: what it does is why it seems of no use.
        out = command.calling and command.kind in _SHOWS_FIRST
        if not out and (why := rule.over(m)):
            m = _put(m, _overtaken(command, why, now))
            continue
        if command.calling:
            if _is_slow(command, now) and command.waits != SILENT:
                m = _put(m, replace(command, waits=SILENT))
            continue
        why = _why_not_now(m, command)
        if why or now.mono < command.again_mono:
            if why and why != command.waits:
                m = _put(m, replace(command, waits=why))
            continue
        command = replace(
            command, calling=True, call_mono=now.mono, waits="", attempts=command.attempts + 1
        )
        m = _put(m, command)
        called.append(command)
    return m, tuple(called)


def _why_not_now(m: Migration, command: Command) -> str:
    if any(c.calling and c.kind is command.kind for c in m.commands):
        return "the one before it has not come back yet"
    if not m.watching and command.kind not in _ELSEWHERE:
        return AWAY
    if m.adopted and not m.looked_mono and command.kind not in _WITHOUT_A_JOB:
        # It may have ended meanwhile, and a job that is there now be the guest's next migration.
        return "both hosts are asked first what became of it"
    return RULES[command.kind].waits(m)


def at_once(m: Migration) -> Migration:
    """`m` with everything owed to be tried without a pause: libvirt is back."""
    for command in m.commands:
        if command.pending and command.again_mono:
            m = _put(m, replace(command, again_mono=0.0))
    return m


def restarted(m: Migration, now: Now) -> Migration:
    """`m` in a new life of pmigd: nobody waits for the calls of the old one any more."""
    for command in m.commands:
        if command.pending and not RULES[command.kind].survives:
            m = _put(m, _overtaken(command, RESTARTED, now))
        elif command.calling:
            m = _put(m, replace(command, calling=False))
    return at_once(m)


def uncalled(m: Migration) -> Migration:
    """`m` without migrate calls that were proven never to have been made."""
    return replace(m, commands=tuple(c for c in m.commands if c.kind not in CALLS or c.made))


def lose_call(m: Migration, now: Now) -> Migration:
    """`m` whose migrate call has an answer that says nothing: libvirt's job goes on."""
    calls = [c for c in m.commands if c.kind in CALLS and c.made and not c.pending]
    return _put(m, _overtaken(calls[-1], "its job goes on", now)) if calls else m


def reopen_abort(m: Migration, now: Now) -> Migration:
    """`m` whose abort libvirt has accepted while its job still goes on: it is owed again.

    libvirt gets a moment for what it has accepted.
    """
    abort = m.abort
    if abort is None or abort.ended_at is None or abort.pending or _postcopy_began(m):
        return m
    # What another life of pmigd has told libvirt is told once more: that is harmless.
    if abort.call_mono and now.mono - abort.call_mono < ACCEPTED_S:
        return m
    return _put(m, replace(abort, outcome=Outcome.PENDING, ended_at=None))


def close(m: Migration, state: State, now: Now) -> Migration:
    """`m` about to be in `state`: what is still pending is of no use; an abort had its effect.

    What is owed at the end is owed still.
    """
    for command in m.commands:
        if not command.pending or command.kind in AT_THE_END:
            continue
        if command.kind is Kind.ABORT and state is not State.SUCCEEDED:
            m = _put(m, replace(command, outcome=Outcome.DONE, ended_at=now.utc, waits=""))
        else:
            m = _put(m, _overtaken(command, f"the migration has {state}", now))
    return m


def amend(m: Migration, number: int, problem: Problem) -> Migration:
    """`m` with other words for why that command was refused."""
    command = get(m, number)
    return m if command is None else _put(m, replace(command, problem=problem))


def durable(command: Command) -> Command:
    """The part of an entry that must survive a crash: that it was tried, not how often."""
    return replace(
        command,
        attempts=min(command.attempts, 1) if command.pending else command.attempts,
        calling=False,
        call_mono=0.0,
        waits="" if command.pending else command.waits,
        again_mono=0.0,
    )


def owed(m: Migration) -> tuple[Command, ...]:
    """What was asked for and is not done yet; the migrate call itself is no news."""
    return tuple(c for c in m.commands if c.pending and c.kind not in CALLS)


def _is_slow(command: Command, now: Now) -> bool:
    return command.kind not in CALLS and now.mono - command.call_mono > SLOW_S


def _overtaken(command: Command, why: str, now: Now) -> Command:
    return replace(command, outcome=Outcome.OVERTAKEN, ended_at=now.utc, waits=why)


def _put(m: Migration, command: Command) -> Migration:
    return replace(m, commands=tuple(command if c.id == command.id else c for c in m.commands))


def _add(m: Migration, command: Command) -> Migration:
    command = replace(command, id=m.numbered + 1)
    commands = (*m.commands, command)
    dropped = m.dropped
    while len(commands) > MAX_ENTRIES and (spare := _spare(commands)) is not None:
        commands = tuple(c for c in commands if c is not spare)
        dropped += 1
    return replace(m, commands=commands, numbered=command.id, dropped=dropped)


def _spare(commands: tuple[Command, ...]) -> Command | None:
    """The oldest entry that nothing depends on, or None.

    A pending one is owed; the newest of its kind is what is in force; a suspend that may have
    taken effect must not be forgotten.
    """
    newest = {c.kind: c.id for c in commands}
    for command in commands:
        if command.pending or command.calling or newest[command.kind] == command.id:
            continue
        if command.kind is Kind.SUSPEND and command.outcome is not Outcome.REFUSED:
            continue
        return command
    return None
