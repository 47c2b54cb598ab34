"""What the engine wants done: the vocabulary that the supervisor carries out.

Every effect is asked for only after the migration that asks for it is in the journal. Beside each
stands how a later life of pmigd finds out whether it happened. There is no effect that ends a copy
of a guest: the one that could (:class:`AbortJob`) makes libvirt give up an incoming copy while the
source copy is the running one, and libvirt refuses it as soon as that is not so (post-copy).
"""

from __future__ import annotations

from dataclasses import dataclass

from pmigd.core.model import Plan


@dataclass(frozen=True, slots=True)
class Prepare:
    """Look at guest and destination before the call. Reads only: repeating it is harmless."""


@dataclass(frozen=True, slots=True)
class Perform:
    """Make the one blocking migrate call.

    Recovery: the journal says ``call=made`` before it is made, so after a crash it is never made
    again; whether it reached libvirt shows in the domain's job and in both ends' states.
    """

    plan: Plan


@dataclass(frozen=True, slots=True)
class Recover:
    """Make libvirt go on with a broken post-copy: the migrate call again, with its resume flag.

    libvirt accepts it only for a domain whose post-copy has failed; nothing else is started by it.
    Recovery: as of :class:`Perform`.
    """

    plan: Plan


@dataclass(frozen=True, slots=True)
class StartPostcopy:
    """Let the guest run at the destination from now on, `after_s` seconds from now.

    Recovery: ``postcopy_asked`` in the journal; the domain's state shows whether it happened.
    """

    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SetMaxDowntime:
    """Tell QEMU the pause to stay under. Recovery: none needed, it can be asked and set again."""

    max_downtime_ms: int


@dataclass(frozen=True, slots=True)
class AbortJob:
    """Abort libvirt's outgoing migration job on the domain, `after_s` seconds from now.

    Recovery: ``abort`` in the journal; asked for again while the job still runs. Safe to repeat.
    """

    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SuspendGuest:
    """Pause the guest at the source so that the migration can finish.

    Recovery: ``suspended`` in the journal is written first; if the migration then fails, the guest
    is resumed, which does nothing to a guest that was never paused.
    """


@dataclass(frozen=True, slots=True)
class ResumeSource:
    """Let the source copy run on.

    Asked for only when both ends were asked, the source has a paused copy and no job, and the
    destination answered that it has no copy that runs or could be started; and only when no event
    was missed, for a guest that ran at the destination and ended there must not run on from older
    memory here. Recovery: the source copy's state.
    """


@dataclass(frozen=True, slots=True)
class Look:
    """Ask both ends where the guest is, `after_s` seconds from now. Reads only."""

    after_s: float = 0.0


Effect = (
    Prepare
    | Perform
    | Recover
    | StartPostcopy
    | SetMaxDowntime
    | AbortJob
    | SuspendGuest
    | ResumeSource
    | Look
)
