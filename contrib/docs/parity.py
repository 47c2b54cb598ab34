"""docs/parity.md: what was run by virsh and by pmigd side by side, and between which versions."""

from __future__ import annotations

import re
from typing import Final

from contrib.parity import record
from contrib.parity.rows import ROWS, Row

_HEAD: Final = """\
# The same as virsh

Each row is one combination of options. Two guests of one kind are migrated, one by `virsh migrate`
with these words, one by pmigd with the same request and `--leave-autostart` (`{name}` and the like
stand for what differs between the two), and then everything that libvirt says about
them is compared on both hosts: whether the guest is there, its state and the reason, its live and
its kept definition, autostart, what is remembered of the finished job, the settings for the next
one, and its disks, byte by byte. *moved* and *stayed* say what became of both; every cell is a pair
of migrations that left the same behind. *stayed* is a refusal, an abort, or a host that is too old,
which pmigd says beforehand. Where libvirt leaves an empty image at the destination although it
refuses (†), pmigd, which refuses earlier, leaves none. A row without an entry could not be run: the
library under pmigd's Python binding was too old to pass the value on.

`make test` runs the rows between hosts of the machine's own libvirt and a part of them between
versions, `make matrix` all of them; this page is made from what that noted.

"""


def text() -> str:
    """The page."""
    recorded = record.read()
    ran = {pair: recorded[pair] for pair in sorted(recorded, key=_versions)}
    lines = [
        f"| combination | words of virsh | {' | '.join(ran)} |",
        "|---|---|" + "---|" * len(ran),
    ]
    for row in ROWS:
        cells = [pair.get(row.name, "") for pair in ran.values()]
        name = row.name + (" †" if row.litters else "")
        lines.append(f"| {name} | {_words(row)} | {' | '.join(cells)} |")
    return _HEAD + "\n".join(lines) + "\n"


def _words(row: Row) -> str:
    return "; ".join(
        [
            *(f"first `{line}`" for line in row.source),
            *(f"there first `{line}`" for line in row.destination),
            f"`{row.virsh}`",
            *([f"meanwhile `{row.act.virsh}`"] if row.act else []),
        ]
    )


def _versions(pair: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", pair)]
