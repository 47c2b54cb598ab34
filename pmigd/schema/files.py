"""An administrator's text file, read whole, if it may be believed.

What is in it is as mighty as pmigd, which is root: whoever could write to it could be an admin.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pmigd.core.ownership import ownership_fault


class FileUnusable(Exception):  # noqa: N818 - it says what is the case
    """The file is not used; the text says why, without the file's name.

    `line` counts from 1, None where it is not about a line; `missing`: there is no such file.
    """

    def __init__(self, message: str, line: int | None = None, *, missing: bool = False) -> None:
        super().__init__(message)
        self.line = line
        self.missing = missing


def read_trusted(path: Path, most_bytes: int) -> bytes:
    """What is in it. Raises FileUnusable; blocks."""
    try:
        # Not blocking: a FIFO in the file's place must not hang the daemon's start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise FileUnusable("there is no such file", missing=True) from error
    except OSError as error:
        raise FileUnusable(f"cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise FileUnusable("is not a regular file")
        if fault := ownership_fault(found.st_mode, found.st_uid, os.geteuid()):
            raise FileUnusable(fault)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise FileUnusable(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise FileUnusable(f"is larger than {most_bytes} bytes")
    return content


def decoded(content: bytes) -> str:
    """A file's content as text. Raises FileUnusable."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FileUnusable("is not UTF-8 text", line) from error
