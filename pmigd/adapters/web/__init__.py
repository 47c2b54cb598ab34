"""The web configuration file of Prometheus' exporters: TLS and passwords of the metrics listener.

Its form is exporter-toolkit's, so that one file can serve all exporters of a host.
"""

from pmigd.adapters.web.config import Stamps, WebConfig, WebConfigRefused, read, stamps_of
from pmigd.adapters.web.passwords import Passwords, TooManyWaiting

__all__ = [
    "Passwords",
    "Stamps",
    "TooManyWaiting",
    "WebConfig",
    "WebConfigRefused",
    "read",
    "stamps_of",
]
