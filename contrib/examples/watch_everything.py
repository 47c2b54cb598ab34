"""Tell every change of state on this host, for ever: across restarts of pmigd too.

python -m contrib.examples.watch_everything
"""

from __future__ import annotations

import math
import sys

from pmigd.client import Client, Connected, Outage


def main() -> None:
    """Until Ctrl-C."""
    states: dict[str, str] = {}
    with Client().events(patience_s=math.inf, told=_told) as events:
        for event in events:
            migration = event.migration
            if states.get(migration.id) != migration.state:
                states[migration.id] = migration.state
                print(f"{event.at} {migration.domain} {migration.state}", flush=True)
            if migration.terminal:
                del states[migration.id]


def _told(news: Connected | Outage) -> None:
    print(news.reason if isinstance(news, Outage) else "connected", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
