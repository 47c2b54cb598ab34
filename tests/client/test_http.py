"""Bytes that arrive in any pieces are the same answer; what is none is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.client import http

LENGTH = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"a": [1,2]}'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nX-Y: z\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;what=ever\r\n{"a":\r\n0C\r\n [1,2, \r\n3]}\r\n0\r\n\r\n'
)
TO_THE_END = b'HTTP/1.0 200\r\n\r\n{"a": [1,2]}'
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH


def read(pieces: list[bytes]) -> tuple[int, bytes, bool]:
    answer = http.Answer()
    body = b"".join([answer.feed(piece) for piece in pieces if piece])
    if not answer.over:
        body += answer.feed(b"")
    return answer.status, body, answer.over


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED, TO_THE_END, CONTINUED])
@given(cuts=st.lists(st.integers(0, 130)))
def test_it_does_not_matter_in_which_pieces_it_comes(raw: bytes, cuts: list[int]) -> None:
    places = sorted({0, *(c for c in cuts if c < len(raw)), len(raw)})
    pieces = [raw[a:b] for a, b in pairwise(places)]
    assert read(pieces) == read([raw])
    assert read([raw])[0] == 200
    assert read([raw])[1].startswith(b'{"a":')


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED, CONTINUED])
def test_every_early_end_is_told(raw: bytes) -> None:
    for length in range(1, len(raw)):
        answer = http.Answer()
        answer.feed(raw[:length])
        if not answer.over:
            with pytest.raises(EOFError):
                answer.feed(b"")
        else:
            assert raw is CHUNKED  # all but the line break behind the last chunk
            assert length >= len(raw) - 2


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 2000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
    ],
)
def test_what_is_no_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(http.NotHttpError):
        http.Answer().feed(raw)


@given(text=st.text())
def test_nothing_that_a_caller_names_breaks_the_request(text: str) -> None:
    try:
        path = http.migration_path(text)
        where = http.target(path, [("domain", text)])
    except UnicodeEncodeError:
        return
    request = http.request("GET", where, None, {})
    assert request.count(b"\r\n") == 3
    assert request.split(b"\r\n")[0].count(b" ") == 2


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "\x00"])
def test_a_header_that_would_be_two_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="Idempotency-Key"):
        http.request("POST", "/v1/migrations", b"{}", {"Idempotency-Key": value})


@pytest.mark.parametrize("path", ["v1", "/v1/a b", "/v1\r\n", "/ü"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        http.target(path)


def test_lines_are_whole_and_none_is_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = http.Lines()
    assert [lines.feed(b) for b in (b"a", b"b\nc\n", b"\n", b"d")] == [[], [b"ab", b"c"], [b""], []]
    monkeypatch.setattr(http, "LINE_MAX", 100)
    with pytest.raises(http.NotHttpError):
        lines.feed(b"x" * 101)
