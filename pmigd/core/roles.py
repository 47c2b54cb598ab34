"""Decide what role a client has, from who it is and what the config says.

The names come from outside: the user from the kernel's word about the socket's other end, the
groups from the user database.  A client without a role may do nothing; roles only ever add up to
the highest one, nothing takes a role away.
"""

from collections.abc import Collection
from enum import IntEnum
from typing import Protocol


class Role(IntEnum):
    """What a client may do; a higher role may do all that a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        """The name used in the config and in answers: "viewer", "operator", "admin"."""
        return self.name.lower()


class RoleEntries(Protocol):
    """The three lists of ``[api.roles]``: user names, and group names with "@" before them."""

    @property
    def admin(self) -> Collection[str]:
        """Who is an administrator."""

    @property
    def operator(self) -> Collection[str]:
        """Who is an operator."""

    @property
    def viewer(self) -> Collection[str]:
        """Who is a viewer."""


def role_for(user: str | None, groups: Collection[str], entries: RoleEntries) -> Role | None:
    """Return the client's highest role, None if it has none.

    ``user`` is None when the user id has no name; ``groups`` are the names of its groups.
    """
    # A name that begins with "@" could pass for a group, an empty one for a blank entry.
    names = {user} if user and not user.startswith("@") else set()
    names |= {f"@{group}" for group in groups if group}
    for role, listed in (
        (Role.ADMIN, entries.admin),
        (Role.OPERATOR, entries.operator),
        (Role.VIEWER, entries.viewer),
    ):
        if not names.isdisjoint(listed):
            return role
    return None
