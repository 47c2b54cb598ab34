"""A dashboard as one page of HTML, and that page as a picture.

The pictures show that a panel tells its story. They do not show that Grafana draws it so.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from contrib.dashboards import frames
from contrib.dashboards.questions import View, panels
from contrib.lab import LabError, Series

Json = Mapping[str, Any]

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ROOT / "build/node/node_modules"
_UPLOT: Final = PACKAGES / "uplot/dist"
_HERE: Final = Path(__file__).parent
WIDTH: Final = 1240
_HEAD_PX: Final = 46
_UNIT_PX: Final = 38  # as draw.js has it
_TIMEOUT_S: Final = 120


def drawing(
    model: Json, view: View, answers: Mapping[str, Sequence[Sequence[Series]]]
) -> dict[str, Any]:
    """All that is to be drawn; `answers` by the title of the panel or the annotation."""
    return {
        "title": model["title"],
        "rows": [
            {"title": row["title"], "grid": row["gridPos"]}
            for row in model["panels"]
            if row["type"] == "row"
        ],
        "panels": [frames.panel(each, view, answers[each["title"]]) for each in panels(model)],
        "marks": [
            frames.marks(each, view, answers[each["name"]][0])
            for each in model["annotations"]["list"]
            if each["enable"]
        ],
    }


def html(drawn: Json, chosen: str) -> str:
    """The page; `chosen` says whose data it is. It fetches nothing."""
    # Inside a script only its end could be taken for something else.
    data = json.dumps(drawn, allow_nan=False).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{drawn["title"]}</title>
<style>
{(_UPLOT / "uPlot.min.css").read_text()}
{(_HERE / "page.css").read_text()}
</style>
<h1>{drawn["title"]}<small>{chosen}</small></h1>
<div id="page"></div>
<script type="application/json" id="dashboard">{data}</script>
<script>{(_UPLOT / "uPlot.iife.min.js").read_text()}</script>
<script>{(_HERE / "draw.js").read_text()}</script>
</html>
"""


def height(drawn: Json, rows: int | None = None) -> int:
    """Pixels of the page, or of its first `rows` rows."""
    ends: list[int] = [each["grid"]["y"] + each["grid"]["h"] for each in drawn["panels"]]
    if rows is not None:
        ends = [row["grid"]["y"] for row in drawn["rows"]][rows : rows + 1] or ends
    return _HEAD_PX + max(ends) * _UNIT_PX


def photograph(page: Path, picture: Path, pixels: int) -> None:
    """Draw a page in headless Chromium, `pixels` high; LabError if nothing came of it."""
    picture.unlink(missing_ok=True)
    done = subprocess.run(
        [
            # Without a network: the page needs none, and the browser shall not look for one.
            *("unshare", "--net", "--", "chromium", "--headless", "--disable-gpu"),
            "--no-sandbox",  # as root it has none
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            f"--window-size={WIDTH},{pixels}",
            f"--screenshot={picture}",
            page.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode or not picture.exists():
        raise LabError(f"chromium drew nothing ({done.returncode})\n{done.stderr}")
