"""pmigd.service, pmigd.socket and pmigd.sysusers under a real systemd with a real libvirtd."""

from __future__ import annotations

import json
import shlex
import stat
import time
from typing import Any

import pytest

from contrib.lab.deadlines import until
from contrib.lab.sandbox import CAPABILITIES
from contrib.lab.unit import shipped
from pmigd.core.messages import HOST, MIGRATION
from pmigd.core.model import State
from tests.systemd.conftest import (
    MEMBER,
    METRICS,
    PEER,
    SERVICE,
    SOCKET,
    SOCKET_PATH,
    STRANGER,
    Installed,
    wait_active,
)
from tests.systemd.machine import UNITS, MachineError

pytestmark = pytest.mark.systemd

CAP_CHOWN, CAP_SETPCAP = 1 << 0, 1 << 8
EXPOSURE_MAX = 2.8
GUEST = """<domain type='qemu'><name>web1</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64'>hvm</type></os></domain>"""
BAD = PEER + "[limits]\nmax_outgoing = 0\nnonsense = 1\n"


def limits(number: int) -> str:
    return f"{PEER}[limits]\nmax_outgoing = {number}\n"


def process_status(pmigd: Installed) -> dict[str, str]:
    text = pmigd.machine.run("cat", f"/proc/{pmigd.main_pid}/status").stdout
    return {name: value.strip() for name, _, value in (x.partition(":") for x in text.splitlines())}


def outcome(pmigd: Installed, *argv: str, user: str = "root") -> tuple[int, str]:
    """Exit code and everything said."""
    done = pmigd.machine.run(*argv, user=user, check=False)
    return done.returncode, done.stdout + done.stderr


# Start and stop


def test_the_units_hold_what_systemd_understands(pmigd: Installed) -> None:
    done = pmigd.machine.run("systemd-analyze", "verify", "--man=no", SERVICE, SOCKET, METRICS)
    assert [line for line in done.stderr.splitlines() if "pmigd" in line] == []


def test_the_first_client_starts_the_service(pmigd: Installed) -> None:
    assert pmigd.show("ActiveState") == "inactive"
    assert pmigd.show("ActiveState", SOCKET) == "active"

    code, said = outcome(pmigd, "pmigctl", "status")

    assert code == 0, said
    assert pmigd.show("Type") == "notify"
    assert pmigd.show("ActiveState") == "active"
    assert pmigd.show("StatusText") == "0 migrations running, 0 queued"
    argv = pmigd.machine.run("cat", f"/proc/{pmigd.main_pid}/cmdline").stdout.split("\0")
    assert "/usr/bin/pmigd" in argv
    assert pmigd.show("NRestarts") == "0"


def test_enabling_the_service_enables_its_socket(pmigd: Installed) -> None:
    pmigd.systemctl("disable", SOCKET)
    pmigd.systemctl("enable", SERVICE)
    assert pmigd.systemctl("is-enabled", SERVICE, SOCKET).split() == ["enabled", "enabled"]


