"""The socket API as methods, once for both clients: coroutines over whatever transport there is.

What is asked twice is said here: a submission whose answer was lost, under its idempotency key, and
nothing else.
"""

from __future__ import annotations

import os
from time import monotonic

from pmigd.client import errors, ids, link
from pmigd.client.http import migration_path
from pmigd.client.migration import SETTLED_STATES, Migration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Container, Iterable, Mapping
    from typing import Any, Literal

    from pmigd.client.errors import JsonObject
    from pmigd.client.events import Following, Told
    from pmigd.client.link import Query, Reply, Transport

RETRY_S = 60.0
"""How long a submission is repeated whose answer was lost."""
PATIENCE_S = 60.0
"""How long the daemon may be away while something is followed; a restart takes a few seconds."""


class Calls:
    """One daemon's API. Holds no connection between calls.

    Each call has ``answer_s`` for its whole answer. Raises RefusedError, UnreachableError and what
    derives from it; :mod:`pmigd.client.errors` tells them apart.
    """

    def __init__(self, transport: Transport, answer_s: float) -> None:
        self.transport = transport
        self._answer_s = answer_s

    @property
    def path(self) -> str:
        """The socket."""
        return self.transport.path

    # Any resource

    async def ask(
        self,
        method: str,
        path: str,
        body: JsonObject | bytes | None = None,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        extra_s: float = 0.0,
    ) -> Reply:
        """One request, and its answer whatever the status: for who looks closer than the rest."""
        return await link.ask(
            self.transport,
            method,
            path,
            query=query,
            body=body,
            headers=headers,
            within_s=self._answer_s + extra_s,
        )

    async def get(self, path: str, query: Query = (), *, extra_s: float = 0.0) -> JsonObject:
        """GET one object; ``extra_s`` is how long the daemon was asked to hold the answer."""
        return (await self.ask("GET", path, query=query, extra_s=extra_s)).object()

    async def post(
        self, path: str, body: JsonObject | None = None, headers: Mapping[str, str] | None = None
    ) -> JsonObject:
        """POST one object or nothing."""
        return (await self.ask("POST", path, body, headers=headers)).object()

    async def patch(self, path: str, body: JsonObject) -> JsonObject:
        """PATCH one object."""
        return (await self.ask("PATCH", path, body)).object()

    async def text(self, path: str, headers: Mapping[str, str] | None = None) -> str:
        """GET what is no JSON, such as ``/metrics``."""
        reply = (await self.ask("GET", path, headers=headers)).checked()
        return reply.content.decode(errors="replace")

    async def items(self, path: str, query: Query = ()) -> AsyncGenerator[JsonObject]:
        """Every item of a list, page after page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, [*query, ("cursor", cursor)] if cursor else query)
            for item in page.get("items") or []:
                if isinstance(item, dict):
                    yield item
            following = page.get("next_cursor")
            if not following or following == cursor:
                return
            cursor = str(following)

    # Migrations

    async def submit(
        self,
        domain: str,
        destination: str,
        *,
        key: str | None = None,
        traceparent: str | None = None,
        told: Callable[[str], object] | None = None,
        **fields: Any,
    ) -> Migration:
        """Ask for a migration; it is accepted, not done, when this returns.

        ``fields`` are those of a request (docs/request.md). If the connection breaks before the
        answer it is asked for again under the same idempotency key, so that a guest never moves
        twice; ``told`` hears why. Raises OutcomeUnknownError when no repeat gets through.
        """
        body = {"domain": domain, "destination": destination, **fields}
        key = key or os.urandom(16).hex()
        headers = {"Idempotency-Key": key}
        if traceparent is not None:
            headers["traceparent"] = traceparent
        try:
            return Migration(await self.post("/v1/migrations", body, headers))
        except errors.BrokenError as error:
            if told is not None:
                told(error.reason)
            broken = error
        deadline = monotonic() + RETRY_S
        pause_s = 0.1
        while monotonic() < deadline:
            await self.transport.pause(pause_s)
            pause_s = min(2 * pause_s, 2.0)
            try:
                return Migration(await self.post("/v1/migrations", body, headers))
            except errors.UnreachableError:
                continue
        raise errors.OutcomeUnknownError(broken, key) from broken

    async def check(self, domain: str, destination: str, **fields: Any) -> JsonObject:
        """Everything that speaks against a migration; nothing is started."""
        body = {"domain": domain, "destination": destination, **fields}
        return await self.post("/v1/check", body)

    async def migration(self, migration_id: str) -> Migration:
        """One migration as it is now."""
        return Migration(await self.get(migration_path(migration_id)))

    async def migrations(
        self, states: Iterable[str] = (), *, domain: str | None = None
    ) -> AsyncGenerator[Migration]:
        """Migrations, newest first: in any of ``states`` (all that are kept if there is none)."""
        query = [("state", state) for state in states]
        if domain is not None:
            query.append(("domain", domain))
        async for item in self.items("/v1/migrations", query):
            yield Migration(item)

    async def find(self, text: str) -> str:
        """The ID of what a person typed: an ID, a unique beginning of one, or a guest's name."""
        return await ids.find(self, text)

    async def abort(self, migration_id: str) -> Migration:
        """Ask for an abort; the end comes later."""
        return await self._act(migration_id, "abort")

    async def postcopy(self, migration_id: str) -> Migration:
        """Have the guest move now and its memory follow."""
        return await self._act(migration_id, "postcopy")

    async def suspend(self, migration_id: str) -> Migration:
        """Have the guest paused so that the migration finishes."""
        return await self._act(migration_id, "suspend")

    async def recover(self, migration_id: str) -> Migration:
        """Go on with a broken post-copy."""
        return await self._act(migration_id, "recover")

    async def resolve(
        self, migration_id: str, verdict: Literal["succeeded", "failed"]
    ) -> Migration:
        """Close an unresolved one by saying what a person has seen on both hosts."""
        return Migration(await self.post(migration_path(migration_id, "resolve"), {"as": verdict}))

    async def set(self, migration_id: str, **settings: Any) -> Migration:
        """Change settings of one that waits or runs; the fields of ``pmigctl set``."""
        return Migration(await self.patch(migration_path(migration_id), settings))

    async def settings(self, migration_id: str) -> JsonObject:
        """The settings in force."""
        return await self.get(migration_path(migration_id, "settings"))

    async def wait(
        self,
        migration_id: str,
        *,
        states: Container[str] = SETTLED_STATES,
        timeout_s: float | None = None,
        patience_s: float = PATIENCE_S,
        told: Told | None = None,
    ) -> Migration:
        """The migration as soon as it is in one of ``states``, or at its end if it never is.

        Without ``states`` that is when it has ended, or is unresolved and waits for a person. Goes
        on while the daemon is away, for ``patience_s`` each time. Raises NotEndedError after
        ``timeout_s``.
        """
        from pmigd.client.events import Following

        following = Following(
            self, migration_id, patience_s=patience_s, timeout_s=timeout_s, told=told
        )
        return await following.reached(states)

    def following(
        self, migration_id: str | None, *, patience_s: float, told: Told | None
    ) -> Following:
        """The events of one migration up to its end, or of all."""
        from pmigd.client.events import Following

        return Following(self, migration_id, patience_s=patience_s, told=told)

    # The host

    async def status(self) -> JsonObject:
        """How the daemon is."""
        return await self.get("/v1/status")

    async def limits(self) -> JsonObject:
        """What migrations may hold on this host, and hold now."""
        return await self.get("/v1/limits")

    async def peers(self) -> list[JsonObject]:
        """The hosts that guests can be sent to."""
        return [item async for item in self.items("/v1/peers")]

    async def domains(self) -> list[JsonObject]:
        """This host's guests."""
        return [item async for item in self.items("/v1/domains")]

    async def _act(self, migration_id: str, action: str) -> Migration:
        return Migration(await self.post(migration_path(migration_id, action)))
