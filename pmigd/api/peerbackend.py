"""What the face towards other hosts' pmigd needs of the daemon behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from pmigd.wire.peer import (
    Examination,
    ExamineQuestion,
    Hello,
    LeaseAnswer,
    LeaseAnswers,
    LeaseAsk,
    LeaseEvent,
    LeaseReport,
    LookAnswer,
    LookQuestion,
)

Intrusion = Literal[
    "too_many",  # connections, of one address or in all
    "not_ready",  # this host has no certificate to answer with
    "gave_up",  # left before the handshake was over
    "too_slow",  # handshake, head or body not complete in time
    "plain_http",  # no TLS
    "bad_tls",  # neither TLS nor HTTP, or too old a TLS
    "no_certificate",
    "untrusted",  # a certificate of another CA, or one that is not for clients
    "expired",
    "revoked",
    "not_allowed",  # a good certificate, but of nobody who may come in
    "false_name",  # a message in the name of another host
    "bad_http",
    "too_large",
    "malformed",  # not JSON, or not the message that belongs there
    "unknown_resource",
]
"""Why a connection or a request was refused: a metric's labels."""


class PeerBackend(Protocol):
    """The daemon: :class:`pmigd.daemon.app.App`. `peer` is the name that was proven by TLS."""

    def hello(self, peer: str, epoch: str) -> Hello:
        """Who this is. From now on the messages of `peer` are those of `epoch`."""

    async def ask(self, peer: str, ask: LeaseAsk) -> LeaseAnswer:
        """Grant a lease, or give it a place in the queue. Refused: journal_unavailable."""

    async def report(self, peer: str, report: LeaseReport) -> LeaseAnswers:
        """Make the book equal to what `peer` reports. Refused: journal_unavailable."""

    def events(self, peer: str) -> AsyncIterator[LeaseEvent]:
        """Changes of `peer`'s leases from now on, until the caller stops iterating."""

    async def look(self, peer: str, question: LookQuestion) -> LookAnswer:
        """This host's copy of a guest."""

    async def examine(self, peer: str, question: ExamineQuestion) -> Examination:
        """What only this host can see of itself."""

    def observe_peer(self, peer: str, request: str, seconds: float, *, failed: bool) -> None:
        """Count an answered request."""

    def observe_intruder(self, why: Intrusion) -> None:
        """Count a connection or request that was refused."""
