"""Whether a request makes sense and may be made, before anybody is asked anything.

Everything that the request alone decides: options that do not go together, addresses of a form that
is not allowed for anybody, and what only an administrator may give.
"""

from __future__ import annotations

from typing import Final

from pmigd.core.address import UriRefused, check_host
from pmigd.core.conflicts import find_conflicts
from pmigd.core.finding import Finding, FindingKind, Level, Origin
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

_ADDRESSES: Final = {
    row.name: row.about.text.address for row in FIELDS if row.about.text and row.about.text.address
}
"""What form an address must have, by the field."""

DIRECT: Final = FindingKind(
    "direct_needs_pmigd",
    "With flow direct pmigd itself is between the two hosts: if it is stopped or restarted, the"
    " migration ends, and the guest stays here.",
    Level.WARN,
    Origin.RULE,
    "flow",
    "Leave pmigd running until the migration has ended, or use 'flow': 'p2p'.",
)
BAD_DNAME: Final = FindingKind(
    "bad_dname",
    "libvirt could not call the guest that.",
    Level.BLOCK,
    Origin.RULE,
    "dname",
    f"Choose another name, of at most {MAX_NAME_BYTES} bytes.",
)
BAD_FORMS: Final = {
    name: FindingKind(
        f"bad_{name}",
        f"'{name}' does not have the form of such an address.",
        Level.BLOCK,
        Origin.RULE,
        name,
        "Correct the address.",
    )
    for name in _ADDRESSES
}
KINDS: Final = (DIRECT, BAD_DNAME, *BAD_FORMS.values())
"""All that a request alone can be found to be."""


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
        found.append(BAD_DNAME.found(f"'dname' {fault}."))
    if request.flow is Flow.DIRECT:
        found.append(DIRECT.found(DIRECT.title))
    for name, form in _ADDRESSES.items():
        text = getattr(request, name)
        if text is not None:
            try:
                _check_address(form, text)
            except UriRefused as error:
                found.append(BAD_FORMS[name].found(f"'{name}': {error.reason}."))
    return found + find_conflicts(request)


def _check_address(form: str, text: str) -> None:
    """Raise UriRefused unless `text` has the form that :class:`pmigd.core.fields.Text` names."""
    if form == "host":
        check_host(text)
    elif form == "graphics":
        check_graphics_uri(text)
    else:
        check_data_uri(text, tuple(form.split()))
