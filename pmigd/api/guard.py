"""Who is let in at a door to the network, how many at a time, and what is said of the others.

Whoever can reach the port can knock as often as they like. A refusal is counted each time, but
logged only once a minute for one reason and address, and what is remembered for that is bounded.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog

from pmigd.adapters.peer.names import AllowedNames
from pmigd.api.peerbackend import Intrusion

MAX_CONNECTIONS: Final = 256
MAX_FROM_ONE_ADDRESS: Final = 64
QUIET_S: Final = 60.0
"""How long a refusal for the same reason of the same address is not logged again."""
MAX_REMEMBERED: Final = 1024
"""Refusals of the last minute; further ones are counted, and not logged."""

_VERDICTS: Final[dict[int, Intrusion]] = {10: "expired", 23: "revoked"}
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_REVOKED."""

log = structlog.get_logger()


class Guard:
    """One door's guard. `observe` counts a refusal, `event` is its name in the log.

    :attr:`context` and :attr:`allowed` may be replaced at any time; those who are in stay.
    Without a context nobody gets in, or else whoever comes does so without TLS (`plain`).
    """

    def __init__(
        self,
        observe: Callable[[Intrusion], None],
        *,
        event: str = "peer refused",
        plain: bool = False,
    ) -> None:
        self.context: ssl.SSLContext | None = None
        self.allowed = AllowedNames()
        self._observe = observe
        self._event = event
        self._plain = plain
        self._inside: Counter[str] = Counter()
        self._quiet_until: dict[tuple[Intrusion, str], float] = {}

    def enter(self, address: str) -> bool:
        """Whether a connection from `address` may come in, with :attr:`context`.

        Who came in must :meth:`leave`.
        """
        if self.context is None and not self._plain:
            self.refused("not_ready", address, "this host's certificates cannot be used")
        elif self._inside[address] >= MAX_FROM_ONE_ADDRESS:
            self.refused("too_many", address, f"it has {MAX_FROM_ONE_ADDRESS} connections already")
        elif self._inside.total() >= MAX_CONNECTIONS:
            self.refused("too_many", address, f"there are {MAX_CONNECTIONS} connections already")
        else:
            self._inside[address] += 1
            return True
        return False

    def leave(self, address: str) -> None:
        """A connection from `address` is over."""
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]

    def failed(self, address: str, error: OSError) -> None:
        """A handshake came to nothing."""
        self.refused(_why(error), address, str(error) or "it closed the connection")

    def refused(self, why: Intrusion, address: str, detail: str) -> None:
        """Count a refusal, and say it unless that was said just now."""
        self._observe(why)
        now = monotonic()
        if self._quiet_until.get((why, address), now) > now:
            return
        if len(self._quiet_until) >= MAX_REMEMBERED:
            self._quiet_until = {k: until for k, until in self._quiet_until.items() if until > now}
            if len(self._quiet_until) >= MAX_REMEMBERED:
                return
        self._quiet_until[why, address] = now + QUIET_S
        log.warning(self._event, why=why, address=address, detail=detail)


def _why(error: OSError) -> Intrusion:
    match error:
        case ssl.SSLCertVerificationError(verify_code=code):
            return _VERDICTS.get(code, "untrusted")
        case ssl.SSLError(reason="HTTP_REQUEST"):
            return "plain_http"
        case ssl.SSLError(reason="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            return "no_certificate"
        case ssl.SSLError():
            return "bad_tls"
        case ConnectionAbortedError():  # what asyncio raises at the handshake's deadline
            return "too_slow"
        case _:
            return "gave_up"
