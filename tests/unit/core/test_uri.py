"""What pmigd accepts as an address, and what it must never let through to libvirt."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pmigd.core.address import ListenAddress, UriRefused, is_loopback, parse_listen_address
from pmigd.core.uri import (
    LocalUri,
    MigrateUri,
    PeerUri,
    matches,
    parse_local_uri,
    parse_migrate_uri,
    parse_peer_uri,
    parse_uri_pattern,
)

PARSERS = (
    parse_peer_uri,
    parse_uri_pattern,
    parse_migrate_uri,
    parse_local_uri,
    parse_listen_address,
)

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))


@st.composite
def good_uris(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["qemu+tls", "qemu+tcp", "qemu+ssh", "qemu"]))
    user = (
        draw(st.sampled_from(["", "root@", "first.last@", "CORP%5Cops@"]))
        if scheme == "qemu+ssh"
        else ""
    )
    return f"{scheme}://{user}{draw(HOSTS)}{draw(PORTS)}/system"


# A URI with one piece of another kind put somewhere: near misses find more than pure noise.
TRICKS = st.sampled_from(
    [
        "?",
        "#",
        "%",
        "%2f",
        " ",
        "\n",
        "\x00",
        "@",
        ":",
        "/",
        "//",
        "\\",
        "[",
        "]",
        "..",
        "-",
        "*",
        "?command=/bin/sh",
        "&socket=/tmp/s",
        "?no_verify=1",
        "ü",
        "\u202e",
        "\uff11",
        "\u2028",
    ]
)


@st.composite
def near_misses(draw: st.DrawFn) -> str:
    uri = draw(good_uris())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(uri)))
        uri = uri[:at] + draw(TRICKS) + uri[at:]
    return uri


@given(good_uris())
def test_an_accepted_uri_is_rebuilt_from_its_parts_and_means_the_same(text: str) -> None:
    uri = parse_peer_uri(text)
    assert parse_peer_uri(uri.text) == uri
    assert parse_peer_uri(uri.text).text == uri.text


@given(st.one_of(st.text(), near_misses(), good_uris()))
@example("qemu+tls://h/system\n")
@example("qemu+tls://h:\uff11/system")
def test_nothing_accepted_can_carry_a_query_a_space_or_a_control_character(text: str) -> None:
    try:
        uri = parse_peer_uri(text)
    except UriRefused:
        return
    assert re.fullmatch(r"[A-Za-z0-9_.+~@\\$-]*", uri.user or "")
    for spelling in (text, uri.text):
        without_user = re.sub(r"//[^/@]*@", "//", spelling)
        assert not re.search(r"[?#%\\\s\x00-\x1f\x7f]", without_user)
        assert not re.search(r"[?#\s\x00-\x1f\x7f]", spelling)
        assert spelling.isascii()
    assert not uri.host.startswith("-")
    assert uri.path == "/system"


@given(st.one_of(st.text(), near_misses(), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_garbage_raises_nothing_but_a_refusal_with_a_printable_reason(text: str) -> None:
    reasons: list[str] = []
    for parse in PARSERS:
        try:
            parse(text)
        except UriRefused as refused:
            reasons.append(refused.reason)
    assert all(reason.isprintable() and len(reason) < 300 for reason in reasons)


@given(good_uris())
def test_a_uri_without_a_star_is_a_pattern_that_matches_exactly_itself(text: str) -> None:
    assert matches(parse_uri_pattern(text), parse_peer_uri(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu+tls://hostb/system", PeerUri("qemu+tls", None, "hostb", None, "/system")),
        ("qemu://hostb/system", PeerUri("qemu+tls", None, "hostb", None, "/system")),
        ("qemu+tcp://HostB.Example.com:16509/system",
         PeerUri("qemu+tcp", None, "hostb.example.com", 16509, "/system")),
        ("qemu+ssh://root@10.0.0.2:22/system",
         PeerUri("qemu+ssh", "root", "10.0.0.2", 22, "/system")),
        ("qemu+tls://[2001:DB8:0::1]:16514/system",
         PeerUri("qemu+tls", None, "2001:db8::1", 16514, "/system")),
    ],
)  # fmt: skip
def test_each_part_is_taken_apart(text: str, expected: PeerUri) -> None:
    assert parse_peer_uri(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("hostb", "bare word"),
        ("qemu+tls:hostb/system", "must read"),
        ("QEMU+TLS://hostb/system", "scheme"),
        ("qemu+ext://hostb/system", "scheme"),
        ("qemu+libssh2://hostb/system", "scheme"),
        ("test://hostb/default", "scheme"),
        ("qemu+unix://hostb/system", "only this host"),
        ("qemu:///system", "no host"),
        ("qemu+tls://hostb", "path"),
        ("qemu+tls://hostb/", "path"),
        ("qemu+tls://hostb/session", "path"),
        ("qemu+tls://hostb/system/", "path"),
        ("qemu+tls://hostb//system", "path"),
        ("qemu+tls://-oProxyCommand=x/system", "begin with '-'"),
        ("qemu+tls://-h/system", "begin with '-'"),
        ("qemu+tls://h-/system", "not a valid host name"),
        ("qemu+tls://h_1/system", "not a valid host name"),
        ("qemu+tls://a..b/system", "not a valid host name"),
        ("qemu+tls://hostb./system", "must not end with '.'"),
        ("qemu+tls://" + "a" * 64 + "/system", "not a valid host name"),
        ("qemu+tls://" + ".".join(["a" * 63] * 4) + "/system", "253"),
        ("qemu+tls://" + "a." * 300 + "a/system", "longer than"),
        ("qemu+tls://127.1/system", "neither a host name nor an IPv4"),
        ("qemu+tls://2130706433/system", "neither a host name nor an IPv4"),
        ("qemu+tls://0x7f.0.0.1/system", "neither a host name nor an IPv4"),
        ("qemu+tls://0x7f000001/system", "neither a host name nor an IPv4"),
        ("qemu+tls://010.0.0.1/system", "neither a host name nor an IPv4"),
        ("qemu+tls://10.0.0.256/system", "neither a host name nor an IPv4"),
        ("qemu+tls://2001:db8::1/system", "brackets"),
        ("qemu+tls://[2001:db8::1/system", "brackets"),
        ("qemu+tls://[2001:db8::1]16514/system", "brackets"),
        ("qemu+tls://[hostb]/system", "not an IPv6 address"),
        ("qemu+tls://[fe80::1%25eth0]/system", "percent"),
        ("qemu+tls://host%2eb/system", "percent"),
        ("qemu+tls://hostb\\@evil/system", "only with qemu+ssh"),
        ("qemu+ssh://root@host\\b/system", "backslash"),
        ("qemu+ssh://root@host%5cb/system", "percent"),
        ("qemu+tls://root@hostb/system", "only with qemu+ssh"),
        ("qemu+ssh://%2dlroot@hostb/system", "not a valid user name"),
        ("qemu+ssh://a%20-oProxyCommand=x@hostb/system", "not a valid user name"),
        ("qemu+ssh://a%0ab@hostb/system", "not a valid user name"),
        ("qemu+ssh://a\nb@hostb/system", "not a valid user name"),
        ("qemu+ssh://a%00@hostb/system", "not a valid user name"),
        ("qemu+ssh://$(id)@hostb/system", "not a valid user name"),
        ("qemu+ssh://a`id`@hostb/system", "not a valid user name"),
        ("qemu+ssh://a;id@hostb/system", "not a valid user name"),
        ("qemu+ssh://a'b@hostb/system", "not a valid user name"),
        ("qemu+ssh://CORP%5c@hostb/system", "not a valid user name"),
        ("qemu+ssh://a%zz@hostb/system", "not a valid user name"),
        ("qemu+ssh://%c3%bcser@hostb/system", "not a valid user name"),
        ("qemu+ssh://r%6f%6ft%3Ahunter2@hostb/system", "password"),
        ("qemu+ssh://-lroot@hostb/system", "not a valid user name"),
        ("qemu+ssh://@hostb/system", "not a valid user name"),
        ("qemu+ssh://a@b@hostb/system", "more than one '@'"),
        ("qemu+ssh://root:hunter2@hostb/system", "password"),
        ("qemu+tls://hostb:0/system", "port"),
        ("qemu+tls://hostb:/system", "port"),
        ("qemu+tls://hostb:65536/system", "port"),
        ("qemu+tls://hostb:016514/system", "port"),
        ("qemu+tls://hostb:+1/system", "port"),
        ("qemu+tls://*.example.com/system", "not a valid host name"),
        ("qemu+tls://hostb/system ", "space"),
        ("qemu+tls://hostb/system\x00", "control character"),
        ("qemu+tls://höstb/system", "outside ASCII"),
        ("qemu+tls://hostb/system#x", "fragment"),
        ("qemu+tls://hostb/system?", "query"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(UriRefused) as refused:
        parse_peer_uri(text)
    assert why in refused.value.reason


@pytest.mark.parametrize(
    ("written", "user", "for_libvirt"),
    [
        ("first.last", "first.last", "first.last"),
        ("user_x", "user_x", "user_x"),
        ("Jane.Doe-2", "Jane.Doe-2", "Jane.Doe-2"),
        ("CORP%5Cjane.doe", "CORP\\jane.doe", "CORP%5Cjane.doe"),
        ("CORP%5cjane", "CORP\\jane", "CORP%5Cjane"),
        ("CORP\\jane", "CORP\\jane", "CORP%5Cjane"),
        ("jane%40corp.example", "jane@corp.example", "jane%40corp.example"),
        ("hosta$", "hosta$", "hosta$"),
        ("r%6f%6ft", "root", "root"),
        ("2day", "2day", "2day"),
    ],
)
def test_users_are_those_that_the_peer_may_have(written, user, for_libvirt) -> None:
    uri = parse_peer_uri(f"qemu+ssh://{written}@hostb/system")
    assert (uri.user, uri.text) == (user, f"qemu+ssh://{for_libvirt}@hostb/system")
    assert parse_peer_uri(uri.text) == uri
    assert matches(f"qemu+ssh://{written}@*/system", uri)
    assert not matches("qemu+ssh://*/system", uri)


def test_a_name_of_sshs_configuration_is_kept_as_it_is_written() -> None:
    uri = parse_peer_uri("qemu+ssh://My_Host-b:2222/system")
    assert (uri.host, uri.text) == ("my_host-b", "qemu+ssh://My_Host-b:2222/system")
    assert parse_peer_uri(uri.text) == uri
    assert matches("qemu+ssh://my_host-b:2222/system", uri)
    assert matches("qemu+ssh://MY_HOST-B:2222/system", uri)
    assert parse_peer_uri("qemu+tls://HostB/system").text == "qemu+tls://hostb/system"
    for other in ("qemu+tls://my_host/system", "qemu+ssh://-my_host/system"):
        with pytest.raises(UriRefused):
            parse_peer_uri(other)


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        ("command=/bin/sh", "program as root"),
        ("netcat=/bin/sh", "program to run on the peer"),
        ("socket=/tmp/evil", "any UNIX socket"),
        ("pkipath=/tmp/pki", "certificates"),
        ("no_verify=1", "identity"),
        ("NO_VERIFY=1", "identity"),
        ("keyfile=/etc/shadow", "private key"),
        ("authfile=/tmp/a", "credentials"),
        ("name=qemu:///session", "another URI"),
        ("brand_new=1", "does not pass parameters"),
    ],
)
def test_a_parameter_is_refused_by_name_with_what_it_would_do(parameter: str, why: str) -> None:
    with pytest.raises(UriRefused) as refused:
        parse_peer_uri(f"qemu+tls://hostb/system?{parameter}")
    assert parameter.partition("=")[0] + "=" in refused.value.reason
    assert why in refused.value.reason


def test_a_refusal_does_not_repeat_a_password() -> None:
    with pytest.raises(UriRefused) as refused:
        parse_peer_uri("qemu+ssh://root:hunter2@hostb/system")
    assert "hunter2" not in refused.value.reason


def test_what_is_not_text_is_refused() -> None:
    for value in (None, 7, b"qemu+tls://hostb/system", ["qemu+tls://hostb/system"]):
        with pytest.raises(UriRefused):
            parse_peer_uri(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost.localdomain",
        "x.localhost",
        "127.0.0.1",
        "127.255.0.3",
        "0.0.0.0",
        "0.0.0.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "ip6-localhost",
        "localhost6",
    ],
)
def test_this_host_is_recognised_by_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["hostb", "localhostb", "10.0.0.1", "128.0.0.1", "2001:db8::1"])
def test_other_hosts_are_not_this_host(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("pattern", "uri", "expected"),
    [
        ("qemu+tls://*.example.com/system", "qemu+tls://a.example.com/system", True),
        ("qemu+tls://*.example.com/system", "qemu://a.example.com/system", True),
        ("qemu://*.example.com/system", "qemu+tls://a.example.com/system", True),
        ("qemu+tls://*.example.com/system", "qemu+tls://a.b.example.com/system", True),
        ("qemu+tls://*.Example.com/system", "qemu+tls://A.EXAMPLE.com/system", True),
        ("qemu+tls://*.example.com/system", "qemu+tls://example.com/system", False),
        ("qemu+tls://*.example.com/system", "qemu+tls://aexample.com/system", False),
        ("qemu+tls://*.example.com/system", "qemu+tls://a.example.com.evil.net/system", False),
        ("qemu+tls://*.example.com/system", "qemu+tcp://a.example.com/system", False),
        ("qemu+tls://*.example.com/system", "qemu+tls://a.example.com:99/system", False),
        ("qemu+tls://*.example.com:99/system", "qemu+tls://a.example.com:99/system", True),
        ("qemu+tls://*.example.com:99/system", "qemu+tls://a.example.com/system", False),
        ("qemu+ssh://*.example.com/system", "qemu+ssh://root@a.example.com/system", False),
        ("qemu+ssh://root@*.example.com/system", "qemu+ssh://root@a.example.com/system", True),
        ("qemu+ssh://root@*.example.com/system", "qemu+ssh://a.example.com/system", False),
        ("qemu+tls://host*/system", "qemu+tls://hostb/system", True),
        ("qemu+tls://host*/system", "qemu+tls://host/system", True),
        ("qemu+tls://host*/system", "qemu+tls://hostb.evil.net/system", False),
        ("qemu+tls://a*b*c.d/system", "qemu+tls://axbxbc.d/system", True),
        ("qemu+tls://a*b*c.d/system", "qemu+tls://axc.d/system", False),
        ("qemu+tls://a.*.d/system", "qemu+tls://a.b.c.d/system", True),
        ("qemu+tls://a.*.d/system", "qemu+tls://a.d/system", False),
        ("qemu+tls://*.b.*/system", "qemu+tls://a.b.b.c/system", True),
        ("qemu+tls://10.0.0.*/system", "qemu+tls://10.0.0.7/system", True),
        ("qemu+tls://10.0.0.*/system", "qemu+tls://10.0.1.7/system", False),
        ("qemu+tls://*/system", "qemu+tls://[2001:db8::1]/system", True),
        ("qemu+tls://*.1/system", "qemu+tls://[2001:db8::1]/system", False),
        ("qemu+tls://[2001:db8::1]/system", "qemu+tls://[2001:DB8::1]/system", True),
    ],
)
def test_a_pattern_matches_part_by_part(pattern: str, uri: str, expected: bool) -> None:
    assert matches(pattern, parse_peer_uri(uri)) is expected


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("*", "must read"),
        ("*://hostb/system", "scheme"),
        ("qemu+*://hostb/system", "scheme"),
        ("qemu+tls://hostb/*", "path"),
        ("qemu+tls://*/system?*", "query"),
        ("qemu+tls://hostb:*/system", "host only"),
        ("qemu+ssh://*@hostb/system", "host only"),
        ("qemu+tls://**.example.com/system", "'**'"),
        ("qemu+tls://[2001:db8::*]/system", "IPv6"),
        ("qemu+tls://*..com/system", "not a valid host name"),
        ("qemu+tls://-*/system", "begin with '-'"),
    ],
)
def test_a_bad_pattern_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(UriRefused) as refused:
        parse_uri_pattern(pattern)
    assert why in refused.value.reason


def test_many_stars_cost_no_time() -> None:
    pattern = parse_uri_pattern("qemu+tls://" + "*." * 100 + "x/system")
    uri = parse_peer_uri("qemu+tls://" + "a." * 120 + "y/system")
    assert not matches(pattern, uri)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://10.0.0.2", MigrateUri("tcp", "10.0.0.2", None)),
        ("tcp://hostb:49152", MigrateUri("tcp", "hostb", 49152)),
        ("tcp://[2001:db8::1]:1", MigrateUri("tcp", "2001:db8::1", 1)),
    ],
)
def test_a_migration_uri_is_tcp_host_and_perhaps_a_port(text: str, expected: MigrateUri) -> None:
    assert parse_migrate_uri(text) == expected
    assert parse_migrate_uri(expected.text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp:hostb:1",
        "tcp://",
        "tcp://hostb/",
        "tcp://a@hostb",
        "tcp://hostb?x=1",
        "hostb",
        "tcp://hostb:0",
        "unix:///tmp/s",
        "rdma://hostb",
        "tcp://-x",
        "tcp://hostb#",
        "tcp://h b",
    ],
)
def test_any_other_migration_uri_is_refused(text: str) -> None:
    with pytest.raises(UriRefused):
        parse_migrate_uri(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu:///system", LocalUri("qemu", None)),
        ("qemu+unix:///system", LocalUri("qemu+unix", None)),
        ("qemu:///system?socket=/run/a/libvirt-sock", LocalUri("qemu", "/run/a/libvirt-sock")),
    ],
)
def test_the_local_uri_may_name_its_socket(text: str, expected: LocalUri) -> None:
    assert parse_local_uri(text) == expected
    assert expected.text == text


@pytest.mark.parametrize(
    "text",
    [
        "qemu:///session",
        "qemu://hostb/system",
        "qemu+tls:///system",
        "test:///default",
        "qemu",
        "qemu:///system?socket=rel",
        "qemu:///system?socket=/a/../b",
        "qemu:///system?socket=",
        "qemu:///system?socket=/a&command=/b",
        "qemu:///system?command=/b",
        "qemu:///system#x",
        "qemu:///system?socket=/" + "a" * 107,
        "qemu:///embed?root=/tmp",
        "qemu+ssh:///system",
    ],
)
def test_any_other_local_uri_is_refused(text: str) -> None:
    with pytest.raises(UriRefused):
        parse_local_uri(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9718", ListenAddress("127.0.0.1", 9718)),
        ("0.0.0.0:9718", ListenAddress("0.0.0.0", 9718)),
        ("[::]:9718", ListenAddress("::", 9718)),
        ("hosta:0", ListenAddress("hosta", 0)),
    ],
)
def test_a_listen_address_is_host_and_port(text: str, expected: ListenAddress) -> None:
    assert parse_listen_address(text) == expected
    assert expected.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9718",
        ":9718",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "::1:9718",
        "h:70000",
        "http://h:1",
        "a@h:1",
        "h:00",
        "h:1/",
    ],
)
def test_any_other_listen_address_is_refused(text: str) -> None:
    with pytest.raises(UriRefused):
        parse_listen_address(text)
