"""The HTTP face of the daemon: who may ask, what was asked, and every answer's shape."""
