"""The exit codes scripts may rely on. A number here never changes its meaning.

Codes 0 to 6 are about migrations; everything that is not about a migration (a signal, a broken
pipe, a fault of pmigctl itself) lies outside that range, so that no script takes it for a verdict.
"""

SUCCEEDED = 0
FAILED = 1
USAGE = 2
REFUSED = 3
CANCELLED = 4
UNRESOLVED = 5
UNREACHABLE = 6

INTERNAL = 70  # EX_SOFTWARE
OUTPUT = 74  # EX_IOERR: what was to be said could not be written
INTERRUPTED = 130  # 128 + SIGINT; a migration being followed goes on
TERMINATED = 143  # 128 + SIGTERM; a migration being followed goes on
BROKEN_PIPE = 141  # 128 + SIGPIPE

BY_STATE = {
    "succeeded": SUCCEEDED,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "unresolved": UNRESOLVED,
}
"""What a followed migration's last state means for the exit code."""
