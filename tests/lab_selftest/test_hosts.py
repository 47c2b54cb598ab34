"""Hosts and their daemons: reached from outside, killed, frozen, out of disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contrib.lab import Guest, Lab, LabError
from pmigd.client import LateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from contrib.lab import LabGuest

pytestmark = pytest.mark.hypervisor


def test_libvirt_is_reached_from_outside(lab: Lab) -> None:
    a, b = lab.hosts
    for host in (a, b):
        done = subprocess.run(
            ["virsh", "-c", host.libvirt_uri, "hostname"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert done.stdout.strip() == host.name
    assert a.host_uuid in a.virsh("capabilities")
    assert a.virsh("-c", b.uri_from_peer, "hostname") == b.name


def test_a_killed_libvirtd_leaves_its_guest_running(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a = lab.hosts[0]
    guest = start(Guest(name="survives"))
    pid = guest.qemu_pid(a)
    a.libvirtd.kill()
    assert not a.libvirtd.alive
    assert a.libvirtd.returncode == -signal.SIGKILL
    guest.heartbeats.wait(10)
    a.libvirtd.start()
    assert guest.where() == [a]
    assert guest.qemu_pid(a) == pid


def test_a_frozen_libvirtd_does_not_answer_until_thawed(lab: Lab) -> None:
    a = lab.hosts[0]
    a.libvirtd.freeze()
    try:
        with pytest.raises(LabError, match="did not end within"):
            a.virsh("list", timeout=1)
    finally:
        a.libvirtd.thaw()
    assert "Name" in a.virsh("list")


def test_a_killed_qemu_is_noticed(lab: Lab, start: Callable[..., LabGuest]) -> None:
    a = lab.hosts[0]
    guest = start(Guest(name="dies"))
    os.kill(guest.qemu_pid(a), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while guest.where() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert guest.states() == {a.name: "shut off"}


def test_programs_run_inside_and_are_killed_at_their_deadline(lab: Lab) -> None:
    a, b = lab.hosts
    assert a.run(["hostname"]).stdout == "hosta\n"
    assert a.run(["cat"], input="x").stdout == "x"
    assert a.run(["false"], check=False).returncode == 1
    assert a.run(["sh", "-c", "echo $X"], env={"X": "y"}).stdout == "y\n"
    with pytest.raises(LabError, match="did not end"):
        a.run(["sleep", "60"], timeout=0.2)
    with pytest.raises(LabError, match="no such file"):
        a.run(["sh", "-c", "echo no such file; exit 3"])
    assert b.run(["getent", "hosts", a.name]).stdout.split() == [a.address, a.name]


def test_threads_enter_hosts_at_once_without_getting_into_each_others_way(lab: Lab) -> None:
    def name(number: int) -> bool:
        host = lab.hosts[number % 2]
        return host.run(["hostname"]).stdout.strip() == host.name

    own = Path("/proc/self/ns/net").readlink(), Path("/proc/self/ns/pid_for_children").readlink()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(name, range(40)))
    assert own == (
        Path("/proc/self/ns/net").readlink(),
        Path("/proc/self/ns/pid_for_children").readlink(),
    )


def test_the_state_directory_fills_up_and_is_freed(lab: Lab) -> None:
    a = lab.hosts[0]
    a.fill_state_dir()
    assert a.state_dir_free_bytes == 0
    assert a.run(["sh", "-c", "echo x > /var/lib/pmigd/x"], check=False).returncode
    a.free_state_dir()
    a.run(["sh", "-c", "echo x > /var/lib/pmigd/x"])
    assert (a.state_dir / "x").read_text() == "x\n"
    a.state_dir_read_only(True)
    assert "Read-only" in a.run(["touch", "/var/lib/pmigd/y"], check=False).stderr
    a.state_dir_read_only(False)
    a.run(["rm", "/var/lib/pmigd/x"])


STAND_IN = textwrap.dedent(
    """
    import http.server, os, pathlib, socketserver, sys, tomllib
    config = tomllib.loads(pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    if config["daemon"]["name"] == "broken":
        sys.exit("no such luck")
    print("started for", config["daemon"]["name"], list(config["peers"]), flush=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"uid": 0}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "client"

    path = "/run/pmigd/pmigd.sock"
    if os.path.exists(path):
        os.unlink(path)
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
    import threading
    tcp = http.server.ThreadingHTTPServer(("0.0.0.0", 9718), Handler)
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    Server(path, Handler).serve_forever()
    """
)


def test_pmigd_is_started_reached_killed_and_restarted(lab: Lab, tmp_path: Path) -> None:
    from contrib.lab.daemons import Pmigd

    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    a = lab.hosts[0]
    pmigd = Pmigd(a, [sys.executable, str(script)])
    pmigd.start({"limits": {"max_outgoing": 8}})
    assert len(pmigd.socket) < 60
    assert pmigd.request("GET", "/readyz") == (200, {"uid": 0})
    assert "started for hosta ['hostb']" in pmigd.log()
    assert "max_outgoing = 8" in a.path(Pmigd.config_path).read_text()
    with a.connect(9718) as sock:
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.0 200"
    pmigd.freeze()
    with pytest.raises(LateError):
        pmigd.request("GET", "/readyz", timeout=0.2)
    pmigd.thaw()
    pmigd.kill()
    assert pmigd.returncode == -signal.SIGKILL
    pmigd.restart()
    assert pmigd.request("GET", "/readyz")[0] == 200
    assert pmigd.stop() == -signal.SIGTERM
    with pytest.raises(LabError, match="no such luck"):
        pmigd.start({"daemon": {"name": "broken"}})
    a.write_pmigd_config(a.default_pmigd_config)


def test_three_hosts_are_peers_of_each_other(able: None) -> None:
    with Lab(3, libvirtd={"max_workers": 7}) as lab:
        a, b, c = lab.hosts
        assert lab["hostc"] is c
        assert set(c.default_pmigd_config["peers"]) == {"hosta", "hostb"}
        assert a.virsh("-c", c.uri_from_peer, "hostname") == "hostc"
        workers = b.run(["virt-admin", "srv-threadpool-info", "libvirtd"]).stdout
        assert "maxWorkers     : 7" in workers
        guest = lab.guest(Guest(name="g"), on=a)
        guest.migrate(c)
        guest.heartbeats.wait(host="hostc")
        assert guest.where() == [c]
