"""Who is asking: the kernel's word for the client's uid and gid, mapped to a role."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from pmigd.adapters.system.peercred import peer_credentials
from pmigd.api.problems import BACKEND, Handler
from pmigd.core.problem import Code, refuse
from pmigd.core.roles import Role

USER: Final = "pmigd.user"
ROLE: Final = "pmigd.role"


def needs(role: Role | None, handler: Handler) -> Handler:
    """`handler` for those who have at least `role`; None lets everybody in who can connect."""

    async def checked(request: web.Request) -> web.StreamResponse:
        if role is not None:
            user, has = await _who(request)
            if has is None or has < role:
                raise refuse(
                    Code.FORBIDDEN,
                    f"'{user}' is {has.label if has is not None else 'nobody'} here; "
                    f"this needs {role.label}.",
                )
            request[USER], request[ROLE] = user, has
        return await handler(request)

    return checked


async def _who(request: web.Request) -> tuple[str, Role | None]:
    connection = request.get_extra_info("socket")
    if connection is None:
        raise refuse(Code.FORBIDDEN, "The client is gone.")
    try:
        credentials = peer_credentials(connection)
    except OSError as error:
        raise refuse(Code.FORBIDDEN, str(error)) from error
    return await request.app[BACKEND].callers.who(credentials.uid, credentials.gid)
