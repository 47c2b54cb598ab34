"""Receive the guests' heartbeats and tell what they prove.

A heartbeat carries a tick number and an error count, and arrives from the
address of the host whose QEMU sent it. So the sequence of arrivals shows how
long a guest stood still, whether it was rebooted or set back, whether two copies
ran at once, and whether its memory was damaged.

Arrival times are the kernel's, turned into CLOCK_MONOTONIC: a busy test process
must never look like a pause of the guest.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FRAME_BYTES = 8
_FRAME_START = 0x80
# Not in the socket module. The values are those of all architectures with the
# generic socket options (x86, arm64, riscv).
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER_BYTES = 8 << 20


class Beat(NamedTuple):
    """One heartbeat."""

    at: float  # CLOCK_MONOTONIC, seconds
    tick: int  # counts from 1 since the guest's boot (28 bits)
    errors: int  # pages found damaged since boot, saturating at 16383
    host: str  # name of the host it came from


class Gap(NamedTuple):
    """A time without heartbeats."""

    seconds: float
    start: float
    end: float


class Heartbeats:
    """Everything heard from one guest. Safe to read from any thread."""

    def __init__(self, guest: str, tick_hz: int) -> None:
        self.guest = guest
        self.tick_hz = tick_hz
        self._beats: list[Beat] = []
        self._partial: dict[str, bytearray] = {}
        self._garbled = 0
        self._changed = threading.Condition()

    def feed(self, data: bytes, host: str, at: float) -> None:
        """Bytes that arrived; a frame may come in pieces, one datagram per byte."""
        with self._changed:
            for byte in data:
                partial = self._partial.setdefault(host, bytearray())
                if byte & _FRAME_START:
                    self._garbled += bool(partial)
                    partial.clear()
                elif not partial and not self._take_over(partial):
                    continue  # the rest of a frame whose start was lost
                partial.append(byte)
                if len(partial) == FRAME_BYTES:
                    self._frame(bytes(partial), host, at)
                    partial.clear()

    def _take_over(self, partial: bytearray) -> bool:
        """A guest that moved in the middle of a frame sends the rest from its new host."""
        begun = [other for other in self._partial.values() if other]
        if len(begun) != 1:
            return False
        partial += begun[0]
        begun[0].clear()
        return True

    def _frame(self, frame: bytes, host: str, at: float) -> None:
        check = 0
        for byte in frame[1:7]:
            check ^= byte
        if check != frame[7]:
            self._garbled += 1
            return
        tick = sum(frame[1 + i] << (7 * i) for i in range(4))
        self._beats.append(Beat(at, tick, frame[5] | frame[6] << 7, host))
        self._changed.notify_all()

    def beats(self, since: float | None = None, until: float | None = None) -> list[Beat]:
        """The heartbeats of a time span (monotonic seconds; open ends by default)."""
        with self._changed:
            beats = list(self._beats)
        return [
            beat
            for beat in beats
            if (since is None or beat.at >= since) and (until is None or beat.at <= until)
        ]

    @property
    def count(self) -> int:
        """Heartbeats received."""
        return len(self._beats)

    @property
    def last(self) -> Beat | None:
        """The newest heartbeat."""
        return self._beats[-1] if self._beats else None

    @property
    def garbled(self) -> int:
        """Frames that arrived incomplete or changed. They count as missing, too."""
        return self._garbled

    def wait(
        self,
        count: int = 1,
        *,
        host: str | None = None,
        since: float | None = None,
        timeout: float = 10.0,
        evidence: Callable[[], str] | None = None,
    ) -> Beat:
        """Wait for `count` heartbeats after `since` (now by default), from `host` if given."""
        start = time.monotonic() if since is None else since

        def heard() -> list[Beat]:
            return [b for b in self.beats(start) if host is None or b.host == host]

        with self._changed:
            if not self._changed.wait_for(lambda: len(heard()) >= count, timeout):
                where = f" from {host}" if host else ""
                proof = f"\n{evidence()}" if evidence else ""
                raise LabError(
                    f"guest {self.guest}: {len(heard())} of {count} heartbeats{where} "
                    f"within {timeout:g} s; the last of all was {self.last}{proof}"
                )
            return heard()[count - 1]

    def longest_gap(self, since: float | None = None, until: float | None = None) -> Gap:
        """The longest silence of a span, which by default is from the first heartbeat to now.

        The silence before the first and after the last heartbeat of the span
        counts: a guest that never came back has no short gap.
        """
        beats = self.beats(since, until)
        end = time.monotonic() if until is None else until
        if since is None and not beats:
            raise LabError(f"guest {self.guest} was never heard")
        start = beats[0].at if since is None else since
        edges = [start, *(beat.at for beat in beats), end]
        return max(Gap(b - a, a, b) for a, b in pairwise(edges))

    def rate(self, since: float, until: float | None = None) -> float:
        """Heartbeats per second over a span."""
        end = time.monotonic() if until is None else until
        return len(self.beats(since, end)) / (end - since)

    @property
    def hosts(self) -> list[str]:
        """The hosts it was heard from, in order, each change listed: ["hosta", "hostb"]."""
        order: list[str] = []
        for beat in self.beats():
            if not order or order[-1] != beat.host:
                order.append(beat.host)
        return order

    @property
    def missing(self) -> int:
        """Ticks below the highest that were never heard (lost, not late)."""
        ticks = {beat.tick for beat in self.beats()}
        return max(ticks) - min(ticks) + 1 - len(ticks) if ticks else 0

    @property
    def duplicated(self) -> int:
        """Heartbeats whose tick had been heard before: a second copy, or a guest set back."""
        beats = self.beats()
        return len(beats) - len({beat.tick for beat in beats})

    @property
    def restarts(self) -> int:
        """How often the counter began anew, that is, the guest was rebooted."""
        beats = self.beats()
        return sum(
            after.tick < before.tick and after.tick <= self.tick_hz
            for before, after in pairwise(beats)
        )

    @property
    def went_back(self) -> int:
        """How often the counter fell, for any reason."""
        beats = self.beats()
        return sum(after.tick < before.tick for before, after in pairwise(beats))

    @property
    def errors(self) -> int:
        """The highest count of damaged pages the guest ever reported."""
        return max((beat.errors for beat in self.beats()), default=0)

    @property
    def memory_ok(self) -> bool:
        """The guest was heard and never found a damaged page."""
        return self.count > 0 and self.errors == 0

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.guest}: {self.count} heartbeats from {' -> '.join(self.hosts) or 'nowhere'}, "
            f"missing {self.missing}, duplicated {self.duplicated}, garbled {self.garbled}, "
            f"restarts {self.restarts}, memory {'ok' if self.memory_ok else 'DAMAGED or unknown'}"
        )


class Listener:
    """One thread that receives the heartbeats of every guest of a lab."""

    def __init__(self, host_by_address: Mapping[str, str]) -> None:
        self._host_by_address = dict(host_by_address)
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._listen, name="lab-heartbeats", daemon=True)
        self._thread.start()

    def add(self, sock: socket.socket, heartbeats: Heartbeats) -> None:
        """Take over a bound UDP socket."""
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        self._selector.register(sock, selectors.EVENT_READ, heartbeats)

    def close(self) -> None:
        """Stop listening; what was heard stays readable."""
        os.write(self._wake_writer, b"x")
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _listen(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if not isinstance(key.fileobj, socket.socket):
                    return
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    while True:
                        self._receive(key.fileobj, key.data)

    def _receive(self, sock: socket.socket, heartbeats: Heartbeats) -> None:
        data, control, _flags, source = sock.recvmsg(2048, socket.CMSG_SPACE(16))
        now = time.monotonic()
        at = now
        for level, kind, payload in control:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("@ll", payload[:16])
                age = time.clock_gettime(time.CLOCK_REALTIME) - (seconds + nanoseconds * 1e-9)
                at = now - max(0.0, age)
        heartbeats.feed(data, self._host_by_address.get(source[0], source[0]), at)
