"""What can go wrong between a program and the daemon, told apart by what the program can do.

Every error can show itself as a problem object (RFC 9457), whether the daemon or the client said
no::

    ClientError
      RefusedError              the daemon answered with a problem; `code` says which
      NotEndedError             a wait was over before what was waited for
      UnreachableError          nothing that speaks the API answers at the socket
        OddAnswerError          something answers, but it is not pmigd
        BrokenError             connected, then lost: the daemon may or may not have acted
          LateError             the same, because no answer came in time
          OutcomeUnknownError   the same for a submission, which was repeated in vain
"""

from __future__ import annotations

from pmigd.core.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    JsonObject = dict[str, Any]
else:
    JsonObject = dict
"""A JSON object as decoded; its keys are the contract's, its values still unchecked."""

_NOT_RUNNING = "is the daemon running? systemctl status pmigd"
_WRONG_SOCKET = "check --socket and PMIGD_SOCKET"


class ClientError(Exception):
    """Something went wrong; ``problem`` is all that is known of it. ``str()`` is safe to print."""

    def __init__(self, problem: JsonObject) -> None:
        super().__init__()
        self.problem = problem

    def __str__(self) -> str:
        return printable(self.detail or self.title)

    @property
    def code(self) -> str:
        """Which problem: one of the closed set, or the client's own; empty if none was told."""
        return str(self.problem.get("code") or "")

    @property
    def title(self) -> str:
        """What kind of problem it is, in a few words."""
        return str(self.problem.get("title") or "unknown problem")

    @property
    def detail(self) -> str:
        """What is wrong in this case."""
        return str(self.problem.get("detail") or "")

    @property
    def remedy(self) -> str:
        """What to do about it, in one sentence; empty if nothing is known."""
        return str(self.problem.get("remedy") or "")

    @property
    def retryable(self) -> bool:
        """Whether the same request may go well later."""
        return self.problem.get("retryable") is True

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Every field of the request that is wrong, with what is wrong with it."""
        found = self.problem.get("errors")
        return [
            (str(error.get("field") or ""), str(error.get("message") or ""))
            for error in (found if isinstance(found, list) else [])
            if isinstance(error, dict)
        ]

    @property
    def status(self) -> int:
        """The HTTP status; 0 when the client itself said no."""
        status = self.problem.get("status")
        return status if isinstance(status, int) else 0


class RefusedError(ClientError):
    """The daemon answered with a problem, or an ID means nothing or too much."""


class NotEndedError(ClientError):
    """Waiting took as long as was allowed; the migration goes on."""

    def __init__(self, migration_id: str, seconds: float) -> None:
        super().__init__(
            _problem(
                "The wait is over",
                f"migration {migration_id} is not there yet after {seconds:g} s, and goes on",
                "not_ended",
                "Wait longer, or look at it with pmigctl show.",
            )
        )


class UnreachableError(ClientError):
    """Nothing that speaks the API answers at the socket."""

    def __init__(self, socket: str, reason: str, remedy: str = _NOT_RUNNING) -> None:
        super().__init__(
            _problem("pmigd is not reachable", f"{socket}: {reason}", "daemon_unreachable", remedy)
        )
        self.socket = socket
        self.reason = reason


class OddAnswerError(UnreachableError):
    """Something answers at the socket, but not as pmigd does."""

    def __init__(self, socket: str, reason: str = "what answers here is not pmigd") -> None:
        super().__init__(socket, reason, _WRONG_SOCKET)


class BrokenError(UnreachableError):
    """The connection was made and then lost: the daemon may or may not have acted."""


class LateError(BrokenError):
    """No answer came in time: the daemon may or may not have acted."""


class OutcomeUnknownError(BrokenError):
    """The connection broke before a submission was answered, and no repeat got through.

    The same submission with ``key`` as its idempotency key returns the first one, if there is one.
    """

    def __init__(self, broken: BrokenError, key: str) -> None:
        reason = f"{broken.reason}; whether the migration was accepted is not known"
        remedy = "submit it again with the same idempotency key once the daemon is back"
        super().__init__(broken.socket, reason, remedy)
        self.key = key


def unreachable(path: str, error: OSError) -> UnreachableError:
    """Why a connection to the socket could not be made."""
    match error:
        case PermissionError():
            return UnreachableError(
                path,
                "permission denied",
                "run as root, or have an administrator add you to the group pmigd"
                " (then log in again)",
            )
        case FileNotFoundError():
            return UnreachableError(path, "no such socket")
        case ConnectionRefusedError():
            return UnreachableError(path, "nobody listens on this socket")
        case BlockingIOError() | TimeoutError():
            return UnreachableError(path, "the daemon does not accept connections in time")
        case _:
            return UnreachableError(path, error.strerror or str(error), _WRONG_SOCKET)


def broken(path: str, error: OSError) -> BrokenError:
    """How a connection that had been made was lost."""
    if isinstance(error, TimeoutError):
        return LateError(path, "no answer in time")
    why = error.strerror or str(error)
    return BrokenError(
        path, f"the connection was lost ({why})" if why else "the connection was lost"
    )


def refused(status: int, reason: str, content: bytes, decoded: JsonObject | None) -> RefusedError:
    """The problem in an answer with an error's status, whatever it looks like."""
    if decoded is not None and ("title" in decoded or "detail" in decoded):
        return RefusedError({"status": status, **decoded})
    text = content.decode(errors="replace").strip()[:500]
    problem = {"title": reason or "Error", "status": status, "detail": text, "errors": []}
    return RefusedError(problem)


def _problem(title: str, detail: str, code: str, remedy: str) -> JsonObject:
    return {
        "title": title,
        "detail": detail,
        "code": code,
        "remedy": remedy,
        "retryable": True,
        "errors": [],
    }
