"""Hosts, addresses and ports in their one spelling, and what is safe to be taken apart at all.

It never guesses, normalises a mistake away or resolves a name: see :mod:`pmigd.core.uri`.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

MAX_URI_LENGTH: Final = 512
"""Characters; a host name has at most 253, so nothing honest is longer."""

_PORT_MAX: Final = 65535
_HOST_MAX: Final = 253  # RFC 1035: the longest name that can be written out
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_LOCALHOST_NAMES: Final = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost4.localdomain4",
        "localhost6",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
    }
)


class UriRefused(ValueError):  # noqa: N818 - it says what happened, and callers read it so
    """An address was not accepted; ``reason`` is one sentence fit for the person who gave it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: Final = reason


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP address to listen on.  Make it with :func:`parse_listen_address`.

    ``port`` 0 lets the kernel choose one.
    """

    host: str
    port: int

    @property
    def text(self) -> str:
        """``host:port``, with brackets around IPv6."""
        return authority_text(None, self.host, self.port)


def check_host(untrusted_text: str) -> None:
    """Check a host name or an address, as :func:`parse_host` does."""
    parse_host(untrusted_text)


def parse_host(untrusted_text: str) -> str:
    """A host name or an address in its one spelling; else :class:`UriRefused`.

    IPv6 may be in brackets or bare, and comes back bare.
    """
    text = plain(untrusted_text, "address")
    return one_spelling(f"[{text}]" if ":" in text and not text.startswith("[") else text)


def parse_allowed_name(untrusted_text: str) -> str:
    """A host, or ``*.`` and a domain, as ``[peer] allowed_names`` has it; else UriRefused."""
    any_label = "*." if untrusted_text.startswith("*.") else ""
    name = parse_host(untrusted_text.removeprefix(any_label))
    if any_label and is_address(name):
        raise UriRefused("'*' is not accepted before an address")
    return any_label + name


def parse_listen_address(untrusted_text: str) -> ListenAddress:
    """Parse ``HOST:PORT`` (``[IPV6]:PORT``) to listen on; raise :class:`UriRefused` otherwise.

    The host must be given: "on every address" is written ``0.0.0.0`` or ``[::]``, so that nobody
    opens a port to the world by leaving something out.
    """
    text = plain(untrusted_text, "listen address")
    if re.search(r"[/?#@]", text):
        raise UriRefused("a listen address is HOST:PORT and nothing else")
    if text.startswith(":"):
        raise UriRefused("a listen address needs a host; 0.0.0.0 or [::] is every address")
    _, host_text, port_text = split_authority(text)
    if port_text is None:
        raise UriRefused("a listen address needs a port, as in 127.0.0.1:9718")
    if port_text == "0":
        return ListenAddress(one_spelling(host_text), 0)
    port = parse_port(port_text)
    assert port is not None  # noqa: S101 - port_text is not None
    return ListenAddress(one_spelling(host_text), port)


def is_address(host: str) -> bool:
    """Whether a checked host is an address rather than a name."""
    return ":" in host or host.rsplit(".", 1)[-1].isdigit()


def is_loopback(host: str) -> bool:
    """Whether a checked host (``PeerUri.host``) is "this host" by its very name.

    True for localhost names, 127.0.0.0/8, ::1, the unspecified addresses (Linux connects them to
    itself) and these written as IPv4-mapped IPv6.  Names are not resolved: a DNS name that
    points here is found out only when libvirt refuses to migrate to the same host.
    """
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in _LOCALHOST_NAMES or host.endswith(".localhost")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        # All of 0.0.0.0/8 is "this network" (RFC 1122); Linux takes 0.0.0.0 for itself.
        return address.is_loopback or address.packed[0] == 0
    return address.is_loopback or address.is_unspecified


def plain(untrusted_text: str, what: str) -> str:
    """The text, once it is known to be short, printable ASCII without tricks."""
    if not isinstance(untrusted_text, str):
        raise UriRefused(f"a {what} must be text")
    if not untrusted_text:
        raise UriRefused(f"the {what} is empty")
    if len(untrusted_text) > MAX_URI_LENGTH:
        raise UriRefused(f"the {what} is longer than {MAX_URI_LENGTH} characters")
    if any(not "!" <= character <= "~" for character in untrusted_text):
        raise UriRefused(
            f"the {what} holds a space, a control character or a character outside ASCII"
        )
    if "%" in untrusted_text:
        raise UriRefused(f"percent-encoding is not accepted in a {what}; write it plainly")
    if "\\" in untrusted_text:
        raise UriRefused(f"a backslash is not accepted in a {what}")
    return untrusted_text


def split_authority(authority: str) -> tuple[str | None, str, str | None]:
    """User, host and port as they stand; the host still with its brackets."""
    user: str | None = None
    if "@" in authority:
        user, _, authority = authority.partition("@")
        if "@" in authority:
            raise UriRefused("there is more than one '@' before the host")
        if ":" in user:
            # The text after the colon may be a secret: it is not repeated.
            raise UriRefused("a password is not accepted in a URI")
    if authority.startswith("["):
        address, bracket, rest = authority.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UriRefused("the brackets around an IPv6 address are not closed properly")
        return user, address + "]", rest[1:] if rest else None
    if authority.count(":") > 1:
        raise UriRefused("an IPv6 address needs brackets, as in [2001:db8::1]")
    host, colon, port = authority.partition(":")
    return user, host, port if colon else None


def parse_port(text: str | None) -> int | None:
    """A port from 1 on, None where none is given; else :class:`UriRefused`."""
    if text is None:
        return None
    if not _PORT.match(text) or int(text) > _PORT_MAX:
        raise UriRefused(f"the port must be a number from 1 to {_PORT_MAX}, not {shown(text)}")
    return int(text)


def one_spelling(text: str, label: re.Pattern[str] = LABEL) -> str:
    """The host in one spelling: lower case, no brackets, IPv6 compressed."""
    if not text:
        raise UriRefused("the host is missing")
    if text.startswith("["):
        return _ipv6(text[1:-1])
    host = text.lower()
    check_labels(host, label)
    if _NUMERIC_LABEL.match(host.rsplit(".", 1)[-1]):
        # 2130706433, 127.1 and 0x7f.1 all reach 127.0.0.1 through inet_aton(): only the plain
        # dotted form is let through, so that nothing hides behind another spelling.
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise UriRefused(f"{shown(host)} is neither a host name nor an IPv4 address") from None
    return host


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise UriRefused(f"{shown(text)} is not an IPv6 address") from None
    return address.compressed


def check_labels(host: str, label_form: re.Pattern[str]) -> None:
    """The labels of a host name have this form, or :class:`UriRefused`."""
    if host.startswith("-"):
        raise UriRefused("a host must not begin with '-'")
    if len(host) > _HOST_MAX:
        raise UriRefused(f"a host name has at most {_HOST_MAX} characters")
    if host.endswith("."):
        raise UriRefused("a host must not end with '.'; leave the final dot out")
    if not all(label_form.match(label) for label in host.split(".")):
        raise UriRefused(f"{shown(host)} is not a valid host name")


def authority_text(user: str | None, host: str, port: int | None) -> str:
    """The labels of a host name have this form, or :class:`UriRefused`."""
    before = "" if user is None else f"{user}@"
    shown_host = f"[{host}]" if ":" in host else host
    after = "" if port is None else f":{port}"
    return f"{before}{shown_host}{after}"


def shown(untrusted_text: str) -> str:
    """A short quotation that is safe in a log line and on a terminal."""
    return ascii(untrusted_text if len(untrusted_text) <= 60 else untrusted_text[:60] + "…")
