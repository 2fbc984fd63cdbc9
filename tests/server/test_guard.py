from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from potluck.errors import ConfigError, Forbidden
from potluck.server.guard import check_host, check_origin, cors, may_bind, preflight

NONE: frozenset[str] = frozenset()
PAGE = "https://chat.example.org"

Headers = list[tuple[bytes, bytes]]


def headers(**fields: str) -> Headers:
    """Raw headers, lower case: `sec_fetch_site="none"` is `sec-fetch-site: none`."""
    return [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()]


def passes_host(host: str, *allowed: str) -> bool:
    with contextlib.suppress(Forbidden):
        check_host(headers(accept="*/*", host=host), frozenset(allowed), 8080)
        return True
    return False


def passes_origin(*allowed: str, **fields: str) -> bool:
    with contextlib.suppress(Forbidden):
        check_origin(headers(**{"host": "localhost:8080", **fields}), frozenset(allowed))
        return True
    return False


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8080", "localhost:1", "LOCALHOST", "LocalHost:8080", "localhost.",
        "localhost.:80", "127.0.0.1", "127.0.0.1:8080", "127.1.2.3", "127.255.255.255:80", "[::1]",
        "[::1]:80", "[0:0:0:0:0:0:0:1]:80",
    ],
)  # fmt: skip
def test_loopback_in_any_proper_spelling_is_let_in(host: str) -> None:
    assert passes_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.evil.com", "evil.com", "127.0.0.1.nip.io", "127.0.0.1.evil.com:8080",
        "evil.localhost", "notlocalhost", "localhost-evil.com", "0.0.0.0", "0.0.0.0:8080", "128.0.0.1",
        "10.0.0.1", "192.168.1.5", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.01",
        "127.0.0.1.", "127.0.0.256", "[::]", "[::2]:80", "::1", "[::1", "::1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "[::1%lo]", "[[::1]]", "localhost@evil.com", "evil.com@localhost",
        "user:pw@localhost:80", "localhost:80@evil.com", "localhost:", "localhost:80:80",
        "localhost:99999", "localhost:+80", "localhost:٨٠".encode().decode("latin-1"), "localhost:8o",
        " localhost", "localhost ", "localhost\t", "localhost\r\nx: y", "localhost/", "localhost#",
        "localhost?evil.com", "http://localhost", "localhost,evil.com", "localhost\x00", "localhost..",
        ".localhost", ".", "-", "", "*", "localhos\u00fe", "\uff4cocalhost".encode().decode("latin-1"),
        "a" * 5000, "localhost" * 500,
    ],
)  # fmt: skip
def test_no_other_host_is_mistaken_for_loopback(host: str) -> None:
    assert not passes_host(host)


def test_a_host_that_was_configured_is_let_in_and_its_neighbours_are_not() -> None:
    assert passes_host("gateway.lan", "gateway.lan")
    assert passes_host("GATEWAY.lan.:8080", "gateway.lan")
    assert passes_host("192.168.1.5:8080", "192.168.1.5")
    assert passes_host("[fd00::5]:8080", "fd00::5")
    assert not passes_host("gateway.lan.evil.com", "gateway.lan")
    assert not passes_host("evil.gateway.lan", "gateway.lan")


def test_a_host_that_was_configured_with_a_port_needs_that_port() -> None:
    assert passes_host("gateway.lan:8443", "gateway.lan:8443")
    assert not passes_host("gateway.lan:8080", "gateway.lan:8443")
    assert not passes_host("gateway.lan", "gateway.lan:8443")


def test_a_star_lets_in_every_host_that_is_one() -> None:
    assert passes_host("anything.example.org:80", "*")
    assert not passes_host("user@anything.example.org", "*")


@pytest.mark.parametrize("sent", [[], [b"localhost", b"localhost"], [b"localhost", b"evil.com"]])
def test_no_host_or_two_hosts_are_refused(sent: list[bytes]) -> None:
    with pytest.raises(Forbidden):
        check_host([(b"host", value) for value in sent], frozenset({"*"}), 8080)


def test_a_refused_host_is_told_what_to_do() -> None:
    with pytest.raises(Forbidden, match=r"http://localhost:8080, or add the name to `allowed_hosts`"):
        check_host(headers(host="evil.com"), NONE, 8080)


@given(
    st.lists(
        st.tuples(st.sampled_from([b"host", b"origin", b"sec-fetch-site", b"x"]), st.binary(max_size=300))
    )
)
@example([(b"host", b"[" * 50)])
@example([(b"host", b"localhost:" + b"9" * 4)])
def test_no_bytes_make_a_check_fail_otherwise_than_by_refusing(sent: Headers) -> None:
    for allowed in (NONE, frozenset({"gateway.lan", PAGE}), frozenset({"*"})):
        with contextlib.suppress(Forbidden):
            check_host(sent, allowed, 8080)
        with contextlib.suppress(Forbidden):
            check_origin(sent, allowed)
        preflight(sent, allowed)
        cors(sent, allowed)


@given(st.text(st.sampled_from("localhst127.0:[]@%/-evi"), max_size=24))
def test_only_loopback_is_let_in_whatever_is_built_from_its_letters(host: str) -> None:
    if passes_host(host):
        assert re.fullmatch(r"(localhost\.?|127(\.[0-9]{1,3}){3}|\[[0:]+1\])(:[0-9]{1,5})?", host)


def test_a_call_that_no_browser_made_passes() -> None:
    assert passes_origin()
    assert passes_origin(user_agent="OpenAI/Python 3.54.0")


