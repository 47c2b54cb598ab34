"""One step of one migration: what happened to it, and what is to be done now.

:mod:`~pmigd.core.engine.turn` takes an event; the rooms beside it say what follows from what
libvirt tells (``progress``), from what both ends show (``evidence``) and from what people and
policies want (``wishes``), until it ends (``ending``).
"""

from pmigd.core.engine.evidence import (
    ASK_ON_S,
    CALL_GRACE_S,
    LOOKS_UNTIL_UNRESOLVED,
    RECOVER_DELAYS_S,
)
from pmigd.core.engine.progress import BREAK_GRACE_S, UNWATCHED_LIMIT_S
from pmigd.core.engine.steps import Step, durable
from pmigd.core.engine.turn import step, withhold

__all__ = [
    "ASK_ON_S",
    "BREAK_GRACE_S",
    "CALL_GRACE_S",
    "LOOKS_UNTIL_UNRESOLVED",
    "RECOVER_DELAYS_S",
    "UNWATCHED_LIMIT_S",
    "Step",
    "durable",
    "step",
    "withhold",
]
