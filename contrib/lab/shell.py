"""An interactive shell inside a fresh lab, with pmigd on every host and two guests.

It must work on any terminal and in a pipe, and must say what to type.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from contrib.lab.guest import Guest
from contrib.lab.lab import Lab
from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from contrib.lab.hosts import Host

# The one directory that every host has at the same path.
_BIN = "/run/lab/bin"
_RC = "/run/lab/bashrc"

GUESTS = (
    Guest(name="web1", dirty_pages_per_tick=1),
    Guest(name="db1", memory_mib=192, dirty_pages_per_tick=60, working_set_mib=32, fill_mib=128),
)


def _script(lab: Lab, name: str, text: str) -> None:
    path = lab.switch.root / f"{_BIN}/{name}".lstrip("/")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _write_commands(lab: Lab) -> None:
    python = shlex.quote(sys.executable)
    run_client = "import sys; sys.argv[0] = 'pmigctl'; from pmigd.cli.main import main; "
    _script(lab, "pmigctl", f'#!/bin/sh\nexec {python} -c "{run_client}sys.exit(main())" "$@"\n')
    inside = {outside: inner for inner, outside in lab.anchor.pids().items()}
    cases = "".join(f"  {h.name}) pid={inside[h.space.pid]} ;;\n" for h in lab.hosts)
    _script(
        lab,
        "on",
        f"#!/bin/bash\n# on HOST [COMMAND...]: run a command, or a shell, on another host\n"
        f'case "$1" in\n{cases}'
        f'  *) echo "usage: on {"|".join(h.name for h in lab.hosts)} [COMMAND...]" >&2; exit 2 ;;\n'
        f"esac\nshift\n[ $# -gt 0 ] || set -- bash --rcfile {_RC}\n"
        f'exec nsenter --target="$pid" --mount --uts --net --wdns=/ -- "$@"\n',
    )
    (lab.switch.root / _RC.lstrip("/")).write_text("PS1='[lab \\u@\\h \\w]# '\n")


def _explain(lab: Lab) -> str:
    first, *others = (host.name for host in lab.hosts)
    other = others[0] if others else first
    commands = (
        ("virsh list --all", "guests of this host"),
        ("pmigctl status", "what pmigd says"),
        (f"pmigctl migrate web1 {other}", "move a guest"),
        ("pmigctl list --all", "migrations"),
        (f"on {other} virsh list", f"one command on {other}"),
        (f"on {other}", "a shell there; leave it to come back"),
        ("virsh start web1", "start a guest that is shut off"),
        ("exit", "end the lab: nothing is left of it"),
    )
    return "\n".join(
        (
            "",
            f"You are about to be root on {first}. The lab has {len(lab.hosts)} hosts; the guests",
            f"web1 (nearly idle) and db1 (writes memory all the time) run on {first}.",
            "",
            *(f"  {command:<30} {meaning}" for command, meaning in commands),
            "",
        )
    )


def _start_pmigd(host: Host) -> None:
    try:
        host.pmigd.start()
    except LabError as error:
        # The hosts and guests are still worth looking at, so go on without it.
        print(f"pmigd is not ready on {host.name}: {error}", file=sys.stderr)


def shell(hosts: int) -> int:
    """Run the lab until the shell ends; the shell's exit code."""
    print(f"Starting {hosts} hosts ...", flush=True)
    with Lab(hosts, name="shell") as lab:
        _write_commands(lab)
        first = lab.hosts[0]
        for spec in GUESTS:
            lab.guest(spec, on=first)
        for host in lab.hosts:
            _start_pmigd(host)
        print(_explain(lab), flush=True)
        program = ["bash", "--rcfile", _RC] if sys.stdin.isatty() else ["bash"]
        # The shell needs the terminal, so it stays in this session.
        process = first.space.popen(
            ["sh", "-c", f'PATH={_BIN}:$PATH exec "$@"', "sh", *program],
            stdin=None,
            new_session=False,
        )
        while True:
            try:
                return int(process.wait())
            except KeyboardInterrupt:
                continue  # meant for what runs in the shell
