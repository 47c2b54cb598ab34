"""The configuration with the web configuration file that it names: wholly good, or not used."""

from __future__ import annotations

from pathlib import Path

from pmigd.adapters import web
from pmigd.config import load as files
from pmigd.config.load import ConfigRefused, Finding
from pmigd.config.schema import Config


def load(path: Path | None) -> Config:
    """The configuration. Raises ConfigRefused with every finding; blocks on the files."""
    config, findings = check(path)
    if config is None:
        raise ConfigRefused(findings)
    return config


def check(path: Path | None) -> tuple[Config | None, list[Finding]]:
    """The configuration and no findings, or None and every finding; blocks on the files."""
    config, findings = files.check(path)
    if config is None or not config.metrics.web_config:
        return config, findings
    file = config.metrics.web_config
    try:
        web.read(Path(file))
    except web.WebConfigRefused as refused:
        return None, [
            Finding(file, fault.key, fault.value, fault.accepted, fault.message, fault.line)
            for fault in refused.faults
        ]
    return config, []
