"""Text of others in messages of ours: what cannot be printed must not reach a terminal or a log."""

from __future__ import annotations


def printable(untrusted_text: str, most: int | None = None) -> str:
    """At most `most` characters, with a question mark for each that cannot be printed."""
    return "".join(c if c.isprintable() else "?" for c in untrusted_text[:most])
