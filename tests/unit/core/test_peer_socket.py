"""What only root's own configuration may say about a peer: the socket of another libvirt daemon."""

from __future__ import annotations

import pytest

from pmigd.core.address import UriRefused
from pmigd.core.uri import parse_configured_peer, parse_peer_uri

SOCKET = "qemu+unix:///system?socket=/run/other/libvirt-sock"


def test_a_socket_is_accepted_from_the_configuration_and_from_nobody_else() -> None:
    assert parse_configured_peer(SOCKET).text == SOCKET
    with pytest.raises(UriRefused):
        parse_peer_uri(SOCKET)


@pytest.mark.parametrize(
    "text",
    [
        "qemu+unix:///system",
        "qemu+unix:///system?socket=relative",
        "qemu+unix:///system?socket=/a&command=/bin/sh",
        "qemu+unix:///session?socket=/a",
        "qemu+ssh://b/system?socket=/a",
    ],
)
def test_nothing_else_comes_in_that_way(text: str) -> None:
    with pytest.raises(UriRefused):
        parse_configured_peer(text)
