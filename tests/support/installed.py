"""What `make test` installs, and `make unit` does not: the latter skips the tests of it.

In `make test` a program that is missing is a failure: a skip would pass for a proof.
"""

from __future__ import annotations

import os
import shutil
from typing import Final, NoReturn

import pytest

_ALL: Final = os.environ.get("PMIGD_TEST_ALL") == "1"


def needs(command: str) -> pytest.MarkDecorator:
    """A mark for tests that run `command`."""
    lacking = not _ALL and shutil.which(command) is None
    return pytest.mark.skipif(lacking, reason=f"no {command} here")


def lacks(what: str) -> NoReturn:
    """End the test: `what` is not here."""
    (pytest.fail if _ALL else pytest.skip)(f"not here: {what}")
    raise AssertionError
