"""The resources of version 1, one function each. They translate; the daemon behind them acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from pmigd.api.auth import ROLE, USER
from pmigd.api.backend import Migrations
from pmigd.api.exchange import body_of, stream
from pmigd.api.hub import Change
from pmigd.api.problems import BACKEND, answer
from pmigd.api.query import KEY, PAGE_DEFAULT, TRACEPARENT, given
from pmigd.core.model import Migration, MigrationId, State
from pmigd.core.problem import Code, refuse
from pmigd.wire.host import Domains, HostDomain, Peers
from pmigd.wire.migration import (
    Page,
    StreamEnd,
    StreamEvent,
    check_view,
    migration_view,
    settings_view,
)
from pmigd.wire.request import (
    NoBody,
    ResolveRequest,
    parse,
    parse_change,
)

LAGGED: Final = StreamEnd(
    "lagged",
    "The reader was too slow: what happened since is not kept for it. Connect again to go on from"
    " the present.",
)
DESCRIPTION: Final = web.AppKey("description", dict[str, Any])


async def submit(request: web.Request) -> web.Response:
    """POST /v1/migrations."""
    traces = given(request).get(TRACEPARENT.name, [])
    migration = await request.app[BACKEND].requests.submit(
        await body_of(request),
        role=request[ROLE],
        by=request[USER],
        key=given(request).get(KEY.name),
        caller=traces[0] if len(traces) == 1 else None,
    )
    return answer(_view(request, migration), 202, Location=f"/v1/migrations/{migration.id}")


async def check(request: web.Request) -> web.Response:
    """POST /v1/check: everything that speaks against a migration, and nothing is started."""
    requests = request.app[BACKEND].requests
    return answer(check_view(await requests.check(await body_of(request), role=request[ROLE])))


async def listing(request: web.Request) -> web.Response:
    """GET /v1/migrations."""
    migrations = _read(request)
    query = given(request)
    states = query.get("state", ())
    domain = query.get("domain")
    limit = query.get("limit", PAGE_DEFAULT)
    cursor = query.get("cursor")
    found: list[Migration] = []
    more = False
    for migration in migrations.all():
        if cursor is not None and migration.id >= cursor:
            continue
        if states and migration.state not in states:
            continue
        if domain is not None and domain not in (migration.domain.name, migration.domain.uuid):
            continue
        if len(found) == limit:
            more = True
            break
        found.append(migration)
    items = tuple(migration_view(m, migrations.waiting_of(m.id)) for m in found)
    return answer(Page(items, found[-1].id if more else None))


async def one(request: web.Request) -> web.Response:
    """GET /v1/migrations/{id}[?wait=S]: at once, or when it is terminal or S seconds are over."""
    migration = find(request)
    wait_s = given(request).get("wait", 0.0)
    if wait_s and migration.open:
        with request.app[BACKEND].migrations.hub.subscribe(migration.id) as changes:
            try:
                async with asyncio.timeout(wait_s):
                    async for change in changes:
                        if not change.migration.open:
                            break
            except TimeoutError:
                pass
        migration = find(request)
    return answer(_view(request, migration))


async def abort(request: web.Request) -> web.Response:
    """POST /v1/migrations/{id}/abort."""
    migration = find(request)
    parse(NoBody, await body_of(request, empty={}))
    user = request[USER]
    aborted = await request.app[BACKEND].controls.abort(
        migration.id, by=user, reason=f"asked for by {user}"
    )
    return answer(_view(request, aborted), 200 if aborted.state.terminal else 202)


async def suspend(request: web.Request) -> web.Response:
    """POST /v1/migrations/{id}/suspend."""
    return await _control(request, request.app[BACKEND].controls.suspend)


async def postcopy(request: web.Request) -> web.Response:
    """POST /v1/migrations/{id}/postcopy."""
    return await _control(request, request.app[BACKEND].controls.postcopy)


async def recover(request: web.Request) -> web.Response:
    """POST /v1/migrations/{id}/recover."""
    return await _control(request, request.app[BACKEND].controls.recover)


async def settings(request: web.Request) -> web.Response:
    """GET /v1/migrations/{id}/settings."""
    migration = find(request)
    found = await request.app[BACKEND].controls.settings(migration.id)
    return answer(settings_view(found, migration.request))


async def change(request: web.Request) -> web.Response:
    """PATCH /v1/migrations/{id}."""
    migration = find(request)
    settings, ours = parse_change(await body_of(request))
    controls = request.app[BACKEND].controls
    changed = await controls.change(migration.id, settings, **ours, by=request[USER])
    return answer(_view(request, changed))


async def _control(request: web.Request, act: Callable[..., Awaitable[Migration]]) -> web.Response:
    migration = find(request)
    parse(NoBody, await body_of(request, empty={}))
    return answer(_view(request, await act(migration.id, by=request[USER])), 202)


async def resolve(request: web.Request) -> web.Response:
    """POST /v1/migrations/{id}/resolve."""
    migration = find(request)
    wanted = parse(ResolveRequest, await body_of(request))
    resolved = await request.app[BACKEND].controls.resolve(
        migration.id, State(wanted.verdict), by=request[USER]
    )
    return answer(_view(request, resolved))


async def events_of_one(request: web.Request) -> web.StreamResponse:
    """GET /v1/migrations/{id}/events: from the present state to the end."""
    return await stream(request, _changes(request, find(request)))


async def events(request: web.Request) -> web.StreamResponse:
    """GET /v1/events: everything that happens from now on."""
    return await stream(request, _changes(request, None))


async def domains(request: web.Request) -> web.Response:
    """GET /v1/domains."""
    found = await request.app[BACKEND].answers.domains()
    items = (
        HostDomain(f.domain.name, f.domain.uuid, f.view.power, f.view.persistent)
        for f in sorted(found, key=lambda f: f.domain.name)
    )
    return answer(Domains(tuple(items)))


async def peers(request: web.Request) -> web.Response:
    """GET /v1/peers."""
    return answer(Peers(tuple(await request.app[BACKEND].answers.peers())))


async def limits(request: web.Request) -> web.Response:
    """GET /v1/limits."""
    return answer(request.app[BACKEND].answers.limits())


async def status(request: web.Request) -> web.Response:
    """GET /v1/status."""
    return answer(request.app[BACKEND].answers.status())


async def diagnose(request: web.Request) -> web.Response:
    """GET /v1/diagnose."""
    return answer(await request.app[BACKEND].answers.diagnose())


async def openapi(request: web.Request) -> web.Response:
    """GET /v1/openapi.json."""
    return answer(request.app[DESCRIPTION])


async def healthz(_request: web.Request) -> web.Response:
    """GET /healthz: the event loop is alive, or there would be no answer."""
    return answer({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: libvirt is connected, the journal was read and can be written."""
    missing = request.app[BACKEND].answers.readiness()
    return answer({"ready": not missing, **missing}, 503 if missing else 200)


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: from memory; libvirt is not asked. Compressed for who takes that."""
    body, content_type = request.app[BACKEND].counts.render(request.headers.get("Accept", ""))
    # On the loop, where it is soon done, and never in asyncio's own threads.
    whole = len(body)
    response = web.Response(
        body=body, headers={"Content-Type": content_type}, zlib_executor_size=whole
    )
    response.enable_compression()
    return response


# Parts that several resources share


def find(request: web.Request) -> Migration:
    """The migration that the path names."""
    iden = request.match_info["id"]
    migration = _read(request).get(iden)
    if migration is None:
        raise refuse(Code.UNKNOWN_MIGRATION, f"There is no migration {iden[:64]!r}.")
    return migration


def _read(request: web.Request) -> Migrations:
    """The migrations, once it is known which there are: before, 'none' would not be true."""
    migrations = request.app[BACKEND].migrations
    if not migrations.loaded:
        raise refuse(Code.JOURNAL_UNAVAILABLE, "The journal has not been read yet.")
    return migrations


def _view(request: web.Request, migration: Migration) -> Any:
    waiting = request.app[BACKEND].migrations.waiting_of(MigrationId(migration.id))
    return migration_view(migration, waiting)


async def _changes(
    request: web.Request, one: Migration | None
) -> AsyncIterator[StreamEvent | StreamEnd]:
    """One migration from its present state to its end, or all until the daemon's.

    Who reads too slowly is told so by the last line, before anything is missing.
    """
    migrations = request.app[BACKEND].migrations
    with migrations.hub.subscribe(one.id if one is not None else None) as changes:
        if one is not None:
            at = one.finished_at or one.started_at or one.created_at
            yield _event(request, Change("state", at, one))
        while one is None or one.open:
            change = await changes.get()
            if change is None:
                if changes.lagged:
                    yield LAGGED
                return
            one = change.migration if one is not None else None
            yield _event(request, change)


def _event(request: web.Request, change: Change) -> StreamEvent:
    return StreamEvent(change.kind, change.at, _view(request, change.migration))
