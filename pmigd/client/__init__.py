"""A client of pmigd's socket, for programs: standard library only, blocking or with asyncio.

``Client`` blocks, ``AsyncClient`` is the same with ``await``; docs/client.md shows both. Nothing is
imported here before it is used, so that a program that only asks starts fast, and none of it knows
the daemon's code.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pmigd.client.aio import AsyncClient as AsyncClient
    from pmigd.client.blocking import Client as Client
    from pmigd.client.errors import BrokenError as BrokenError
    from pmigd.client.errors import ClientError as ClientError
    from pmigd.client.errors import JsonObject as JsonObject
    from pmigd.client.errors import LateError as LateError
    from pmigd.client.errors import NotEndedError as NotEndedError
    from pmigd.client.errors import OddAnswerError as OddAnswerError
    from pmigd.client.errors import OutcomeUnknownError as OutcomeUnknownError
    from pmigd.client.errors import RefusedError as RefusedError
    from pmigd.client.errors import UnreachableError as UnreachableError
    from pmigd.client.events import Connected as Connected
    from pmigd.client.events import Event as Event
    from pmigd.client.events import Outage as Outage
    from pmigd.client.migration import Migration as Migration

_HOMES = {
    "AsyncClient": "aio",
    "Client": "blocking",
    "BrokenError": "errors",
    "ClientError": "errors",
    "JsonObject": "errors",
    "LateError": "errors",
    "NotEndedError": "errors",
    "OddAnswerError": "errors",
    "OutcomeUnknownError": "errors",
    "RefusedError": "errors",
    "UnreachableError": "errors",
    "Connected": "events",
    "Event": "events",
    "Outage": "events",
    "Migration": "migration",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    """Import what is asked for, and only that."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
