"""Whether a request makes sense and may be made, before anybody is asked anything.

Everything that the request alone decides: options that do not go together, addresses of a form that
is not allowed for anybody, and what only an administrator may give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pmigd.core.conflicts import find_conflicts
from pmigd.core.finding import Finding, Level
from pmigd.core.model import Request
from pmigd.core.problem import Code, FieldError, refuse
from pmigd.core.roles import Role
from pmigd.core.uri import (
    UriRefused,
    check_data_uri,
    check_graphics_uri,
    check_host,
)

ADMIN_FIELDS: Final = (
    "xml",
    "persistent_xml",
    "migrate_uri",
    "disks_uri",
    "graphics_uri",
    "listen_address",
    "unsafe",
    "start_anyway",
)
"""Each of these is as good as root: it says where a guest's memory, disks or console go, or what
runs at the destination. The last two silence what keeps a guest from harm."""

_FORMS: Final[dict[str, Callable[[str], None]]] = {
    "migrate_uri": lambda text: check_data_uri(text, ("tcp", "rdma", "unix")),
    "disks_uri": lambda text: check_data_uri(text, ("tcp", "unix")),
    "graphics_uri": check_graphics_uri,
    "listen_address": check_host,
    "tls_destination": check_host,
}


def check_role(request: Request, role: Role) -> None:
    """Raise Refused (forbidden) naming every field that only an administrator may give."""
    if role is Role.ADMIN:
        return
    given = [name for name in ADMIN_FIELDS if getattr(request, name)]
    if given:
        raise refuse(
            Code.FORBIDDEN,
            f"Only an administrator may give {', '.join(given)}.",
            tuple(FieldError(name, "is for administrators") for name in given),
        )


def check_request(request: Request) -> list[Finding]:
    """Everything that is wrong with the request itself; all of it blocks."""
    found = []
    for name, check in _FORMS.items():
        text = getattr(request, name)
        if text is not None:
            try:
                check(text)
            except UriRefused as error:
                found.append(
                    Finding(
                        f"bad_{name}",
                        Level.BLOCK,
                        f"'{name}': {error.reason}.",
                        "Correct the address.",
                        name,
                    )
                )
    return found + find_conflicts(request)
