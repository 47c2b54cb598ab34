"""Whether a guest writes its memory as fast as it is sent, so that no end is in sight."""

from __future__ import annotations

from typing import Final

AS_FAST: Final = 0.95
"""From this share of the rate at which memory is sent: a guest that writes all of its working set
in each pass writes in a pass what is sent in it, and of the two rates QEMU measures now the one,
now the other a little higher."""


def outpaced(sent: float, written: float) -> bool:
    """At these rates; a matter of this moment, for both may change."""
    return 0 < written >= AS_FAST * sent
