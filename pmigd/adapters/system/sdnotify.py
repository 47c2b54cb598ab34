"""Tell systemd how the daemon is doing, by one datagram a message.

Never waits and never raises: a daemon that cannot reach its supervisor still has migrations to
watch.  Outside systemd (no ``$NOTIFY_SOCKET``) every call does nothing.
Protocol: sd_notify(3), as of systemd 252.
"""

import contextlib
import socket
from collections.abc import Mapping
from typing import Final

from pmigd.core.printable import printable

_STATUS_MAX: Final = 500


class Notifier:
    """The way to the service manager.

    Each method returns whether the message was handed over; False outside systemd, and when the
    manager's socket is full or gone.
    """

    __slots__ = ("_address",)

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the abstract namespace; anything but these two forms is not for us.
        self._address = (
            "\0" + address[1:]
            if address.startswith("@") and len(address) > 1
            else address
            if address.startswith("/")
            else None
        )

    def ready(self, status: str = "") -> bool:
        """Say that the start, or a reload, is complete."""
        return self._send("READY=1", _status(status))

    def reloading(self, monotonic_us: int) -> bool:
        """Say that a reload began at this moment of CLOCK_MONOTONIC; ``ready`` must follow."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_us}")

    def stopping(self, status: str = "") -> bool:
        """Say that the daemon is on its way out."""
        return self._send("STOPPING=1", _status(status))

    def status(self, status: str) -> bool:
        """Set the line that ``systemctl status`` shows."""
        return self._send(_status(status))

    def watchdog(self) -> bool:
        """Say that the event loop is alive; see :func:`watchdog_interval_s`."""
        return self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> bool:
        if self._address is None:
            return False
        message = "\n".join(line for line in assignments if line).encode(errors="replace")
        with contextlib.suppress(OSError):
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            with socket.socket(socket.AF_UNIX, kind) as sender:
                return sender.sendto(message, self._address) == len(message)
        return False


def watchdog_interval_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Return how often to call :meth:`Notifier.watchdog`, in seconds; None for never.

    Half of what systemd allows, and only if the watchdog is meant for this process: the
    variables are inherited by children, which must not answer for their parent.
    """
    if environment.get("WATCHDOG_PID") != str(pid):
        return None
    allowed_us = environment.get("WATCHDOG_USEC", "")
    if not allowed_us.isascii() or not allowed_us.isdigit() or int(allowed_us) == 0:
        return None
    return int(allowed_us) / 1_000_000 / 2


def _status(text: str) -> str:
    # A line feed would let a domain's name or an error's text set other variables.
    return f"STATUS={printable(text, _STATUS_MAX)}" if text else ""
