"""What two pmigd say to each other (protocol 1): leases, questions and their answers.

Leases are told level by level: a source *reports* all that it has or wants, with the phase of each,
and the destination makes its own book equal to that. A lost message is therefore repaired by the
next report, and nothing needs to be taken back one by one. Fields that a later version adds are
ignored; a change that an older one would misunderstand gets a new protocol number.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pmigd.core.finding import Finding
from pmigd.core.model import Direction, Domain, Sample, View
from pmigd.core.problem import Problem

PROTOCOL: Final = 1
BODY_LIMIT_BYTES: Final = 1024 * 1024
MAX_LEASES: Final = 5000
"""In one report; a host does not have more migrations under way with one peer."""

PhaseName = Literal["not_ready", "ready", "preparing", "transfer", "postcopy", "finishing"]
"""``not_ready`` and ``ready`` wait, and only ``ready`` is granted; the others run."""

_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\s\S])")]
_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, which protocols it speaks, and what time it has."""

    protocols: tuple[int, ...]
    name: str
    version: str
    at: datetime


class LeaseEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One migration that the source has, or wants to have, under way to this host.

    ``ports``: migration ports that it needs here. ``login``: how the source's libvirt daemon
    connects to this one's.
    """

    id: _Id
    domain: Domain
    phase: PhaseName
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    ports: Annotated[int, Meta(ge=0, le=2)] = 1
    login: Literal["tls", "tcp", "ssh", "unix"] = "tls"


class LeaseAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /peer/v1/leases``: asks for one lease, now.

    ``source`` is the asking host's name, which its certificate must cover. ``seq`` grows with
    every message of that source, over restarts too; an older report never undoes a newer ask.
    """

    source: _Name
    seq: _Seq
    lease: LeaseEntry


class LeaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``PUT /peer/v1/leases``: everything of that source's; what is missing is given back.

    ``seq`` and ``source`` as in :class:`LeaseAsk`.
    """

    source: _Name
    seq: _Seq
    leases: Annotated[tuple[LeaseEntry, ...], Meta(max_length=MAX_LEASES)] = ()


class PeerWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """Why a lease is not granted yet: the resource of ``host`` that is lacking."""

    resource: str
    host: str
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
    findings: tuple[Finding, ...] = ()


class LeaseAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a report, by the leases' ids."""

    leases: dict[str, LeaseAnswer]


class LeaseEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``GET /peer/v1/events``: a lease was granted, or waits for something else."""

    id: str
    answer: LeaseAnswer


class LookQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /peer/v1/look``: do you have this guest, and in what state?

    ``completed``: also the final statistics of a migration in that direction.
    """

    domain: Domain
    completed: Direction | None = None


class LookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What libvirt there says about its copy; ``view.power`` unknown where it says nothing."""

    view: View
    completed: Sample | None = None


class PeerAway(Exception):  # noqa: N818 - reads as what happened
    """A peer's pmigd did not answer: nobody there, too late, or TLS failed. The text says which."""


class PeerRefused(Exception):  # noqa: N818 - reads as what happened
    """A peer's pmigd answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem
