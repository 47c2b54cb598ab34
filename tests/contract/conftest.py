"""The cases' own assertions say what they found."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.contract.cases")
