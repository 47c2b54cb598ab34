"""Whether a request makes sense and may be made, before anybody is asked anything.

Everything that the request alone decides: options that do not go together, addresses of a form that
is not allowed for anybody, and what only an administrator may give.
"""

from __future__ import annotations

from typing import Final

from pmigd.core.address import UriRefused, check_host
from pmigd.core.conflicts import find_conflicts
from pmigd.core.finding import Finding, Level
from pmigd.core.problem import Code, FieldError, refuse
from pmigd.core.request import FIELDS, Flow, Request
from pmigd.core.roles import Role
from pmigd.core.uri import check_data_uri, check_graphics_uri

ADMIN_FIELDS: Final = tuple(row.name for row in FIELDS if row.about.admin)
"""Each of these is as good as root: it says where a guest's memory, disks or console go, whose
certificate is believed there, or what runs at the destination; or it silences what keeps a guest
from harm."""
MAX_NAME_BYTES: Final = 251
"""Of a domain: libvirt makes files of it, NAME.xml and NAME.log, of at most 255 bytes."""

DIRECT: Final = Finding(
    "direct_needs_pmigd",
    Level.WARN,
    "With flow direct pmigd itself is between the two hosts: if it is stopped or restarted, the"
    " migration ends, and the guest stays here.",
    "Leave pmigd running until the migration has ended, or use flow p2p.",
    "flow",
)


def name_fault(name: str) -> str:
    """Why this cannot be a domain's name, as the end of a sentence; empty if it can."""
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return f"is '{name}', which is a directory"
    if "/" in name or not name.isprintable():
        return "holds '/' or a character that cannot be printed"
    size = len(name.encode(errors="replace"))
    return f"has {size} bytes: libvirt could make no files of it" if size > MAX_NAME_BYTES else ""


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
    """Everything that the request itself says against it."""
    found = []
    if request.dname is not None and (fault := name_fault(request.dname)):
        remedy = f"Choose another name, of at most {MAX_NAME_BYTES} bytes."
        found.append(Finding("bad_dname", Level.BLOCK, f"'dname' {fault}.", remedy, "dname"))
    if request.flow is Flow.DIRECT:
        found.append(DIRECT)
    for row in FIELDS:
        form = row.about.text.address if row.about.text else ""
        text = row.of(request)
        if form and text is not None:
            name = row.name
            try:
                _check_address(form, text)
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


def _check_address(form: str, text: str) -> None:
    """Raise UriRefused unless `text` has the form that :class:`pmigd.core.fields.Text` names."""
    if form == "host":
        check_host(text)
    elif form == "graphics":
        check_graphics_uri(text)
    else:
        check_data_uri(text, tuple(form.split()))
