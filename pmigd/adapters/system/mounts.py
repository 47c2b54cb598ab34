"""Which file system a path is on, as the kernel lists them."""

from __future__ import annotations

import re
from pathlib import Path


def filesystem_of(path: Path) -> dict[str, str]:
    """Its mount point, type, source and options. Raises OSError."""
    found: dict[str, dict[str, str]] = {}
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        mount, _, rest = line.partition(" - ")
        # Blanks in a mount point are octal.
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount.split()[4])
        kind, source, *options = rest.split()
        found[point] = {
            "mount_point": point,
            "type": kind,
            "source": source,
            "options": " ".join(options),
        }
    real = path.resolve()
    point = next((str(p) for p in (real, *real.parents) if str(p) in found), "/")
    return found.get(point, {})
