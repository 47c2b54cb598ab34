"""Where is the guest? Decided from what both ends say, never from one end alone.

This module must never call a migration a success because the guest is gone here, nor a failure
because a call came back with an error: the libvirt call's own result is evidence like any other.
When the ends do not settle it, the answer is UNKNOWN and nothing is touched. No verdict makes
anybody end a copy, and only one lets a copy run on (`Verdict.resume_source`).

Two rules of asking, without which an answer proves nothing:

* **The source first, and of it the job before the state.** A source without a job makes no new copy
  from then on, and a state that is asked for after the job's end is the last word. So what the
  destination answers *after* that holds; what it answered before may have been made untrue since.
* **A look is younger than the events before it**: see :func:`outdated`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pmigd.core.model import (
    UNASKED,
    Because,
    Call,
    Direction,
    Evidence,
    Job,
    Power,
    Sample,
    View,
)
from pmigd.core.problem import Code


class Truth(StrEnum):
    """What the ends prove."""

    ARRIVED = "arrived"  # it got to the destination; `why` says what has become of it since, if so
    STAYED = "stayed"  # is here, and proven not to run at the destination
    ENDED = "ended"  # over for good, and not because it stayed: `code` and `why` say how
    GOES_ON = "goes_on"  # libvirt is still working on it
    POSTCOPY_PAUSED = "postcopy_paused"
    SETTLING = "settling"  # libvirt is about to clean up: ask again soon
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome; for UNKNOWN and ENDED the code and a sentence that says what was seen.

    `resume_source`: the copy here is paused although nothing will come of the migration, it was
    watched all the time, and the destination proved that it has no copy: the source may run on.
    `in_the_end`: the verdict if what is SETTLING has not changed after a good while; without it
    that is UNKNOWN, with the same code and sentence.
    """

    outcome: Truth
    code: Code | None = None
    why: str = ""
    resume_source: bool = False
    in_the_end: Verdict | None = None


_ENDS_OF_A_RUN: Final = frozenset({Because.SHUTDOWN, Because.DESTROYED, Because.CRASHED})
"""Why a guest that ran is shut off, other than by a migration. A copy that was still arriving ends
as FAILED, or, over a definition that was there before, as DESTROYED."""


def _unknown(code: Code, why: str) -> Verdict:
    return Verdict(Truth.UNKNOWN, code, why)


def _settling(code: Code, why: str, in_the_end: Verdict | None = None) -> Verdict:
    return Verdict(Truth.SETTLING, code, why, in_the_end=in_the_end)


def words_of(view: View) -> str:
    """What a host has, for people: "running", "shut off (destroyed)", "no such domain"."""
    if view.power is Power.ABSENT:
        return "no such domain"
    power = "shut off" if view.power is Power.SHUTOFF else str(view.power)
    return power if view.because is Because.OTHER else f"{power} ({view.because})"


def outdated(heard_before: int, heard: int) -> bool:
    """Whether a look says less than is known: libvirt told of something since it was begun.

    `heard_before` and `heard` count what libvirt told of a migration (events that may change where
    the guest is, and the answer of the call): when the look was begun, and now. Such a look is not
    judged but made again; what it saw may be from before the switch that is known by now.
    """
    return heard_before < heard


def may_have_switched(evidence: Evidence, source: View, *, suspended: bool) -> bool:
    """Whether the destination copy may ever have been started.

    It is started only after the source guest was stopped for the switch-over. libvirt leaves
    MIGRATION_CANCELED as the reason of a guest that it stopped and let run again; that reason
    stays for the rest of the guest's life here, so it counts only if it was not there before. A
    guest that was paused anyway is switched over without any further sign.
    """
    if evidence.switched or suspended or evidence.paused_before:
        return True
    if source.because is Because.MIGRATION_CANCELED:
        return evidence.blind or evidence.because_before is not Because.MIGRATION_CANCELED
    return False


