"""Text of others in words of ours: what cannot be printed must not reach a terminal or a log.

Guests' names and libvirt's messages are such text. An escape sequence in one must not be able to
draw on somebody's screen, nor a line break to forge a line of output.
"""

from __future__ import annotations


def printable(untrusted_text: str, most: int | None = None) -> str:
    """The text, of it `most` characters, with what cannot be printed made visible: ``\\x1b``."""
    text = untrusted_text[:most]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
