"""A request for a migration, in one visit: parsed, authorised, resolved, and queued or checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pmigd.adapters.libvirt.definition import xml_fault
from pmigd.adapters.libvirt.ssh import direct_host
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system.network import leads_here
from pmigd.config.schema import Config
from pmigd.core.checks import Checked
from pmigd.core.destination import find_target
from pmigd.core.finding import blocking, from_problem
from pmigd.core.model import Migration, Request, Target
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Code, FieldError, Problem, Refused, refuse
from pmigd.core.request_check import check_request, check_role
from pmigd.core.roles import Role
from pmigd.core.trace import Trace
from pmigd.core.uri import PeerUri
from pmigd.daemon.intake import Intake
from pmigd.daemon.preflight import AskPmigd, check
from pmigd.wire.request import asked, parse_request

XML_DEADLINE_S: Final = 2.0
RESOLVE_DEADLINE_S: Final = 0.8


@dataclass(eq=False)
class Requests:
    """See :class:`pmigd.api.backend.Requests`. `config` is the one in force; `ask_pmigd` asks the
    destination's pmigd what only that sees."""

    config: Callable[[], Config]
    names: CallPool
    hypervisor: Hypervisor
    intake: Intake
    ask_pmigd: AskPmigd

    async def submit(
        self,
        untrusted_body: object,
        *,
        role: Role,
        by: str,
        key: str | None = None,
        caller: Trace | None = None,
    ) -> Migration:
        """Queue a migration for `by`. With a known `key` the first one is returned again.

        Raises Refused: every wrong field, what `role` may not ask for, where it cannot go, or as
        :meth:`pmigd.daemon.intake.Intake.submit`.
        """
        request, target = await self._understood(untrusted_body, role)
        if (problem := blocking(check_request(request), Code.CONFLICT)) is not None:
            raise Refused(problem)
        if (problem := await self._same_host(target)) is not None:
            raise Refused(problem)
        # What a key stands for is what was asked for, whatever is configured.
        same = asked(untrusted_body) if key is not None else ""
        return await self.intake.submit(request, target, by=by, key=key, asked=same, caller=caller)

    async def check(self, untrusted_body: object, *, role: Role) -> Checked:
        """Everything that speaks against a migration. Refused: what may not even be asked."""
        request, target = await self._understood(untrusted_body, role)
        found = check_request(request)
        if (problem := await self._same_host(target)) is not None:
            return Checked([*found, from_problem(problem, "destination")])
        checked = await check(self.hypervisor, self.ask_pmigd, request, target)
        return replace(checked, findings=found + checked.findings)

    async def _understood(self, untrusted_body: object, role: Role) -> tuple[Request, Target]:
        """The request with the configured defaults, and where it leads."""
        config = self.config()
        request = parse_request(untrusted_body, config.defaults)
        check_role(request, role)
        allowed = config.security.allowed_patterns
        target = find_target(request.destination, role, targets(config), allowed)
        await self._read_xml(request)
        return request, target

    async def _read_xml(self, request: Request) -> None:
        """Refuse XML that nobody can read, libvirt neither."""
        for field in ("xml", "persistent_xml"):
            if (text := getattr(request, field)) is None:
                continue
            try:
                fault = await self.names.call("xml", XML_DEADLINE_S, partial(xml_fault, text))
            except Overdue:
                continue  # libvirt reads it, too
            if fault:
                detail = f"'{field}' cannot be read: {fault}."
                raise refuse(Code.INVALID_REQUEST, detail, (FieldError(field, fault),))

    async def _same_host(self, target: Target) -> Problem | None:
        """Whether it is this host. What cannot be looked up now is found out later."""

        def host_here() -> str | None:
            host = direct_host(target.uri)
            return host if host is not None and leads_here(host) else None

        try:
            host = await self.names.call("resolve", RESOLVE_DEADLINE_S, host_here)
        except Overdue:
            return None
        if host is None:
            return None
        return Problem(Code.SAME_HOST, f"{target.uri}: '{host}' is an address of this host.")


def targets(config: Config) -> dict[str, Target]:
    """The configured peers as what migrations go to."""
    return {
        name: Target(
            name,
            peer.peer_uri.text,
            peer.migrate_uri or None,
            peer.peer_uri.host if isinstance(peer.peer_uri, PeerUri) else None,
        )
        for name, peer in config.peers.items()
    }
