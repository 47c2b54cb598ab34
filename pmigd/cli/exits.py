"""The exit codes scripts may rely on. A number here never changes its meaning.

Codes 0 to 6 are about migrations; everything that is not about a migration (a signal, a broken
pipe, a fault of pmigctl itself) lies outside that range, so that no script takes it for a verdict.
"""

from typing import Final

from pmigd.core.states import State

SUCCEEDED: Final = 0
USAGE: Final = 2
REFUSED: Final = 3
UNREACHABLE: Final = 6

INTERNAL: Final = 70  # EX_SOFTWARE
OUTPUT: Final = 74  # EX_IOERR: what was to be said could not be written
INTERRUPTED: Final = 130  # 128 + SIGINT; a migration being followed goes on
TERMINATED: Final = 143  # 128 + SIGTERM; a migration being followed goes on
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE

BY_STATE: Final = {
    state.value: state.about.exit_code for state in State if state.about.exit_code is not None
}
"""What a followed migration's last state means for the exit code: 0, 1, 4 or 5."""
