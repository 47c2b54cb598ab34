"""Where the figures come from. Without these facts they mean nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from contrib.lab.namespaces import search_path

ACCELERATOR = "TCG"
CAVEAT = (
    "The guests run under TCG, QEMU's emulation, on a network inside one machine: only the ratios "
    "mean something elsewhere."
)


def facts() -> dict[str, str | int | float]:
    """Cores, versions and load of this machine."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libvirt": _version("libvirtd", "--version"),
        "qemu": _version("qemu-system-x86_64", "--version"),
        "accelerator": ACCELERATOR,
    }


def line(found: dict[str, str | int | float]) -> str:
    """The facts in one line."""
    return (
        f"{found['cores']} cores ({found['cpu']}), load {found['load']} before, "
        f"Linux {found['kernel']}, libvirt {found['libvirt']}, QEMU {found['qemu']} "
        f"({found['accelerator']}), Python {found['python']}"
    )


def _cpu_model() -> str:
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.machine()


def _version(*argv: str) -> str:
    done = subprocess.run(
        argv,
        env={"PATH": search_path(), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found else "unknown"
