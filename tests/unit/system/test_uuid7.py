"""Identifiers that sort by time."""

import os
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.adapters.system.uuid7 import RANDOM_BYTES, Uuid7Sequence

NOISE = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


def test_the_fields_are_where_the_rfc_puts_them() -> None:
    """RFC 9562 appendix A.6: 2022-02-22 19:22:22 UTC, but rand_a is our counter."""
    made = Uuid7Sequence().next(0x017F22E279B0, bytes.fromhex("04c318c4dc0c0c07398f"))
    assert made == UUID("017f22e2-79b0-74c3-98c4-dc0c0c07398f")
    assert (made.version, made.variant) == (7, RFC_4122)


@given(st.lists(st.tuples(st.integers(1_700_000_000_000, 1_700_000_000_003), NOISE), min_size=2))
def test_each_identifier_is_greater_than_the_one_before_also_when_the_clock_goes_back(
    calls: list[tuple[int, bytes]],
) -> None:
    sequence = Uuid7Sequence()
    made = [sequence.next(unix_ms, noise) for unix_ms, noise in calls]
    assert all(before < after for before, after in pairwise(made))
    assert all((item.version, item.variant) == (7, RFC_4122) for item in made)


def test_more_than_fit_into_a_millisecond_still_sort() -> None:
    sequence = Uuid7Sequence()
    made = [sequence.next(1_700_000_000_000, os.urandom(RANDOM_BYTES)) for _ in range(20_000)]
    assert made == sorted(set(made))
    assert len(made) == 20_000


def test_input_that_does_not_fit_is_an_error() -> None:
    for unix_ms, noise in ((0, b"short"), (-1, bytes(10)), (1 << 48, bytes(10))):
        with pytest.raises(ValueError, match=r"needed|fit"):
            Uuid7Sequence().next(unix_ms, noise)
