"""Of which problems it is said that the same request may go well later."""

from __future__ import annotations

from pmigd.core.problem import Code

PASSES_BY_ITSELF = {
    # Too much at the moment
    *(Code.REQUEST_TOO_SLOW, Code.TOO_BUSY, Code.QUEUE_FULL, Code.DOMAIN_BUSY),
    Code.JOB_LOCK_TIMEOUT,
    # Something is away, and comes back
    *(Code.LIBVIRT_UNAVAILABLE, Code.JOURNAL_UNAVAILABLE, Code.ACCOUNTS_UNAVAILABLE),
    *(Code.SHUTTING_DOWN, Code.PEER_UNGREETED, Code.PEER_UNAVAILABLE),
    Code.DESTINATION_UNREACHABLE,
    # It ended without harm, for what may be otherwise next time
    *(Code.MIGRATION_FAILED, Code.CONNECTION_BROKE, Code.TIMEOUT, Code.INTERRUPTED),
}


def test_a_retry_is_offered_only_where_it_can_help_and_nobody_has_to_act_first() -> None:
    """What people wanted, what is still open, and what must be mended is no matter of a retry."""
    assert {code for code in Code if code.kind.retryable} == PASSES_BY_ITSELF