def _libvirt_says_moved(evidence: Evidence, call: Call, source: View) -> bool:
    """Whether libvirt itself said that it moved the guest, as it does only after the destination
    has started it.

    Not if our own call failed: then whatever left this host later may have gone elsewhere.
    """
    if call is Call.OK:
        return True
    left = source.power is Power.SHUTOFF and source.because is Because.MIGRATED
    return (evidence.left or left) and call is not Call.FAILED


def _ran_there(evidence: Evidence, destination: View) -> bool:
    """Whether the destination shows by itself that the guest ran there.

    It had no such domain before; a definition is left there by a migration only once the guest is
    complete; and its last run ended as runs end.
    """
    ends = _ENDS_OF_A_RUN | {Because.MIGRATED}
    shut_off = destination.power is Power.SHUTOFF and destination.because in ends
    return evidence.unknown_there and shut_off


def _is_another_run(evidence: Evidence, source: View) -> bool:
    """Whether what is active here is not the run of the guest that was to be moved."""
    return 0 != evidence.run_before != source.run != 0


def judge(
    evidence: Evidence, call: Call, source: View, destination: View, *, suspended: bool
) -> Verdict:
    """The verdict on a migration whose destination can be asked.

    `call` is what became of the migrate call, `suspended` says that pmigd itself paused the guest
    to get it finished. `destination` must have been asked after `source` had answered.
    """
    if source.power is Power.UNKNOWN:
        return _unknown(Code.LIBVIRT_UNAVAILABLE, source.detail or "the source did not answer")
    if source.because in (Because.POSTCOPY, Because.POSTCOPY_FAILED):
        return _half_is_here(source, destination)
    if source.job is Job.OUTGOING:
        return Verdict(Truth.GOES_ON)
    if source.job is Job.INCOMING or source.because is Because.STARTING_UP:
        return _settling(Code.ANOTHER_RUN, "another run of the guest is about to begin here")
    if source.alive:
        return _guest_is_here(evidence, call, source, destination, suspended=suspended)
    if source.gone:
        return _guest_is_not_here(evidence, call, source, destination)
    return _paused_copy_is_left(evidence, call, source, destination)


def _half_is_here(source: View, destination: View) -> Verdict:
    """In post-copy the guest runs at the destination; here is what it has not got yet."""
    if destination.gone:
        lost = _lost(
            f"The guest ran at the destination, which now has {words_of(destination)}; at the "
            "source is only a paused part of its memory."
        )
        if source.because is Because.POSTCOPY_FAILED:
            return lost
        return _settling(Code.POSTCOPY_LOST, lost.why, lost)
    if source.because is Because.POSTCOPY:
        broke = destination.because is Because.POSTCOPY_FAILED
        return Verdict(Truth.POSTCOPY_PAUSED if broke else Truth.GOES_ON)
    if destination.power is Power.RUNNING and destination.because is Because.MIGRATED:
        return _unknown(
            Code.SOURCE_LEFT_PAUSED,
            "the destination runs the guest, whole, and a paused part of its memory is left here",
        )
    return Verdict(Truth.POSTCOPY_PAUSED)


def _lost(why: str) -> Verdict:
    return Verdict(Truth.ENDED, Code.POSTCOPY_LOST, f"{why} The guest cannot be made whole.")


def _guest_is_here(
    evidence: Evidence, call: Call, source: View, destination: View, *, suspended: bool
) -> Verdict:
    if destination.alive:
        return _unknown(
            Code.TWO_COPIES,
            f"here it is {source.power}, at the destination it is {destination.power}",
        )
    moved = _libvirt_says_moved(evidence, call, source)
    another = moved or _is_another_run(evidence, source)
    if destination.power is Power.UNKNOWN:
        if another or may_have_switched(evidence, source, suspended=suspended):
            return _unknown(
                Code.DESTINATION_SILENT,
                "the guest is here, but a copy may have been started at the destination, "
                f"which does not answer: {destination.detail}",
            )
        # The source was never stopped for the switch-over: no other copy can have been started.
        return Verdict(Truth.STAYED)
    if not destination.gone:
        return _copy_there_does_not_run(destination)
    if another:
        return _came_back(moved or _ran_there(evidence, destination), source, destination)
    ours = suspended and source.power is Power.PAUSED and source.because is Because.USER
    return _stays_paused(evidence, source, destination) if ours else Verdict(Truth.STAYED)


