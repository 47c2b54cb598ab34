"""libvirt's errors as problem codes, told apart by code and domain, never by their English text."""

from __future__ import annotations

import errno
from typing import Final

import libvirt

from pmigd.core.model import Plan
from pmigd.core.problem import Code, Problem
from pmigd.core.route import ports_needed

_CONNECTION_DOMAINS: Final = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})

_BY_CODE: Final[dict[int, Code]] = {
    libvirt.VIR_ERR_OPERATION_ABORTED: Code.ABORTED_ELSEWHERE,
    libvirt.VIR_ERR_MIGRATE_UNSAFE: Code.UNSAFE_STORAGE,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: Code.CPU_INCOMPATIBLE,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Code.JOB_LOCK_TIMEOUT,
    libvirt.VIR_ERR_NO_DOMAIN: Code.DOMAIN_NOT_FOUND,
    libvirt.VIR_ERR_DOM_EXIST: Code.DESTINATION_HAS_DOMAIN,
    libvirt.VIR_ERR_NO_SUPPORT: Code.UNSUPPORTED_BY_LIBVIRT,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: Code.UNSUPPORTED_BY_LIBVIRT,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: Code.UNSUPPORTED_BY_LIBVIRT,
    # Of a guest's definition, and not for want of a version: "storage pool ... is not active".
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_OPERATION_INVALID: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_INVALID_ARG: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_OVERFLOW: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_BLOCK_COPY_ACTIVE: Code.JOB_LOCK_TIMEOUT,
    libvirt.VIR_ERR_HOOK_SCRIPT_FAILED: Code.REFUSED_BY_DESTINATION,
    # XML that cannot be read or misses something stays so.
    libvirt.VIR_ERR_XML_ERROR: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_XML_DETAIL: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_PARSE_FAILED: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_INVALID_MAC: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_OS_TYPE: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_NO_OS: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_NO_KERNEL: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_NO_ROOT: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_NO_SOURCE: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_NO_TARGET: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_NO_NAME: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_NO_SECURITY_MODEL: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: Code.REFUSED_BY_LIBVIRT,
    # What the guest's XML names, and the host that said this has not.
    libvirt.VIR_ERR_NO_SECRET: Code.SECRET_MISSING,
    libvirt.VIR_ERR_INVALID_SECRET: Code.SECRET_MISSING,
    libvirt.VIR_ERR_NO_NWFILTER: Code.FILTER_MISSING,
    libvirt.VIR_ERR_INVALID_NWFILTER: Code.FILTER_MISSING,
    libvirt.VIR_ERR_NO_NWFILTER_BINDING: Code.FILTER_MISSING,
    libvirt.VIR_ERR_INVALID_NWFILTER_BINDING: Code.FILTER_MISSING,
    libvirt.VIR_ERR_NO_NETWORK: Code.NETWORK_MISSING,
    libvirt.VIR_ERR_INVALID_NETWORK: Code.NETWORK_MISSING,
    libvirt.VIR_ERR_NO_NETWORK_PORT: Code.NETWORK_MISSING,
    libvirt.VIR_ERR_INVALID_NETWORK_PORT: Code.NETWORK_MISSING,
    libvirt.VIR_ERR_NO_INTERFACE: Code.NETWORK_MISSING,
    libvirt.VIR_ERR_INVALID_INTERFACE: Code.NETWORK_MISSING,
    libvirt.VIR_ERR_MULTIPLE_INTERFACES: Code.NETWORK_MISSING,
    libvirt.VIR_ERR_NO_STORAGE_POOL: Code.POOL_MISSING,
    libvirt.VIR_ERR_INVALID_STORAGE_POOL: Code.POOL_MISSING,
    libvirt.VIR_ERR_NO_STORAGE_VOL: Code.VOLUME_MISSING,
    libvirt.VIR_ERR_INVALID_STORAGE_VOL: Code.VOLUME_MISSING,
    libvirt.VIR_ERR_NO_NODE_DEVICE: Code.DEVICE_MISSING,
    libvirt.VIR_ERR_INVALID_NODE_DEVICE: Code.DEVICE_MISSING,
    libvirt.VIR_ERR_NO_DEVICE: Code.DEVICE_MISSING,
    libvirt.VIR_ERR_DEVICE_MISSING: Code.DEVICE_MISSING,
    libvirt.VIR_ERR_OPERATION_DENIED: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_AUTH_FAILED: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_AUTH_CANCELLED: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_ACCESS_DENIED: Code.SOURCE_AUTH,
}

