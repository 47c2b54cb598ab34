"""Where is the guest? Decided from what both ends say, never from one end alone.

This module must never call a migration a success because the guest is gone here, nor a failure
because a call came back with an error: the libvirt call's own result is evidence like any other.
When the ends do not settle it, the answer is UNKNOWN and nothing is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pmigd.core.model import Because, Call, Direction, Evidence, Job, Power, View
from pmigd.core.problem import Code


class Outcome(StrEnum):
    """What the ends prove."""

    ARRIVED = "arrived"  # runs at the destination, not here
    STAYED = "stayed"  # is here, and proven not to run at the destination
    ENDED = "ended"  # runs on neither host, because the guest itself ended
    GOES_ON = "goes_on"  # libvirt is still working on it
    POSTCOPY_PAUSED = "postcopy_paused"
    SETTLING = "settling"  # libvirt is about to clean up: ask again soon
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome; for UNKNOWN the code and a sentence that says what was seen.

    `resume_source`: the copy here is paused although nothing will come of the migration, it was
    watched all the time, and the destination proved that it has no copy: the source may run on.
    """

    outcome: Outcome
    code: Code | None = None
    why: str = ""
    resume_source: bool = False


def _unknown(code: Code, why: str) -> Verdict:
    return Verdict(Outcome.UNKNOWN, code, why)


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


def judge(evidence: Evidence, source: View, destination: View, *, suspended: bool) -> Verdict:
    """The verdict on a migration whose destination can be asked.

    `suspended` says that pmigd itself paused the guest to get it finished.
    """
    if source.power is Power.UNKNOWN:
        return _unknown(Code.LIBVIRT_UNAVAILABLE, source.detail or "the source did not answer")
    if source.because is Because.POSTCOPY_FAILED:
        if destination.gone:
            return _unknown(
                Code.GUEST_NOT_FOUND,
                "post-copy broke, and the destination, where the guest ran, has no copy any more; "
                "the memory of the copy here is not whole",
            )
        return Verdict(Outcome.POSTCOPY_PAUSED)
    if source.job is Job.OUTGOING or source.because is Because.POSTCOPY:
        return Verdict(Outcome.GOES_ON)
    if source.alive:
        return _guest_is_here(evidence, source, destination, suspended=suspended)
    if source.gone:
        return _guest_is_not_here(evidence, source, destination)
    return _paused_copy_is_left(evidence, destination)


def _guest_is_here(
    evidence: Evidence, source: View, destination: View, *, suspended: bool
) -> Verdict:
    if destination.alive:
        return _unknown(
            Code.TWO_COPIES,
            f"here it is {source.power}, at the destination it is {destination.power}",
        )
    if destination.gone:
        ours = suspended and source.power is Power.PAUSED and source.because is Because.USER
        return _stays_paused(evidence) if ours else Verdict(Outcome.STAYED)
    if destination.power is Power.UNKNOWN:
        if may_have_switched(evidence, source, suspended=suspended):
            return _unknown(
                Code.DESTINATION_SILENT,
                "the guest is here, but a copy may have been started at the destination, "
                f"which does not answer: {destination.detail}",
            )
        # The source was never stopped for the switch-over: no other copy can have been started.
        return Verdict(Outcome.STAYED)
    return Verdict(Outcome.SETTLING, Code.TWO_COPIES, "the destination still has an incoming copy")


def _guest_is_not_here(evidence: Evidence, source: View, destination: View) -> Verdict:
    if destination.because in (Because.POSTCOPY, Because.POSTCOPY_FAILED):
        return Verdict(
            Outcome.SETTLING, Code.GUEST_NOT_FOUND, "the destination is in post-copy still"
        )
    if destination.alive:
        return Verdict(Outcome.ARRIVED)
    if destination.power is Power.UNKNOWN:
        return _unknown(
            Code.DESTINATION_SILENT,
            f"the guest is not here any more and the destination does not answer: "
            f"{destination.detail}",
        )
    if not destination.gone:
        return Verdict(
            Outcome.SETTLING, Code.GUEST_NOT_FOUND, "the destination has not started it yet"
        )
    ended_here = source.power is Power.SHUTOFF and source.because in (
        Because.SHUTDOWN,
        Because.DESTROYED,
        Because.CRASHED,
    )
    if not evidence.left and (evidence.ended or (ended_here and not evidence.switched)):
        return Verdict(Outcome.ENDED)
    return _unknown(
        Code.GUEST_NOT_FOUND,
        f"here the domain is {source.power}, at the destination it is {destination.power}",
    )


