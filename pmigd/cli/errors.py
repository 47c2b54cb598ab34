"""What can go wrong between the user and the daemon, told apart by exit code.

Every error can show itself as a problem object (RFC 9457), so that ``--json`` readers meet one
shape whether the daemon or the client said no.
"""

from __future__ import annotations

from typing import Any

from pmigd.cli import exits

JsonObject = dict[str, Any]
"""A JSON object as decoded; its keys are the contract's, its values still unchecked."""


class CliError(Exception):
    """Ends the command with a message instead of a traceback."""

    code = exits.REFUSED

    def __init__(self, problem: JsonObject) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "unknown problem"))
        self.problem = problem


class RefusedError(CliError):
    """The daemon answered with a problem, or an ID means nothing or too much."""

    @property
    def status(self) -> int:
        """The HTTP status; 0 when the client itself refused."""
        status = self.problem.get("status")
        return status if isinstance(status, int) else 0


class UnreachableError(CliError):
    """Nothing that speaks the API answers at the socket."""

    code = exits.UNREACHABLE

    def __init__(self, socket: str, reason: str, remedy: str) -> None:
        super().__init__(
            {
                "title": "pmigd is not reachable",
                "detail": f"{socket}: {reason}",
                "code": "daemon_unreachable",
                "remedy": remedy,
                "retryable": True,
                "errors": [],
            }
        )
        self.socket = socket
        self.reason = reason


class BrokenError(UnreachableError):
    """The connection was made and then lost: the daemon may or may not have acted."""
