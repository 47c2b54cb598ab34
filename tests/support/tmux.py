"""A real terminal to look at: a tmux with one pane, on a server and socket of its own."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from contrib.lab.deadlines import until

DEADLINE_S = 30.0
_CONFIG = """\
set -g default-terminal screen-256color
set -g status off
"""
# Ctrl-C is for the program alone. What the terminal is like afterwards is to be seen, too.
_RUN = """trap : INT; "$@"; echo "[ended with $?]"; while :; do sleep 60; done"""


class Tmux:
    """A program in a terminal of `columns` by `lines`, until it is closed.

    The screen stays to be looked at when the program has ended.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pmigd-tmux-")
        config = Path(self._folder.name) / "conf"
        config.write_text(_CONFIG)
        # What the tests' own terminal says of itself is not to be seen in this one.
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "PYTHONPATH")}
        self._env = {**kept, "LANG": "C.UTF-8", **(env or {})}
        size = ["-x", str(columns), "-y", str(lines)]
        run = ["sh", "-c", _RUN, "sh", *argv]
        self._tmux("-f", str(config), "new-session", "-d", *size, "--", *run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")
        self._folder.cleanup()

    def text(self, *, colours: bool = False) -> str:
        """What is to be seen now, without blank lines at the end."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else [])).rstrip("\n")

    def look(self, *words: str, gone: Sequence[str] = (), colours: bool = False) -> str:
        """What is to be seen, once all `words` are and nothing of `gone` is.

        With `colours`, the sequences that make them are in the answer.
        """

        def there() -> str:
            text = self.text(colours=True)
            plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
            fits = all(w in plain for w in words) and not any(w in plain for w in gone)
            return (text if colours else plain) if fits else ""

        what = f"{words} and not {gone} on the screen"
        return until(there, what, timeout=DEADLINE_S, evidence=self.text)

    def press(self, *keys: str) -> None:
        """Type, in tmux's words: `q`, `C-c`, `Enter`."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int = 24) -> None:
        """Another size of the terminal."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    @property
    def pid(self) -> int:
        """Of the program."""
        shell = self._ask("pane_pid")
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    @property
    def own_screen(self) -> bool:
        """Whether the program has taken the whole terminal."""
        return self._ask("alternate_on") == "1"

    def end(self) -> int:
        """Wait for the program's end; its exit code. The terminal must be as it was before."""
        found = re.search(r"\[ended with (\d+)\]", self.look("[ended with "))
        assert found
        assert not self.own_screen
        assert self._ask("cursor_flag") == "1"
        return int(found[1])

    def _ask(self, variable: str) -> str:
        return self._tmux("display-message", "-p", f"#{{{variable}}}").strip()

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", f"{self._folder.name}/socket", *arguments],
            env=self._env,
            check=True,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        return done.stdout
