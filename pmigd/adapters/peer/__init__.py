"""The channel between two pmigd: certificates, the names in them, and the calling side.

HTTPS with a certificate on both sides, libvirt's own by default. What the messages mean is decided
in the core; here it is only made sure who says them.
"""
