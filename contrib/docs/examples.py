"""The example programs as docs/client.md shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from contrib import examples

PROGRAMS: Final = ("migrate_and_wait", "watch_everything", "move_all")


def text() -> str:
    """Each under its first line as a heading."""
    folder = Path(examples.__file__).parent
    shown: list[str] = []
    for name in PROGRAMS:
        heading, _, rest = (folder / f"{name}.py").read_text()[3:].partition(".\n")
        usage, _, code = rest.strip().partition('"""')
        code = code.strip().removeprefix("from __future__ import annotations").strip()
        shown += [f"### {heading}", "", f"`{usage.strip()}`", "", f"```python\n{code}\n```", ""]
    return "\n".join(shown).strip()
