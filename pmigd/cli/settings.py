"""The settings of a running migration in words: what ``set`` asks for and ``get`` shows."""

from __future__ import annotations

from pmigd.cli import figures

_ZERO = {
    "bandwidth_mib_s": "unlimited",
    "postcopy_bandwidth_mib_s": "unlimited",
    "timeout_s": "none",
}
"""What a zero means where it is no quantity."""

_UNITS = ("_ms", "_mib_s", "_bytes", "_s")


def value(key: str, setting: object) -> str:
    """A setting with its unit; null is what was not set yet or has no meaning here."""
    if setting is None:
        return "not set, or not supported by the hypervisor"
    if setting == 0 and key in _ZERO:
        return _ZERO[key]
    return figures.by_unit(key, setting)


def phrase(key: str, setting: object) -> str:
    """The same, headed by its name: ``max downtime 500 ms``."""
    unit = next((u for u in _UNITS if key.endswith(u)), "")
    return f"{key.removesuffix(unit).replace('_', ' ')} {value(key, setting)}"
