"""What a client asked for, as a short text: how a repeat is told from another request.

It is made of what the client said and of nothing else: not of the configured defaults, which a
reload changes, nor of what anybody has set since. A field that has its built-in default counts as
not said, so that later releases, which have more fields, make the same of the same request.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from hashlib import sha256
from typing import Final

from pmigd.core.model import AutoConverge, Compression, Request

_PARTS: Final = (AutoConverge, Compression)


def fingerprint(request: Request) -> str:
    """The fingerprint of a request that was parsed with the built-in defaults."""
    said = {
        field.name: asdict(value) if isinstance(value, _PARTS) else value
        for field in fields(request)
        if (value := getattr(request, field.name)) != field.default
    }
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