_BY_CODE_AND_DOMAIN: Final[dict[tuple[int, int], Code]] = {
    # "referenced filter 'x' is missing" is an internal error of the filters' driver.
    (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_NWFILTER): Code.FILTER_MISSING,
    (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_SECRET): Code.SECRET_MISSING,
    # "network 'x' is not active", "storage pool 'x' is not active"
    (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_FROM_NETWORK): Code.NETWORK_MISSING,
    (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_FROM_STORAGE): Code.POOL_MISSING,
}
"""For codes that say nothing, whose it is says enough."""

_UNCONNECTED: Final = frozenset(
    {errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES}
)
"""What a connection that was not made comes back with; firewalls have their choice of them."""
_ABSENT: Final[dict[int, Code]] = {
    errno.ENOENT: Code.FILE_MISSING,
    errno.ENOTDIR: Code.FILE_MISSING,
    errno.ENODEV: Code.DEVICE_MISSING,
    errno.ENXIO: Code.DEVICE_MISSING,
    errno.EADDRINUSE: Code.PORT_IN_USE,
}


def connection_broke(error: libvirt.libvirtError) -> bool:
    """Whether `error` is about a connection, ours or the one between the libvirt daemons."""
    return error.get_error_domain() in _CONNECTION_DOMAINS and error.get_error_code() in (
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_GNUTLS_ERROR,
    )


def problem_of(error: libvirt.libvirtError) -> Problem:
    """What went wrong with a call on this host; libvirt's own words are the detail."""
    number = error.get_error_code()
    code = _BY_CODE_AND_DOMAIN.get((number, error.get_error_domain())) or _BY_CODE.get(number)
    if code is None:
        code = Code.CONNECTION_BROKE if connection_broke(error) else Code.MIGRATION_FAILED
    return Problem(code, words_of(error))


def migrate_problem_of(error: libvirt.libvirtError, plan: Plan) -> Problem:
    """What went wrong with the migrate call; what was not connected to is named.

    libvirt hands on the errno of what failed at either host.
    """
    problem = problem_of(error)
    if problem.code not in (Code.CONNECTION_BROKE, Code.MIGRATION_FAILED):
        return problem
    code, domain = error.get_error_code(), error.get_error_domain()
    ports = ports_needed(plan.request, plan.target)
    if code == libvirt.VIR_ERR_SYSTEM_ERROR:
        if domain in _CONNECTION_DOMAINS:
            if error.get_int1() in _UNCONNECTED:
                return Problem(Code.PORTS_SHUT, f"{_sentence(problem.detail)} It needs {ports}.")
            return problem
        found = _ABSENT.get(error.get_int1())
        return problem if found is None else Problem(found, problem.detail)
    if code == libvirt.VIR_ERR_OPERATION_FAILED and ports:
        # Where QEMU connects itself (TLS, parallel connections), only its words say that it could
        # not.
        hint = f"If it could not connect: it needs {ports}."
        return Problem(problem.code, f"{_sentence(problem.detail)} {hint}")
    return problem


def peer_problem_of(error: libvirt.libvirtError) -> Problem:
    """What went wrong when the destination's daemon was called from here."""
    code = _BY_CODE.get(error.get_error_code(), Code.DESTINATION_UNREACHABLE)
    if code is Code.SOURCE_AUTH or error.get_error_code() == libvirt.VIR_ERR_GNUTLS_ERROR:
        code = Code.DESTINATION_AUTH
    return Problem(code, words_of(error))


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."


def words_of(error: libvirt.libvirtError) -> str:
    """libvirt's message, without the line of XML that it quotes where it cannot read one."""
    words = error.get_error_message() or str(error)
    if error.get_error_code() == libvirt.VIR_ERR_XML_DETAIL:
        return words.partition("\n")[0]
    return words
