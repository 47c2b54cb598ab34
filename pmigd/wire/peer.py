"""What two pmigd say to each other (protocol 1): leases, questions and their answers.

Leases are told level by level: a source *reports* all that it has or wants, with the phase of each,
and the destination makes its own book equal to that. A lost message is therefore repaired by the
next report, and nothing needs to be taken back one by one. Fields that a later version adds are
ignored; a change that an older one would misunderstand gets a new protocol number.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from pmigd.core.facts import LocalFacts, Question
from pmigd.core.holdings import Login, Phase
from pmigd.core.model import Direction, Domain, Sample, Transport, View

PROTOCOL: Final = 1
BODY_LIMIT_BYTES: Final = 1024 * 1024
MAX_LEASES: Final = 2000
"""In one report; a host does not have more migrations under way with one peer."""

_WORD_MAX: Final = 256
_TEXT_MAX: Final = 4096
_XML_MAX: Final = 64 * 1024
_ITEMS_MAX: Final = 1024
"""No honest message comes near these; a dishonest one is kept in memory, journals and logs."""

_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\s\S])")]
_Name = Annotated[str, Meta(min_length=1, max_length=_WORD_MAX)]
_Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Epoch = Annotated[str, Meta(max_length=64)]
_Word = Annotated[str, Meta(max_length=_WORD_MAX)]
_Text = Annotated[str, Meta(max_length=_TEXT_MAX)]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, which protocols it speaks, and what time it has."""

    protocols: Annotated[tuple[int, ...], Meta(max_length=64)]
    name: _Word
    version: _Word
    at: datetime


class LeaseEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One migration that the source has, or wants to have, under way to this host.

    ``ports``: migration ports that it needs here. ``login``: how the source's libvirt daemon
    connects to this one's. ``transport``: how the memory travels. ``traceparent``: the trace that
    it belongs to, as the W3C writes it; what is not one is as if not given.
    """

    id: _Id
    domain: Domain
    phase: Phase
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    ports: Annotated[int, Meta(ge=0, le=2)] = 1
    login: Login = "tls"
    transport: Transport = Transport.NATIVE
    traceparent: _Word = ""

    def __post_init__(self) -> None:
        """Refuse a domain that cannot be one."""
        _check(self.domain, _WORD_MAX)


class FromSource(msgspec.Struct, frozen=True, kw_only=True):
    """A message that says whose it is.

    ``source`` is the sending host's name, which its certificate must cover. ``epoch`` is a random
    word of this start of its pmigd, with which it has said hello. ``seq`` grows with every message
    of an epoch; an older report never undoes a newer ask. The sender's channel sets the epoch.

    The release before this one knows no epoch (it sends none, which counts as one, and ignores
    this one's): for its sake the numbers grow over restarts too, as far as the clock allows that.
    """

    source: _Name
    epoch: _Epoch = ""
    seq: _Seq


class LeaseAsk(FromSource, frozen=True, kw_only=True):
    """Asks for one lease, now."""

    lease: LeaseEntry


class LeaseReport(FromSource, frozen=True, kw_only=True):
    """Everything of that source's; what is missing is given back."""

    leases: Annotated[tuple[LeaseEntry, ...], Meta(max_length=MAX_LEASES)] = ()


class PeerFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in plain text: another version may know codes that this one does not."""

    code: _Word
    detail: _Text
    remedy: _Text = ""
    problem: _Word = ""


class PeerWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """Why a lease is not granted yet: the resource of ``host`` that is lacking."""

    resource: _Word
    host: _Word
    used: int
    limit: int
    position: int


class LeaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a lease. ``refused``: never, for the reasons in ``findings``.

    ``seq`` is the source's last message about it that the destination knows of: a grant that is
    older than what the source has asked since must not be used.
    """

    state: Literal["granted", "waiting", "refused"]
    seq: int = 0
    waiting: PeerWaiting | None = None
    findings: Annotated[tuple[PeerFinding, ...], Meta(max_length=256)] = ()


class LeaseAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a report, by the leases' ids."""

    leases: dict[str, LeaseAnswer]


class LeaseEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of :data:`EVENTS`: a lease was granted, or waits for something else."""

    id: _Word
    answer: LeaseAnswer


class LookQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Do you have this guest, and in what state?

    ``completed``: also the final statistics of a migration in that direction.
    """

    domain: Domain
    completed: Direction | None = None

    def __post_init__(self) -> None:
        """Refuse a domain that cannot be one."""
        _check(self.domain, _WORD_MAX)


class LookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What libvirt there says about its copy; ``view.power`` unknown where it says nothing.

    ``host_uuid`` is that of the libvirt daemon that was asked.
    """

    view: View
    host_uuid: str = ""
    completed: Sample | None = None


class ExamineQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What of this can only you see: could you take this guest?"""

    question: Question

    def __post_init__(self) -> None:
        """Refuse what no guest's definition is made of."""
        _check(self.question, _XML_MAX)


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What only the host itself can see; null where it could not look.

    ``host_uuid`` is that of its libvirt daemon.
    """

    host_uuid: str
    local: LocalFacts | None


def _check(value: object, longest: int) -> None:
    """Refuse texts and lists of `value` (the core's own, which knows no bounds) that are too long.

    Raises ValueError, which is how msgspec is told.
    """
    if isinstance(value, str) and len(value) > longest:
        raise ValueError(f"holds a text of more than {longest} characters")
    if isinstance(value, tuple) and len(value) > _ITEMS_MAX:
        raise ValueError(f"holds a list of more than {_ITEMS_MAX} items")
    if isinstance(value, tuple):
        for item in value:
            _check(item, longest)
    elif is_dataclass(value):
        for field in fields(value):
            _check(getattr(value, field.name), longest)


Takes = TypeVar("Takes")
Gives = TypeVar("Gives")


@dataclass(frozen=True, slots=True)
class Exchange(Generic[Takes, Gives]):
    """One question and its answer: both sides are made from the same row.

    ``name`` is the metric label and the method of the daemon behind the server.
    ``takes`` is the body's type, or None where there is no body.
    """

    name: str
    method: str
    path: str
    takes: type[Takes] | None
    gives: type[Gives]


HELLO: Final[Exchange[None, Hello]] = Exchange("hello", "GET", "/peer/hello", None, Hello)
"""The one path without a protocol number: what the others are is agreed on here.

Who asks says its epoch in the query (``?epoch=``): that is its greeting. The release before this
one says none.
"""

ASK: Final = Exchange("ask", "POST", "/peer/v1/leases", LeaseAsk, LeaseAnswer)
REPORT: Final = Exchange("report", "PUT", "/peer/v1/leases", LeaseReport, LeaseAnswers)
LOOK: Final = Exchange("look", "POST", "/peer/v1/look", LookQuestion, LookAnswer)
EXAMINE: Final = Exchange("examine", "POST", "/peer/v1/examine", ExamineQuestion, Examination)
EVENTS: Final[Exchange[None, LeaseEvent]] = Exchange(
    "events", "GET", "/peer/v1/events", None, LeaseEvent
)
"""The answer is NDJSON without an end; a blank line is a sign of life."""
