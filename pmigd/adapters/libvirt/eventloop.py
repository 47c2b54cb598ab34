"""libvirt's event loop on asyncio, safe against the threads that libvirt calls it from.

libvirt adds, updates and removes its watches and timers from whichever thread happens to be inside
libvirt: a thread that waits in a migrate call also reads the events of everybody else on that
connection, and arms the timer that delivers them. libvirtaio touches the asyncio loop right there.
On a loop that is otherwise idle such a timer fires only when something else wakes the loop (events
2 to 6 s late were measured), and in asyncio's debug mode it raises and the event is lost.

So every operation, from any thread, takes the same road: ``call_soon_threadsafe`` onto the loop.
One road for all keeps their order, which is what makes it safe for libvirt to close a descriptor:
it does so in the free callback, and that comes down the same road after the removal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import libvirt
import libvirtaio


class _Timer(libvirtaio.Callback):
    """One libvirt timer as a handle of the loop; all methods run on the loop's thread."""

    def __init__(self, impl: ThreadSafeEventLoop, cb: Callable[..., None], opaque: object) -> None:
        super().__init__(impl, cb, opaque)
        self._handle: asyncio.TimerHandle | asyncio.Handle | None = None
        self._timeout_ms = -1

    def update(self, timeout_ms: int) -> None:
        """Fire every `timeout_ms` from now on; 0 is at once and always, negative is never."""
        self._timeout_ms = timeout_ms
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if timeout_ms == 0:
            self._handle = self.impl.loop.call_soon(self._fire)
        elif timeout_ms > 0:
            self._handle = self.impl.loop.call_later(timeout_ms / 1000, self._fire)

    def _fire(self) -> None:
        self._handle = None
        try:
            self.cb(self.iden, self.opaque)
        finally:
            # The callback may have asked for another timeout, but that comes down the road later.
            if self._timeout_ms >= 0 and self._handle is None:
                self.update(self._timeout_ms)


def _removed(*_args: object) -> None:
    """Stands in for the callback of a watch that was removed and is about to be freed."""


class ThreadSafeEventLoop(libvirtaio.virEventAsyncIOImpl):
    """libvirtaio's implementation with every operation marshalled onto the loop."""

    def _on_loop(self, operation: Callable[..., object], *args: object) -> None:
        # A closed loop means that the process is on its way out: nothing is left to watch.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(operation, *args)

    def schedule_ff_callback(self, iden: int, opaque: object) -> None:  # noqa: ARG002
        """Free what belonged to a watch; called on the loop when the watch is gone."""
        self._on_loop(self._free, opaque)

    def _free(self, opaque: object) -> None:
        libvirt.virEventInvokeFreeCallback(opaque)
        self._pending_dec()

    # The six functions that libvirt calls, from any thread. Numbers are handed out at once.

    def _add_handle(self, fd: int, event: int, cb: Callable[..., None], opaque: object) -> int:
        callback = libvirtaio.FDCallback(self, cb, opaque, descriptor=None, event=event)
        self._on_loop(self._attach_handle, callback, fd)
        return int(callback.iden)

    def _attach_handle(self, callback: Any, fd: int) -> None:
        callback.descriptor = self.descriptors[fd]
        self.callbacks[callback.iden] = callback
        self._pending_inc()
        callback.descriptor.add_handle(callback)

    def _update_handle(self, watch: int, event: int) -> None:
        self._on_loop(self._change_handle, watch, event)

    def _change_handle(self, watch: int, event: int) -> None:
        callback = self.callbacks.get(watch)
        if callback is not None:
            callback.update(event=event)

    def _remove_handle(self, watch: int) -> int:
        self._silence(watch)
        self._on_loop(self._detach_handle, watch)
        return 0

    def _detach_handle(self, watch: int) -> None:
        if watch in self.callbacks:
            super()._remove_handle(watch)

    def _add_timeout(self, timeout: int, cb: Callable[..., None], opaque: object) -> int:
        timer = _Timer(self, cb, opaque)
        self._on_loop(self._attach_timer, timer, timeout)
        return int(timer.iden)

    def _attach_timer(self, timer: _Timer, timeout: int) -> None:
        self.callbacks[timer.iden] = timer
        self._pending_inc()
        timer.update(timeout)

    def _update_timeout(self, timer: int, timeout: int) -> None:
        self._on_loop(self._change_timer, timer, timeout)

    def _change_timer(self, timer: int, timeout: int) -> None:
        callback = self.callbacks.get(timer)
        if callback is not None:
            callback.update(timeout)

    def _remove_timeout(self, timer: int) -> int:
        self._silence(timer)
        self._on_loop(self._detach_timer, timer)
        return 0

    def _detach_timer(self, timer: int) -> None:
        callback = self.callbacks.pop(timer, None)
        if callback is not None:
            callback.update(-1)
            callback.close()

    def _silence(self, iden: int) -> None:
        """libvirt expects no call after a removal, though the removal is still on its way."""
        callback = self.callbacks.get(iden)
        if callback is not None:
            callback.cb = _removed


_registered: ThreadSafeEventLoop | None = None


def register(loop: asyncio.AbstractEventLoop) -> ThreadSafeEventLoop:
    """Make `loop` libvirt's event loop. Must come before the first connection is opened.

    libvirt takes one implementation per process and never another: asking again for the same loop
    returns the same one, asking for another loop is a RuntimeError.
    """
    global _registered  # mirrors a registration that libvirt keeps per process
    if _registered is None:
        libvirt.registerErrorHandler(_removed, None)  # or it prints every error to stderr
        implementation = ThreadSafeEventLoop(loop)
        implementation.register()
        _registered = implementation
    elif _registered.loop is not loop:
        raise RuntimeError("libvirt's events already run on another loop of this process")
    return _registered