def _copy_there_does_not_run(destination: View) -> Verdict:
    """The guest is alive here; the destination has a copy that was never started.

    While libvirt there has its job, it may still end it, or (its daemon hung) start it. If it
    stays as it was when QEMU began, nobody is going to: libvirt there has lost it half-made.
    """
    why = "the destination still has an incoming copy"
    left_over = destination.because is Because.STARTING_UP or destination.job is Job.NONE
    stayed = Verdict(Truth.STAYED, why=_LEFT_OVER_THERE) if left_over else None
    return _settling(Code.TWO_COPIES, why, stayed)


_LEFT_OVER_THERE: Final = (
    "A half-made copy, which never ran, is left at the destination; the runbook 'leftover copy' "
    "says how to be rid of it."
)


def _came_back(arrived: bool, source: View, destination: View) -> Verdict:
    """The run of the guest that was to be moved is over, and another one is here."""
    how = "moved back here" if source.because is Because.MIGRATED else "started here again"
    if arrived:
        return Verdict(Truth.ARRIVED, why=f"It has since been {how}, and is {source.power}.")
    return Verdict(
        Truth.ENDED,
        Code.ANOTHER_RUN,
        f"The guest that was to be moved is not here any more: it has been {how} since. Nobody saw "
        f"how the migration ended; the destination has {words_of(destination)}.",
    )


def _guest_is_not_here(evidence: Evidence, call: Call, source: View, destination: View) -> Verdict:
    ended_here = source.power is Power.SHUTOFF and source.because in _ENDS_OF_A_RUN
    moved = _libvirt_says_moved(evidence, call, source)
    if destination.because in (Because.POSTCOPY, Because.POSTCOPY_FAILED):
        ended = (evidence.ended or ended_here) and not moved and not evidence.left
        return _half_is_there(source, destination, ended_here=ended)
    if destination.alive:
        usual = destination.power is not Power.OTHER
        return Verdict(Truth.ARRIVED, why="" if usual else _since(destination))
    if destination.power is Power.UNKNOWN:
        return _unknown(
            Code.DESTINATION_SILENT,
            f"the guest is not here any more and the destination does not answer: "
            f"{destination.detail}",
        )
    if not destination.gone:
        return _settling(Code.GUEST_NOT_FOUND, "the destination has not started it yet")
    if moved or _ran_there(evidence, destination):
        return Verdict(Truth.ARRIVED, why=_since(destination))
    if evidence.postcopy and ended_here:
        return _lost(
            f"The guest ran at the destination, which now has {words_of(destination)}, and the "
            f"part of its memory at the source is gone ({words_of(source)})."
        )
    if not evidence.left and (evidence.ended or (ended_here and not evidence.switched)):
        return Verdict(Truth.ENDED, Code.GUEST_STOPPED, f"The domain is {words_of(source)} here.")
    return _unknown(
        Code.GUEST_NOT_FOUND,
        f"here the domain is {words_of(source)}, at the destination it is {words_of(destination)}",
    )


def _since(destination: View) -> str:
    """What has become of a guest that arrived."""
    if destination.power is Power.ABSENT:
        return "The destination does not have it any more: it has ended there or was moved on."
    if destination.because is Because.MIGRATED:
        return "It has since been moved on from there."
    if destination.power is Power.SHUTOFF:
        return f"It has since ended there: {words_of(destination)}."
    return f"It is {words_of(destination)} there now."


