"""A migration as the daemon describes it, read for showing.

Only reads: a missing or unknown field is shown as unknown, never an error, because a newer daemon
may say more and an external migration may say less. Nothing is decided here; what a state means is
in :mod:`pmigd.core.states`.
"""

from __future__ import annotations

import math

from pmigd.cli import figures, resources
from pmigd.client.migration import TERMINAL_STATES
from pmigd.core.figures import SHOWN
from pmigd.core.printable import printable
from pmigd.core.states import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Final

    from pmigd.client import JsonObject
    from pmigd.core.figures import Figure

_BEFORE_THE_PAUSE: Final = frozenset(
    state for state in State if state.holds_slot and not state.about.in_postcopy
)


class ShownMigration:
    """One migration object, with the few readings that more than one view needs."""

    __slots__ = ("raw",)

    def __init__(self, raw: JsonObject) -> None:
        self.raw = raw

    @property
    def id(self) -> str:
        """The full ID."""
        return self._text("id")

    @property
    def domain(self) -> str:
        """The guest's name, safe to print."""
        domain = self._object("domain")
        return printable(str(domain.get("name") or domain.get("uuid") or "?"))

    @property
    def state(self) -> str:
        """The state's name."""
        return self._text("state")

    @property
    def route(self) -> str:
        """Where from and where to: ``hosta->hostb``."""
        return f"{self._text('source')}->{self._text('destination')}"

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.state in TERMINAL_STATES

    @property
    def external(self) -> bool:
        """Whether pmigd only watches it."""
        return self.raw.get("external") is True

    @property
    def problem(self) -> JsonObject | None:
        """What went wrong, if anything did."""
        return self._object("problem") or None

    @property
    def progress(self) -> JsonObject:
        """The last sample; empty before the first."""
        return self._object("progress")

    @property
    def result(self) -> JsonObject:
        """The final figures; empty while open."""
        return self._object("result")

    @property
    def actions(self) -> list[JsonObject]:
        """What policy or people did, oldest first."""
        actions = self.raw.get("actions")
        return [a for a in actions if isinstance(a, dict)] if isinstance(actions, list) else []

    @property
    def owed(self) -> list[JsonObject]:
        """What was asked for and takes its time: each says what it waits for."""
        pending = (a for a in self.actions if a.get("outcome") == "pending")
        return [a for a in pending if a.get("waits")]

    def owed_words(self, now: datetime) -> str:
        """In one phrase: ``abort asked for 12s ago, libvirt does not answer``; or empty."""
        return "; ".join(
            f"{_named(entry)} asked for {figures.age(entry.get('at'), now)} ago, "
            f"{printable(str(entry['waits']))}"
            for entry in self.owed
        )

    @property
    def copies_disks(self) -> bool:
        """Whether it is at its disks: they come first, and until then memory has no figures."""
        progress = self.progress
        return _number(progress, "disk_total_bytes") > 0 >= _number(progress, "memory_total_bytes")

    @property
    def percent(self) -> int | None:
        """How much of its memory is over, or of its disks while it is at these; None: not known.

        From what remains, not from what was sent: a busy guest is sent several times over. 0-100,
        rounded down, so that 100 % is never shown before nothing remains.
        """
        if self.state == State.SUCCEEDED:
            return 100
        total, left = self._now("total_bytes"), self._now("remaining_bytes")
        return max(0, min(100, int(100 * (total - left) / total))) if total > 0 else None

    @property
    def percent_words(self) -> str:
        """The same in words, ``-`` when not known: ``45%``, ``45% of disks``."""
        if self.percent is None:
            return "-"
        return f"{self.percent}% of disks" if self.copies_disks else f"{self.percent}%"

    @property
    def remaining_bytes(self) -> float:
        """What is still to be sent in this pass, of what ``percent`` is about."""
        return self._now("remaining_bytes")

    def _now(self, what: str) -> float:
        return _number(self.progress, f"{'disk' if self.copies_disks else 'memory'}_{what}")

    @property
    def peer(self) -> str:
        """The other host, with an arrow for the way: ``->hostb``, ``<-hosta``."""
        if self._text("direction") == "incoming":
            return f"<-{self._text('source')}"
        return f"->{self._text('destination')}"

    @property
    def outpaced(self) -> bool:
        """Whether pmigd says that the guest writes its memory as fast as it is sent."""
        return self.progress.get("outpaced") is True

    def waiting(self, now: datetime | None = None) -> str | None:
        """What it waits for, in one phrase, with ``now`` for how long already; or None."""
        waiting = self._object("waiting_for")
        return resources.waited_for(waiting, now) if waiting else None

    @property
    def place(self) -> float:
        """Its place in the line it waits in: 1 is next; infinite if it does not wait."""
        return _number(self._object("waiting_for"), "position") or math.inf

    def eta(self) -> str:
        """What is left to wait at the present rates: ``19s``, ``never``; ``-`` when not known."""
        if self.outpaced:
            return "never"
        eta_s = self.progress.get("eta_s")
        if self.terminal or not isinstance(eta_s, int | float):
            return "-"
        return figures.duration(eta_s)

    def pause(self) -> str:
        """The pause that is expected and the one that is allowed: ``90/300 ms``, ``12s/300 ms``.

        ``-`` once it is over.
        """
        limit = self.progress.get("downtime_limit_ms")
        if self.state not in _BEFORE_THE_PAUSE or limit is None:
            return "-"
        expected = figures.by_unit("_ms", self.progress.get("expected_downtime_ms"))
        return f"{expected.removesuffix(' ms')}/{figures.by_unit('_ms', limit)}"

    def dirty(self) -> str:
        """How fast the guest writes what is to be sent; ``-`` once it runs at the destination."""
        before = self.state in _BEFORE_THE_PAUSE
        return self.figure("dirty_bytes_per_second") if before else "-"

    def sent(self, what: str) -> str:
        """How much of its memory or its disks was sent, of how much: ``0.9/4.2 GiB``.

        More than there is, where the guest writes again what was sent already.
        """
        total = _number(self.progress, f"{what}_total_bytes")
        processed = _number(self.progress, f"{what}_processed_bytes")
        return figures.share(processed, total) if total > 0 else "-"

    def shown(self, figure: Figure) -> str:
        """A sampled figure as tables, bars and lines have it; ``-`` where it says nothing now."""
        match figure.wire:
            case "memory_processed_bytes":
                return self.sent("memory")
            case "disk_processed_bytes":
                return self.sent("disk")
            case "dirty_bytes_per_second":
                return self.dirty()
            case "expected_downtime_ms":
                return self.pause()
            case "eta_s":
                return self.eta()
            case key:
                return self.figure(key)

    def figure(self, key: str) -> str:
        """One figure of the sample with its unit, ``-`` when there is none."""
        return figures.by_unit(key, self.progress.get(key))

    def age(self, now: datetime) -> str:
        """How long ago it was asked for."""
        return figures.age(self.raw.get("created_at"), now)

    def elapsed(self, now: datetime) -> str:
        """How long it has been going on, or waiting if it has not begun."""
        return figures.age(self.raw.get("started_at") or self.raw.get("created_at"), now)

    def _object(self, key: str) -> JsonObject:
        value = self.raw.get(key)
        return value if isinstance(value, dict) else {}

    def _text(self, key: str) -> str:
        value = self.raw.get(key)
        return "?" if value is None else printable(str(value))


