"""The OpenAPI 3.1 document, made from the table of resources and the wire schemas.

``python -m pmigd.api.openapi`` prints it; docs/openapi.json is that output.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from pmigd import __version__
from pmigd.api.query import Parameter
from pmigd.api.routes import ROUTES, Route
from pmigd.wire.migration import Problem

_REF: Final = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """The whole description of version 1 of the API."""
    types = {t for route in ROUTES for t in (route.takes, route.gives) if t is not None}
    ordered = [Problem, *sorted(types, key=lambda t: t.__name__)]
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REF)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "pmigd",
            "version": __version__,
            "description": "Live migration of libvirt guests, on a UNIX socket of each host.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "/run/pmigd/pmigd.sock"}],
        "paths": paths,
        "components": {"schemas": components},
    }
    # A struct is called Json where the core has its name; readers of this know only the one.
    encoded = msgspec.json.encode(described).replace(b'Json"', b'"')
    plain: dict[str, Any] = msgspec.json.decode(encoded)
    return plain


def _operation(route: Route, schemas: dict[type, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "schema": schemas[route.gives] if route.gives is not None else _free(route)
    }
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handler.__name__,
        "responses": {
            **{
                str(status): {
                    "description": route.summary,
                    "content": {route.content_type: content},
                }
                for status in (route.status, *route.also)
            },
            "default": {
                "description": "What is wrong, and what to do",
                "content": {"application/problem+json": {"schema": schemas[Problem]}},
            },
        },
    }
    if route.takes is not None:
        required = any(f.required for f in msgspec.structs.fields(route.takes))
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": schemas[route.takes]}},
        }
    parameters = [_parameter(p) for p in route.parameters]
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _free(route: Route) -> dict[str, Any]:
    return {"type": "string"} if route.content_type == "text/plain" else {"type": "object"}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": False,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def text() -> str:
    """The document as the file docs/openapi.json has it."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


if __name__ == "__main__":
    print(text(), end="")
