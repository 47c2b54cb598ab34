"""What the HTTP face needs of the daemon behind it: each resource of the part that has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pmigd.api.hub import Hub
from pmigd.core.checks import Checked
from pmigd.core.model import Migration, MigrationId, State, Waiting
from pmigd.core.ports import DomainFacts, Settings
from pmigd.core.problem import Code
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


class Controls(Protocol):
    """What people want of one that there is: :class:`pmigd.daemon.controls.Controls`."""

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


class Callers(Protocol):
    """Who the clients are: :class:`pmigd.daemon.callers.Callers`."""

    async def who(self, uid: int, gid: int) -> tuple[str, Role | None]:
        """The user's name and role."""


class Requests(Protocol):
    """From a body to the queue in one visit: :class:`pmigd.daemon.requests.Requests`."""

    async def submit(
        self,
        untrusted_body: object,
        *,
        role: Role,
        by: str,
        key: str | None = None,
        caller: Trace | None = None,
    ) -> Migration:
        """Queue a migration. Refused: every wrong field, and why not."""

    async def check(self, untrusted_body: object, *, role: Role) -> Checked:
        """Everything that speaks against a migration. Refused: what may not even be asked."""


class Counts(Protocol):
    """The metrics: :class:`pmigd.adapters.metrics.Metrics`."""

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics as bytes and their content type."""

    def api_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""

    def rejected(self, code: Code) -> None:
        """Count a submission that was refused."""


class Answers(Protocol):
    """The daemon and its host: :class:`pmigd.daemon.answers.Answers`."""

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


@dataclass(frozen=True, slots=True)
class Backend:
    """The daemon behind the API."""

    migrations: Migrations
    controls: Controls
    requests: Requests
    callers: Callers
    answers: Answers
    counts: Counts
