"""From a request and the guest it is about to what libvirt will be asked. No libvirt constants."""

from __future__ import annotations

from typing import Final

from pmigd.core.autostart import Flags, planned
from pmigd.core.model import Plan, Request, Target

_NO_FLAGS: Final = Flags()


def make_plan(
    request: Request,
    target: Target,
    *,
    guest_is_persistent: bool,
    guest_is_active: bool = True,
    flags: Flags = _NO_FLAGS,
) -> Plan:
    """The definite plan for `request`.

    A null ``persistent`` or ``undefinesource`` follows the guest: a persistent one arrives
    persistent and leaves no definition behind, a transient one stays transient. An offline
    migration leaves a definition at the destination, and takes the one here away only if no guest
    runs from it. `flags` say whether the guest starts with either host.
    """
    leaves_none = guest_is_persistent and not (request.offline and guest_is_active)
    follows = guest_is_persistent or request.offline
    plan = Plan(
        target=target,
        request=request,
        persist_destination=follows if request.persistent is None else request.persistent,
        undefine_source=(leaves_none if request.undefinesource is None else request.undefinesource),
    )
    return planned(plan, flags, active=guest_is_active)
