"""What is asked of a host's pmigd; every answer that was not wanted is a LabError."""

from __future__ import annotations

import json
import time
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from contrib.lab.problems import LabError
from pmigd.core.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contrib.lab.hosts import Host

TERMINAL = tuple(state.value for state in State if state.terminal)
_WAIT_S = 20


def call(host: Host, method: str, path: str, body: object = None) -> Any:
    """The answer to one request."""
    status, answer = host.pmigd.request(method, path, body, timeout=_WAIT_S + 20)
    if status >= 400:
        raise LabError(f"{method} {path} on {host.name}: {status} {answer}")
    return answer


def submit(host: Host, guest: str, destination: str, **fields: object) -> str:
    """Submit a migration; its id."""
    body = {"domain": guest, "destination": destination, **fields}
    return str(call(host, "POST", "/v1/migrations", body)["id"])


def migration(host: Host, iden: str) -> dict[str, Any]:
    """One migration as it is now."""
    found: dict[str, Any] = call(host, "GET", f"/v1/migrations/{iden}")
    return found


def end(host: Host, iden: str, *states: str, timeout: float = 60.0) -> dict[str, Any]:
    """One migration at its end, told as soon as it is there; the end must be one of `states`.

    `timeout` is in seconds; without `states` any end will do.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = max(1, min(_WAIT_S, round(deadline - time.monotonic())))
        found: dict[str, Any] = call(host, "GET", f"/v1/migrations/{iden}?wait={left}")
        if found["state"] in (states or TERMINAL):
            return found
        if found["state"] in TERMINAL:
            raise LabError(f"not {'/'.join(states)}: {found}\n{host.pmigd.log_tail()}")
        if time.monotonic() > deadline:
            raise LabError(f"no end within {timeout:g} s: {found}\n{host.pmigd.log_tail()}")


def abort(host: Host, iden: str) -> dict[str, Any]:
    """Ask for an abort; the answer comes before the end."""
    found: dict[str, Any] = call(host, "POST", f"/v1/migrations/{iden}/abort")
    return found


def in_state(host: Host, state: str) -> list[dict[str, Any]]:
    """The migrations of a host that are in one state, newest first."""
    return list(call(host, "GET", f"/v1/migrations?state={state}&limit=200")["items"])


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
