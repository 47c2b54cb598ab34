"""Disks of a guest: what they hold, their images on the hosts, and what is read back.

The images are in the hosts' private files, so each host has its own, and all of
it is memory of this machine: keep them small.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape

from contrib.lab.anchor import SHARED_DIR

if TYPE_CHECKING:
    from contrib.lab.hosts import Host
    from contrib.lab.namespaces import Space

IMAGES_DIR = "/var/lib/libvirt/images"
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A virtio disk.

    The first `fill_mib` MiB hold random data, all of it by default. With
    `backing_mib` the image lies over a backing image that has so many MiB of other
    random data, and --copy-storage-inc copies the upper one only.

    Each host has its own image, unless the disk is `shared`: then all hosts see the
    same one. libvirt does not believe that (it wants --unsafe), for the file is on no
    network file system.
    """

    mib: int = 16
    fill_mib: int | None = None
    target: str = "vda"
    format: Literal["qcow2", "raw"] = "qcow2"
    backing_mib: int = 0
    shared: bool = False
    read_only: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch("vd[a-z]", self.target):
            raise ValueError(f"a disk's target is vda to vdz, not {self.target}")
        if (
            self.mib < 1
            or not 0 <= self.filled <= self.mib
            or not 0 <= self.backing_mib <= self.mib
        ):
            raise ValueError(f"disk {self.target} has no room for its data")
        if self.backing_mib and self.format != "qcow2":
            raise ValueError("only a qcow2 disk can have a backing image")

    @property
    def filled(self) -> int:
        """MiB that hold data of its own."""
        return self.mib if self.fill_mib is None else self.fill_mib


class LabDisk:
    """A disk of one guest, on whichever host; the data is made once, in the lab's files."""

    def __init__(self, guest: str, spec: Disk, space: Space) -> None:
        self.spec = spec
        stem = f"{guest}-{spec.target}"
        directory = SHARED_DIR if spec.shared else IMAGES_DIR
        self.path = f"{directory}/{stem}.{spec.format}"
        self.base = f"{directory}/{stem}.base.qcow2" if spec.backing_mib else None
        self._space = space
        self._data = f"{SHARED_DIR}/disk-{stem}"

    @property
    def alias(self) -> str:
        """What libvirt calls the device."""
        return f"virtio-disk{ord(self.spec.target[-1]) - ord('a')}"

    @property
    def xml(self) -> str:
        """Its element in the domain's definition."""
        read_only = "\n      <readonly/>" if self.spec.read_only else ""
        return f"""\
    <disk type='file' device='disk'>
      <driver name='qemu' type='{self.spec.format}'/>
      <source file='{escape(self.path)}'/>
      <target dev='{self.spec.target}' bus='virtio'/>{read_only}
    </disk>
"""

    def create(self, on: Host, *, filled: bool) -> None:
        """Create its image on a host anew, filled or empty, and its backing image with it.

        A shared one is created, and filled, the first time only.
        """
        if self.spec.shared and on.path(self.path).exists():
            return
        size = f"{self.spec.mib}M"
        over: list[str] = []
        if self.base:
            on.run(["qemu-img", "create", "-q", "-f", "qcow2", self.base, size])
            self._fill(on, self.base, "qcow2", "base", self.spec.backing_mib)
            over = ["-b", self.base, "-F", "qcow2"]
        on.run(["qemu-img", "create", "-q", "-f", self.spec.format, *over, self.path, size])
        if filled:
            self._fill(on, self.path, self.spec.format, "data", self.spec.filled)

    def _fill(self, on: Host, image: str, form: str, part: str, mib: int) -> None:
        if not mib:
            return
        data = self._space.root / f"{self._data}.{part}".lstrip("/")
        if not data.exists():
            data.write_bytes(os.urandom(mib * _MIB))
        on.run(["qemu-io", "-f", form, "-c", f"write -q -s {self._data}.{part} 0 {mib}M", image])

    def remove(self, on: Host) -> None:
        """Delete its images on a host, unless they are shared."""
        if self.spec.shared:
            return
        for path in filter(None, (self.path, self.base)):
            on.path(path).unlink(missing_ok=True)

    def digest(self, on: Host) -> str:
        """SHA-256 of what a guest on that host would read."""
        raw = f"{self.path}.content"
        # -U: a running QEMU holds the image's lock.
        convert = ["qemu-img", "convert", "-U", "-f", self.spec.format, "-O", "raw"]
        try:
            on.run([*convert, self.path, raw])
            with on.path(raw).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        finally:
            on.path(raw).unlink(missing_ok=True)