def _number(values: JsonObject, key: str) -> float:
    value = values.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def outcome(migration: ShownMigration) -> str:
    """The figures of its end, as far as there are any."""
    result = migration.result
    parts: list[str] = []
    if (seconds := result.get("duration_s")) is not None:
        link = "in" if migration.state == State.SUCCEEDED else "after"
        parts.append(f"{link} {figures.by_unit('duration_s', seconds)}")
    if migration.state == State.SUCCEEDED and result.get("downtime_ms") is not None:
        parts.append(f"downtime {figures.by_unit('downtime_ms', result['downtime_ms'])}")
    if result.get("transferred_bytes") is not None:
        sent = figures.by_unit("transferred_bytes", result["transferred_bytes"])
        parts.append(f"{sent} transferred")
    if (iterations := result.get("iterations")) is not None:
        parts.append(f"{iterations} iteration{'' if iterations == 1 else 's'}")
    if result.get("mode") not in (None, "precopy"):
        parts.append(printable(str(result["mode"])))
    return ", ".join(parts)


def summary(migration: ShownMigration) -> str:
    """How it ended (or where it stands), in one line."""
    head = f"{migration.domain}: {migration.state}"
    if migration.state == State.SUCCEEDED:
        head += f" {migration.route}"
    text = f"{head} {outcome(migration)}".rstrip()
    since = migration.result.get("afterwards")
    return f"{text}. {printable(str(since))}" if since else text


