"""Where a migration may go: a configured peer, or a URI that an administrator may give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pmigd.core.address import UriRefused, is_loopback
from pmigd.core.model import Target
from pmigd.core.problem import Code, refuse
from pmigd.core.roles import Role
from pmigd.core.uri import UriPattern, matches, parse_peer_uri


def find_target(
    untrusted_destination: str,
    role: Role,
    peers: Mapping[str, Target],
    allowed: Sequence[UriPattern],
) -> Target:
    """The target that `untrusted_destination` names.

    Raises Refused: unknown_peer, forbidden (a URI from somebody who is not an administrator),
    uri_refused (a part of it is not allowed for anybody, or no pattern covers it), same_host.
    """
    peer = peers.get(untrusted_destination)
    if peer is not None:
        return peer
    if ":" not in untrusted_destination:
        known = ", ".join(sorted(peers)) or "none is configured"
        raise refuse(
            Code.UNKNOWN_PEER, f"There is no peer '{untrusted_destination}'. Peers: {known}."
        )
    try:
        uri = parse_peer_uri(untrusted_destination)
    except UriRefused as error:
        raise refuse(Code.URI_REFUSED, str(error)) from None
    if role is not Role.ADMIN:
        raise refuse(Code.FORBIDDEN, "Only an administrator may give a destination as a URI.")
    if is_loopback(uri.host):
        raise refuse(Code.SAME_HOST, f"{uri.host} is this host.")
    if not any(matches(pattern, uri) for pattern in allowed):
        raise refuse(Code.URI_REFUSED, f"No pattern of security.allow_uris covers {uri.text}.")
    # Another way to a known peer is still that peer: its limits and leases hold.
    known = next((peer.name for peer in peers.values() if peer.host == uri.host), uri.text)
    return Target(name=known, uri=uri.text, host=uri.host)
