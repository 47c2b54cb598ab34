"""Listening TCP sockets, as the configuration names their addresses."""

from __future__ import annotations

import socket

import pytest

from pmigd.adapters.system.network import tcp_listener


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
def test_it_listens_where_it_is_told_to(host: str, family: int) -> None:
    with tcp_listener(host, 0, backlog=1) as listener:
        assert listener.family == family
        with socket.create_connection(listener.getsockname()[:2], timeout=5) as client:
            accepted, address = listener.accept()
            accepted.close()
            assert address[:2] == client.getsockname()[:2]


def test_an_address_that_is_taken_is_an_error() -> None:
    with (
        tcp_listener("127.0.0.1", 0, backlog=1) as listener,
        pytest.raises(OSError, match="in use"),
    ):
        tcp_listener("127.0.0.1", listener.getsockname()[1], backlog=1)
