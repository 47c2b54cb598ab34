"""Who is at the other end of the socket."""

import grp
import os
import pwd
import socket
from dataclasses import dataclass

import pytest

from pmigd.adapters.system.peercred import Accounts, PeerCredentials, peer_credentials
from pmigd.core.roles import Role

UNUSED_ID = 3_999_999_999


@dataclass(frozen=True)
class Entries:
    admin: tuple[str, ...] = ("root",)
    operator: tuple[str, ...] = ()
    viewer: tuple[str, ...] = ()


def test_the_kernel_says_who_connected() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        expected = PeerCredentials(os.getpid(), os.geteuid(), os.getegid())
        assert peer_credentials(ours) == expected


def test_a_tcp_client_is_nobody() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        connection, _ = listener.accept()
        with connection, pytest.raises(OSError, match="only a UNIX socket"):
            peer_credentials(connection)


def test_root_is_root_and_admin() -> None:
    accounts = Accounts()
    assert accounts.account_of(0, 0, 0.0).user == "root"
    assert accounts.role_of(0, 0, Entries(), 0.0) is Role.ADMIN


def test_an_account_has_its_users_groups_and_the_group_of_the_process() -> None:
    nobody = pwd.getpwnam("nobody")
    account = Accounts().account_of(nobody.pw_uid, 0, 0.0)
    assert account.user == "nobody"
    assert account.groups == {grp.getgrgid(nobody.pw_gid).gr_name, grp.getgrgid(0).gr_name}


def test_ids_without_a_name_have_no_role() -> None:
    accounts = Accounts()
    account = accounts.account_of(UNUSED_ID, UNUSED_ID, 0.0)
    assert (account.user, account.groups) == (None, frozenset())
    assert accounts.role_of(UNUSED_ID, UNUSED_ID, Entries(), 0.0) is None


def test_an_answer_is_remembered_for_its_lifetime_only() -> None:
    accounts = Accounts(lifetime_s=30.0)
    first = accounts.account_of(0, 0, 100.0)
    assert accounts.account_of(0, 0, 129.9) is first
    assert accounts.account_of(0, 0, 130.0) is not first
    second = accounts.account_of(0, 0, 130.0)
    accounts.forget()
    assert accounts.account_of(0, 0, 130.0) is not second
