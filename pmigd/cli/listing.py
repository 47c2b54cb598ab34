"""The table of migrations that ``list`` shows once and ``watch`` keeps up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pmigd.cli.migration import Migration, short_ids
from pmigd.cli.output import Column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

COLUMNS: Final = (
    Column("ID"),
    Column("DOMAIN"),
    Column("STATE"),
    Column("FROM->TO", drop=3),
    Column("PROGRESS", drop=1, right=True),
    Column("RATE", drop=4, right=True),
    Column("DIRTY", drop=6, right=True),
    Column("ETA", drop=2, cut=24),
    Column("AGE", drop=5, right=True),
)


def rows(migrations: Sequence[Migration], now: datetime, *, full_ids: bool) -> list[list[str]]:
    """A row for each. ``full_ids`` for readers that cannot ask again, such as scripts."""
    ids = [m.id for m in migrations]
    shown = {i: i for i in ids} if full_ids else short_ids(ids)
    return [
        [
            shown[m.id],
            m.domain,
            f"{m.state} (external)" if m.external else m.state,
            m.route,
            "-" if m.percent is None else f"{m.percent}%",
            "-" if m.terminal else m.figure("bytes_per_second"),
            "-" if m.terminal else m.figure("dirty_bytes_per_second"),
            m.eta(),
            m.age(now),
        ]
        for m in migrations
    ]
