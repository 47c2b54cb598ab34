"""A migration as the daemon describes it.

Only reads, and ``raw`` has everything: a missing or unknown field is no error, because a newer
daemon may say more, and an external migration less.
"""

from __future__ import annotations

from pmigd.core.states import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pmigd.client.errors import JsonObject

OPEN_STATES = tuple(state.value for state in State if not state.terminal)
TERMINAL_STATES = tuple(state.value for state in State if state.terminal)
STATES = (*OPEN_STATES, *TERMINAL_STATES)
SETTLED_STATES = (*TERMINAL_STATES, State.UNRESOLVED.value)
"""Where waiting ends: nothing more comes, or only once a person has looked."""


class Migration:
    """One migration as it was when the daemon told it. Texts are as they came: print with care."""

    __slots__ = ("raw",)

    def __init__(self, raw: JsonObject) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        return f"<Migration {self.id} of {self.domain!r}, {self.state}>"

    @property
    def id(self) -> str:
        """The full ID."""
        return self._text("id")

    @property
    def domain(self) -> str:
        """The guest's name."""
        return str(self._object("domain").get("name") or "")

    @property
    def domain_uuid(self) -> str:
        """The guest's UUID."""
        return str(self._object("domain").get("uuid") or "")

    @property
    def state(self) -> str:
        """The state's name."""
        return self._text("state")

    @property
    def source(self) -> str:
        """The host that it leaves."""
        return self._text("source")

    @property
    def destination(self) -> str:
        """The host that it goes to, or the URI that was asked for."""
        return self._text("destination")

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.state in TERMINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether the guest runs at the destination now."""
        return self.state == State.SUCCEEDED

    @property
    def external(self) -> bool:
        """Whether somebody started it without pmigd, which only watches it."""
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
        """The final figures; empty while it is open."""
        return self._object("result")

    @property
    def actions(self) -> list[JsonObject]:
        """What policy or people did, oldest first."""
        actions = self.raw.get("actions")
        return [a for a in actions if isinstance(a, dict)] if isinstance(actions, list) else []

    def _object(self, key: str) -> JsonObject:
        value = self.raw.get(key)
        return value if isinstance(value, dict) else {}

    def _text(self, key: str) -> str:
        value = self.raw.get(key)
        return "" if value is None else str(value)
