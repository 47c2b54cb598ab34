"""The cable between a host and the switch: slow it, pull it, reset what runs over it.

It must never touch an interface outside the lab: every command runs in the
network namespace of the host or of the switch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from contrib.lab.hosts import Host
    from contrib.lab.namespaces import Space

Direction = Literal["out", "in", "both"]

# Segmentation offload hands tbf packets of up to 64 KiB; a smaller bucket would
# drop every one of them.
_MIN_BURST_BYTES = 128 * 1024


class Link:
    """One host's cable."""

    def __init__(self, host: Host, switch: Space) -> None:
        self._host = host
        self._switch = switch
        self._port = f"v-{host.name}"

    def _ends(self, direction: Direction) -> list[tuple[Space, str]]:
        ends: list[tuple[Space, str]] = []
        if direction in {"out", "both"}:
            ends.append((self._host.space, "eth0"))
        if direction in {"in", "both"}:
            ends.append((self._switch, self._port))
        return ends

    def shape(
        self, mib_s: float, *, latency_ms: float = 20.0, direction: Direction = "both"
    ) -> None:
        """Limit the rate (MiB/s), seen from the host.

        `latency_ms` is how long a packet may queue before it is dropped; there is
        no added delay. More than 20 ms lets TCP fill a queue that heartbeats then
        wait in.
        """
        rate = int(mib_s * (1 << 20))
        burst = max(_MIN_BURST_BYTES, rate // 100)
        for space, device in self._ends(direction):
            bucket = ["rate", f"{rate * 8}bit", "burst", str(burst), "latency", f"{latency_ms}ms"]
            space.run(["tc", "qdisc", "replace", "dev", device, "root", "tbf", *bucket])

    def unshape(self) -> None:
        """Full speed again."""
        for space, device in self._ends("both"):
            # Fails only when nothing was shaped in this direction.
            space.run(["tc", "qdisc", "del", "dev", device, "root"], check=False)

    def down(self) -> None:
        """Pull the cable: nothing passes, addresses and routes stay, TCP keeps waiting.

        The host forgets its neighbours and holds datagrams back while it looks
        for them again, so heartbeats of a short cut arrive late instead of never.
        """
        self._switch.run(["ip", "link", "set", self._port, "down"])

    def up(self) -> None:
        """Plug it in again."""
        self._switch.run(["ip", "link", "set", self._port, "up"])

    def reset_connections(self, ports: tuple[int, int] = (49152, 49215)) -> int:
        """Reset the host's TCP connections from or to a port of the range; how many.

        The default range is where QEMU listens for migrations.
        """
        first, last = ports
        ours = f"( sport >= :{first} and sport <= :{last} )"
        theirs = f"( dport >= :{first} and dport <= :{last} )"
        done = self._host.run(
            ["ss", "-H", "-n", "-t", "-K", "state", "established", f"{ours} or {theirs}"]
        )
        return len(done.stdout.splitlines())
