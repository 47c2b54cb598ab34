"""libvirt's configuration files (libvirtd.conf, qemu.conf): names with a string, number or list.

Reads what libvirt's own parser reads: comments anywhere, strings in single or double quotes without
escapes, strings over several lines in triple double quotes, lists over several lines. Of a name
that is given twice libvirt takes the first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

Value = str | int | list[str]

_TOKEN: Final = re.compile(
    r"""
      (?P<space>  (?: \s+ | \#[^\n]* )+ )
    | (?P<string> \"\"\"(?P<long>.*?)\"\"\" | "(?P<double>[^"\n]*)" | '(?P<single>[^'\n]*)' )
    | (?P<number> [-+]?[0-9]+ )
    | (?P<name>   [A-Za-z][A-Za-z0-9_.-]* )
    | (?P<sign>   [][=,] )
    """,
    re.VERBOSE | re.DOTALL,
)


class MalformedError(ValueError):
    """The text is not in libvirt's format; says in which line."""


def read(path: Path) -> dict[str, Value]:
    """The settings of a file; a missing one has none, as for libvirt.

    Raises OSError if it cannot be read, MalformedError if libvirt could not understand it either.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    return parse(text)


def parse(text: str) -> dict[str, Value]:
    """The settings in `text`. Raises MalformedError."""
    reader = _Reader(text)
    found: dict[str, Value] = {}
    while not reader.at_end:
        name = reader.take("name")
        reader.take("sign", "=")
        found.setdefault(name, reader.value())
    return found


class _Reader:
    """Goes through the text from token to token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._kind = ""
        self._token = ""
        self._begin = 0
        self._go_on()

    @property
    def at_end(self) -> bool:
        """Nothing is left."""
        return not self._kind

    def take(self, kind: str, token: str | None = None) -> str:
        """The next token, which must be this one."""
        if self._kind != kind or token not in (None, self._token):
            raise self._malformed(f"{token or kind} expected")
        taken = self._token
        self._go_on()
        return taken

    def value(self) -> Value:
        """The value that is next."""
        if self._kind == "number":
            return int(self.take("number"))
        if self._kind == "string":
            return self.take("string")
        self.take("sign", "[")
        items = []
        while not self._is("]"):
            items.append(self.take("number" if self._kind == "number" else "string"))
            if not self._is("]"):
                self.take("sign", ",")
        self.take("sign", "]")
        return items

    def _malformed(self, what: str) -> MalformedError:
        line = self._text.count("\n", 0, self._begin) + 1
        return MalformedError(f"line {line}: {what}")

    def _is(self, sign: str) -> bool:
        return self._kind == "sign" and self._token == sign

    def _go_on(self) -> None:
        self._kind = ""
        while not self._kind and self._place < len(self._text):
            match = _TOKEN.match(self._text, self._place)
            self._begin = self._place
            if match is None:
                raise self._malformed(f"{self._text[self._place]!r} not expected")
            self._place = match.end()
            if match["string"] is not None:
                self._kind = "string"
                self._token = next(
                    text for text in match.group("long", "double", "single") if text is not None
                )
            elif match["space"] is None:
                self._kind, self._token = match.lastgroup or "", match.group()
