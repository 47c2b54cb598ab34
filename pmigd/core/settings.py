"""The settings of a running migration: which there are, and what they make of a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from pmigd.core.commands import SETTINGS, Kind
from pmigd.core.model import Request, Settings

_WORDS: Final = {
    Kind.MAX_DOWNTIME: "max downtime {} ms",
    Kind.BANDWIDTH: "bandwidth {} MiB/s",
    Kind.POSTCOPY_BANDWIDTH: "post-copy bandwidth {} MiB/s",
    Kind.COMPRESSION_CACHE: "compression cache {} bytes",
}
_ZERO: Final = {
    Kind.BANDWIDTH: "bandwidth unlimited",
    Kind.POSTCOPY_BANDWIDTH: "post-copy bandwidth unlimited",
}


def given(settings: Settings) -> Iterator[tuple[Kind, int, str]]:
    """Every setting that is not None: its kind, its value, and both in words."""
    for kind in SETTINGS:
        value = getattr(settings, kind.value)
        if value is not None:
            zero = _ZERO.get(kind) if value == 0 else None
            yield kind, value, zero or _WORDS[kind].format(value)


def changed(request: Request, settings: Settings) -> Request:
    """`request` with the settings that are not None."""
    for kind, value, _ in given(settings):
        if kind is not Kind.COMPRESSION_CACHE:
            one: dict[str, Any] = {kind.value: value}
            request = replace(request, **one)
        elif request.compression is not None:  # the cache alone does not turn compression on
            compression = replace(request.compression, xbzrle_cache_bytes=value)
            request = replace(request, compression=compression)
    return request


def of_request(request: Request) -> Settings:
    """The settings that a request begins with."""
    compression = request.compression
    return Settings(
        max_downtime_ms=request.max_downtime_ms,
        bandwidth_mib_s=request.bandwidth_mib_s,
        postcopy_bandwidth_mib_s=request.postcopy_bandwidth_mib_s,
        compression_cache_bytes=compression.xbzrle_cache_bytes if compression else None,
    )
