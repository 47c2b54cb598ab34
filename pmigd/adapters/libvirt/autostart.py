"""The flag by which a libvirt daemon starts a guest at its host's boot: read, and set."""

from __future__ import annotations

import libvirt

from pmigd.adapters.libvirt.commands import not_wanted
from pmigd.core.model import Domain
from pmigd.core.ports import Permit


def flag_of(domain: libvirt.virDomain) -> bool | None:
    """Whether it starts with its host; None: only what is defined could."""
    return bool(domain.autostart()) if domain.isPersistent() else None


def has_flag(domain: libvirt.virDomain) -> bool:
    """Whether there is a definition that could start with the host."""
    return bool(domain.isPersistent())


def set_flag(domain: libvirt.virDomain, *, on: bool) -> None:
    """Set it if it differs. libvirt refuses while the guest has a job, as its migration."""
    if bool(domain.autostart()) is not on:
        domain.setAutostart(int(on))


def set_there(connection: libvirt.virConnect, domain: Domain, permit: Permit, *, on: bool) -> bool:
    """Set it on another host. False: that has no definition of the guest."""
    try:
        found = connection.lookupByUUIDString(domain.uuid)
        if not has_flag(found):
            return False
        if not permit.wanted:
            raise not_wanted()
        set_flag(found, on=on)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise
    return True
