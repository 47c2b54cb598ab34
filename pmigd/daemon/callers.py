"""Who the clients of the socket are: users and their roles, asked for in threads.

A directory of users that does not answer holds up who is asking, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system.peercred import Accounts
from pmigd.config.schema import Config
from pmigd.core.problem import Code, refuse
from pmigd.core.roles import Role

DEADLINE_S: Final = 5.0


class Callers:
    """See :class:`pmigd.api.backend.Callers`. What is known is kept for a while, by `mono`."""

    def __init__(self, config: Config, names: CallPool, mono: Callable[[], float]) -> None:
        self._roles = config.api.roles
        self._names = names
        self._mono = mono
        self._accounts = Accounts()

    def configure(self, config: Config) -> None:
        """Take up the roles, and forget what was known of users: they may have changed, too."""
        self._roles = config.api.roles
        self._accounts.forget()

    async def who(self, uid: int, gid: int) -> tuple[str, Role | None]:
        """The user's name and role. Refused: accounts_unavailable."""
        roles, now_s = self._roles, self._mono()

        def ask() -> tuple[str, Role | None]:
            account = self._accounts.account_of(uid, gid, now_s)
            return account.user or f"uid {uid}", self._accounts.role_of(uid, gid, roles, now_s)

        try:
            return await self._names.call("who", DEADLINE_S, ask)
        except (Overdue, OSError) as error:
            raise refuse(Code.ACCOUNTS_UNAVAILABLE, f"uid {uid}: {error}") from error
