"""What people want of a migration that there is: each is allowed by the core, or refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from pmigd.core import events as ev
from pmigd.core import ledger
from pmigd.core.commands import Outcome
from pmigd.core.controls import (
    may_abort,
    may_change,
    may_postcopy,
    may_recover,
    may_resolve,
    may_suspend,
)
from pmigd.core.model import Migration, MigrationId, Settings, State
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Code, Problem, Refused, refuse
from pmigd.core.settings import given, of_request
from pmigd.daemon.conductor import check_recovery
from pmigd.daemon.controller import Controller

SETTINGS_WAIT_S: Final = 5.0
"""How long somebody who changes settings waits for libvirt's answer."""


class Controls:
    """See :class:`pmigd.api.backend.Controls`."""

    def __init__(self, migrations: Controller, hypervisor: Hypervisor) -> None:
        self._migrations = migrations
        self._hypervisor = hypervisor

    async def abort(self, iden: MigrationId, *, by: str, reason: str) -> Migration:
        """Ask for an abort. Raises Refused (wrong_state) when it cannot be aborted any more."""
        migration = self._migrations[iden]
        if (problem := may_abort(migration)) is not None:
            raise Refused(problem)
        await self._migrations.apply(iden, ev.AbortAsked(by, reason))
        return self._migrations[iden]

    async def suspend(self, iden: MigrationId, *, by: str) -> Migration:
        """Pause the guest so that it finishes. Raises Refused (wrong_state)."""
        return await self._control(iden, may_suspend, ev.SuspendAsked(by))

    async def postcopy(self, iden: MigrationId, *, by: str) -> Migration:
        """Switch to post-copy. Raises Refused (wrong_state)."""
        return await self._control(iden, may_postcopy, ev.PostcopyAsked(by))

    async def recover(self, iden: MigrationId, *, by: str) -> Migration:
        """Go on with a broken post-copy.

        Raises Refused: wrong_state, or why the destination cannot go on with it now.
        """
        if self._migrations[iden].state is State.POSTCOPY_PAUSED:
            await check_recovery(self._hypervisor, self._migrations[iden])
        return await self._control(iden, may_recover, ev.RecoverAsked(by))

    async def settings(self, iden: MigrationId) -> Settings:
        """The settings in force, of a running one as libvirt has them."""
        migration = self._migrations[iden]
        if migration.state.terminal:
            raise refuse(Code.WRONG_STATE, f"The migration has {migration.state} already.")
        if migration.state is State.QUEUED:
            return of_request(migration.request)
        return await self._hypervisor.settings(migration.domain)

    async def change(
        self,
        iden: MigrationId,
        settings: Settings,
        *,
        timeout_s: float | None = None,
        priority: int | None = None,
        by: str,
    ) -> Migration:
        """Ask for other settings of a queued or running one, and wait a little for libvirt.

        What libvirt has not answered by then stays owed; the migration's ledger tells. Raises
        Refused: wrong_state, or what libvirt refuses first; the others are in force, and noted.
        """
        migration = self._migrations[iden]
        if (problem := may_change(migration)) is not None:
            raise Refused(problem)
        if priority is not None and migration.state is not State.QUEUED:
            raise refuse(
                Code.WRONG_STATE, f"A priority is for what waits; this one is {migration.state}."
            )
        with self._migrations.hub.subscribe(iden) as changes:
            await self._migrations.apply(iden, ev.SetAsked(by, settings, timeout_s, priority))
            numbers = self._numbers(iden, settings)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTINGS_WAIT_S):
                    while self._pending(iden, numbers) and await changes.get() is not None:
                        pass
        for number in numbers:
            command = ledger.get(self._migrations[iden], number)
            if command is not None and command.outcome is Outcome.REFUSED and command.problem:
                raise Refused(command.problem)
            if command is not None and command.outcome is Outcome.OVERTAKEN:
                raise refuse(Code.WRONG_STATE, f"Not changed: {command.waits}.")
        return self._migrations[iden]

    def _numbers(self, iden: MigrationId, settings: Settings) -> list[int]:
        """The numbers of the commands that stand for `settings`."""
        wanted = {kind: value for kind, value, _ in given(settings)}
        newest = {c.kind: c for c in self._migrations[iden].commands if c.kind in wanted}
        return [c.id for kind, c in newest.items() if c.value == wanted[kind]]

    def _pending(self, iden: MigrationId, numbers: list[int]) -> bool:
        found = (ledger.get(self._migrations[iden], number) for number in numbers)
        return any(c is not None and c.pending for c in found)

    async def _control(
        self,
        iden: MigrationId,
        may: Callable[[Migration], Problem | None],
        event: ev.Event,
    ) -> Migration:
        if (problem := may(self._migrations[iden])) is not None:
            raise Refused(problem)
        await self._migrations.apply(iden, event)
        return self._migrations[iden]

    async def resolve(self, iden: MigrationId, verdict: State, *, by: str) -> Migration:
        """Close an unresolved one. Raises Refused (wrong_state)."""
        migration = self._migrations[iden]
        if migration.verdict is verdict:
            return migration
        if (problem := may_resolve(migration)) is not None:
            raise Refused(problem)
        await self._migrations.apply(iden, ev.Resolved(verdict, by))
        return self._migrations[iden]
