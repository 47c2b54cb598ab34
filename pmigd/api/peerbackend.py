"""What the face towards other hosts' pmigd needs of the daemon behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from pmigd.wire.peer import (
    Hello,
    LeaseAnswer,
    LeaseAnswers,
    LeaseAsk,
    LeaseEvent,
    LeaseReport,
    LookAnswer,
    LookQuestion,
)


class PeerBackend(Protocol):
    """The daemon: :class:`pmigd.daemon.app.App`. `peer` is the name that was proven by TLS."""

    def hello(self) -> Hello:
        """Who this is."""

    async def ask(self, peer: str, ask: LeaseAsk) -> LeaseAnswer:
        """Grant a lease, or give it a place in the queue. Refused: journal_unavailable."""

    async def report(self, peer: str, report: LeaseReport) -> LeaseAnswers:
        """Make the book equal to what `peer` reports. Refused: journal_unavailable."""

    def events(self, peer: str) -> AsyncIterator[LeaseEvent]:
        """Changes of `peer`'s leases from now on, until the caller stops iterating."""

    async def look(self, peer: str, question: LookQuestion) -> LookAnswer:
        """This host's copy of a guest."""

    def observe_peer(self, peer: str, request: str, seconds: float, *, failed: bool) -> None:
        """Count an answered request."""

    def observe_intruder(self, why: str) -> None:
        """Count a connection or request that was refused; `why` is one of a closed set."""
