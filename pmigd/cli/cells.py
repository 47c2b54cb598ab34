"""What tables are made of: columns, cells with roles, gauges, and the glyphs they are drawn with.

Knows no colour and no library: a role is a name, ``output.ROLES`` says how it looks.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


class Glyphs:
    """The signs of a gauge, each one cell wide, and of text that was cut."""

    __slots__ = ("ascii", "cut", "done", "half", "left")

    def __init__(self, done: str, half: str, left: str, cut: str) -> None:
        self.done = done
        self.half = half
        self.left = left
        self.cut = cut
        self.ascii = f"{done}{half}{left}{cut}".isascii()


UNICODE: Final = Glyphs("━", "╾", "─", "…")
"""The weight of the line tells what is done, so it can be read without colour."""
ASCII: Final = Glyphs("#", "-", "-", "~")


def glyphs(environ: Mapping[str, str], encoding: str) -> Glyphs:
    """What a terminal can surely show: lines where the locale says UTF-8, else ASCII.

    ``encoding`` alone does not tell: under the locale C Python writes UTF-8 nevertheless, and sets
    LC_CTYPE to C.UTF-8 (PEP 538); so that value counts only where LANG agrees. The font of the
    kernel's own console has no heavy lines.
    """
    lang = environ.get("LANG") or ""
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or lang
    if locale == environ.get("LC_CTYPE") == "C.UTF-8":
        locale = lang
    unicode = "utf8" in locale.lower().replace("-", "")
    if unicode and encoding.lower().startswith("utf") and environ.get("TERM") != "linux":
        return UNICODE
    return ASCII


class Column:
    """A column's title, and what becomes of it when the terminal is narrow."""

    __slots__ = ("cut", "drop", "least", "middle", "optional", "right", "title")

    def __init__(
        self,
        title: str,
        *,
        drop: int = 0,
        cut: int | None = None,
        right: bool = False,
        least: int = 0,
        middle: bool = False,
        optional: bool = False,
    ) -> None:
        self.title = title
        self.drop = drop  # 0: never; otherwise the highest number goes first
        self.cut = cut  # may be cut down to this width before another column is given up
        self.right = right
        self.least = least  # as wide at least, so that a live table stands still
        self.middle = middle  # cut in the middle: the end tells names apart as the beginning does
        self.optional = optional  # left out where nobody has anything in it


class Cell:
    """Text with a role."""

    __slots__ = ("role", "text")

    def __init__(self, text: str, role: str = "") -> None:
        self.text = text
        self.role = role

    def __str__(self) -> str:
        """The text."""
        return self.text


class Gauge:
    """0 to 100 as a bar, as long as there is room for."""

    __slots__ = ("longest", "percent", "role")

    def __init__(self, percent: int, role: str = "", *, longest: int) -> None:
        self.percent = percent
        self.role = role
        self.longest = longest  # cells

    def __str__(self) -> str:
        """The figure."""
        return f"{self.percent}%"

    def bar(self, width: int, signs: Glyphs) -> tuple[str, str]:
        """What is done and what is left, ``width`` cells together; full only at 100."""
        halves = max(2 * width * self.percent // 100, 1 if self.percent and width else 0)
        done = signs.done * (halves // 2) + signs.half * (halves % 2)
        return done, signs.left * (width - len(done))


AnyCell = str | Cell | Gauge
