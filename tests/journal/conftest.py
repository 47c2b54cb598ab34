"""A real pmigd over real file systems, in a mount namespace that ends with the test.

There is no libvirt here: what is in the journal waits for it, can be aborted, and is not begun.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contrib.lab.deadlines import until
from pmigd.client import Client, RefusedError, UnreachableError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE_S = 40.0


class House:
    """Where a pmigd lives: mounts of its own below `folder`, and its processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.journal = self.state / "journal.sqlite"
        self.socket = folder / "pmigd.sock"
        self.log = folder / "pmigd.log"
        self.state.mkdir(parents=True)
        self._config = folder / "pmigd.toml"
        self._config.write_text(
            f'[daemon]\nname = "hosta"\nstate_dir = "{self.state}"\n'
            f'[libvirt]\nuri = "qemu:///system?socket={folder}/none"\n'
            f'[api]\nsocket = "{self.socket}"\ngroup = "root"\n[metrics]\nlisten = []\n'
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sleep", "600"]
        )
        own, its = Path("/proc/self/ns/mnt"), Path(f"/proc/{self._holder.pid}/ns/mnt")
        until(lambda: its.readlink() != own.readlink(), "mounts", timeout=10)
        self._pmigd: subprocess.Popen[bytes] | None = None
        self._frozen: list[Path] = []

    # Mounts

    def run(self, *argv: str | Path, check: bool = True) -> str:
        """Run a command where the mounts are."""
        done = subprocess.run(
            self._inside(*argv), capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{argv}: {done.stderr}")
        return done.stdout

    def _inside(self, *argv: str | Path) -> list[str]:
        entered = ["nsenter", "-t", str(self._holder.pid), "-m", f"--wd={ROOT}", "--"]
        return [*entered, *map(str, argv)]

    def mount_memory(self, size: str) -> None:
        self.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "pmigd-test", self.state)

    def read_only(self, yes: bool) -> None:
        """The state directory cannot be written any more, or can again."""
        if not self.run("findmnt", "-n", self.state, check=False):
            self.run("mount", "--bind", self.state, self.state)
        self.run("mount", "-o", f"remount,bind,{'ro' if yes else 'rw'}", self.state)

    def make_disk(self, image: Path) -> None:
        with image.open("wb") as file:
            file.truncate(64 << 20)
        # Nothing is put off until the first mount: what lies in the image is then all there is.
        self.run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)

    def mount_disk(self, image: Path) -> None:
        """A disk of its own; only what was synced is sure to be in `image`."""
        # commit=300: the kernel writes nothing back by itself while a test runs.
        self.run("mount", "-o", "loop,commit=300", image, self.state)

    def freeze(self) -> None:
        """Whoever writes now waits, in the kernel."""
        self.run("fsfreeze", "--freeze", self.state)
        self._frozen.append(self.state)

    def thaw(self) -> None:
        if self._frozen:
            self.run("fsfreeze", "--unfreeze", self._frozen.pop())

    # Journals

    def write(self, first: int, number: int) -> None:
        """Put migrations into the journal, as an earlier life of pmigd did."""
        self.run(
            sys.executable, "-m", "tests.journal.writer", self.journal, str(first), str(number)
        )

    @contextmanager
    def writer(self) -> Iterator[subprocess.Popen[str]]:
        """Somebody who writes without end."""
        argv = self._inside(sys.executable, "-m", "tests.journal.writer", self.journal, "1", "0")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            try:
                yield writer
            finally:
                writer.kill()

    def read(self) -> dict[str, Any]:
        """What is in the journal, WAL and all."""
        said: dict[str, Any] = json.loads(
            self.run(sys.executable, "-m", "tests.journal.reader", self.journal).splitlines()[-1]
        )
        return said

    # pmigd

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._pmigd = subprocess.Popen(
                self._inside(sys.executable, "-m", "pmigd", "--config", self._config),
                stdout=log,
                stderr=log,
            )
        until(
            lambda: self.answer("/healthz") is not None,
            "an answer of pmigd",
            timeout=PATIENCE_S,
            evidence=self.log.read_text,
        )

    def kill(self) -> None:
        """As a crash does."""
        if self._pmigd is not None:
            self._pmigd.send_signal(signal.SIGKILL)
            self._pmigd.wait(30)
            self._pmigd = None

    @property
    def client(self) -> Client:
        return Client(str(self.socket), answer_s=20.0)

    def answer(self, path: str) -> dict[str, Any] | None:
        try:
            return self.client.get(path)
        except UnreachableError:
            return None

    def states(self) -> dict[str, str] | None:
        """What pmigd knows, by guest; None as long as it says that it does not know."""
        try:
            return {m.domain: m.state for m in self.client.migrations()}
        except RefusedError as refused:
            if refused.code == "journal_unavailable":
                return None
            raise

    def abort(self, name: str) -> str:
        """Abort the migration of a guest; returns the state that it has then."""
        (found,) = self.client.migrations(domain=name)
        return self.client.abort(found.id).state

    def missing(self) -> dict[str, str]:
        """What keeps it from being ready, besides libvirt, which there is none of."""
        status = self.client.status()
        assert "libvirt" in status["missing"]
        return {name: why for name, why in status["missing"].items() if name != "libvirt"}

    def says(self, why: str) -> None:
        """Wait until that is a reason why the journal is not ready."""
        until(
            lambda: why in self.missing().get("journal", ""),
            why,
            timeout=PATIENCE_S,
            evidence=lambda: f"{self.missing()}\n{self.log.read_text()}",
        )

    def becomes(self, states: dict[str, str], *, within_s: float = PATIENCE_S) -> None:
        until(
            lambda: self.states() == states and not self.missing(),
            f"{states} with a journal that can be written",
            timeout=within_s,
            evidence=lambda: f"{self.states()} {self.missing()}\n{self.log.read_text()}",
        )

    def close(self) -> None:
        self.thaw()
        self.kill()
        self._holder.kill()
        self._holder.wait(10)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    said = made.log.read_text() if made.log.exists() else ""
    made.close()
    assert "Traceback" not in said