def _stays_paused(evidence: Evidence) -> Verdict:
    """A paused copy is here and the destination has none now: may this one run on?

    Not if events were missed: the guest may have run at the destination meanwhile and ended there.
    The memory here would then be older than its disks, and letting it run would damage them.
    """
    if evidence.blind:
        return _unknown(
            Code.SOURCE_LEFT_PAUSED,
            "a paused copy is left here and the destination has none now, but nobody saw whether "
            "the guest ran there meanwhile",
        )
    return Verdict(Outcome.STAYED, resume_source=True)


def _paused_copy_is_left(evidence: Evidence, destination: View) -> Verdict:
    """The source has a copy that a migration paused, and no job that would go on with it."""
    if destination.gone:
        return _stays_paused(evidence)
    if destination.power is Power.UNKNOWN:
        return _unknown(
            Code.DESTINATION_SILENT,
            f"a paused copy is here and the destination does not answer: {destination.detail}",
        )
    if destination.alive:
        return _unknown(
            Code.SOURCE_LEFT_PAUSED, "the destination runs the guest and a paused copy is left here"
        )
    return Verdict(
        Outcome.SETTLING, Code.SOURCE_LEFT_PAUSED, "both hosts have a paused copy of the guest"
    )


def judge_offline(call: Call, source: View, destination: View) -> Verdict:
    """The verdict on an offline migration: it moves a definition, and no guest.

    The guest, running or not, stays as it is at the source, so nothing can be lost by it; only
    whether the destination has the definition is asked.
    """
    if call is Call.FAILED:
        return Verdict(Outcome.STAYED)
    if destination.power is Power.UNKNOWN:
        return _unknown(
            Code.DESTINATION_SILENT,
            f"the destination does not say whether it has the definition: {destination.detail}",
        )
    if destination.persistent:
        return Verdict(Outcome.ARRIVED)
    if source.power is Power.UNKNOWN:
        return _unknown(Code.LIBVIRT_UNAVAILABLE, source.detail or "the source did not answer")
    if source.power is Power.ABSENT:
        return _unknown(Code.GUEST_NOT_FOUND, "neither host has the definition")
    return Verdict(Outcome.STAYED)


def judge_external(evidence: Evidence, direction: Direction, here: View) -> Verdict:
    """The verdict on a migration that others started: only this host can be asked.

    It is for display and measurement; nothing is ever done because of it.
    """
    if here.power is Power.UNKNOWN:
        return _unknown(Code.LIBVIRT_UNAVAILABLE, here.detail or "libvirt did not answer")
    if here.because is Because.POSTCOPY_FAILED:
        return Verdict(Outcome.POSTCOPY_PAUSED)
    if direction is Direction.INCOMING:
        if here.job is Job.INCOMING or here.because in (Because.MIGRATION, Because.POSTCOPY):
            return Verdict(Outcome.GOES_ON)
        return Verdict(Outcome.ARRIVED if here.alive else Outcome.STAYED)
    if here.job is Job.OUTGOING or here.because is Because.POSTCOPY:
        return Verdict(Outcome.GOES_ON)
    if here.alive:
        return Verdict(Outcome.STAYED)
    if evidence.left or here.because is Because.MIGRATED:
        return Verdict(Outcome.ARRIVED)
    if evidence.ended:
        return Verdict(Outcome.ENDED)
    if here.gone:
        return _unknown(Code.GUEST_NOT_FOUND, f"the domain is {here.power} and nobody saw it leave")
    return Verdict(Outcome.SETTLING, Code.SOURCE_LEFT_PAUSED, "a paused copy is left here")
