"""Passwords against bcrypt hashes. bcrypt is slow on purpose, so a right password is remembered.

What is remembered is a keyed hash of user, stored hash and password; the key is the process' own
and never leaves it. A changed hash in the file is another entry.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import bcrypt

from pmigd.adapters.pool import CallPool

CHECK_DEADLINE_S: Final = 10.0
MAX_WAITING: Final = 16
"""Passwords that may wait for their check; one is checked at a time."""
MAX_REMEMBERED: Final = 64
_BCRYPT_BYTES: Final = 72
"""bcrypt looks at no more of a password, and the library takes no more."""


class TooManyWaiting(Exception):  # noqa: N818 - it says what is the case
    """So many passwords wait for their check that this one is not taken."""


class Passwords:
    """Says whether a password is a user's."""

    def __init__(self, pool: CallPool) -> None:
        self._pool = pool
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, None] = {}
        self._waiting = 0

    async def right(self, users: Mapping[str, str], user: str, password: str) -> bool:
        """Whether it is the password of `user`; `users` has the hashes, at least one.

        Raises TooManyWaiting, Overdue. A user that does not exist takes as long as one that does.
        """
        stored = users.get(user, "")
        digest = self._digest(user, stored, password)
        if digest in self._known:
            return True
        if self._waiting >= MAX_WAITING:
            raise TooManyWaiting
        against = (stored or next(iter(users.values()))).encode()
        candidate = password.encode(errors="surrogateescape")[:_BCRYPT_BYTES]
        self._waiting += 1
        try:
            same = await self._pool.call(
                "password", CHECK_DEADLINE_S, lambda: bcrypt.checkpw(candidate, against)
            )
        finally:
            self._waiting -= 1
        if not (same and stored):
            return False
        while len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = None
        return True

    def _digest(self, *parts: str) -> bytes:
        state = blake2b(key=self._key)
        for part in parts:
            encoded = part.encode(errors="surrogateescape")
            state.update(len(encoded).to_bytes(8) + encoded)
        return state.digest()