def _half_is_there(source: View, destination: View, *, ended_here: bool) -> Verdict:
    """Nothing is here, and the destination does not have all of the memory, or did not just now."""
    if not ended_here:
        # libvirt may be about to call it complete; if nobody saw how the source ended, who knows.
        return _settling(Code.GUEST_NOT_FOUND, "the destination is in post-copy still")
    lost = _lost(
        f"The part of its memory at the source is gone ({words_of(source)}); at the destination "
        "the guest runs until it needs a page that was not sent."
    )
    if destination.because is Because.POSTCOPY_FAILED:
        return lost
    # The last page may have been sent: then it is complete in a moment.
    return _settling(Code.POSTCOPY_LOST, lost.why)


def _stays_paused(evidence: Evidence, source: View, destination: View) -> Verdict:
    """A paused copy is here and the destination has none now: may this one run on?

    Not if the guest ran at the destination meanwhile and ended there, nor if events were missed
    and it may have. The memory here would then be older than its disks, and letting it run would
    damage them.
    """
    if _ran_there(evidence, destination):
        return _unknown(
            Code.SOURCE_LEFT_PAUSED,
            f"a paused copy is left here, but the guest ran at the destination, which now has it "
            f"as {words_of(destination)}",
        )
    if evidence.blind:
        return _unknown(
            Code.SOURCE_LEFT_PAUSED,
            "a paused copy is left here and the destination has none now, but nobody saw whether "
            "the guest ran there meanwhile",
        )
    if source.job is not Job.NONE:
        return _settling(Code.SOURCE_LEFT_PAUSED, "another job holds the paused copy here")
    return Verdict(Truth.STAYED, resume_source=True)


def _paused_copy_is_left(
    evidence: Evidence, call: Call, source: View, destination: View
) -> Verdict:
    """The source has a copy that a migration paused, and no job that would go on with it."""
    if _libvirt_says_moved(evidence, call, source) or _is_another_run(evidence, source):
        return _unknown(
            Code.SOURCE_LEFT_PAUSED,
            "a paused copy is here that is not the one which was to be moved",
        )
    if destination.gone:
        return _stays_paused(evidence, source, destination)
    if destination.power is Power.UNKNOWN:
        return _unknown(
            Code.DESTINATION_SILENT,
            f"a paused copy is here and the destination does not answer: {destination.detail}",
        )
    if destination.alive:
        return _unknown(
            Code.SOURCE_LEFT_PAUSED, "the destination runs the guest and a paused copy is left here"
        )
    return _settling(Code.SOURCE_LEFT_PAUSED, "both hosts have a paused copy of the guest")


def judge_offline(call: Call, source: View, destination: View) -> Verdict:
    """The verdict on an offline migration: it moves a definition, and no guest.

    The guest, running or not, stays as it is at the source, so nothing can be lost by it; only
    whether the destination has the definition is asked.
    """
    if call is Call.FAILED:
        return Verdict(Truth.STAYED)
    if destination.power is Power.UNKNOWN:
        return _unknown(
            Code.DESTINATION_SILENT,
            f"the destination does not say whether it has the definition: {destination.detail}",
        )
    if destination.persistent:
        return Verdict(Truth.ARRIVED)
    if call is Call.OK:
        return Verdict(Truth.ARRIVED, why=_DEFINITION_GONE)
    if source.power is Power.UNKNOWN:
        return _unknown(Code.LIBVIRT_UNAVAILABLE, source.detail or "the source did not answer")
    if source.power is Power.ABSENT:
        return _unknown(Code.GUEST_NOT_FOUND, "neither host has the definition")
    return Verdict(Truth.STAYED)


_DEFINITION_GONE: Final = "The destination does not have the definition any more."


