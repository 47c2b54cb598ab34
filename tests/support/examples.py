"""How many examples a property is tried on: `make test` takes five times as many as `make unit`."""

from __future__ import annotations

import os
from typing import Any, Final

from hypothesis import HealthCheck, settings

_SHARE: Final = 1 if os.environ.get("PMIGD_TEST_ALL") == "1" else 5


def examples(number: int, **more: Any) -> settings:
    """A decorator for a property that is tried on so many, in `make test`."""
    return settings(max_examples=number // _SHARE, **more)


def register() -> None:
    """What holds for all properties. That a machine is busy is no finding."""
    too_slow = [HealthCheck.too_slow]
    profile = examples(100, deadline=None, suppress_health_check=too_slow)
    settings.register_profile("pmigd", profile)
    settings.load_profile("pmigd")