def sample(migration: ShownMigration) -> str:
    """Where it stands, in one line without the guest's name."""
    waiting = migration.waiting()
    if waiting is not None:
        return f"waits for {waiting}"
    known = migration.percent is not None
    parts = [migration.percent_words if known else migration.state]
    if known:
        parts.append(f"{figures.size(migration.remaining_bytes)} left")
    for figure, shown in SHOWN:
        text = migration.shown(figure)
        if shown.line and text != "-" and migration.progress.get(figure.wire) != 0:
            parts.append(shown.line.format(text))
    return ", ".join(parts)


def action(entry: JsonObject) -> str:
    """One action in one line: when, what, why, by whom, and whatever else it says."""
    rest = dict(entry)
    when = figures.instant(next((rest.pop(k) for k in ("at", "time") if k in rest), None))
    what = next((rest.pop(k) for k in ("action", "kind", "name", "what") if rest.get(k)), "action")
    why = rest.pop("reason", None)
    actor = rest.pop("by", None)
    outcome = _outcome(rest)
    text = f"{when:%H:%M:%S} " if when else ""
    text += printable(str(what))
    more = [f"{k}={figures.by_unit(k, v)}" for k, v in rest.items() if v not in (None, "", {}, [])]
    if more:
        text += f" {' '.join(more)}"
    if actor:
        text += f" by {printable(str(actor))}"
    text = f"{text}: {printable(str(why))}" if why else text
    return f"{text} ({outcome})" if outcome else text


def _outcome(rest: JsonObject) -> str:
    """What became of an action, taken out of what else it says; empty where it was done."""
    for key in ("id", "ended_at"):
        rest.pop(key, None)
    outcome, waits = rest.pop("outcome", None), rest.pop("waits", None)
    problem = rest.pop("problem", None)
    if outcome in (None, "done"):
        return ""
    detail = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else waits
    words = printable(str(outcome))
    return f"{words}: {printable(str(detail))}" if detail else words


def _named(entry: JsonObject) -> str:
    """An action by its name; a setting by what was set."""
    name = entry.get("reason") if entry.get("action") == "set" else entry.get("action")
    return printable(str(name or "action"))


def left_undone(migration: ShownMigration) -> list[str]:
    """What is left for a person to do after its end, each with the command that does it."""
    told = (migration.problem or {}).get("detail")
    refused = [a.get("problem") for a in migration.actions if a.get("action") == "autostart"]
    details = [problem.get("detail") for problem in refused if isinstance(problem, dict)]
    return [printable(str(detail)) for detail in details if detail != told]


def short_ids(ids: list[str], *, least: int = 8) -> dict[str, str]:
    """The shortest prefixes, one length for all, that still tell these IDs apart.

    UUIDv7s made close together share their first characters, so a fixed length would not do.
    """
    whole = max((len(i) for i in ids), default=least)
    length = next(
        (n for n in range(least, whole) if len({i[:n] for i in ids}) == len(set(ids))), whole
    )
    # A prefix that ends in a hyphen looks cut off by mistake.
    if any(i[:length].endswith("-") for i in ids):
        length += 1
    return {i: i[:length] for i in ids}