def judge_external(
    evidence: Evidence, direction: Direction, here: View, other: View = UNASKED
) -> Verdict:
    """The verdict on a migration that others started; `here` is this host.

    `other` is what the source says of a guest that comes in, where its pmigd could be asked (and
    was, after this host). It is for display and measurement; nothing is ever done because of it.
    """
    if here.power is Power.UNKNOWN:
        return _unknown(Code.LIBVIRT_UNAVAILABLE, here.detail or "libvirt did not answer")
    if direction is Direction.INCOMING:
        return _incoming(here, other)
    if here.because is Because.POSTCOPY_FAILED:
        return Verdict(Truth.POSTCOPY_PAUSED)
    if here.job is Job.OUTGOING or here.because is Because.POSTCOPY:
        return Verdict(Truth.GOES_ON)
    if here.alive:
        return Verdict(Truth.STAYED)
    if evidence.left or here.because is Because.MIGRATED:
        return Verdict(Truth.ARRIVED)
    if evidence.ended and evidence.postcopy:
        return _lost(f"The part of its memory at the source is gone ({words_of(here)}).")
    if evidence.ended:
        return Verdict(Truth.ENDED, Code.GUEST_STOPPED, f"The domain is {words_of(here)} here.")
    if here.gone:
        return _unknown(Code.GUEST_NOT_FOUND, f"the domain is {here.power} and nobody saw it leave")
    return _settling(Code.SOURCE_LEFT_PAUSED, "a paused copy is left here")


def _incoming(here: View, other: View) -> Verdict:
    if here.because is Because.POSTCOPY_FAILED:
        ended = other.power is Power.SHUTOFF and other.because in _ENDS_OF_A_RUN
        if other.power is Power.ABSENT or ended:
            lost = _half_is_there(other, here, ended_here=True)
            return _settling(Code.POSTCOPY_LOST, lost.why, lost)
        return Verdict(Truth.POSTCOPY_PAUSED)
    arriving = here.because in (Because.MIGRATION, Because.POSTCOPY, Because.STARTING_UP)
    if not arriving and here.job is not Job.INCOMING:
        return Verdict(Truth.ARRIVED if here.alive else Truth.STAYED)
    if here.because is not Because.POSTCOPY and other.alive and other.job is not Job.OUTGOING:
        left = Verdict(
            Truth.ENDED,
            Code.LEFTOVER_COPY,
            f"The guest is {other.power} at the source, which has no migration of it any more; "
            f"the copy here ({words_of(here)}) never ran.",
        )
        return _settling(Code.LEFTOVER_COPY, left.why, left)
    return Verdict(Truth.GOES_ON)


def keeps_from_recovery(call: Call, source: View, destination: View) -> str:
    """Why a broken post-copy cannot be gone on with now, and what helps; empty: it can.

    Both ends were just seen; going on ends no copy, for libvirt resumes only what has failed on
    both hosts.
    """
    if destination.power is Power.UNKNOWN:
        return f"The destination does not answer: {destination.detail}"
    if destination.because is not Because.POSTCOPY_FAILED:
        return (
            "Only the source has noticed the break. The destination's QEMU notices it when it next "
            "asks for a page; until then its libvirt lets nobody go on. Resetting the connection "
            "there makes it notice: see the runbook 'post-copy is paused'."
        )
    if source.because is not Because.POSTCOPY_FAILED:
        return "Only the destination has noticed the break: libvirt here waits for it still."
    if call is Call.MADE:
        return "libvirt's call that broke has not come back yet."
    return ""


def standstill(last: Sample, source: View, destination: View) -> str:
    """What is known of a migration whose job libvirt has, and of which nothing moves any more.

    `last` are the last figures of its transfer.
    """
    if source.because is Because.POSTCOPY:
        return "The guest runs at the destination, but no page of its memory comes over any more."
    if source.power is Power.RUNNING and destination.gone:
        return (
            "QEMU has given the migration up: the guest runs here, and the destination has no copy "
            "of it. Only libvirt here holds on to its job."
        )
    if source.because is Because.MIGRATION:
        silent = destination.power is Power.UNKNOWN
        why = f", which does not answer: {destination.detail}" if silent else ""
        return f"All is sent and the guest is stopped; libvirt waits for the destination{why}."
    left = last.memory_remaining_bytes + last.disk_remaining_bytes
    what = f"{left} bytes are left, and nothing is sent" if left else "All is sent"
    return (
        f"{what}, but the guest is not switched over: either nothing passes between the hosts, or "
        "QEMU waits for ever. Before 9.0 it does if the guest is asleep (suspended to memory), "
        "which then stands still."
    )
