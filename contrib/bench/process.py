"""What processes cost: one run to its end, and the CPU time and memory of one that goes on."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contrib.lab import Host

_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Run:
    """One run of a program, from its start to its end."""

    began: float  # CLOCK_MONOTONIC, seconds
    seconds: float
    cpu_seconds: float
    output: str


def timed(host: Host, argv: Sequence[str], *, timeout: float = 120.0) -> Run:
    """Run a program on a host. Raises LabError when it fails or takes too long (seconds).

    Waits in the kernel, for a loop that looks now and then would round the time up.
    """
    with tempfile.TemporaryFile("w+") as output:
        began = time.monotonic()
        process = host.popen(argv, stdout=output, stderr=output)
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            killer.cancel()
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise LabError(f"{' '.join(argv)} ended with {process.returncode}\n{text}")
    return Run(began, seconds, usage.ru_utime + usage.ru_stime, text)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process up to now, all its threads included.

    The clock is the one that clock_getcpuclockid(3) names: in /proc/PID/stat the
    same time is rounded to hundredths of a second.
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / _KIB_PER_MIB
    raise LabError(f"no VmRSS of process {pid}")
