"""Hold migrations at a step of libvirt's for as long as wanted, by the hooks that it calls.

See https://libvirt.org/hooks.html: `migrate` is called at the destination before QEMU is started
there, `stopped` at the source when its QEMU has ended and the call has not come back yet.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contrib.lab import Host

# On every host a directory of its own.
_DIRECTORY = "/run/pmigd"
_HOOK = f"""#!/bin/sh
[ "$2" = migrate ] && cat
while [ -e {_DIRECTORY}/hold-"$2" ]; do
  touch {_DIRECTORY}/held-"$2"
  sleep 0.05
done
"""


def install(host: Host) -> None:
    """Put the hook there. libvirtd, which looks for hooks when it starts, is started again."""
    hook = host.path("/etc/libvirt/hooks/qemu")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(_HOOK)
    hook.chmod(0o755)
    host.libvirtd.restart()


@contextlib.contextmanager
def held(host: Host, operation: str) -> Iterator[Callable[[], None]]:
    """What comes to `operation` on this host stays there until the end.

    What is yielded waits until something is held.
    """
    hold, sign = (host.path(f"{_DIRECTORY}/{word}-{operation}") for word in ("hold", "held"))
    hold.touch()

    def wait() -> None:
        until(
            sign.exists, f"'{operation}' on {host.name}", timeout=30, evidence=host.pmigd.log_tail
        )

    try:
        yield wait
    finally:
        hold.unlink()
        sign.unlink(missing_ok=True)
