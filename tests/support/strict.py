"""pmigd as it is, with two eyes more: every blocking call on its event loop is an error.

``python -m tests.support.strict`` takes pmigd's arguments. The loop runs in debug mode, so that
anything that touches it from a foreign thread raises, and blockbuster watches the loop's thread for
calls that block, libvirt's among them. Both end as tracebacks in the daemon's log, which the tests
read at their end.

``PMIGD_DIES_BEFORE`` in the environment names a call of the hypervisor, as ``perform`` or
``autostart_here on``: right before its first it is killed, as by ``kill -9``.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys

import libvirt
from blockbuster import BlockBuster, BlockBusterFunction

import pmigd.daemon.main
from pmigd.adapters.libvirt.hypervisor import LocalHypervisor
from pmigd.daemon.app import App

LOCAL = {"name", "UUIDString", "connect", "c_pointer", "__init__", "__del__"}
"""Methods of libvirt's objects that do not leave the process."""


def main() -> int:
    """Run pmigd, strictly."""
    os.environ["PYTHONASYNCIODEBUG"] = "1"
    buster = BlockBuster()
    for cls in (libvirt.virConnect, libvirt.virDomain):
        for name, function in vars(cls).items():
            if inspect.isfunction(function) and name not in LOCAL and not name.startswith("_"):
                buster.functions[f"libvirt.{cls.__name__}.{name}"] = BlockBusterFunction(cls, name)
    buster.functions["libvirt.open"] = BlockBusterFunction(libvirt, "open")
    for function in buster.functions.values():
        # Files of the kernel, read from memory; and the log, which is a pipe in service.
        function.can_block_in("prometheus_client/process_collector.py", {"collect", "_boot_time"})
        function.can_block_in("pmigd/adapters/system/logs.py", {"write", "flush"})
        function.can_block_in("pmigd/adapters/system/unixsocket.py", {"remove"})
    start = App.start

    async def started(app: App) -> None:
        await start(app)
        buster.activate()  # from now on there are clients to keep waiting

    if call := os.environ.get("PMIGD_DIES_BEFORE"):
        die_before(*call.split())
    App.start = started  # type: ignore[method-assign]
    return pmigd.daemon.main.main()


def die_before(name: str, *words: str) -> None:
    """Be killed right before the first call of that method; "on" has a True among its arguments."""
    method = getattr(LocalHypervisor, name)

    @functools.wraps(method)
    def call(*args: object, **kwargs: object) -> object:
        if not words or True in (*args, *kwargs.values()):
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*args, **kwargs)

    setattr(LocalHypervisor, name, call)


if __name__ == "__main__":
    sys.exit(main())
