"""The exit codes scripts may rely on. A number here never changes its meaning.

Codes 0 to 6 are about migrations; everything that is not about a migration (a signal, a broken
pipe, a fault of pmigctl itself) lies outside that range, so that no script takes it for a verdict.
"""

from pmigd.core.states import State

SUCCEEDED = 0
USAGE = 2
REFUSED = 3
UNREACHABLE = 6

INTERNAL = 70  # EX_SOFTWARE
OUTPUT = 74  # EX_IOERR: what was to be said could not be written
INTERRUPTED = 130  # 128 + SIGINT; a migration being followed goes on
TERMINATED = 143  # 128 + SIGTERM; a migration being followed goes on
BROKEN_PIPE = 141  # 128 + SIGPIPE

BY_STATE = {
    state.value: state.about.exit_code for state in State if state.about.exit_code is not None
}
"""What a followed migration's last state means for the exit code: 0, 1, 4 or 5."""