def test_it_is_ready_with_libvirt(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    said = pmigd.status()
    assert said["ready"]
    assert said["libvirt"]["connected"]
    assert said["libvirt"]["hypervisor"] == "QEMU"
    assert said["journal"]["writable"]
    assert pmigd.get("/readyz")[0] == 200
    assert pmigd.get("/healthz")[0] == 200


def test_it_outlives_libvirt(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    before = pmigd.main_pid
    assert pmigd.get("/readyz")[0] == 200

    units = ["libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"]
    pmigd.systemctl("stop", *units, "libvirtd.service")
    until(lambda: pmigd.get("/readyz")[0] == 503, "pmigd says libvirt is gone", timeout=10)
    assert pmigd.show("ActiveState") == "active"
    pmigd.systemctl("start", *units)
    until(lambda: pmigd.get("/readyz")[0] == 200, "pmigd is connected again", timeout=20)

    assert pmigd.main_pid == before
    assert pmigd.show("NRestarts") == "0"


def test_a_stop_takes_less_than_five_seconds_and_leaves_the_socket(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    with pmigd.machine.popen("pmigctl", "--json", "watch") as follower:
        until(
            lambda: len(pmigd.machine.run("pgrep", "-f", "pmigctl --json watch").stdout) > 0,
            "somebody watches",
            timeout=5,
        )
        began = time.monotonic()
        pmigd.systemctl("stop", SERVICE)
        took = time.monotonic() - began
        follower.terminate()
    assert took < 5
    assert pmigd.show("Result") == "success"
    assert pmigd.show("ActiveState", SOCKET) == "active"
    assert "stopped" in pmigd.log()
    assert pmigd.status()["ready"]


def test_without_its_socket_unit_it_opens_the_socket_itself(pmigd: Installed) -> None:
    pmigd.systemctl("disable", "--now", SOCKET)
    unit = pmigd.machine.root / "etc/systemd/system" / SOCKET
    aside = unit.with_suffix(".aside")
    unit.rename(aside)
    try:
        pmigd.systemctl("daemon-reload")
        pmigd.systemctl("start", SERVICE)
        found = pmigd.machine.run("stat", "-c", "%F %a %U %G", SOCKET_PATH).stdout.strip()
        assert found == "socket 660 root pmigd"
        assert outcome(pmigd, "pmigctl", "status", user=MEMBER)[0] == 0
        pmigd.systemctl("stop", SERVICE)
        assert not (pmigd.machine.root / SOCKET_PATH[1:]).exists()
    finally:
        aside.rename(unit)
        pmigd.systemctl("daemon-reload")


# The sandbox

# An sshd on another port, that only root's own configuration knows; with shared connections.
_SSHD = """
set -e
mkdir -p ~root/.ssh /run/sshd
cd ~root/.ssh
ssh-keygen -q -t ed25519 -N '' -f id_ed25519
ssh-keygen -q -t ed25519 -N '' -f host
cp id_ed25519.pub authorized_keys
echo "far $(cat host.pub)" > known_hosts
printf %s "
Host far
  HostName 127.0.0.1
  HostKeyAlias far
  Port 2222
  ControlMaster auto
  ControlPath ~/.ssh/shared-%C
" > config
systemd-run --quiet --unit=sshd-far /usr/sbin/sshd -D -e -f /dev/null -p 2222 \
    -h ~root/.ssh/host -o UsePAM=no -o StrictModes=no \
    -o AuthorizedKeysFile=$(echo ~root)/.ssh/authorized_keys
for try in $(seq 100); do
    ssh-keyscan -p 2222 127.0.0.1 2>/dev/null | grep -q . && break
    sleep 0.05
done
"""
_LOOK = """
import json, sys
from datetime import UTC, datetime
sys.path.insert(0, "/usr/lib/pmigd/site")
from pmigd.adapters.system.hostfacts import look
from pmigd.adapters.system.view import Reference
from pmigd.core.facts import Definition, DiskFacts, Question
from pmigd.core.model import Domain
from pmigd.daemon.ownhost import LIBVIRT_SOCKETS

disks = tuple(DiskFacts(path, path=path) for path in sys.argv[1:])
question = Question(Domain("x", ""), "x", Definition(disks=disks))
view = Reference(LIBVIRT_SOCKETS).view()
found = look(question, datetime.now(UTC), arriving=True, view=view)
answer = {"missing": found.paths_missing, "unseen": found.paths_unseen, "unknown": found.unknown}
print(json.dumps(answer))
"""


def test_systemd_rates_the_exposure_low(pmigd: Installed) -> None:
    said = pmigd.machine.run("systemd-analyze", "security", "--no-pager", SERVICE).stdout
    last = said.strip().splitlines()[-1]
    assert float(last.partition(f"{SERVICE}:")[2].split()[0]) <= EXPOSURE_MAX, said


def test_the_process_has_no_power_but_two(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    found = process_status(pmigd)
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[kind], 16) == CAP_CHOWN | CAP_SETPCAP, kind
    for kind in ("CapInh", "CapAmb"):
        assert int(found[kind], 16) == 0, kind
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    # As many descriptors as it may have: here a container's limit, which can be below the unit's.
    argv = ["prlimit", "--nofile", "--noheadings", "-o", "SOFT,HARD", "-p", str(pmigd.main_pid)]
    soft, hard = pmigd.machine.run(*argv).stdout.split()
    assert int(soft) == int(hard) >= 4096


def test_the_file_system_is_read_only_to_it(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    # With all of root's powers, but in the file system the service has.
    inside = ["nsenter", f"--target={pmigd.main_pid}", "--mount", "--"]

    def write(folder: str) -> tuple[int, str]:
        return outcome(pmigd, *inside, "mktemp", "-p", folder)

    etc = ("/etc", "/etc/pmigd")
    for folder in (*etc, "/usr", "/root", "/home", "/var/lib", "/boot", "/", "/tmp", "/var/tmp"):
        code, said = write(folder)
        assert code != 0, folder
        assert "Read-only file system" in said
    for folder in ("/var/lib/pmigd", "/run/pmigd"):
        assert write(folder)[0] == 0, folder


def looked_at(pmigd: Installed, paths: list[str]) -> dict[str, Any]:
    """What pmigd's code says of `paths` when the service runs that code alone."""
    script = pmigd.machine.root / "usr/lib/pmigd/look.py"
    script.write_text(_LOOK)
    unit = pmigd.machine.root / f"etc/systemd/system/{SERVICE}.d/look.conf"
    unit.parent.mkdir(exist_ok=True)
    command = f"/usr/lib/pmigd/venv/bin/python -I /usr/lib/pmigd/look.py {' '.join(paths)}"
    unit.write_text(f"[Service]\nType=oneshot\nWatchdogSec=0\nExecStart=\nExecStart={command}\n")
    try:
        pmigd.systemctl("daemon-reload")
        pmigd.systemctl("start", SERVICE)
        said = [line for line in pmigd.log() if line.startswith("{")]
        return json.loads(said[-1])
    finally:
        unit.unlink()
        pmigd.systemctl("daemon-reload")


def test_it_sees_the_files_of_guests_as_libvirt_does_or_says_that_it_cannot(
    pmigd: Installed,
) -> None:
    there = ["/tmp/x.iso", "/var/tmp/x.iso", "/home/x.iso", "/root/x.iso", "/dev/mapper/x"]
    away = [f"{path}.away" for path in there]
    files = " ".join(there[:-1])
    pmigd.machine.run(
        *("bash", "-c", f"mkdir -p /dev/mapper; touch {files}; ln -sf ../null /dev/mapper/x")
    )
    # Somebody who listens has to be there: libvirtd, or systemd in its place.
    pmigd.machine.run("virsh", "version")
    found = looked_at(pmigd, there + away)
    assert (found["missing"], found["unseen"], found["unknown"]) == (away, [], [])

    pmigd.drop_in("PrivateTmp=yes\nPrivateDevices=yes\nProtectHome=tmpfs")
    found = looked_at(pmigd, [*there, *away, "/srv/away"])
    assert (found["missing"], found["unseen"]) == (["/srv/away"], there + away)
    for path, hidden in zip(there, ("/tmp", "/var/tmp", "/home", "/root", "/dev"), strict=True):
        assert f"{path} (pmigd's {hidden} is not the one that libvirt sees)" in found["unknown"]


def test_the_unit_has_nothing_that_the_lab_cannot_play(pmigd: Installed) -> None:
    """And what it plays is what systemd does: the same powers, mask and places to write to."""
    pmigd.systemctl("start", SERVICE)
    sandbox = shipped()
    found = process_status(pmigd)
    kept = sum(1 << CAPABILITIES.index(name[4:]) for name in sandbox.capabilities or ())
    assert int(found["CapBnd"], 16) == kept
    assert int(found["Umask"], 8) == sandbox.umask
    assert (found["NoNewPrivs"] == "1") is sandbox.no_new_privileges
    assert set(sandbox.writable) == {"/var/lib/pmigd", "/run/pmigd"}


def test_it_does_its_work_in_the_sandbox(pmigd: Installed) -> None:
    code, said = outcome(pmigd, "pmigctl", "migrate", "nobody", "hostb")
    assert code == 3, said
    assert "nobody" in said
    code, said = outcome(pmigd, "pmigctl", "--json", "migrate", "nobody", "hostb")
    assert code == 3
    assert json.loads(said)["code"] == "domain_not_found"

    code, said = outcome(pmigd, "pmigctl", "--json", "limits")
    assert code == 0, said
    limits = json.loads(said)
    assert limits["problems"] == []
    workers = next(row for row in limits["resources"] if row["resource"] == "worker")
    assert workers["source"] == "virt-admin"

    state = pmigd.machine.root / "var/lib/pmigd"
    journal = state / "journal.sqlite"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE(journal.stat().st_mode) & 0o077 == 0
    assert journal.stat().st_size > 0


def test_a_peer_over_ssh_is_reached_from_the_sandbox(pmigd: Installed) -> None:
    """As far as that leads here: back to this host, by another port and under another name."""
    pmigd.machine.run("bash", "-c", _SSHD)
    pmigd.configure('[peers.far]\nuri = "qemu+ssh://far/system"\n')
    pmigd.machine.run("bash", "-c", "virsh define /dev/stdin <<< " + shlex.quote(GUEST))
    try:
        assert pmigd.machine.run("virsh", "-c", "qemu+ssh://far/system", "hostname").stdout.strip()
        code, said = outcome(pmigd, "pmigctl", "--json", "check", "web1", "far", "--offline")
        assert code == 3
        problems = {finding["code"]: finding["detail"] for finding in json.loads(said)["findings"]}
        assert "qemu+ssh://far/system leads to" in problems["same_host"], problems
    finally:
        pmigd.machine.run(
            "bash", "-c", "virsh undefine web1; systemctl stop sshd-far; rm -r ~root/.ssh"
        )


def scraped(pmigd: Installed, address: str) -> str:
    fetch = f"import urllib.request as r; print(r.urlopen('http://{address}/metrics').read())"
    return pmigd.machine.run("/usr/lib/pmigd/venv/bin/python", "-Ic", fetch).stdout


def test_its_metrics_are_served(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    said = scraped(pmigd, "127.0.0.1:9718")
    assert "pmigd_build_info" in said
    assert "process_cpu_seconds_total" in said


def test_systemd_may_listen_for_scrapes_and_then_a_scrape_starts_it(pmigd: Installed) -> None:
    pmigd.configure(PEER + '[metrics]\nlisten = ["127.0.0.1:9719"]\n')
    pmigd.systemctl("enable", "--now", METRICS)
    assert pmigd.show("ActiveState") == "inactive"
    assert "pmigd_build_info" in scraped(pmigd, "127.0.0.1:9718")
    before = pmigd.main_pid
    assert "pmigd_build_info" in scraped(pmigd, "[::1]:9718")
    listening = pmigd.machine.run("ss", "-Hltn", "sport = :9719").stdout
    assert listening == ""
    # Clients of the API and scrapes reach the same process, and the next one, too.
    assert pmigd.status()["ready"]
    assert pmigd.main_pid == before
    pmigd.systemctl("restart", SERVICE)
    assert "pmigd_build_info" in scraped(pmigd, "127.0.0.1:9718")


def test_it_writes_a_text_file_where_its_unit_lets_it(pmigd: Installed) -> None:
    file = "/var/lib/prometheus/node-exporter/pmigd.prom"
    pmigd.machine.run("mkdir", "-p", file.rpartition("/")[0])
    pmigd.configure(f'{PEER}[metrics]\ntextfile = "{file}"\n')
    pmigd.systemctl("start", SERVICE)
    until(
        lambda: any("Read-only file system; its folder" in line for line in pmigd.log()),
        "the refusal in the log",
        timeout=10,
    )
    assert pmigd.show("ActiveState") == "active"
    pmigd.systemctl("stop", SERVICE)
    pmigd.drop_in("ReadWritePaths=-/var/lib/prometheus/node-exporter")
    pmigd.systemctl("start", SERVICE)
    until(
        lambda: "pmigd_build_info" in pmigd.machine.run("cat", file, check=False).stdout,
        "the file",
        timeout=10,
    )
    assert pmigd.machine.run("stat", "-c", "%U %a", file).stdout.split() == ["root", "644"]


# The watchdog


def test_a_stuck_process_is_replaced_and_nobody_is_turned_away(pmigd: Installed) -> None:
    pmigd.drop_in("WatchdogSec=2")
    pmigd.systemctl("start", SERVICE)
    stuck, started = pmigd.main_pid, pmigd.status()["started_at"]
    socket = (pmigd.machine.root / SOCKET_PATH[1:]).stat().st_ino

    pmigd.machine.run("kill", "-STOP", str(stuck))
    with pmigd.machine.popen("pmigctl", "--json", "status") as client:
        said, complaint = client.communicate(timeout=30)

    # The client came while nobody could answer, waited, and was answered by the next process.
    assert client.returncode == 0, complaint
    assert json.loads(said)["started_at"] > started
    assert pmigd.main_pid not in {0, stuck}
    log = pmigd.log()
    assert any("Watchdog timeout (limit 2s)" in line for line in log), log
    # It went when it was told to, not after a time in which it might have gone by itself.
    assert any("status=6/ABRT" in line for line in log), log
    assert not any("timed out" in line for line in log), log
    wait_active(pmigd)
    assert pmigd.show("ActiveState", SOCKET) == "active"
    assert (pmigd.machine.root / SOCKET_PATH[1:]).stat().st_ino == socket


def test_a_healthy_process_is_left_alone_by_the_watchdog(pmigd: Installed) -> None:
    pmigd.drop_in("WatchdogSec=1")
    pmigd.systemctl("start", SERVICE)
    first = int(pmigd.show("WatchdogTimestampMonotonic"))
    until(
        lambda: int(pmigd.show("WatchdogTimestampMonotonic")) > first + 2_000_000,
        "the watchdog is told for twice its time",
        timeout=5,
    )
    assert pmigd.show("NRestarts") == "0"


def test_a_killed_process_is_started_again(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    killed = pmigd.main_pid
    pmigd.machine.run("kill", "-KILL", str(killed))
    until(lambda: pmigd.main_pid not in {0, killed}, "a new process", timeout=10)
    wait_active(pmigd)
    assert pmigd.show("NRestarts") == "1"
    assert pmigd.status()["ready"]


# The configuration


def test_a_reload_takes_up_a_limit(pmigd: Installed) -> None:
    pmigd.configure(limits(2))
    pmigd.systemctl("start", SERVICE)
    before = pmigd.main_pid
    assert pmigd.status()["limits"]["max_outgoing"] == 2
    pmigd.configure(limits(3))
    pmigd.systemctl("reload", SERVICE)
    until(lambda: pmigd.status()["limits"]["max_outgoing"] == 3, "the new limit", timeout=10)
    wait_active(pmigd)
    assert pmigd.main_pid == before


def test_a_reload_refuses_a_bad_config_and_says_so(pmigd: Installed) -> None:
    pmigd.configure(limits(2))
    pmigd.systemctl("start", SERVICE)
    before = pmigd.main_pid
    pmigd.configure(BAD)

    with pytest.raises(MachineError, match="exit 1"):
        pmigd.systemctl("reload", SERVICE)
    assert any("limits.nonsense" in line for line in pmigd.log())
    assert pmigd.systemctl("is-active", SERVICE).strip() == "active"
    assert pmigd.status()["limits"]["max_outgoing"] == 2

    # The same without systemd's help: the daemon itself refuses.
    pmigd.systemctl("kill", "--kill-whom=main", "--signal=HUP", SERVICE)
    until(
        lambda: any("configuration was not reloaded" in line for line in pmigd.log()),
        "the refusal in the log",
        timeout=10,
    )
    wait_active(pmigd)
    assert pmigd.status()["limits"]["max_outgoing"] == 2
    assert pmigd.main_pid == before


def test_a_bad_config_does_not_start_and_is_not_tried_again(pmigd: Installed) -> None:
    pmigd.configure(BAD)
    with pytest.raises(MachineError, match="exit 1"):
        pmigd.systemctl("start", SERVICE)
    # "failed", not "auto-restart": systemd has given up.
    assert (pmigd.show("ActiveState"), pmigd.show("SubState")) == ("failed", "failed")
    assert pmigd.show("ExecMainStatus") == "2"
    assert pmigd.show("NRestarts") == "0"
    for key in ("limits.max_outgoing", "limits.nonsense"):
        assert any(key in line for line in pmigd.log())


def test_a_client_of_a_bad_config_is_told_at_once_and_the_repair_is_enough(
    pmigd: Installed,
) -> None:
    pmigd.configure(BAD)
    for _ in range(3):
        code, said = outcome(pmigd, "pmigctl", "status")
        assert code == 6
        assert "systemctl status pmigd" in said
        # Its connection was closed; it did not wait until its own patience was over.
        assert "the connection was lost" in said
    # One start for each client; a client left waiting would start it over and over.
    assert len([line for line in pmigd.log() if "limits.nonsense" in line]) <= 6
    assert pmigd.show("ActiveState", SOCKET) == "active"
    pmigd.configure(limits(4))
    assert pmigd.status()["limits"]["max_outgoing"] == 4


# Who may do what


def test_a_member_of_the_group_is_operator(pmigd: Installed) -> None:
    found = pmigd.machine.run("stat", "-c", "%F %a %U %G", SOCKET_PATH).stdout.strip()
    assert found == "socket 660 root pmigd"
    assert outcome(pmigd, "pmigctl", "status", user=MEMBER)[0] == 0
    # Past the question of permission, to the question whether there is such a guest.
    code, said = outcome(pmigd, "pmigctl", "--json", "migrate", "nobody", "hostb", user=MEMBER)
    assert (code, json.loads(said)["code"]) == (3, "domain_not_found")
    # An operator, not an admin.
    uri = "qemu+tcp://192.0.2.9/system"
    code, said = outcome(pmigd, "pmigctl", "--json", "migrate", "nobody", uri, user=MEMBER)
    assert (code, json.loads(said)["code"]) == (3, "forbidden")


def test_a_stranger_is_kept_out(pmigd: Installed) -> None:
    code, said = outcome(pmigd, "pmigctl", "status", user=STRANGER)
    assert code == 6
    assert "ermission denied" in said
    assert "Traceback" not in said
    # The attempt did not even start the service.
    assert pmigd.show("ActiveState") == "inactive"


# The log


def test_the_log_arrives_as_fields(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    main = pmigd.main_pid
    pmigd.status()
    entries = pmigd.entries(f"_PID={main}")
    # Nothing of it came as text on stderr.
    assert {entry["_TRANSPORT"] for entry in entries} == {"journal"}
    assert {entry["SYSLOG_IDENTIFIER"] for entry in entries} == {"pmigd"}
    (connected,) = pmigd.entries(f"MESSAGE_ID={HOST['libvirt connected'].id}")
    assert connected["MESSAGE"].startswith("libvirt is connected uri=qemu:///system version=")
    assert (connected["PRIORITY"], connected["PMIGD_URI"]) == ("6", "qemu:///system")


def test_a_migration_is_found_by_its_guest_down_to_its_last_line(pmigd: Installed) -> None:
    pmigd.machine.run("bash", "-c", f"virsh define /dev/stdin <<< {shlex.quote(GUEST)}")
    try:
        # There is no way to the peer, so this fails at once.
        code, said = outcome(
            pmigd, "pmigctl", "migrate", "--offline", "--persistent", "web1", "hostb"
        )
        assert code == 1, said
        entries = pmigd.entries("PMIGD_DOMAIN=web1")
    finally:
        pmigd.machine.run("virsh", "undefine", "web1")
    states = [entry["PMIGD_STATE"] for entry in entries]
    assert [states[0], states[-1]] == ["queued", "failed"]
    assert [entry["MESSAGE_ID"] for entry in entries] == [MIGRATION[State(s)].id for s in states]
    last = entries[-1]
    assert last["MESSAGE"].startswith("The migration of web1 has failed ")
    assert (last["PMIGD_PEER"], last["PRIORITY"]) == ("hostb", "4")
    assert last["PMIGD_REASON"] == "destination_unreachable"
    assert float(last["PMIGD_DURATION_S"]) >= 0
    assert f"Reason: {last['PMIGD_REASON']}. docs/problems.md" in pmigd.explained(last)


def test_the_journal_explains_what_it_shows(pmigd: Installed) -> None:
    pmigd.systemctl("start", SERVICE)
    pmigd.configure(BAD)
    pmigd.systemctl("kill", "--kill-whom=main", "--signal=HUP", SERVICE)
    event = f"MESSAGE_ID={HOST['configuration not reloaded'].id}"
    (entry,) = until(lambda: pmigd.entries(event), "the refusal in the log", timeout=10)
    shown = pmigd.explained(entry)
    catalog = (UNITS / "pmigd.catalog").read_text()
    explanation = catalog.partition(f"-- {entry['MESSAGE_ID']}\n")[2].partition("\n-- ")[0]
    text = [line for line in explanation.splitlines() if line]
    assert any("systemctl reload pmigd" in line for line in text)
    assert [line for line in text if line not in shown] == []
