"""pmigd: the live-migration controller of a libvirt/KVM host."""

__version__ = "0.1.0"
