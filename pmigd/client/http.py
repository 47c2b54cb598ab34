"""HTTP/1.1 as far as pmigd's socket needs it: one request a connection, bytes in and bytes out.

The standard library's client costs half of what a short command takes (it imports ssl and email),
and has no part for asyncio. Knows no socket: whoever has one passes on what arrives. Every length
that the other side may choose is bounded.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEAD_MAX = 64 * 1024
LINE_MAX = 16 * 1024**2
BODY_MAX = 256 * 1024**2

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HEX = frozenset(b"0123456789abcdefABCDEF")


class NotHttpError(ValueError):
    """What arrived is no answer, or one beyond all bounds."""


def quote(text: str) -> str:
    """Text as a part of a path or of a query."""
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(c) if c in _SAFE else f"%{c:02X}" for c in raw)


def target(path: str, query: Iterable[tuple[str, str]] = ()) -> str:
    """A path with its query. Raises ValueError for a path that would break the request."""
    if not path.startswith("/") or not path.isascii() or any(c <= " " for c in path):
        raise ValueError(f"no path of the API: {path!r}")
    words = "&".join(f"{quote(name)}={quote(value)}" for name, value in query)
    return f"{path}{'&' if '?' in path else '?'}{words}" if words else path


def migration_path(migration_id: str, *parts: str) -> str:
    """The path of one migration, or of what lies below it."""
    return "/".join(("/v1/migrations", quote(migration_id), *parts))


def request(method: str, where: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    """One request. Raises ValueError for a header that would break it."""
    fields = {"Host": "localhost"}
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    elif method != "GET":
        fields["Content-Length"] = "0"
    lines = [f"{method} {where} HTTP/1.1"]
    for name, value in (fields | dict(headers)).items():
        if not (name + value).isprintable():
            raise ValueError(f"no value for the header {name}: {value!r}")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


class Answer:
    """One answer, from the bytes that arrive. ``status`` is 0 until the whole head is there."""

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        """By their names in lower case."""
        self.over = False
        self._kept = b""
        self._left: int | None = None
        """Bytes that are still to come: of the chunk, or of the body; None: up to the end."""
        self._chunked = False
        self._at_size = False

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, and give what of the body is in it. Raises NotHttpError.

        No bytes are the end of the connection: EOFError when the answer had not ended by then.
        """
        if not data:
            if self.status and self._left is None and not self._chunked:
                self.over = True
            if not self.over:
                raise EOFError
            return b""
        self._kept += data
        if not self.status and not self._head():
            return b""
        return self._unchunked() if self._chunked else self._take()

    def _head(self) -> bool:
        """Read the head if it is there whole; what comes before the answer proper is skipped."""
        while not self.status:
            head, found, rest = self._kept.partition(b"\r\n\r\n")
            if len(head) > HEAD_MAX or not b"HTTP/1.".startswith(head[:7]):
                raise NotHttpError
            if not found:
                return False
            self._kept = rest
            first, *lines = head.decode("latin-1").split("\r\n")
            words = first.split(" ", 2)
            if len(words) < 2 or not (len(words[1]) == 3 and words[1].isdecimal()):
                raise NotHttpError
            if words[1] >= "200":
                self.status, self.reason = int(words[1]), words[2] if len(words) > 2 else ""
                self._framing(lines)
        return True

    def _framing(self, lines: list[str]) -> None:
        self.headers = fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        length = fields.get("content-length")
        if fields.get("transfer-encoding", "").lower() == "chunked":
            self._chunked = self._at_size = True
            self._left = 0
        elif self.status in (204, 304):
            self._left = 0
        elif length is not None:
            if not length.isdecimal() or len(length) > 15:
                raise NotHttpError
            self._left = int(length)
        self.over = self._left == 0 and not self._chunked

    def _take(self) -> bytes:
        """What there is of a body, or of a chunk, whose length is known."""
        if self._left is None:
            taken, self._kept = self._kept, b""
            return taken
        taken, self._kept = self._kept[: self._left], self._kept[self._left :]
        self._left -= len(taken)
        self.over = self._left == 0 and not self._chunked
        return taken

    def _unchunked(self) -> bytes:
        parts: list[bytes] = []
        while not self.over:
            if not self._at_size:
                parts.append(self._take())
                if self._left or len(self._kept) < 2:
                    break  # the chunk and the line break behind it are not there whole
                if self._kept[:2] != b"\r\n":
                    raise NotHttpError
                self._kept, self._at_size = self._kept[2:], True
            size, found, rest = self._kept.partition(b"\r\n")
            digits = size.partition(b";")[0].strip()
            if len(size) > 1024 or len(digits) > 12 or not _HEX.issuperset(digits):
                raise NotHttpError
            if not found:
                break
            if not digits:
                raise NotHttpError
            self._kept, self._left, self._at_size = rest, int(digits, 16), False
            self.over = self._left == 0
        return b"".join(parts)


class Lines:
    """The lines of a body, whole ones only."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete with these bytes. Raises NotHttpError for an endless one."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = b"".join([*self._parts, whole[0]])
            self._parts, self._length = [], 0
        self._parts.append(rest)
        self._length += len(rest)
        if self._length > LINE_MAX:
            raise NotHttpError
        return whole
