"""The closed sets of label values, and which of them a migration gets.

A label never carries free text. Whatever has an outside origin goes through :func:`member` or
:class:`Bounded`, so that no caller can make the number of series grow without end.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from pmigd.adapters.metrics.snapshot import LeaseState
from pmigd.core.commands import CALLS, Command, Kind
from pmigd.core.figures import FIGURES
from pmigd.core.holdings import Resource
from pmigd.core.ledger import RULES
from pmigd.core.model import Direction, Migration, Mode, State, Transport
from pmigd.core.problem import Reason

DIRECTIONS: Final = tuple(str(value) for value in Direction)
TRANSPORTS: Final = tuple(str(value) for value in Transport)
MODES: Final = tuple(str(value) for value in Mode)
REASONS: Final = tuple(str(value) for value in Reason)
RESULTS: Final = tuple(state.label for state in State if state.terminal)
KINDS: Final = tuple(f.kind for f in FIGURES if f.counter == "transferred_bytes")
PAGES: Final = tuple(f.kind for f in FIGURES if f.counter == "pages")
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_NO_STATE: Final = {State.PRECOPY: ("switchover",), State.FINISHING: ("aborting",)}
"""Phases that are no states of their own, by the state that they are listed after."""
PHASES: Final = tuple(
    phase
    for state in State
    if state.holds_slot
    for phase in (state.label, *_NO_STATE.get(state, ()))
)
COMMANDS: Final = tuple(kind.value for kind in RULES if kind not in CALLS)
"""Commands whose pending ones are counted; that the migrate call is out is no news."""
ACTIONS: Final = (
    "raise_downtime",
    "limit_bandwidth",
    "switch_postcopy",
    "force_switchover",
    "abort_timeout",
    "abort_stalled",
    "postcopy_recover",
)
POOLS: Final = ("look", "command", "peer", "limits", "names", "passwords", "textfile")
LEASE_STATES: Final[tuple[LeaseState, ...]] = get_args(LeaseState)
WAITED: Final = (*(str(value) for value in Resource), "libvirt", "journal", "peer")
PEER_REQUESTS: Final = ("hello", "ask", "report", "look", "examine", "events")
PEER_REFUSALS: Final = (
    "too_many",
    "not_ready",
    "gave_up",
    "too_slow",
    "plain_http",
    "bad_tls",
    "no_certificate",
    "untrusted",
    "expired",
    "revoked",
    "not_allowed",
    "false_name",
    "bad_http",
    "too_large",
    "malformed",
    "unknown_resource",
)
SCRAPE_REFUSALS: Final = (
    "too_many",
    "gave_up",
    "too_slow",
    "plain_http",
    "bad_tls",
    "no_certificate",
    "untrusted",
    "expired",
    "not_allowed",
    "bad_http",
)
Usage = Literal["peer", "metrics", "migration"]
USAGES: Final[tuple[Usage, ...]] = get_args(Usage)
OTHER: Final = "other"


def phase_of(m: Migration) -> str | None:
    """What a running migration is doing; None while it waits, is unresolved or is over.

    Post-copy comes first: from there nothing is aborted, and its being paused is an alarm that an
    abort asked for earlier must not hide.
    """
    if not m.state.holds_slot:
        return None
    if m.state.about.in_postcopy:
        return m.state.label
    if m.abort is not None:
        return "aborting"
    if m.state is State.FINISHING and m.evidence.switched and not m.evidence.left:
        return "switchover"
    return m.state.label


def action_of(command: Command) -> str | None:
    """The label of something that was asked for; None if it is not counted."""
    match command.kind, command.by:
        case Kind.ABORT, "policy":
            return "abort_timeout"
        case Kind.SUSPEND, _:
            return "force_switchover"
        case Kind.POSTCOPY, _:
            return "switch_postcopy"
        case Kind.RECOVER, _:
            return "postcopy_recover"
        case _:
            return None


def reason_of(m: Migration) -> str:
    """Why a migration failed."""
    return str(m.problem.code.kind.reason if m.problem is not None else Reason.UNKNOWN)


def peer_of(m: Migration) -> str:
    """The other host's name as this host knows it; empty if it does not."""
    return m.source if m.direction is Direction.INCOMING else m.destination


def member(value: str, values: tuple[str, ...], otherwise: str) -> str:
    """`value` if it is one of `values`."""
    return value if value in values else otherwise


class Bounded:
    """The values of a label that other modules choose: the first `limit`, then "other"."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """`value`, or "other" if it is new and there are enough."""
        if value not in self._seen:
            if len(self._seen) >= self._limit:
                return OTHER
            self._seen.add(value)
        return value
