"""Certificates for the lab's hosts: what libvirtd's TLS port and QEMU's own TLS need.

The keys are made anew for each lab and live in its own files only. It must never
sign for anything outside the lab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contrib.lab.hosts import Host
    from contrib.lab.namespaces import Space

_DAYS = "2"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


class Authority:
    """A certificate authority; its files are in a directory that no host sees."""

    def __init__(self, space: Space, name: str) -> None:
        self._space = space
        self._directory = f"/run/authority-{name}"
        (space.root / self._directory.lstrip("/")).mkdir(mode=0o700)
        self._openssl(
            "ca",
            f"/O=pmigd lab/CN={name} authority",
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign",
        )

    def _openssl(self, stem: str, subject: str, *extensions: str, signed: bool = False) -> None:
        base = f"{self._directory}/{stem}"
        by = ["-CA", f"{self._directory}/ca.pem", "-CAkey", f"{self._directory}/ca.key"]
        self._space.run(
            [
                *("openssl", "req", "-x509", *_NEW_KEY, *(by if signed else ())),
                *("-keyout", f"{base}.key", "-out", f"{base}.pem", "-days", _DAYS),
                *("-subj", subject),
                *(word for extension in extensions for word in ("-addext", extension)),
            ]
        )

    def _read(self, name: str) -> str:
        return (self._space.root / f"{self._directory}/{name}".lstrip("/")).read_text()

    @property
    def certificate(self) -> str:
        """Its own certificate (PEM)."""
        return self._read("ca.pem")

    def issue(self, host: Host) -> tuple[str, str]:
        """A host's certificate, good for both ends of a connection, and its key (PEM)."""
        self._openssl(
            host.name,
            f"/O=pmigd lab/CN={host.name}",
            f"subjectAltName=DNS:{host.name},IP:{host.address}",
            "basicConstraints=critical,CA:FALSE",
            # No elliptic curve key enciphers, but libvirt 9.0 and QEMU 7.2 refuse a
            # certificate that does not allow it.
            "keyUsage=critical,digitalSignature,keyEncipherment",
            "extendedKeyUsage=serverAuth,clientAuth",
            signed=True,
        )
        return self._read(f"{host.name}.pem"), self._read(f"{host.name}.key")


def install(host: Host, certificate: str, key: str, authorities: str) -> None:
    """Put a host's certificate where libvirtd and QEMU look; `authorities` it trusts."""
    files = {
        "CA/cacert.pem": authorities,
        "libvirt/servercert.pem": certificate,
        "libvirt/clientcert.pem": certificate,
        "libvirt/private/serverkey.pem": key,
        "libvirt/private/clientkey.pem": key,
        "qemu/ca-cert.pem": authorities,
        "qemu/server-cert.pem": certificate,
        "qemu/server-key.pem": key,
        "qemu/client-cert.pem": certificate,
        "qemu/client-key.pem": key,
    }
    for name, text in files.items():
        path = host.path(f"/etc/pki/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
