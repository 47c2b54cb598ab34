"""W3C trace contexts: what is one, what is made of it, and that nothing else does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.core.trace import ENTROPY_BYTES, Trace, begin, parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
ENTROPY = bytes(range(1, ENTROPY_BYTES + 1))


def test_a_callers_context_is_taken_as_it_is_and_told_on_unchanged() -> None:
    text = f"00-{TRACE}-{SPAN}-01"
    trace = parse_traceparent(text)
    assert trace == Trace(TRACE, parent_id=SPAN, flags=1)
    assert trace.sampled
    assert trace.traceparent == text


@pytest.mark.parametrize(
    ("flags", "sampled", "told"), [("00", False, "00"), ("02", False, "02"), ("ff", True, "03")]
)
def test_only_the_flags_that_are_defined_are_told_on(flags: str, sampled: bool, told: str) -> None:
    trace = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}")
    assert trace is not None
    assert trace.sampled is sampled
    assert trace.traceparent == f"00-{TRACE}-{SPAN}-{told}"


@pytest.mark.parametrize("text", [f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what.the-future"])
def test_a_later_version_is_read_as_far_as_it_is_known(text: str) -> None:
    trace = parse_traceparent(text)
    assert trace is not None
    assert trace.traceparent == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE.replace('4', '٤')}-{SPAN}-01",
    ],
)
def test_what_is_not_one_is_as_if_not_given(text: str) -> None:
    assert parse_traceparent(text) is None


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*"))
def test_whatever_comes_what_is_told_on_is_a_context_again(text: str) -> None:
    trace = parse_traceparent(text)
    if trace is not None:
        assert len(trace.traceparent) == 55
        assert parse_traceparent(trace.traceparent) == trace


def test_a_span_of_our_own_is_the_callers_child_and_the_next_ones_parent() -> None:
    caller = parse_traceparent(f"00-{TRACE}-{SPAN}-00")
    trace = begin(caller, ENTROPY)
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, SPAN, False)
    assert trace.span_id == ENTROPY[16:].hex()
    assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-00"


def test_without_a_caller_a_trace_of_its_own_begins() -> None:
    trace = begin(None, ENTROPY)
    assert (trace.trace_id, trace.parent_id) == (ENTROPY[:16].hex(), None)
    assert trace.sampled
    assert parse_traceparent(trace.traceparent) is not None
