"""Where a migration belongs among other work: the W3C's Trace Context (level 2) in its plain form.

A context is correlation and nothing else: no decision depends on one. Whoever asks for a migration
may send one (``traceparent``); it goes into the journal, the log and to the destination's pmigd,
whether or not anybody makes spans of it. ``tracestate`` is not carried on, as the W3C allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_SAMPLED: Final = 0x01
_RANDOM: Final = 0x02
ENTROPY_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Trace:
    """A migration's place in a trace; ids are lower-case hex, as on the wire.

    `parent_id` is the caller's span, None where there is no caller. `span_id` is the migration's
    own, None where no spans are made here. `flags` are those of the W3C that are defined.
    """

    trace_id: str
    parent_id: str | None = None
    span_id: str | None = None
    flags: int = _SAMPLED | _RANDOM

    @property
    def sampled(self) -> bool:
        """Whether whoever began the trace wants it recorded."""
        return bool(self.flags & _SAMPLED)

    @property
    def traceparent(self) -> str:
        """What the next one in the trace is told: its parent is this span, or else the caller's."""
        return f"00-{self.trace_id}-{self.span_id or self.parent_id}-{self.flags:02x}"


def parse_traceparent(untrusted_text: str) -> Trace | None:
    """The caller's trace, or None for what is not one: that is no error, it is as if not given."""
    found = _TRACEPARENT.fullmatch(untrusted_text)
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["rest"]):
        return None
    if not found["trace_id"].strip("0") or not found["span_id"].strip("0"):
        return None
    flags = int(found["flags"], 16) & (_SAMPLED | _RANDOM)
    return Trace(found["trace_id"], parent_id=found["span_id"], flags=flags)


def begin(caller: Trace | None, entropy: bytes) -> Trace:
    """The place of a migration of which spans are made: in the caller's trace or in one of its own.

    `entropy` are :data:`ENTROPY_BYTES` random bytes.
    """
    trace_id, span_id = entropy[:16].hex(), entropy[16:ENTROPY_BYTES].hex()
    if caller is None:
        return Trace(trace_id, span_id=span_id)
    return Trace(caller.trace_id, caller.span_id or caller.parent_id, span_id, caller.flags)
