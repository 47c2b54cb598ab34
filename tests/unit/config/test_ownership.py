"""Which files are believed."""

from __future__ import annotations

import pytest

from pmigd.core.ownership import ownership_fault


@pytest.mark.parametrize(
    ("mode", "owner", "own", "says"),
    [
        (0o100600, 0, 0, ""),
        (0o100644, 0, 1000, ""),
        (0o100640, 1000, 1000, ""),
        (0o100600, 1000, 0, "chown root"),
        (0o100600, 1001, 1000, "chown root"),
        (0o100660, 0, 0, "chmod g-w"),
        (0o100602, 0, 0, "chmod o-w"),
        (0o100666, 5, 0, "chown root"),
    ],
)
def test_a_file_is_roots_or_ones_own_and_nobody_else_writes_it(
    mode: int, owner: int, own: int, says: str
) -> None:
    fault = ownership_fault(mode, owner, own)
    assert says in fault if says else fault == ""
