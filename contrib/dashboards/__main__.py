"""`python -m contrib.dashboards`: pictures of the dashboards on the data of real hosts.

Hosts of the lab migrate guests for two minutes, a real Prometheus scrapes them, and Chromium draws
what the dashboards ask of it. Needs root and what `contrib/install-deps VENV dashboards` installs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from contrib.dashboards import page
from contrib.dashboards.answers import answers
from contrib.dashboards.traffic import Traffic, hosts
from contrib.lab import LabError, LabUnavailable

if TYPE_CHECKING:
    from contrib.dashboards.questions import View
    from contrib.lab import Prometheus

_HOSTS: Final = 4
_ROUNDS: Final = 2
_SHEETS: Final = page.ROOT / "build/dashboards"
_PICTURES: Final = page.ROOT / "docs/pictures"
# As many rows as tell a reader what it is about.
_DASHBOARDS: Final = {"fleet": 3, "host": 2}


def _draw(name: str, view: View, prometheus: Prometheus, chosen: str, rows: int) -> list[Path]:
    model = json.loads((page.ROOT / f"contrib/grafana/pmigd-{name}.json").read_text())
    drawn = page.drawing(model, view, answers(prometheus, view, model))
    _SHEETS.mkdir(parents=True, exist_ok=True)
    sheet, picture = _SHEETS / f"{name}.png", _PICTURES / f"{name}.png"
    html = sheet.with_suffix(".html")
    html.write_text(page.html(drawn, chosen))
    page.photograph(html, sheet, page.height(drawn))
    page.photograph(html, picture, page.height(drawn, rows))
    return [sheet, picture]


def main() -> int:
    """Run the command line; its exit code."""
    argparse.ArgumentParser(prog="python -m contrib.dashboards", description=__doc__).parse_args()
    began = time.monotonic()
    try:
        with hosts(_HOSTS, "dashboards") as (lab, prometheus):
            print(f"Migrating guests between {len(lab.hosts)} hosts", flush=True)
            traffic = Traffic(lab, prometheus, rounds=_ROUNDS)
            seen = traffic.play()
            traffic.stop()
            first = f"{lab.hosts[0].name}:9718"
            print(f"Drawing, after {time.monotonic() - began:.0f} s", flush=True)
            for name, rows in _DASHBOARDS.items():
                chosen = () if name == "fleet" else (first,)
                view = seen.view(*chosen)
                text = first if chosen else f"{len(lab.hosts)} hosts"
                for made in _draw(name, view, prometheus, text, rows):
                    print(f"wrote {made.relative_to(page.ROOT)}")
    except LabUnavailable as error:
        print("No hosts here. Missing:", file=sys.stderr)
        for item in error.missing:
            print(f"  {item}", file=sys.stderr)
        return 1
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything is cleaned up.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
