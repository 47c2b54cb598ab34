"""Where libvirt's connection to a peer leads, which for qemu+ssh is what ssh makes of it.

libvirt starts the program ``ssh``, and root's own configuration of that decides the rest: another
name, another port, a way round by a third host, a connection that is shared. So ssh itself is
asked (``ssh -G``), and nothing is concluded where the way is not a plain connection from here.

pmigd's own connections never become the one that others share (ControlMaster): libvirt kills its
ssh when a look is over, and with it would go whatever migration libvirtd had put on top; and the
socket would have to be made in a home directory that pmigd may not write to. Existing ones are
used.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from pmigd.core.route import LIBVIRT_PORTS

ASK_DEADLINE_S: Final = 1.5
"""A configuration may run programs to decide (Match exec)."""
CLIENT: Final = Path(__file__).with_name("ssh-client")
"""What pmigd has libvirt start in the place of ssh."""

HostPort = tuple[str, int]


def is_ssh(uri: str) -> bool:
    """Whether the way to the peer `uri` is ssh's to say."""
    return uri.startswith("qemu+ssh:")


def first_hop(uri: str) -> HostPort | None:
    """Host and port that a connection to the peer `uri` is made to. Blocks if that is by ssh.

    None where that cannot be tried beforehand: a UNIX socket, a proxy, a connection that is up.
    """
    parts = urlsplit(uri)
    if not parts.hostname or parts.scheme not in LIBVIRT_PORTS:
        return None
    if is_ssh(uri):
        return _by_ssh(parts)
    return parts.hostname, parts.port or LIBVIRT_PORTS[parts.scheme]


def direct_host(uri: str) -> str | None:
    """The host that `uri` surely ends at, as far as that is known from here. Blocks.

    What ssh is sent to on another port than its own may be anybody's: a tunnel's end, say.
    """
    hop = first_hop(uri)
    if hop is None or (is_ssh(uri) and hop[1] != LIBVIRT_PORTS["qemu+ssh"]):
        return None
    return hop[0]


def own_uri(uri: str) -> str:
    """The peer's URI for a connection of pmigd's own."""
    if is_ssh(uri) and os.access(CLIENT, os.X_OK):
        return f"{uri}?command={quote(str(CLIENT))}"
    return uri


def _by_ssh(parts: SplitResult) -> HostPort | None:
    """ssh's own word, asked with the options that libvirt gives it.

    None, too, if it has none: then it cannot connect either, and says why when it is to.
    """
    port = ("-p", str(parts.port)) if parts.port else ()
    user = ("-l", unquote(parts.username)) if parts.username else ()
    try:
        said = subprocess.run(
            ["ssh", "-G", *port, *user, "-T", "-e", "none", "--", _written(parts)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_DEADLINE_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    told = dict(line.partition(" ")[::2] for line in said.splitlines())
    ways_round = (told.get("proxyjump", "none"), told.get("proxycommand", "none"))
    shared = told.get("controlpath", "none")
    if ways_round != ("none", "none") or (shared != "none" and Path(shared).exists()):
        return None
    try:
        return told["hostname"], int(told["port"])
    except (KeyError, ValueError):
        return None


def _written(parts: SplitResult) -> str:
    """The host as it is written: ssh tells HostB from hostb."""
    host = parts.netloc.rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
