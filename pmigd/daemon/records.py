"""What the journal has of the migrations, and what it has still to get.

A step is durable before its effects are begun. What cannot be written is kept, and written again
once the journal can be; what runs is watched and controlled on meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from pmigd.adapters.journal import Entry, Journal, JournalError
from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.chronicle import Logged, noted
from pmigd.core.commands import CALLS
from pmigd.core.effects import Do
from pmigd.core.model import Migration, MigrationId, Now
from pmigd.core.problem import Code, Problem, refuse

WRITTEN_AT_ONCE: Final = 500
"""Migrations in one write of what could not be written: it has a deadline."""


_MAY_LAND: Final = (
    "It is not begun, and is forgotten when the disk answers. Only if pmigd ends before that, it"
    " may be in the queue when pmigd starts again: 'pmigctl list' tells, and a repeat with the same"
    " idempotency key finds it."
)


class Records:
    """Writes to `journal`. `get` finds the migration as it is now."""

    def __init__(self, journal: Journal, get: Callable[[MigrationId], Migration | None]) -> None:
        self._journal = journal
        self._get = get
        self.dirty: set[MigrationId] = set()
        """Those of which the journal has not the present, or may not have it."""
        self.writing: set[MigrationId] = set()
        self._unlogged: dict[MigrationId, tuple[Logged, ...]] = {}

    async def submitted(self, migration: Migration) -> None:
        """Write one that is new. Raises Refused: journal_unavailable."""
        try:
            await self._journal.write(Entry(migration))
        except JournalError as error:
            # It is refused, and must not be found there after a restart if the disk wakes up.
            with contextlib.suppress(JournalError):
                await self._journal.forget(migration.id)
            detail = f"{error}. {_MAY_LAND}" if error.may_land else str(error)
            raise refuse(Code.JOURNAL_UNAVAILABLE, detail) from error

    async def started(
        self, before: Migration, event: ev.Event, step: engine.Step, now: Now
    ) -> engine.Step:
        """Journal the start of a queued migration; what cannot be journalled stays queued."""
        try:
            await self._write(step.migration, self._log_of(before, event, step, now))
        except JournalError:
            return engine.Step(before)
        return step

    async def durable(
        self, before: Migration, event: ev.Event, step: engine.Step, now: Now
    ) -> engine.Step:
        """Make a step durable before its effects; without a journal nothing new is begun."""
        if before.external:
            return step
        log = self._log_of(before, event, step, now)
        if engine.durable(step.migration) != engine.durable(before):
            try:
                await self._write(step.migration, log)
            except JournalError as error:
                # What runs is watched and controlled on; write_down() writes it down later.
                problem = Problem(Code.JOURNAL_UNAVAILABLE, str(error))
                log += tuple(
                    Logged(now, ev.Answered(effect.command.id, problem, made=False))
                    for effect in step.effects
                    if isinstance(effect, Do) and effect.command.kind in CALLS
                )
                step = engine.withhold(step, problem, now)
            else:
                log = ()
        self._keep_log(before.id, log)
        return step

    def _log_of(
        self, before: Migration, event: ev.Event, step: engine.Step, now: Now
    ) -> tuple[Logged, ...]:
        return noted(self._unlogged.get(before.id, ()), before, event, step.migration, now)

    def _keep_log(self, iden: MigrationId, log: tuple[Logged, ...]) -> None:
        """What has still to be written down with the next step that is."""
        if log:
            self._unlogged[iden] = log
        else:
            self._unlogged.pop(iden, None)

    async def _write(self, migration: Migration, log: tuple[Logged, ...]) -> None:
        """Write one step. One that fails may yet land: what is true is written again later."""
        self.writing.add(migration.id)
        try:
            await self._journal.write(Entry(migration, log))
        except JournalError:
            self.dirty.add(migration.id)
            raise
        finally:
            self.writing.discard(migration.id)
        self.dirty.discard(migration.id)

    async def write_down(self) -> None:
        """Write again what could not be written. Raises JournalError.

        Only then is the journal one that can be written again: whoever goes by that may end pmigd.
        """
        # A step that is being written is newer than what is known here until it has been.
        dirty = [m for x in self.dirty if (m := self._get(x)) is not None]
        for first in range(0, len(dirty), WRITTEN_AT_ONCE):
            await self._write_again(dirty[first : first + WRITTEN_AT_ONCE])
        await self._journal.probe()

    async def forget(self, forgotten: Sequence[Migration]) -> None:
        """What memory has forgotten, the journal forgets."""
        for migration in forgotten:
            self._unlogged.pop(migration.id, None)
        with contextlib.suppress(JournalError):  # the next probe does it
            await self._journal.forget(*(m.id for m in forgotten if not m.external))

    async def _write_again(self, dirty: list[Migration]) -> None:
        # What has gone on meanwhile was written by its own step, or is still to be written.
        dirty = [m for m in dirty if self._get(m.id) is m and m.id not in self.writing]
        logs = {m.id: self._unlogged.pop(m.id, ()) for m in dirty}
        try:
            await self._journal.write(*(Entry(m, logs[m.id]) for m in dirty))
        except JournalError:
            for iden, log in logs.items():
                self._keep_log(iden, log + self._unlogged.get(iden, ()))
            raise
        self.dirty -= {m.id for m in dirty if self._get(m.id) is m}
