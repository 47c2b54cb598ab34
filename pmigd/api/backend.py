"""What the HTTP face needs of the daemon behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from pmigd.api.hub import Hub
from pmigd.core.checks import Checked
from pmigd.core.model import Migration, MigrationId, Request, State, Waiting
from pmigd.core.ports import DomainFacts, Settings
from pmigd.core.roles import Role
from pmigd.core.trace import Trace
from pmigd.wire.host import Diagnosis, Limits, Peer


class Migrations(Protocol):
    """The migrations of this host: :class:`pmigd.daemon.controller.Controller`."""

    hub: Hub
    loaded: bool
    """Whether the journal was read: before, nobody knows which migrations there are."""

    def get(self, iden: str) -> Migration | None:
        """One migration, or None."""

    def all(self) -> Iterator[Migration]:
        """All kept ones, newest first."""

    def waiting_of(self, iden: MigrationId) -> Waiting | None:
        """What one migration waits for; None if it does not wait."""

    async def abort(self, iden: MigrationId, *, by: str, reason: str) -> Migration:
        """Ask for an abort. Refused: wrong_state."""

    async def suspend(self, iden: MigrationId, *, by: str) -> Migration:
        """Pause the guest so that it finishes. Refused: wrong_state."""

    async def postcopy(self, iden: MigrationId, *, by: str) -> Migration:
        """Switch to post-copy. Refused: wrong_state."""

    async def recover(self, iden: MigrationId, *, by: str) -> Migration:
        """Go on with a broken post-copy. Refused: wrong_state."""

    async def settings(self, iden: MigrationId) -> Settings:
        """The settings in force. Refused: wrong_state, libvirt_unavailable."""

    async def change(
        self,
        iden: MigrationId,
        settings: Settings,
        *,
        timeout_s: float | None = None,
        priority: int | None = None,
        by: str,
    ) -> Migration:
        """Change settings. Refused: wrong_state, or libvirt's reason."""

    async def resolve(self, iden: MigrationId, verdict: State, *, by: str) -> Migration:
        """Close an unresolved one. Refused: wrong_state."""


class Backend(Protocol):
    """The daemon: :class:`pmigd.daemon.app.App`."""

    @property
    def migrations(self) -> Migrations:
        """The migrations of this host."""

    async def who(self, uid: int, gid: int) -> tuple[str, Role | None]:
        """The user's name and role."""

    def parse_request(self, untrusted_body: object) -> Request:
        """A migration request with the configured defaults. Refused: every wrong field."""

    async def submit(
        self,
        request: Request,
        *,
        role: Role,
        by: str,
        key: str | None,
        asked: str,
        caller: Trace | None,
    ) -> Migration:
        """Queue a migration; `asked` is its fingerprint if it has a `key`. Refused: why not."""

    async def check(self, request: Request, *, role: Role) -> Checked:
        """Everything that speaks against a migration. Refused: what may not even be asked."""

    def status(self) -> dict[str, Any]:
        """How the daemon is."""

    async def peers(self) -> list[Peer]:
        """The configured peers, and whether their pmigd answer now."""

    def limits(self) -> Limits:
        """What migrations may hold on this host, and hold now."""

    async def diagnose(self) -> Diagnosis:
        """A support bundle; what cannot be had in time is named in it."""

    async def domains(self) -> list[DomainFacts]:
        """This host's domains. Refused: libvirt_unavailable."""

    def readiness(self) -> dict[str, str]:
        """What keeps the daemon from taking new work: empty when it is ready."""

    def render_metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics as bytes and their content type."""

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""

    def observe_rejection(self, error: Exception) -> None:
        """Count a submission that was refused, and log what must not go unseen."""
