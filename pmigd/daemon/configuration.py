"""The configuration with the files that it names.

With the web configuration file it is wholly good, or not used. Certificates come and go by
themselves: ones that others would not believe are told, and keep no daemon from its guests.
"""

from __future__ import annotations

from pathlib import Path

from pmigd.adapters import web
from pmigd.adapters.peer.proofs import PkiFault, PkiRole, faults
from pmigd.adapters.peer.tls import PkiFiles
from pmigd.adapters.system.network import leads_here
from pmigd.config import load as files
from pmigd.config.load import ConfigFinding, ConfigRefused
from pmigd.config.schema import Config


def load(path: Path | None) -> Config:
    """The configuration. Raises ConfigRefused with every finding; blocks on the files."""
    config, findings = check(path)
    if config is None:
        raise ConfigRefused(findings)
    return config


def check(path: Path | None) -> tuple[Config | None, list[ConfigFinding]]:
    """The configuration and no findings, or None and every finding; blocks on the files."""
    config, findings = files.check(path)
    if config is None or not config.metrics.web_config:
        return config, findings
    file = config.metrics.web_config
    try:
        web.read(Path(file))
    except web.WebConfigRefused as refused:
        return None, [
            ConfigFinding(file, fault.key, fault.value, fault.accepted, fault.message, fault.line)
            for fault in refused.faults
        ]
    return config, []


def pki_files(config: Config) -> PkiFiles:
    """Where this host's certificates for its peers are."""
    peer = config.peer
    return PkiFiles(
        ca=Path(peer.ca),
        cert=Path(peer.cert),
        key=Path(peer.key),
        client_cert=Path(peer.client_cert),
        client_key=Path(peer.client_key),
    )


def certificate_faults(config: Config) -> list[PkiFault]:
    """What keeps other hosts' pmigd from believing this one; blocks on the files and resolver."""
    roles: tuple[PkiRole, ...] = ("server",) if config.peer.address is not None else ()
    if any(peer.pmigd_url for peer in config.peers.values()):
        roles += ("client",)
    if not roles:
        return []
    return faults(pki_files(config), roles, config.daemon.name, is_here=leads_here)


def certificate_findings(config: Config, path: Path | None) -> list[ConfigFinding]:
    """The same as findings about the configuration file."""
    file = str(path or files.DEFAULT_PATH)
    return [
        ConfigFinding(file, f"peer.{fault.field}", f'"{fault.file}"', fault.accepted, fault.message)
        for fault in certificate_faults(config)
    ]
