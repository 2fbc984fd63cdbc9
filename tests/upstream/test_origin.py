"""What a base URL may be, and what a request may carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.errors import ConfigError, Invalid
from potluck.upstream import Call, Origin, header_lines
from potluck.upstream.call import REMEMBERED, Preamble

ORIGIN = Origin("api.example.com", 443, True)


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "authority"),
    [
        ("https://API.Example.com/v1", "api.example.com", 443, True, "api.example.com"),
        ("https://api.example.com:8443", "api.example.com", 8443, True, "api.example.com:8443"),
        ("http://127.0.0.1:8080/v1", "127.0.0.1", 8080, False, "127.0.0.1:8080"),
        ("http://localhost", "localhost", 80, False, "localhost"),
        ("http://[::1]:11434/v1", "::1", 11434, False, "[::1]:11434"),
        ("https://[2001:db8::1]/", "2001:db8::1", 443, True, "[2001:db8::1]"),
        ("https://bücher.example/v1", "xn--bcher-kva.example", 443, True, "xn--bcher-kva.example"),
    ],
)
def test_a_base_url_gives_its_origin(url: str, host: str, port: int, tls: bool, authority: str) -> None:
    origin = Origin.of(url)
    assert origin == Origin(host, port, tls)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1",
        "http://192.168.1.5:8080",
        "http://127.0.0.1.evil.example/",
        "ftp://localhost/",
        "api.example.com/v1",
        "https://",
        "https://exa mple.com/",
        "https://host:99999/",
        "https://host/v1#part",
        "",
    ],
)
def test_what_would_send_a_key_in_clear_or_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Origin.of(url)


@pytest.mark.parametrize("url", ["https://user:hunter2@host/", "https://host/v1?key=hunter2"])
def test_a_key_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Origin.of(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("value", ["a\r\nx: b", "a\nb", "a\rb", "a\0b", "a\x7fb", "schlüssel\u2028", "日本"])
def test_a_value_that_could_break_out_of_its_line_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(Invalid) as refused:
        header_lines([("authorization", value)])
    assert value not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "a\n", "ä"])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        header_lines([(name, "x")])


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=20)), max_size=5))
def test_rendered_headers_have_one_line_for_each_pair_or_are_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        lines = header_lines(pairs)
    except Invalid:
        return
    assert lines.count(b"\n") == lines.count(b"\r") == lines.count(b"\r\n") == len(pairs)
    assert not pairs or lines.endswith(b"\r\n")
    Preamble(ORIGIN)._block(b"".join(b"x-" + line for line in lines.splitlines(keepends=True)))


@pytest.mark.parametrize(
    "path",
    ["", "v1", "/a b", "/a\r\nx: y", "/a\n", "/ä", "/a#b", "/a\x00", "http://evil.example/", "/a\t"],
)
def test_a_path_that_could_become_another_request_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        Preamble(ORIGIN).render(Call(ORIGIN, path))


@pytest.mark.parametrize("method", ["", "post", "GET /x HTTP/1.1\r\nA: b\r\n\r\nGET", "PO ST"])
def test_a_method_that_could_become_another_request_is_refused(method: str) -> None:
    with pytest.raises(Invalid):
        Preamble(ORIGIN).render(Call(ORIGIN, "/", method=method))


@pytest.mark.parametrize(
    "headers",
    [
        b"no end",
        b"a: b\n",
        b"a: b\r\n\r\nGET / HTTP/1.1\r\n",
        b"\r\n",
        b"a : b\r\n",
        b" a: b\r\n",
        b"a: b\r\nHost: evil\r\n",
        b"Content-Length: 5\r\n",
        b"transfer-encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"accept-encoding: gzip\r\n",
        b"Proxy-Authorization: x\r\n",
    ],
)
def test_a_header_block_that_frames_or_splits_the_message_is_refused(headers: bytes) -> None:
    with pytest.raises(Invalid):
        Preamble(ORIGIN).render(Call(ORIGIN, "/", headers))


def test_a_request_is_rendered_once_with_all_its_framing() -> None:
    head, _, body = (
        Preamble(ORIGIN).render(Call(ORIGIN, "/v1?x=1", b"a: b\r\n", b"{}")).partition(b"\r\n\r\n")
    )
    first, *lines = head.split(b"\r\n")
    assert (first, body) == (b"POST /v1?x=1 HTTP/1.1", b"{}")
    names = [line.partition(b":")[0] for line in lines]
    assert sorted(names) == [b"a", b"accept-encoding", b"content-length", b"host", b"user-agent"]
    assert {b"host: api.example.com", b"accept-encoding: identity", b"content-length: 2"} <= set(lines)


def test_an_empty_post_says_so_and_a_get_has_no_length() -> None:
    preamble = Preamble(ORIGIN)
    assert b"content-length: 0\r\n" in preamble.render(Call(ORIGIN, "/"))
    assert b"content-length" not in preamble.render(Call(ORIGIN, "/", method="GET"))


def test_a_configured_user_agent_replaces_ours() -> None:
    request = Preamble(ORIGIN).render(Call(ORIGIN, "/", b"User-Agent: mine/1\r\n"))
    assert request.lower().count(b"user-agent:") == 1


def test_what_was_checked_is_remembered_within_bounds() -> None:
    preamble = Preamble(ORIGIN)
    for number in range(3 * REMEMBERED):
        preamble.render(Call(ORIGIN, f"/{number}", b"n: %d\r\n" % number))
    assert len(preamble._starts) <= REMEMBERED
    assert len(preamble._blocks) <= REMEMBERED
