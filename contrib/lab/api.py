"""What is asked of a host's pmigd; every answer that was not wanted is a LabError."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from contrib.lab.problems import LabError
from pmigd.client import ClientError, RefusedError
from pmigd.client.migration import TERMINAL_STATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contrib.lab.hosts import Host


def call(host: Host, method: str, path: str, body: object = None) -> Any:
    """The answer to one request."""
    status, answer = host.pmigd.request(method, path, body)
    if status >= 400:
        raise LabError(f"{method} {path} on {host.name}: {status} {answer}")
    return answer


def submit(host: Host, guest: str, destination: str, **fields: Any) -> str:
    """Submit a migration; its id."""
    with _told(host):
        return host.pmigd.client().submit(guest, destination, **fields).id


def migration(host: Host, iden: str) -> dict[str, Any]:
    """One migration as it is now."""
    with _told(host):
        return host.pmigd.client().migration(iden).raw


def end(host: Host, iden: str, *states: str, timeout: float = 60.0) -> dict[str, Any]:
    """One migration at its end, told as soon as it is there; the end must be one of `states`.

    `timeout` is in seconds; without `states` any end will do.
    """
    with _told(host):
        found = host.pmigd.client().wait(iden, states=states or TERMINAL_STATES, timeout_s=timeout)
    if states and found.state not in states:
        raise LabError(f"not {'/'.join(states)}: {found.raw}\n{host.pmigd.log_tail()}")
    return found.raw


def abort(host: Host, iden: str) -> dict[str, Any]:
    """Ask for an abort; the answer comes before the end."""
    with _told(host):
        return host.pmigd.client().abort(iden).raw


def in_state(host: Host, state: str) -> list[dict[str, Any]]:
    """The migrations of a host that are in one state, newest first."""
    with _told(host):
        return [m.raw for m in host.pmigd.client().migrations([state])]


@contextmanager
def _told(host: Host) -> Iterator[None]:
    """What a client was told instead of an answer, as a LabError."""
    try:
        yield
    except RefusedError as error:
        raise LabError(f"pmigd on {host.name}: {error.problem}") from error
    except ClientError as error:
        raise LabError(f"pmigd on {host.name}: {error}\n{host.pmigd.log_tail()}") from error


def moment(text: str) -> float:
    """A time of the API in seconds, to subtract from another."""
    return datetime.fromisoformat(text).timestamp()


def handovers(ended: Iterable[dict[str, Any]], *sources: Host) -> list[float]:
    """Milliseconds from the end of each migration to the start of the one after it.

    A start is the line in its source's log that is written when the journal has it, which is later
    than `started_at`.
    """
    started = {iden: at for source in sources for iden, at in _started(source)}
    in_turn = sorted(ended, key=lambda m: started[m["id"]])
    return [
        (started[after["id"]] - moment(before["finished_at"])) * 1000
        for before, after in pairwise(in_turn)
    ]


def _started(source: Host) -> Iterator[tuple[str, float]]:
    for text in source.pmigd.log().splitlines():
        line = json.loads(text) if text.startswith("{") else {}
        if line.get("event") == "migration" and line["state"] == "preparing":
            yield line["migration"], moment(line["timestamp"])
