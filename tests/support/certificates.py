"""An authority for tests, with what a real one does wrong, too: old certificates, revoked ones."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pmigd.adapters.peer.tls import PkiFiles

_CONFIG: Final = """
[ca]
default_ca = authority
[authority]
database = {0}/index
new_certs_dir = {0}
rand_serial = yes
unique_subject = no
crlnumber = {0}/crlnumber
default_md = sha256
default_days = 2
default_crl_days = 2
policy = anything
[anything]
commonName = optional
"""
_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key (PEM files)."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.ca = directory / "cacert.pem"
        self._key = directory / "ca.key"
        self._config = directory / "config"
        self._config.write_text(_CONFIG.format(directory))
        (directory / "index").touch()
        (directory / "crlnumber").write_text("01\n")
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-noenc", "-days", "2", "-subj", f"/CN={directory.name}"),
            *("-keyout", str(self._key), "-out", str(self.ca)),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def issue(
        self,
        stem: str,
        *alternatives: str,
        subject: str = "",
        usage: str = "serverAuth,clientAuth",
        days: int = 2,
        old: bool = False,
        begins: str = "",
    ) -> Pair:
        """A certificate for `alternatives` ("DNS:name"), and a common name; `old` has ended.

        `begins` is when it becomes valid, as openssl writes it.
        """
        pair = Pair(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        request, extensions = self.directory / f"{stem}.csr", self.directory / f"{stem}.ext"
        _openssl(
            *("req", "-new", *_NEW_KEY, "-noenc", "-subj", (subject and f"/CN={subject}") or "/"),
            *("-keyout", str(pair.key), "-out", str(request)),
        )
        lines = ["basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={usage}"]
        lines += [f"subjectAltName={','.join(alternatives)}"] if alternatives else []
        extensions.write_text("\n".join(lines))
        ended = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
        until = ended if old else ("-days", str(days))
        until += ("-startdate", begins) if begins else ()
        self._ca("-in", request, "-out", pair.cert, "-extfile", extensions, *until)
        return pair

    def lock(self, pair: Pair, locked: Path) -> Path:
        """The key again, with a password."""
        out = ("-out", str(locked), "-aes128", "-passout", "pass:secret")
        _openssl("pkey", "-in", str(pair.key), *out)
        return locked

    def revoke(self, *pairs: Pair) -> None:
        """Revoke certificates, none perhaps, and write the list where pmigd looks for it."""
        for pair in pairs:
            self._ca("-revoke", pair.cert)
        self._ca("-gencrl", "-out", self.directory / "cacrl.pem")

    def files(self, server: Pair, client: Pair | None = None) -> PkiFiles:
        """As the configuration has them."""
        client = client or server
        return PkiFiles(self.ca, server.cert, server.key, client.cert, client.key)

    def _ca(self, *arguments: str | Path) -> None:
        signs = ("-cert", str(self.ca), "-keyfile", str(self._key), "-config", str(self._config))
        _openssl("ca", "-batch", "-notext", *signs, *map(str, arguments))


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