def test_a_page_of_our_own_passes() -> None:
    assert passes_origin(origin="http://localhost:8080", sec_fetch_site="same-origin")
    assert passes_origin(origin="http://LOCALHOST:8080")
    assert passes_origin(sec_fetch_site="same-origin")
    assert passes_origin(sec_fetch_site="none"), "typed into the address bar"
    assert passes_origin(origin="https://gateway.lan", host="gateway.lan"), "TLS may end before us"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.com", "http://localhost:3000", "http://localhost", "http://127.0.0.1:8080",
        "null", "", "http://localhost:8080.evil.com", "http://evil.com/localhost:8080",
        "http://user@localhost:8080", "file://", "file://localhost:8080", "chrome-extension://abc",
        "localhost:8080", "http:///localhost:8080", "http://localhost:8080/",
        "http://localhost:8080 http://evil.com", "\x00", "x" * 9999,
    ],
)  # fmt: skip
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    assert not passes_origin(origin=origin)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_that_sends_no_origin_is_refused_too(site: str) -> None:
    assert not passes_origin(sec_fetch_site=site, sec_fetch_mode="no-cors", sec_fetch_dest="image")
    assert not passes_origin(sec_fetch_site=site)
    assert not passes_origin(sec_fetch_site=site, origin="http://localhost:8080"), (
        "they contradict each other"
    )


def test_a_link_may_lead_here_but_a_frame_or_a_form_may_not() -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert passes_origin(**link, sec_fetch_dest="document")
    assert not passes_origin(**link, sec_fetch_dest="iframe")
    assert not passes_origin(**link, sec_fetch_dest="document", origin="https://evil.com")
    assert not passes_origin(**link, sec_fetch_dest="document", origin="null")


def test_an_allowed_origin_passes_and_one_that_looks_like_it_does_not() -> None:
    assert passes_origin(PAGE, origin=PAGE, sec_fetch_site="cross-site")
    assert passes_origin(PAGE, origin=PAGE.upper())
    assert passes_origin("app://obsidian.md", origin="app://obsidian.md")
    assert not passes_origin(PAGE, origin=PAGE + ".evil.com")
    assert not passes_origin(PAGE, origin=PAGE + ":444")
    assert not passes_origin(PAGE, origin="http://chat.example.org")


def test_a_star_lets_in_every_origin_but_null() -> None:
    assert passes_origin("*", origin="https://anything.example.org", sec_fetch_site="cross-site")
    assert not passes_origin("*", origin="null")


def test_two_origins_are_refused() -> None:
    with pytest.raises(Forbidden):
        check_origin([(b"origin", PAGE.encode()), (b"origin", b"https://evil.com")], frozenset({PAGE}))


def test_a_refused_origin_is_told_what_to_do_and_shown_safely() -> None:
    with pytest.raises(Forbidden, match=r"evil\.com.*`cors_origins`"):
        check_origin(headers(host="localhost", origin="https://evil.com"), NONE)
    with pytest.raises(Forbidden) as refused:
        check_origin([(b"host", b"localhost"), (b"origin", b"\xff\x1b[31m" * 500)], NONE)
    assert str(refused.value).isascii()
    assert len(str(refused.value)) < 600


ASK = {
    "access_control_request_method": "POST",
    "access_control_request_headers": "authorization,content-type",
}


def test_a_preflight_of_an_allowed_origin_is_granted_for_that_origin_alone() -> None:
    answer = dict(preflight(headers(origin=PAGE, **ASK), frozenset({PAGE})) or [])
    assert answer[b"access-control-allow-origin"] == PAGE.encode()
    assert answer[b"access-control-allow-headers"] == b"authorization,content-type"
    assert b"POST" in answer[b"access-control-allow-methods"]
    assert answer[b"vary"] == b"Origin"
    assert b"access-control-allow-credentials" not in answer
    assert b"access-control-allow-private-network" not in answer


def test_a_preflight_of_anyone_else_is_not_granted() -> None:
    assert preflight(headers(origin="https://evil.com", **ASK), frozenset({PAGE})) is None
    assert preflight(headers(origin="null", **ASK), frozenset({"*"})) is None
    assert preflight(headers(origin=PAGE, **ASK), NONE) is None
    assert preflight(headers(**ASK), frozenset({PAGE})) is None
    assert preflight(headers(origin=PAGE), frozenset({PAGE})) is None, "an OPTIONS, but no preflight"


def test_what_a_preflight_asks_for_is_echoed_only_if_it_is_a_list_of_names() -> None:
    for wanted in ("a\r\nset-cookie: b", "a b", "a,,b", "", "x" * 2000):
        asked = headers(
            origin=PAGE, access_control_request_method="POST", access_control_request_headers=wanted
        )
        assert b"access-control-allow-headers" not in dict(preflight(asked, frozenset({PAGE})) or [])


def test_a_public_page_that_is_allowed_may_reach_a_private_address() -> None:
    asked = headers(origin=PAGE, access_control_request_private_network="true", **ASK)
    assert dict(preflight(asked, frozenset({PAGE})) or [])[b"access-control-allow-private-network"] == b"true"


def test_an_answer_can_be_read_by_an_allowed_origin_alone() -> None:
    assert (
        dict(cors(headers(origin=PAGE), frozenset({PAGE})))[b"access-control-allow-origin"] == PAGE.encode()
    )
    assert cors(headers(origin="https://evil.com"), frozenset({PAGE})) == []
    assert cors(headers(origin=PAGE), NONE) == []
    assert cors(headers(accept="*/*"), frozenset({"*"})) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_key(host: str) -> None:
    may_bind(host, has_keys=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "", "::", "[::]", "192.168.1.5", "gateway.lan", "localhost.evil.com"]
)
def test_the_network_needs_a_key_and_the_refusal_says_how_to_make_one(host: str) -> None:
    with pytest.raises(ConfigError, match=r"`potluck keys create NAME`"):
        may_bind(host, has_keys=False)
    may_bind(host, has_keys=True)
