"""The figures that are sampled of a migration: a row each, from libvirt to the screens.

A sample, the wire's ``progress``, the metrics, the dashboards and what pmigctl shows are made of
these rows, in their order. A new figure is a row here and its field in
:class:`pmigd.core.sample.Sample`, which gives it its type. The end of a name is the unit.

pmigctl imports this whenever it shows a migration: no dataclass, nothing that takes time to import.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Shown(NamedTuple):
    """How pmigctl shows a figure, in tables, beside the bar and in plain lines.

    ``title`` is its column's, which is ``least`` cells wide. On a narrow terminal the column with
    the highest ``drop`` goes first, an ``optional`` one where nobody has anything in it.
    ``bar`` and ``line`` have ``{}`` for the figure; without them it is not there. It is ``red``
    while the guest writes as fast as it is sent. ``help`` is for ``watch --help``.
    """

    title: str
    drop: int
    least: int = 0
    optional: bool = False
    red: bool = False
    bar: str = ""
    line: str = ""
    help: str = ""


class Figure(NamedTuple):
    """One figure; everything but its name may be missing.

    ``name`` is that of the sample's field, or of its property where it is worked out.
    ``libvirt`` is its name in the statistics of a job, ``wire`` that in ``progress``.
    ``gauge``: the metric is ``pmigd_migration_`` and that, and ``meaning`` its explanation.
    ``needs``: the figure without which this one means nothing and is not exported.
    ``counter`` and ``kind``: the counter that it moves as it grows, and the label.
    ``panel`` and ``legend``: where the dashboard of a host draws the gauge.
    """

    name: str
    libvirt: str = ""
    wire: str = ""
    gauge: str = ""
    meaning: str = ""
    needs: str = ""
    counter: str = ""
    kind: str = ""
    panel: str = ""
    legend: str = ""
    shown: Shown | None = None

    @property
    def per_unit(self) -> int:
        """How many of the figure's unit are one of the metric's, which are base units."""
        return {"ms": 1000, "percent": 100}.get(self.name.rpartition("_")[2], 1)


_MEMORY: Final = "memory_total_bytes"
_DISKS: Final = "disk_total_bytes"

# fmt: off
FIGURES: Final = (
    # name, in libvirt's statistics, on the wire, the gauge and its meaning
    Figure("elapsed_ms", "time_elapsed"),
    Figure(_MEMORY, "memory_total", _MEMORY, "memory_size_bytes", "Memory of the guest.",
        needs=_MEMORY, panel="Memory that remains", legend="size"),
    Figure("memory_processed_bytes", "memory_processed",
        "memory_processed_bytes", "memory_processed_bytes", "Memory sent so far.",
        needs=_MEMORY, counter="transferred_bytes", kind="memory",
        shown=Shown("SENT", drop=7, least=13,
            help="of how much; more than all of it where the guest writes again what was sent")),
    Figure("memory_remaining_bytes", "memory_remaining",
        "memory_remaining_bytes", "memory_remaining_bytes",
        "Memory that still has to be sent in this pass.",
        needs=_MEMORY, panel="Memory that remains", legend="remains"),
    Figure(_DISKS, "disk_total", _DISKS, "disk_size_bytes", "Size of the disks that are copied.",
        needs=_DISKS, panel="Disks that remain", legend="size"),
    Figure("disk_processed_bytes", "disk_processed",
        "disk_processed_bytes", "disk_processed_bytes", "Disk contents sent so far.",
        needs=_DISKS, counter="transferred_bytes", kind="disk",
        shown=Shown("DISKS", drop=8, optional=True)),
    Figure("disk_remaining_bytes", "disk_remaining", "disk_remaining_bytes", "disk_remaining_bytes",
        "Disk contents that still have to be sent.",
        needs=_DISKS, panel="Disks that remain", legend="remains"),
    Figure("bytes_per_second", wire="bytes_per_second",
        shown=Shown("RATE", drop=3, least=10, bar="{}", line="{}")),
    Figure("memory_bytes_per_second", "memory_bps",
        "memory_bytes_per_second", "memory_transfer_bytes_per_second",
        "Rate at which memory is sent, as QEMU measures it.",
        panel="Sent and dirtied", legend="sent"),
    Figure("disk_bytes_per_second", "disk_bps",
        "disk_bytes_per_second", "disk_transfer_bytes_per_second",
        "Rate at which disks are copied, over the last seconds.",
        needs=_DISKS, panel="Disks copied"),
    Figure("dirty_bytes_per_second", "memory_dirty_rate",
        "dirty_bytes_per_second", "memory_dirty_bytes_per_second",
        "Rate at which the guest writes to its memory.",
        panel="Sent and dirtied", legend="dirtied",
        shown=Shown("DIRTY", drop=4, least=10, red=True, bar="dirty {}", line="dirty {}",
            help="how fast the guest writes; red when that is as fast as it is sent")),
    Figure("downtime_ms", "downtime", "expected_downtime_ms", "expected_downtime_seconds",
        "Pause that QEMU would expect if it switched over now; a forecast, not a measurement.",
        panel="Pause expected and allowed", legend="expected",
        shown=Shown("PAUSE", drop=6, least=11, bar="pause {}", help="expected, and allowed")),
    # A setting: libvirt tells it by itself.
    Figure("downtime_limit_ms", "", "downtime_limit_ms", "downtime_limit_seconds",
        "Pause that QEMU aims to stay under.",
        panel="Pause expected and allowed", legend="allowed"),
    Figure("iteration", "memory_iteration", "iteration", "memory_iteration",
        "The present pass over the memory.", panel="Pass over the memory",
        shown=Shown("PASS", drop=11, bar="pass {}", line="iteration {}")),
    Figure("throttle_percent", "auto_converge_throttle", "throttle_percent", "cpu_throttle_ratio",
        "Share of CPU time that QEMU takes from the guest.", panel="CPU time taken",
        shown=Shown("SLOWED", drop=9, optional=True, bar="slowed {}", line="throttle {}")),
    Figure("eta_s", wire="eta_s",
        shown=Shown("ETA", drop=1, least=6, red=True, bar="eta {}", line="eta {}",
            help="at the present rates; never: the guest writes as fast as it is sent")),
    Figure("at", wire="sampled_at"),
    Figure("downtime_net_ms", "downtime_net"),
    Figure("setup_ms", "setup_time"),
    Figure("constant_pages", "memory_constant", counter="pages", kind="constant"),
    Figure("normal_pages", "memory_normal", counter="pages", kind="normal"),
    Figure("compressed_pages", "compression_pages", counter="pages", kind="compressed"),
    Figure("postcopy_requests", "memory_postcopy_requests", counter="postcopy_requests"),
)
# fmt: on

SHOWN: Final = tuple((figure, figure.shown) for figure in FIGURES if figure.shown is not None)
"""What pmigctl shows, and how."""
