"""The states of a migration: a row each, with everything that differs by state.

The wire, the metrics, the dashboards, the messages for systemd's journal, pmigctl, the completions
and the documentation are made of these rows, and the engine makes no move that is not in them. A
new state is a row here, and the decisions of the engine that lead to it and away from it.

pmigctl imports this whenever it starts: no dataclass, nothing that takes time to import.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Self


class About(NamedTuple):
    """What there is to say of a state.

    ``name`` is the one on the wire.
    ``to``: the states that may follow; from one without any there is no way on: it is terminal.
    ``means`` and ``guest``, where the guest is then, are for people who read the guide.
    ``message``: its id in systemd's journal, never used again for something else; its line reads
    "The migration of GUEST" and ``says``. ``text`` and ``runbook``, a page of docs/runbooks, tell
    the operator what to do.
    ``style`` is how pmigctl shows it, in rich's words, and ``colour`` how the dashboards do.
    ``label``: its phase or result in metrics, where that is not its name.
    ``held``: the phase of :mod:`pmigd.core.holdings` while work goes on between the hosts.
    ``before_switch``: the guest runs at the source, and nothing of it at the destination.
    ``in_postcopy``: part of its memory is at the destination alone, so there is no way back.
    ``exit_code`` is that of a pmigctl that followed it to here; with None it follows on.
    ``stuck``: the guest needs a person; the words explain the metric that counts such migrations,
    and ``advice`` is what pmigctl says to that person.
    """

    name: str
    to: str
    means: str
    guest: str
    message: str
    says: str
    style: str
    text: str = ""
    runbook: str = ""
    colour: str = ""
    label: str = ""
    held: str = ""
    before_switch: bool = False
    in_postcopy: bool = False
    exit_code: int | None = None
    stuck: str = ""
    advice: str = ""


_ENDS: Final = "succeeded failed cancelled"
_HERE: Final = "runs here"
_NEITHER: Final = "touch neither copy"
_ABORTABLE: Final = (
    "The guest is still at the source; 'pmigctl abort {domain}' there ends the migration."
)


class State(StrEnum):
    """Where a migration is."""

    about: About

    def __new__(cls, name: str, *rest: Any) -> Self:
        """A row. ``State("queued")`` is the one of that name; ValueError if there is none."""
        state = str.__new__(cls, name)
        state._value_ = name
        state.about = About(name, *rest)  # enum takes a row, which is a tuple, to pieces
        return state

    # fmt: off
    QUEUED = About(
        "queued", to="preparing failed cancelled",
        means="waits; `waiting_for` names the one resource, see [limits.md](limits.md)",
        guest=_HERE,
        message="63496eb5ef034f56adde30cafdb19be4", says="is queued",
        text="It starts by itself. 'pmigctl show {migration}' tells what it waits for.",
        style="dim")
    PREPARING = About(  # and queued again only when it is proven that libvirt was never called
        "preparing", to=f"queued precopy postcopy finishing unresolved {_ENDS}",
        means="both hosts are looked at, the destination starts an empty guest", guest=_HERE,
        message="b4672c3eaad44aea875dd6d68e80c5ca", says="has started", text=_ABORTABLE,
        style="cyan", colour="grey", label="starting", held="preparing", before_switch=True)
    PRECOPY = About(
        "precopy", to=f"postcopy postcopy_paused finishing unresolved {_ENDS}",
        means="memory is copied", guest=_HERE,
        message="10ffa71eaf6b4200ba0076aad54a8d8a", says="is copying", text=_ABORTABLE,
        style="cyan", colour="blue", held="transfer", before_switch=True)
    POSTCOPY = About(
        "postcopy", to=f"postcopy_paused finishing unresolved {_ENDS}",
        means="memory is fetched by the destination",
        guest="runs there, and still needs this host",
        message="168016f84c884e9ab413927b5866fe5b", says="has switched to post-copy",
        text="The guest runs at the destination and fetches the rest of its memory. It needs both\n"
        "hosts and the link between them until the end; nobody can abort the migration any more.",
        style="magenta", colour="purple", held="postcopy", in_postcopy=True)
    POSTCOPY_PAUSED = About(
        "postcopy_paused", to=f"postcopy finishing unresolved {_ENDS}",
        means="the stream broke; see [the runbook](runbooks/postcopy-paused.md)",
        guest=f"waits for its memory: {_NEITHER}",
        message="0c5dfdb9ee3c419aaaa1bb5898923e09", says="is paused in post-copy",
        runbook="postcopy-paused",
        style="bold red", colour="red", held="postcopy", in_postcopy=True,
        stuck="Migrations whose post-copy broke: their guests are split over two hosts and wait."
        " An operator is needed.",
        advice="post-copy is broken, and part of the guest's memory is still on the source; once"
        " the hosts reach each other: pmigctl recover {id}")
    FINISHING = About(  # and copying again when the migrate call ended but its job goes on
        "finishing", to=f"precopy postcopy postcopy_paused unresolved {_ENDS}",
        means="the switch-over, and then the question to both hosts where the guest is",
        guest="paused for a moment",
        message="33d245abf3d244c18c400b0304a24f52", says="is finishing",
        text="pmigd waits for both hosts to show where the guest runs.",
        style="cyan", colour="green", held="finishing")
    SUCCEEDED = About(
        "succeeded", to="",
        means="the destination shows it running, this host does not; or it is proven that it"
        " arrived, and `result.afterwards` says what has become of it since",
        guest="runs there",
        message="04192aefee2649788d79bee91ab96d1f", says="has succeeded",
        text="The guest was seen running at the destination. Nothing is to be done.",
        style="green", colour="green", label="completed", exit_code=0)
    FAILED = About(
        "failed", to="",
        means="it did not move, and that is proven; `problem` says why", guest=_HERE,
        message="887dbfd33d2f4f42b36de726c5df87df", says="has failed",
        text="Reason: {reason}. docs/problems.md has its remedy, and whether to try again.\n"
        "'pmigctl show {migration}' tells the rest.",
        style="red", colour="red", exit_code=1)
    CANCELLED = About(
        "cancelled", to="",
        means="it did not move, and that is proven; `problem` says why", guest=_HERE,
        message="b48c53700f924faca99afa39d7e3288e", says="was cancelled",
        text="A deadline or somebody ended it; the guest stayed where it was.\n"
        "'pmigctl show {migration}' tells the rest.",
        style="yellow", colour="grey", exit_code=4)
    UNRESOLVED = About(  # until the truth comes to light
        "unresolved", to=f"precopy postcopy postcopy_paused finishing {_ENDS}",
        means="nobody knows yet; see [the runbook](runbooks/unresolved.md)", guest=_NEITHER,
        message="a4a21764fff14c2eb0c3d45b40aecb38", says="is unresolved",
        text="Reason: {reason}.", runbook="unresolved",
        style="bold red", exit_code=5,
        stuck="Migrations whose outcome nobody knows; an operator is needed.",
        advice="the outcome is not known; once you have looked at both hosts:"
        " pmigctl resolve {id} --as succeeded|failed")
    # fmt: on

    @property
    def terminal(self) -> bool:
        """Nothing will change any more."""
        return not self.about.to

    @property
    def holds_slot(self) -> bool:
        """Counts against ``max_outgoing``: work is going on between the hosts."""
        return bool(self.about.held)

    @property
    def label(self) -> str:
        """Its phase or its result in metrics."""
        return self.about.label or self.value


STUCK: Final = tuple(state for state in reversed(State) if state.about.stuck)
"""Those in which a guest needs a person, the worst first."""

MOVES: Final = {s: frozenset(State(name) for name in s.about.to.split()) for s in State}
"""Which state may follow which."""


def may_move(before: State, after: State) -> bool:
    """Whether `after` may follow `before`; staying is always allowed."""
    return before is after or after in MOVES[before]
