"""What a change of settings makes of a request, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from pmigd.core.model import Request
from pmigd.core.ports import Settings


def changed(
    request: Request, settings: Settings, timeout_s: float | None, priority: int | None = None
) -> tuple[Request, str]:
    """`request` with the settings that are not None, and a note of them."""
    notes = []
    if settings.max_downtime_ms is not None:
        request = replace(request, max_downtime_ms=settings.max_downtime_ms)
        notes.append(f"max downtime {settings.max_downtime_ms} ms")
    if settings.bandwidth_mib_s is not None:
        request = replace(request, bandwidth_mib_s=settings.bandwidth_mib_s)
        notes.append(f"bandwidth {_speed(settings.bandwidth_mib_s)}")
    if settings.postcopy_bandwidth_mib_s is not None:
        request = replace(request, postcopy_bandwidth_mib_s=settings.postcopy_bandwidth_mib_s)
        notes.append(f"post-copy bandwidth {_speed(settings.postcopy_bandwidth_mib_s)}")
    if settings.compression_cache_bytes is not None:
        if request.compression is not None:  # the cache alone does not turn compression on
            size = settings.compression_cache_bytes
            compression = replace(request.compression, xbzrle_cache_bytes=size)
            request = replace(request, compression=compression)
        notes.append(f"compression cache {settings.compression_cache_bytes} bytes")
    if timeout_s is not None:
        request = replace(request, timeout_s=timeout_s)
        notes.append(f"timeout {timeout_s:g} s" if timeout_s else "no timeout")
    if priority is not None:
        request = replace(request, priority=priority)
        notes.append(f"priority {priority}")
    return request, ", ".join(notes)


def _speed(mib_s: int) -> str:
    return f"{mib_s} MiB/s" if mib_s else "unlimited"


def each(settings: Settings) -> Iterator[Settings]:
    """Every setting that is not None, alone."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is not None:
            yield Settings(**{field.name: value})


def both(first: Settings, second: Settings) -> Settings:
    """`first` with what `second` sets."""
    given = {f.name: getattr(second, f.name) for f in fields(second)}
    return replace(first, **{name: value for name, value in given.items() if value is not None})
