"""README's own lines install pmigd on a fresh Debian 12 that has a hypervisor and nothing else.

They are run as they stand there, in a root that is made once and only read. Debian's and Python's
packages come from where this machine has them, and what was fetched is kept beside the root.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.hypervisor, pytest.mark.timeout(1200)]

SOURCE: Final = Path(__file__).parents[2]
BUILD_S: Final = 150
INSTALL_S: Final = 900
_PATH: Final = re.compile(r"(?<![:/\w])/[\w./+-]+")
"""A file or folder that pip is told of; an index in one is left alone, and the next one asked."""
NAME: Final = "bookworm-hypervisor"
MAKE: Final = f"""
import sys
from contrib.lab import roots
report = lambda line: print(line, file=sys.stderr)
print(roots.build_root("bookworm", report, packages=roots.HYPERVISOR, name="{NAME}"))
"""
# Its first argument is the root, the second a folder of its own, the third what was fetched before.
# All of it is in namespaces that end with it.
FURNISH: Final = r"""
set -e
root=$1 own=$2 kept=$3
mount --make-rprivate /
mount -t tmpfs install "$own"
mkdir "$own/upper" "$own/work" "$own/root"
mount -t overlay -o "lowerdir=$root,upperdir=$own/upper,workdir=$own/work" overlay "$own/root"
cd "$own/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs run run
cp /etc/resolv.conf /etc/hosts etc/
mkdir -p root/pmigd var/cache/apt/archives/partial root/.cache/pip
mount --bind "$kept/archives" var/cache/apt/archives
mount --bind "$kept/lists" var/lib/apt/lists
mount --bind "$kept/pip" root/.cache/pip
tar -x -C root/pmigd
mkdir run/shared
n=0
for path in $SHARED; do
    if [ -d "$path" ]; then mkdir run/shared/$n; else : >run/shared/$n; fi
    mount --bind -o ro "$path" run/shared/$n
    n=$((n + 1))
done
chroot . /bin/sh -ec 'cd /root/pmigd; eval "$LINES"'
"""
# No systemd runs there: units are enabled, and what would be started is started below.
ENABLE: Final = r"""
systemctl() {
    for word; do shift; [ "$word" = --now ] || set -- "$@" "$word"; done
    command systemctl "$@"
}
"""
# What systemd would do, in a network of its own.
START: Final = r"""
unshare --net /bin/sh -ec '
    libvirtd -d
    pmigd & echo $! >/run/pmigd.pid
    i=0
    until pmigctl --json status >/run/status 2>/run/said; do
        i=$((i + 1)); [ $i -lt 100 ] || { cat /run/said; exit 1; }
        sleep 0.1
    done
    until pmigctl --json status | grep -q "\"ready\": *true"; do
        i=$((i + 1)); [ $i -lt 200 ] || { pmigctl status; exit 1; }
        sleep 0.1
    done
    pmigctl status
'
"""


def install_lines() -> str:
    """The shell lines of README's section about installing."""
    section = (SOURCE / "README.md").read_text().partition("\n## Install on a hypervisor\n")[2]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block[1]


@pytest.fixture(scope="module")
def root() -> Path:
    """A fresh Debian 12 with a hypervisor; built where it can be in reasonable time."""
    command = [sys.executable, "-c", MAKE]
    try:
        done = subprocess.run(
            command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=BUILD_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"a root of Debian 12 was not made within {BUILD_S} s; what it fetched is kept")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = next((line for line in lines if line.startswith("E: ")), lines[-1] if lines else "")
        pytest.skip(f"no root of a fresh Debian 12 to install on: {why}")
    return Path(done.stdout.strip())


def pip_settings() -> Iterator[tuple[str, str]]:
    """How this machine's pip finds packages, as environment variables."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in ("global", "install", ":env:"):
            yield f"PIP_{name.upper().replace('-', '_')}", " ".join(shlex.split(value))


def test_the_readmes_lines_install_a_pmigd_that_answers(root: Path, tmp_path: Path) -> None:
    kept = root.with_name(f"{NAME}.fetched")
    for name in ("archives/partial", "lists/partial", "pip"):
        (kept / name).mkdir(parents=True, exist_ok=True)
    pip = dict(pip_settings())
    named = {path for value in pip.values() for path in _PATH.findall(value)}
    shared = [path for path in sorted(named) if Path(path).exists()]
    for number, path in enumerate(shared):
        pip = {name: value.replace(path, f"/run/shared/{number}") for name, value in pip.items()}
    lines = install_lines()
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=SOURCE, capture_output=True, check=True
    ).stdout
    checkout = subprocess.run(
        ["tar", "-c", "--null", "-T", "-", "-f", "-"],
        cwd=SOURCE,
        input=files,
        capture_output=True,
        check=True,
    ).stdout
    show = "/opt/pmigd/bin/pip freeze; systemctl is-enabled pmigd.service pmigd.socket"
    done = subprocess.run(
        [
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
            *("/bin/sh", "-c", FURNISH, "furnish", str(root), str(tmp_path), str(kept)),
        ],
        input=checkout,
        capture_output=True,
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive",
            "SHARED": " ".join(shared),
            "LINES": f"{ENABLE}\n{lines}\n{show}\n{START}",
            **pip,
        },
        check=False,
        timeout=INSTALL_S,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    assert "Installing Debian packages:" in said
    assert "python3-venv" in said
    assert "The configuration is valid." in said
    assert "\nenabled\nenabled\n" in said
    assert ": ready; pmigd " in said
    # Exactly what was locked, and nothing to develop with.
    lock = (SOURCE / "requirements.lock").read_text()
    locked = set(re.findall(r"^(\S+==\S+)", lock, re.MULTILINE))
    installed = {line.lower() for line in re.findall(r"^[A-Za-z0-9_.-]+==\S+$", said, re.MULTILINE)}
    assert {name.replace("_", "-") for name in installed} == locked
