"""libvirt's errors as problem codes, told apart by code and domain, never by their English text."""

from __future__ import annotations

from typing import Final

import libvirt

from pmigd.core.problem import Code, Problem

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
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: Code.UNSUPPORTED_BY_LIBVIRT,
    libvirt.VIR_ERR_OPERATION_INVALID: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_INVALID_ARG: Code.REFUSED_BY_LIBVIRT,
    libvirt.VIR_ERR_OPERATION_DENIED: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_AUTH_FAILED: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_AUTH_CANCELLED: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: Code.SOURCE_AUTH,
    libvirt.VIR_ERR_ACCESS_DENIED: Code.SOURCE_AUTH,
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
    code = _BY_CODE.get(error.get_error_code())
    if code is None:
        code = Code.CONNECTION_BROKE if connection_broke(error) else Code.MIGRATION_FAILED
    return Problem(code, words_of(error))


def peer_problem_of(error: libvirt.libvirtError) -> Problem:
    """What went wrong when the destination's daemon was called from here."""
    code = _BY_CODE.get(error.get_error_code(), Code.DESTINATION_UNREACHABLE)
    if code is Code.SOURCE_AUTH or error.get_error_code() == libvirt.VIR_ERR_GNUTLS_ERROR:
        code = Code.DESTINATION_AUTH
    return Problem(code, words_of(error))


def words_of(error: libvirt.libvirtError) -> str:
    """libvirt's message, without the line of XML that it quotes where it cannot read one."""
    words = error.get_error_message() or str(error)
    if error.get_error_code() == libvirt.VIR_ERR_XML_DETAIL:
        return words.partition("\n")[0]
    return words
