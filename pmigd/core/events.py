"""What may happen to a migration: the vocabulary that the engine understands.

Events are facts in the past tense. Whoever reports one has already translated it from libvirt's
words; the engine never sees a libvirt constant.
"""

from __future__ import annotations

from dataclasses import dataclass

from pmigd.core.model import Because, Job, Plan, Sample, Settings, State, View
from pmigd.core.problem import Code, Problem


@dataclass(frozen=True, slots=True)
class Admitted:
    """A slot was given to a queued migration."""


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """A queued migration will never get its slot: the destination refuses it, or stays silent."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Prepared:
    """Source and destination were looked at and nothing speaks against the call."""

    plan: Plan
    because_before: Because
    paused_before: bool
    destination_uuid: str = ""
    run_before: int = 0
    unknown_there: bool = False


@dataclass(frozen=True, slots=True)
class PrepareFailed:
    """The checks before the call found a reason not to make it."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Answered:
    """A command's call of libvirt has ended, or will never be made.

    `problem` None means that libvirt did it. `made` False is the proof that libvirt was not called;
    `found` False says that there was nothing to do it to, such as no job (yet).
    """

    id: int
    problem: Problem | None = None
    made: bool = True
    found: bool = True


@dataclass(frozen=True, slots=True)
class Sampled:
    """Job statistics were read. `sample` is None when libvirt has no figures (yet, or any more)."""

    job: Job
    sample: Sample | None


@dataclass(frozen=True, slots=True)
class IterationBegan:
    """QEMU began a pass over the guest's memory."""

    iteration: int


@dataclass(frozen=True, slots=True)
class SwitchedOver:
    """The source guest was stopped for the switch-over."""


@dataclass(frozen=True, slots=True)
class PostcopyBegan:
    """The guest runs at the destination while memory still comes over."""


@dataclass(frozen=True, slots=True)
class PostcopyBroke:
    """The stream broke in post-copy; the guest's memory is on two hosts."""


@dataclass(frozen=True, slots=True)
class Left:
    """libvirt says that the guest left this host by migration."""


@dataclass(frozen=True, slots=True)
class GuestEnded:
    """The guest ended on this host: it shut down, crashed or was destroyed."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An incoming guest was started here."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Final statistics of a migration that libvirt calls a success."""

    sample: Sample


@dataclass(frozen=True, slots=True)
class Looked:
    """Both ends were asked: the source, and when it had answered the destination.

    Of a migration that others started `source` is this host, and `destination` what the source says
    of a guest that comes in, if it could be asked. `completed` has final statistics where either
    end still had them, `heard` is what the look's effect had; None: it is of this moment.
    """

    source: View
    destination: View
    completed: Sample | None = None
    heard: int | None = None


@dataclass(frozen=True, slots=True)
class SettingsRead:
    """libvirt said which settings are in force."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """A person, or a policy, wants it aborted. It ends with `code` if that succeeds."""

    by: str
    reason: str
    code: Code = Code.CANCELLED


@dataclass(frozen=True, slots=True)
class SetAsked:
    """A person, or a policy, wants other settings. What is None stays as it is."""

    by: str
    settings: Settings
    timeout_s: float | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class SuspendAsked:
    """A person wants the guest paused so that the migration finishes."""

    by: str


@dataclass(frozen=True, slots=True)
class PostcopyAsked:
    """A person wants the guest to move on now and its memory to follow."""

    by: str


@dataclass(frozen=True, slots=True)
class RecoverAsked:
    """A person, or a policy, wants a broken post-copy to go on."""

    by: str


@dataclass(frozen=True, slots=True)
class WatchLost:
    """The connection to the local libvirt daemon is gone."""


@dataclass(frozen=True, slots=True)
class WatchBack:
    """The local libvirt daemon answers again; events in between were missed."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """pmigd was started anew and found this migration in its journal."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time went by."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """An operator closed an unresolved migration."""

    verdict: State
    by: str


FromLibvirt = (
    Sampled
    | IterationBegan
    | SwitchedOver
    | PostcopyBegan
    | PostcopyBroke
    | Left
    | GuestEnded
    | Arrived
    | Completed
)
"""What libvirt tells, or shows, of a job."""

Event = (
    FromLibvirt
    | Admitted
    | NotAdmitted
    | Prepared
    | PrepareFailed
    | Answered
    | Looked
    | SettingsRead
    | AbortAsked
    | SetAsked
    | SuspendAsked
    | PostcopyAsked
    | RecoverAsked
    | WatchLost
    | WatchBack
    | Restarted
    | Ticked
    | Resolved
)
