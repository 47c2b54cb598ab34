"""From a request and the guest it is about to what libvirt will be asked. No libvirt constants."""

from __future__ import annotations

from pmigd.core.model import Plan, Request, Target, Transport


def make_plan(request: Request, target: Target, *, guest_is_persistent: bool) -> Plan:
    """The definite plan for `request`.

    A null ``persistent`` or ``undefinesource`` follows the guest: a persistent one arrives
    persistent and leaves no definition behind, a transient one stays transient.
    """
    return Plan(
        target=target,
        tunnelled=request.transport is Transport.TUNNELLED,
        live=request.live,
        persist_destination=(
            guest_is_persistent if request.persistent is None else request.persistent
        ),
        undefine_source=(
            guest_is_persistent if request.undefinesource is None else request.undefinesource
        ),
        bandwidth_mib_s=request.bandwidth_mib_s,
    )
