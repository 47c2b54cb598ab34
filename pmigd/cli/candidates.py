"""``pmigctl _complete KIND``: what the shell may offer, one a line.

Runs at every press of Tab: never complains, never waits long, and offers nothing when the daemon is
away.
"""

from __future__ import annotations

from collections import Counter

from pmigd.cli import exits
from pmigd.cli.output import Output
from pmigd.client import Client, ClientError
from pmigd.client.migration import OPEN_STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ANSWER_S = 2.0


def run(argv: list[str]) -> int:
    """Print the candidates of the kind named after ``_complete``."""
    at = argv.index("_complete")
    kind = argv[at + 1] if at + 1 < len(argv) else ""
    socket = argv[argv.index("--socket") + 1] if "--socket" in argv[:at] else None
    source = _SOURCES.get(kind)
    if source is None:
        return exits.USAGE
    output = Output(json_wanted=False)
    try:
        names = source(Client(socket, answer_s=_ANSWER_S))
    except ClientError:
        return exits.SUCCEEDED
    for name in names:
        # A name with control characters cannot be offered without risk to the terminal.
        if name and name.isprintable():
            output.line(name)
    return exits.SUCCEEDED


def _domains(client: Client) -> list[str]:
    return [str(d.get("name", "")) for d in client.domains()]


def _peers(client: Client) -> list[str]:
    return [str(p.get("name", "")) for p in client.peers()]


def _ids(client: Client) -> list[str]:
    """Open migrations by ID, and by guest where that is enough to name one."""
    running = list(client.migrations(OPEN_STATES))
    named = Counter(m.domain for m in running)
    return [m.id for m in running] + [name for name, count in named.items() if count == 1]


_SOURCES: dict[str, Callable[[Client], list[str]]] = {
    "domains": _domains,
    "peers": _peers,
    "ids": _ids,
}
