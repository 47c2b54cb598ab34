"""A host's resources in words: what limits count, and what a queued migration waits for."""

from __future__ import annotations

from pmigd.cli import figures
from pmigd.core.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Final

    from pmigd.client import JsonObject

COUNTED: Final = {
    "outgoing_slot": "an outgoing slot",
    "incoming_slot": "an incoming slot",
    "preparing_slot": "a preparing slot",
    "client": "a libvirt client",
    "anonymous_client": "an anonymous client",
    "worker": "a libvirt worker",
    "client_request": "a client request",
    "migration_port": "a migration port",
    "ssh_startup": "an ssh login",
}
"""What there is only so much of."""

MISSING: Final = {
    "libvirt": "libvirt of {}, which is away",
    "journal": "the journal of {}, which cannot be written",
    "peer": "pmigd of {}, which does not answer",
    "connection": "a start at {}, of which nothing is seen yet",
}
"""What has to be there: how much of it is in use says nothing."""


def name(resource: object) -> str:
    """A resource without an article, for the head of a line."""
    words = COUNTED.get(str(resource))
    return _unknown(resource) if words is None else words.partition(" ")[2]


def wanted(waiting: JsonObject) -> str:
    """The resource alone that a queued migration waits for: ``an incoming slot of hostb``."""
    resource = str(waiting.get("resource") or "?")
    host = printable(str(waiting.get("host") or "?"))
    if resource in MISSING:
        return MISSING[resource].format(host)
    return f"{COUNTED.get(resource) or _unknown(resource)} of {host}"


def waited_for(waiting: JsonObject, now: datetime | None = None) -> str:
    """What a queued migration waits for, its place in line, and with ``now`` for how long already.

    ``an incoming slot of hostb (2 of 2 in use), 3rd in line for 40s, about 2m05s to go``
    """
    text, more = wanted(waiting), []
    used, limit = waiting.get("used"), waiting.get("limit")
    if waiting.get("resource") not in MISSING and None not in (used, limit):
        more.append(f"{used} of {limit} in use")
    if waiting.get("detail"):
        more.append(printable(str(waiting["detail"])))
    if more:
        text += f" ({'; '.join(more)})"
    position, eta_s = waiting.get("position"), waiting.get("eta_s")
    if isinstance(position, int) and position > 0:
        text += f", {_ordinal(position)} in line"
    if now is not None and waiting.get("since"):
        text += f" for {figures.age(waiting['since'], now)}"
    if isinstance(eta_s, int | float):
        text += f", about {figures.duration(int(eta_s))} to go"
    return text


def leases(counts: object) -> str:
    """How many leases are in force, and how many are waited for: ``1 (+2 waiting)``."""
    if not isinstance(counts, dict):
        return "-"
    waiting = f" (+{counts['waiting']} waiting)" if counts.get("waiting") else ""
    return figures.by_unit("granted", counts.get("granted")) + printable(waiting)


def _ordinal(position: int) -> str:
    if position == 1:
        return "next"
    last = 0 if position % 100 in (11, 12, 13) else position % 10
    return str(position) + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")


def _unknown(resource: object) -> str:
    return printable(str(resource).replace("_", " "))
