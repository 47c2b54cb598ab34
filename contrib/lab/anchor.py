"""Build the namespaces of one lab and hold them until the lab process is gone.

Runs as process 1 of a PID namespace of its own, started by `unshare`. Every
process of the lab lives in that namespace, every mount in mount namespaces that
only those processes hold, every interface in their network namespaces, every
file on tmpfs in those mounts. So when this process ends, for whatever reason,
the kernel takes all of it away; there is no clean-up code that could be missed.

It must never write to the machine's own file systems, never give a namespace a
name, and never live longer than the lab process. It runs as a plain script and
imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWNET = 0x4000_0000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SHARED = 0x10_0000

# The host's private view of the directories that libvirtd and pmigd write to, and of
# those whose content would let it use, or be refused because of, the machine's own keys.
PRIVATE = (
    "/etc/libvirt",
    "/etc/pki",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
)
STATE_DIR = "/var/lib/pmigd"
# Where a host has the other Debian that its libvirtd runs in. Not below /run, which
# that Debian gets to see whole.
ROOT_POINT = "/var/lab-root"
# Root's home, and the one directory that is the same on all hosts.
HOME = "/run/home"
SHARED_DIR = "/run/lab"
POLKIT_AGENT = "/usr/bin/pkttyagent"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    _check(
        _libc.mount(
            source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
        ),
        f"mount {kind or 'bind'} {source} on {target}",
    )


def _ip(commands: list[str], *, target: int | None = None) -> None:
    enter = [] if target is None else ["nsenter", f"--net=/proc/{target}/ns/net", "--"]
    done = subprocess.run(
        [*enter, "ip", "-batch", "-"],
        input="\n".join(commands) + "\n",
        text=True,
        capture_output=True,
        check=False,
        timeout=20,
    )
    if done.returncode:
        raise OSError(f"ip -batch failed: {done.stderr.strip()}")


def _furnish_host(host: dict[str, Any], spec: dict[str, Any]) -> None:
    """Turn the calling process into a host: own names, network and files."""
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET), "unshare")
    socket.sethostname(host["name"])
    base = Path("/run/hosts") / host["name"]
    run = base / "run"
    for part in ("run/lab", "run/libvirt", "run/lock", "run/pmigd", "run/home"):
        (base / part).mkdir(parents=True)
    # A directory that all hosts see: so a host's libvirtd can be reached from the
    # others without any network.
    shared = Path(SHARED_DIR) / host["name"] / "libvirt"
    shared.mkdir(parents=True)
    _mount(str(shared), str(run / "libvirt"), flags=MS_BIND)
    # A copy-on-write /etc and /var: mount points that the machine lacks can be
    # made, and what a daemon writes there stays in the lab.
    for top in ("etc", "var"):
        upper, work = base / f"{top}.upper", base / f"{top}.work"
        upper.mkdir()
        work.mkdir()
        _mount(
            "overlay",
            f"/{top}",
            "overlay",
            data=f"lowerdir=/{top},upperdir={upper},workdir={work}",
        )
    if host.get("root"):
        _mount_other_root(host["root"], base)
    for number, path in enumerate(PRIVATE):
        own = base / f"private{number}"
        own.mkdir()
        Path(path).mkdir(parents=True, exist_ok=True)
        _mount(str(own), path, flags=MS_BIND)
    Path("/var/lib/libvirt/images").mkdir()
    Path("/etc/pmigd").mkdir(exist_ok=True)
    Path(STATE_DIR).mkdir(exist_ok=True)
    _mount("state", STATE_DIR, "tmpfs", data=f"mode=0750,size={spec['state_dir_bytes']}")
    for top in ("", ROOT_POINT) if host.get("root") else ("",):
        _replace(f"{top}/etc/hosts", spec["etc_hosts"])
        _replace(f"{top}/etc/hostname", host["name"] + "\n")
        # No resolver exists in here: an empty file fails at once, the machine's own
        # would make every unknown name wait for a timeout.
        _replace(f"{top}/etc/resolv.conf", "")
        _move_home(Path(f"{top}/etc/passwd"))
    group = Path("/etc/group")
    groups = group.read_text()
    if "\npmigd:" not in groups:
        group.write_text(groups.rstrip("\n") + f"\npmigd:x:{spec['pmigd_gid']}:\n")
    if Path(POLKIT_AGENT).exists():
        # On a terminal virsh starts the agent, which can only complain in here.
        _mount("/etc/hostname", POLKIT_AGENT, flags=MS_BIND)
    _mount("/run/lab", str(run / "lab"), flags=MS_BIND)
    # A sysfs of this network namespace, and none of the machine's cgroups below
    # it: libvirtd then makes no cgroup that would have to be removed.
    _mount("sysfs", "/sys", "sysfs")
    _mount("proc", "/proc", "proc")
    _mount(str(run), "/run", flags=MS_BIND | MS_REC)
    if host.get("root"):
        # What the other Debian's libvirtd works with is the host's own.
        for path in (*PRIVATE, "/dev", "/proc", "/sys", "/run"):
            inner = ROOT_POINT + path
            Path(inner).mkdir(parents=True, exist_ok=True)
            _mount(path, inner, flags=MS_BIND | MS_REC)
    # As on a real host: what is mounted later reaches the services that run already.
    _mount("", "/", flags=MS_SHARED | MS_REC)


def _mount_other_root(source: str, base: Path) -> None:
    """Another Debian at ROOT_POINT; what is written to it stays in the lab."""
    lower, upper, work = (base / f"root.{part}" for part in ("lower", "upper", "work"))
    for directory in (lower, upper, work, Path(ROOT_POINT)):
        directory.mkdir()
    # By way of a path of our own, as a comma or colon in the machine's would end
    # the overlay's option.
    _mount(source, str(lower), flags=MS_BIND)
    _mount(
        "overlay",
        ROOT_POINT,
        "overlay",
        data=f"lowerdir={lower},upperdir={upper},workdir={work}",
    )


def _move_home(passwd: Path) -> None:
    """Give root a private home: ssh and sshd take it from here and ignore $HOME."""
    lines = [line.split(":") for line in passwd.read_text().splitlines()]
    for fields in lines:
        if fields[0] == "root" and len(fields) > 5:
            fields[5] = HOME
    passwd.write_text("".join(":".join(fields) + "\n" for fields in lines))


def _replace(path: str, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    Path(path).write_text(text)


def _start_host(host: dict[str, Any], spec: dict[str, Any]) -> tuple[int, int]:
    """Fork the process that holds a host's namespaces; (pid inside, pid outside)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # /proc is still the machine's here, so this is the pid seen outside.
            outside = int(str(Path("/proc/self").readlink()))
            _furnish_host(host, spec)
            os.write(writer, json.dumps({"pid": outside}).encode())
            os.chdir("/")
            os.execvp("sleep", ["sleep", "infinity"])
        except BaseException as error:  # noqa: BLE001 - a forked child must not unwind into its parent's frames
            os.write(writer, json.dumps({"error": str(error)}).encode())
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = json.loads(pipe.read() or b'{"error": "the host process died"}')
    if "error" in answer:
        raise OSError(f"host {host['name']}: {answer['error']}")
    return pid, int(answer["pid"])


