"""Find out who is at the other end of a UNIX socket, and what its names are.

The kernel recorded pid, uid and gid when the client connected; nothing the client sends is
believed.  The names come from the user database, which may be a slow network service: call
:class:`Accounts` in a thread.
"""

import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Final

from pmigd.core.roles import Role, RoleEntries, role_for

_UCRED: Final = struct.Struct("=iII")
_CACHED_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """The client as the kernel saw it connect.  ``pid`` is for messages only: it is reused."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class UserAccount:
    """A client's names; ``user`` is None when its uid has none."""

    user: str | None
    groups: frozenset[str]


def peer_credentials(connection: socket.socket) -> PeerCredentials:
    """Return who connected; raise OSError if it is no UNIX socket or the client is gone."""
    if connection.family != socket.AF_UNIX:
        # A TCP socket answers pid 0, uid -1, gid -1 instead of failing.
        raise OSError("only a UNIX socket tells who its client is")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    if uid == 0xFFFFFFFF:
        raise OSError("the kernel does not know who the client is")
    return PeerCredentials(pid, uid, gid)


class Accounts:
    """The user database, remembered for a while.

    ``lifetime_s`` is how long, in seconds, an answer is used: so long does it take at most until
    a user taken out of a group loses the role.  Several threads may ask at once; two may then
    look up the same user, which does no harm.
    """

    def __init__(self, *, lifetime_s: float = 30.0) -> None:
        self._lifetime_s = lifetime_s
        self._known: dict[tuple[int, int], tuple[float, UserAccount]] = {}

    def account_of(self, uid: int, gid: int, now_s: float) -> UserAccount:
        """Return the names of a client.  Blocks on the user database; never raises KeyError.

        ``now_s`` is monotonic seconds.  The groups are the user's by the database, and ``gid``,
        which the client's process has at least.  OSError from the database passes through.
        """
        found = self._known.get((uid, gid))
        if found is not None and now_s - found[0] < self._lifetime_s:
            return found[1]
        account = _look_up(uid, gid)
        if len(self._known) >= _CACHED_MAX:
            self._known = {}
        self._known[uid, gid] = (now_s, account)
        return account

    def role_of(self, uid: int, gid: int, entries: RoleEntries, now_s: float) -> Role | None:
        """Return the client's role, None if it has none; otherwise as :meth:`account_of`."""
        account = self.account_of(uid, gid, now_s)
        return role_for(account.user, account.groups, entries)

    def forget(self) -> None:
        """Ask the database again next time: after a reload."""
        self._known = {}


def _look_up(uid: int, gid: int) -> UserAccount:
    group_ids = {gid}
    # root is root, also while the user database is broken or names uid 0 otherwise.
    user = "root" if uid == 0 else None
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        pass
    else:
        user = user or entry.pw_name
        group_ids.update(os.getgrouplist(entry.pw_name, entry.pw_gid))
    groups = set()
    for group_id in group_ids:
        try:
            groups.add(grp.getgrgid(group_id).gr_name)
        except KeyError:
            continue
    return UserAccount(user, frozenset(groups))
