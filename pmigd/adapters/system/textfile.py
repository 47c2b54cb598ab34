"""A text file for others to read: they find the old text or the new one, never a part of one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_MODE: Final = 0o644
_ANEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def replace_text(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`, readable for everybody. Raises OSError; blocks.

    After a crash of the host the file may be empty or old: it is for what is written again anyway.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        # Anew: never through a link that somebody put there who may write to the folder, too.
        with os.fdopen(os.open(fresh, _ANEW, _MODE), "wb") as file:
            os.fchmod(file.fileno(), _MODE)  # whatever the umask is
            file.write(content)
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
