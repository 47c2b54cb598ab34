"""Figures as people read them. Takes plain numbers in base units; the clock is passed in."""

from __future__ import annotations

from pmigd.core.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

_STEPS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: float) -> str:
    """Bytes, in the largest binary unit that keeps the figure at least 1: ``4.2 GiB``."""
    unit = _unit(count)
    return f"{_in(unit, count)} {_STEPS[unit]}"


def share(part: float, whole: float) -> str:
    """Bytes of bytes, in the unit of the second: ``0.9/4.2 GiB``."""
    return f"{_in(_unit(whole), part)}/{size(whole)}"


def _unit(count: float) -> int:
    return next((n for n in range(len(_STEPS)) if abs(count) < 1024 ** (n + 1)), len(_STEPS) - 1)


def _in(unit: int, count: float) -> str:
    value = count / 1024**unit
    return f"{value:.0f}" if unit == 0 or value >= 100 else f"{value:.1f}"


def rate(bytes_per_second: float) -> str:
    """Bytes a second: ``118 MiB/s``."""
    return f"{size(bytes_per_second)}/s"


def duration(seconds: float) -> str:
    """Seconds: ``0.42s``, ``8.3s``, ``42s``, ``3m05s``, ``2h07m``, ``4d02h``."""
    if seconds < 0:
        return "0s"
    if isinstance(seconds, int) and seconds < 60:
        return f"{seconds}s"
    if seconds < 1:
        return f"{seconds:.2f}s"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def millis(value: float) -> str:
    """Milliseconds: ``85 ms``, and seconds from ten of them on."""
    return f"{value:.0f} ms" if value < 10_000 else duration(value / 1000)


def instant(untrusted_text: object) -> datetime | None:
    """An RFC 3339 time as UTC, or None when it is none."""
    from datetime import UTC, datetime  # a tenth of a short run, and not all runs show a time

    if not isinstance(untrusted_text, str):
        return None
    try:
        parsed = datetime.fromisoformat(untrusted_text)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def age(untrusted_text: object, now: datetime) -> str:
    """How long ago an RFC 3339 time was; ``-`` when unknown."""
    then = instant(untrusted_text)
    return "-" if then is None else duration(int((now - then).total_seconds()))


def by_unit(key: str, value: object) -> str:
    """A value with the unit its key names (``…_bytes``, ``…_s``, ``…_ms``, ``…_percent``)."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if key.endswith("bytes_per_second"):
            return rate(value)
        if key.endswith("_bytes"):
            return size(value)
        if key.endswith("_percent"):
            return f"{value} %"
        if key == "mib_s" or key.endswith("_mib_s"):
            return f"{value} MiB/s"
        if key.endswith("_ms"):
            return millis(value)
        if key.endswith("_s"):
            return duration(value)
    return printable(str(value))
