"""The flag by which a libvirt daemon starts a guest at its host's boot: read, and set."""

from __future__ import annotations

import libvirt

from pmigd.core.model import Domain
from pmigd.core.ports import NotMade, Permit
from pmigd.core.problem import Code, Problem


def flag_of(domain: libvirt.virDomain) -> bool | None:
    """Whether it starts with its host; None: only what is defined could."""
    return bool(domain.autostart()) if domain.isPersistent() else None


def set_flag(domain: libvirt.virDomain, *, on: bool) -> None:
    """Set it if it differs. libvirt refuses while the guest has a job, as a migration."""
    if flag_of(domain) is not on:
        domain.setAutostart(int(on))


def set_flag_of(
    connection: libvirt.virConnect, domain: Domain, permit: Permit, *, on: bool
) -> bool:
    """The same on any host. False: it has no definition of the guest."""
    try:
        found = connection.lookupByUUIDString(domain.uuid)
        if flag_of(found) is None:
            return False
        if not permit.wanted:
            raise NotMade(Problem(Code.CANCELLED, "It is not wanted any more."))
        set_flag(found, on=on)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise
    return True