def _build(spec: dict[str, Any]) -> dict[str, Any]:
    outside = int(str(Path("/proc/self").readlink()))
    _mount("lab", "/run", "tmpfs", data="mode=0755")
    Path("/run/lab").mkdir()
    Path("/run/hosts").mkdir()
    socket.sethostname("switch")
    _ip(
        [
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {spec['switch_address']}/{spec['prefix']} dev br0",
            "link set br0 up",
        ]
    )
    hosts: dict[str, int] = {}
    for host in spec["hosts"]:
        inside, hosts[host["name"]] = _start_host(host, spec)
        port = f"v-{host['name']}"
        _ip(
            [
                f"link add {port} type veth peer name eth0 netns {inside}",
                f"link set {port} master br0",
                f"link set {port} up",
            ]
        )
        _ip(
            [
                "link set lo up",
                f"addr add {host['address']}/{spec['prefix']} dev eth0",
                "link set eth0 up",
            ],
            target=hosts[host["name"]],
        )
    return {"anchor": outside, "hosts": hosts}


def _reap(_signal: int, _frame: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Build what the first argument describes, report on stdout, wait for the end."""
    spec = json.loads(sys.argv[1])
    owner = int(sys.argv[2])
    try:
        report = _build(spec)
    except (OSError, subprocess.SubprocessError) as error:
        report = {"error": str(error)}
    print(json.dumps(report), flush=True)
    if "error" in report:
        sys.exit(1)
    signal.signal(signal.SIGCHLD, _reap)
    _reap(0, None)
    # Two independent signs of the owner's end: the pipe closes, and its pidfd
    # becomes readable even if a forked copy of the owner still holds the pipe.
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    poll.register(owner, select.POLLIN)
    while not poll.poll():
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
