"""Whose a file must be before pmigd, which is root, believes it or proves itself with it."""

from __future__ import annotations

from typing import Final

_GROUP_WRITES: Final = 0o020
_OTHERS_WRITE: Final = 0o002


def ownership_fault(mode: int, owner: int, own_uid: int) -> str:
    """Why a file of this mode and owner is not to be trusted, and the command that mends it.

    Empty if nothing speaks against it. `own_uid` is the user that asks; root's files are good
    whoever asks.
    """
    if owner not in (0, own_uid):
        return f"belongs to the user with uid {owner}, who could change it; run chown root on it"
    if mode & _OTHERS_WRITE:
        return "can be written by everyone; run chmod o-w on it"
    if mode & _GROUP_WRITES:
        return "can be written by its group; run chmod g-w on it"
    return ""
