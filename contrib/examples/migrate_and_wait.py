"""Move a guest and wait for its end.

python -m contrib.examples.migrate_and_wait GUEST DESTINATION
"""

from __future__ import annotations

import sys

from pmigd.client import Client, NotEndedError, RefusedError, UnreachableError


def main(domain: str, destination: str) -> int:
    """0 when the guest runs at the destination."""
    client = Client()
    try:
        accepted = client.submit(domain, destination, max_downtime_ms=500)
        ended = client.wait(accepted.id, timeout_s=3600)
    except RefusedError as error:  # nothing was begun
        print(f"{error.title}: {error} [{error.code}]", file=sys.stderr)
        for field, message in error.errors:
            print(f"  {field}: {message}", file=sys.stderr)
        print(f"  {error.remedy}", file=sys.stderr)
        return 3
    except (NotEndedError, UnreachableError) as error:  # it goes on without us
        print(f"{error}; {error.remedy}", file=sys.stderr)
        return 6
    if not ended.succeeded:
        said = ended.problem or {}
        print(f"{ended.domain}: {ended.state}: {said.get('detail')}", file=sys.stderr)
        return 1
    print(f"{ended.domain}: at {ended.destination} in {ended.result['duration_s']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
