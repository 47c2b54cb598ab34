"""Whose certificate it is, and whether they may come in.

A name counts only if it is spelled out: a certificate for ``*.example.com`` proves no host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pmigd.core.address import UriRefused, is_address, parse_host

Certificate = Mapping[str, Any]
"""What ``ssl.SSLSocket.getpeercert()`` tells of a certificate that was verified."""

_ANY_LABEL: Final = "*."


def certificate_names(certificate: Certificate) -> tuple[str, ...]:
    """The hosts that a verified certificate stands for, in lower case and in its own order.

    They are its DNS names and addresses (subjectAltName). Where it has none at all, as many of
    libvirt's certificates, it is the last common name of its subject.
    """
    alternatives = certificate.get("subjectAltName", ())
    if alternatives:
        found = [text for kind, text in alternatives if kind in ("DNS", "IP Address")]
    else:
        subject = [pair for group in certificate.get("subject", ()) for pair in group]
        found = [text for kind, text in subject if kind == "commonName"][-1:]
    return tuple(name for name in map(_host, found) if name)


def covers(names: Iterable[str], claimed: str) -> bool:
    """Whether a host that calls itself `claimed` is one of `names`, or the first label of one."""
    wanted = claimed.lower()
    return any(wanted in (name, *_first_label(name)) for name in names)


class AllowedNames:
    """Who may come in. A pattern is a host, or ``*.`` and a domain: exactly one label before it."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = frozenset(pattern.lower() for pattern in patterns)

    def proven(self, names: Iterable[str]) -> str | None:
        """The first of a certificate's `names` that is allowed; None if none is."""
        return next((name for name in names if self._allows(name)), None)

    def _allows(self, name: str) -> bool:
        _, dot, domain = name.partition(".")
        return name in self._patterns or (bool(dot) and _ANY_LABEL + domain in self._patterns)


def _host(text: str) -> str:
    """The host in the one spelling that the configuration has too; "" if it is none."""
    try:
        return parse_host(text)
    except UriRefused:
        return ""


def _first_label(name: str) -> tuple[str, ...]:
    # The first number of an address names nobody.
    return () if is_address(name) else (name.partition(".")[0],)
