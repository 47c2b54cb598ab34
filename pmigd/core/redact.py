"""What leaves the host in a support bundle has no secrets in it, whoever wrote the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

LEFT_OUT: Final = "(left out)"
MOST: Final = 4000
"""Characters of one text; libvirt may quote whole command lines."""

_NAMES: Final = (
    r"pass(?:word|wd|phrase)?|passwd|secret|token|credentials?|api[_-]?key|authorization|cookie"
)
_NAMED: Final = re.compile(rf"(?:^|_)(?:{_NAMES}|hash)s?$", re.IGNORECASE)
_PATTERNS: Final = (
    # Whole blocks first: what is in them would be taken for something else.
    (
        re.compile(r"-----BEGIN [A-Z\d ]*KEY-----.*?(?:-----END [A-Z\d ]*KEY-----|\Z)", re.DOTALL),
        "",
    ),
    (re.compile(r"<\??[A-Za-z!][^<>]*>.*(?:>|\Z)", re.DOTALL), "XML "),
    (re.compile(r"\$(?:2[abxy]?|1|5|6|y|argon2\w*)\$[^\s'\"]+"), "hash "),
    (re.compile(r"(?<=//)[^/@\s:]*:[^/@\s]*(?=@)"), ""),
    (
        re.compile(
            rf"(?i)\b((?:{_NAMES})['\"]?(?:\s*[=:]\s*|\s+(?=['\"])))"
            r"(?:(?:Basic|Bearer)\s+)?[^\s,;&]+"
        ),
        r"\1",
    ),
    (re.compile(r"(?i)\b(Basic|Bearer)\s+[A-Za-z0-9+/=_.-]{6,}"), r"\1 "),
    # QEMU's secrets: -object secret,id=masterKey0,format=raw,data=...
    (re.compile(r"(?i)(?<=[,\s])(data|key|iv)=(?![/\s])[^\s,]+"), r"\1="),
)


def redacted(text: str) -> str:
    """A text without passwords, keys, hashes and XML."""
    text = text[:MOST]
    for pattern, kept in _PATTERNS:
        text = pattern.sub(rf"{kept}{LEFT_OUT}", text)
    return text


def without_secrets(value: Any) -> Any:
    """Plain data of any depth; what is called a password or a secret is left out as a whole."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            redacted(str(key)): LEFT_OUT
            if inner and isinstance(inner, str | list | tuple) and _NAMED.search(str(key))
            else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return value
