"""Who gets which role."""

from dataclasses import dataclass

import pytest

from pmigd.core.roles import Role, role_for


@dataclass(frozen=True)
class Entries:
    admin: tuple[str, ...] = ("root",)
    operator: tuple[str, ...] = ("@pmigd", "bob")
    viewer: tuple[str, ...] = ("@monitoring",)


@pytest.mark.parametrize(
    ("user", "groups", "role"),
    [
        ("root", {"root"}, Role.ADMIN),
        ("alice", {"pmigd"}, Role.OPERATOR),
        ("bob", set(), Role.OPERATOR),
        ("nagios", {"monitoring"}, Role.VIEWER),
        ("alice", {"monitoring", "pmigd"}, Role.OPERATOR),
        ("root", {"monitoring"}, Role.ADMIN),
        ("mallory", {"users"}, None),
        ("pmigd", set(), None),
        ("alice", {"root"}, None),
        ("alice", {"bob"}, None),
        (None, {"pmigd"}, Role.OPERATOR),
        (None, set(), None),
        ("@pmigd", set(), None),
        ("", {""}, None),
    ],
)
def test_the_highest_listed_role_counts_and_users_are_not_groups(
    user: str | None, groups: set[str], role: Role | None
) -> None:
    assert role_for(user, groups, Entries()) is role


def test_a_blank_entry_lets_nobody_in() -> None:
    assert role_for("", {""}, Entries(admin=("", "@"))) is None
    assert role_for(None, {""}, Entries(admin=("", "@"))) is None


def test_roles_are_ordered_by_what_they_may_do() -> None:
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN
    assert [role.label for role in Role] == ["viewer", "operator", "admin"]
