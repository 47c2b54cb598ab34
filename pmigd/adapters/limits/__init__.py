"""The limits of this host's libvirt daemons, read while they run."""

from pmigd.adapters.limits.mirror import LimitsMirror
from pmigd.adapters.limits.reader import LimitSource

__all__ = ["LimitSource", "LimitsMirror"]
