"""The way to a provider: TLS that must be trusted, and proxies as the environment names them."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import suppress

import pytest
import trustme

from potluck.errors import ConfigError, Malformed, TimedOut, Unavailable
from potluck.upstream import Call, Origin, Timeouts, Upstream
from potluck.upstream.proxy import Proxies, Proxy
from tests.upstream.peer import Peer, Script, Talk, always, answering, peer, silent_after

AUTHORITY = trustme.CA()
FAR = "provider.example"  # a name no resolver knows (RFC 2606): only a proxy can find the way


def server_context(*names: str, authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def tunnel_to(target: Peer, answer: bytes = b"HTTP/1.1 200 Go\r\n\r\n") -> Script:
    """A proxy that answers CONNECT and then passes on every byte, wherever it was told to go."""

    async def script(talk: Talk) -> None:
        if not await talk.request():
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", target.origin.port)
        await talk.say(answer)
        try:
            await asyncio.gather(pass_on(talk.reader, writer), pass_on(reader, talk.writer))
        finally:
            writer.close()

    return script


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def environment(proxy: Peer, scheme: str, credentials: str = "") -> dict[str, str]:
    return {f"{scheme}_PROXY": f"http://{credentials}127.0.0.1:{proxy.origin.port}"}


async def test_a_trusted_certificate_for_the_right_name_is_spoken_to() -> None:
    upstream = Upstream(proxies={}, ssl_context=client_context())
    async with peer(always(), context=server_context("localhost")) as server:
        for _ in range(2):
            assert await (await upstream.send(server.call())).body(10) == b"ok"
        assert server.accepted == 1
        await upstream.close()


async def test_a_certificate_of_an_unknown_authority_gets_no_byte_of_the_request() -> None:
    upstream = Upstream(proxies={}, ssl_context=client_context())
    async with peer(always(), context=server_context("localhost", authority=trustme.CA())) as server:
        with pytest.raises(Unavailable, match="trusted TLS") as refused:
            await upstream.send(server.call())
        assert not refused.value.sent
        assert server.requests == []
        await upstream.close()


async def test_a_certificate_for_another_name_gets_no_byte_of_the_request() -> None:
    upstream = Upstream(proxies={}, ssl_context=client_context())
    async with peer(always(), context=server_context("elsewhere.example")) as server:
        with pytest.raises(Unavailable, match=r"trusted TLS.*localhost") as refused:
            await upstream.send(server.call())
        assert not refused.value.sent
        assert server.requests == []
        await upstream.close()


async def test_without_a_context_of_ours_the_machines_own_trust_decides(upstream: Upstream) -> None:
    async with peer(always(), context=server_context("localhost")) as server:
        with pytest.raises(Unavailable, match="trusted TLS"):
            await upstream.send(server.call())


async def test_a_tls_answer_without_length_ends_with_the_peers_goodbye() -> None:
    upstream = Upstream(proxies={}, ssl_context=client_context())
    async with peer(
        answering(b"HTTP/1.1 200 OK\r\n\r\nhello"), context=server_context("localhost")
    ) as server:
        assert await (await upstream.send(server.call())).body(10) == b"hello"
        await upstream.close()


async def test_a_peer_that_speaks_no_tls_is_unavailable_and_sees_no_request(upstream: Upstream) -> None:
    heard = []

    async def script(talk: Talk) -> None:
        heard.append(await talk.reader.read(65536))
        await talk.say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with peer(script) as server:
        with pytest.raises(Unavailable) as refused:
            await upstream.send(Call(Origin("localhost", server.origin.port, True), "/v1/secret"))
        assert not refused.value.sent
    assert b"secret" not in b"".join(heard)


async def test_a_tls_answer_without_length_cut_by_a_stranger_is_not_taken_for_whole() -> None:
    """RFC 8446 §6.1: only close_notify ends the data; anybody on the way can end the TCP connection."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await release.wait()
        talk.reset()

    release = asyncio.Event()
    upstream = Upstream(proxies={}, ssl_context=client_context())
    async with peer(script, context=server_context("localhost")) as server, asyncio.timeout(5):
        exchange = await upstream.send(server.call())
        assert await exchange.read() == b"hello"
        release.set()
        with pytest.raises(Unavailable):
            await exchange.read()
        await upstream.close()


async def test_a_handshake_that_never_ends_times_out_before_anything_is_sent(upstream: Upstream) -> None:
    async def script(talk: Talk) -> None:
        await talk.gone()

    async with peer(script) as server, asyncio.timeout(5):
        call = Call(Origin("localhost", server.origin.port, True), "/v1", timeouts=Timeouts(connect=0.05))
        with pytest.raises(TimedOut) as late:
            await upstream.send(call)
        assert not late.value.sent
        while server.sockets_open:
            await asyncio.sleep(0)


async def test_nobody_at_the_address_is_unavailable_and_nothing_was_sent(upstream: Upstream) -> None:
    async with peer(always()) as server:
        call = server.call()
    with pytest.raises(Unavailable) as refused:
        await upstream.send(call)
    assert not refused.value.sent


async def test_tls_runs_through_a_proxy_end_to_end() -> None:
    async with (
        peer(always(), context=server_context(FAR)) as server,
        peer(tunnel_to(server)) as proxy,
        asyncio.timeout(5),
    ):
        upstream = Upstream(
            proxies=environment(proxy, "HTTPS", "me:p%40ss@"), ssl_context=client_context(), sweep_every=0.01
        )
        call = Call(Origin(FAR, 443, True), "/v1", headers=b"authorization: Bearer secret\r\n")
        assert await (await upstream.send(call)).body(10) == b"ok"
        await upstream.close()
    (asked,) = proxy.requests
    assert asked.startswith(b"CONNECT provider.example:443 HTTP/1.1\r\nhost: provider.example:443\r\n")
    assert b"proxy-authorization: Basic " + base64.b64encode(b"me:p@ss") in asked
    assert b"secret" not in asked
    assert b"proxy-authorization" not in server.requests[0]


async def test_a_proxy_cannot_stand_in_for_the_provider() -> None:
    async with (
        peer(always(), context=server_context("proxy.example")) as false_one,
        peer(tunnel_to(false_one)) as proxy,
        asyncio.timeout(5),
    ):
        upstream = Upstream(proxies=environment(proxy, "HTTPS"), ssl_context=client_context())
        with pytest.raises(Unavailable, match="trusted TLS"):
            await upstream.send(Call(Origin(FAR, 443, True), "/v1"))
        assert false_one.requests == []
        await upstream.close()


async def test_plain_http_goes_through_a_proxy_in_absolute_form() -> None:
    async with peer(always()) as proxy:
        upstream = Upstream(proxies=environment(proxy, "HTTP", "me:pw@"))
        assert await (await upstream.send(Call(Origin(FAR, 80, False), "/v1"))).body(10) == b"ok"
        await upstream.close()
    assert proxy.requests[0].startswith(
        b"POST http://provider.example/v1 HTTP/1.1\r\nhost: provider.example\r\n"
    )
    assert b"proxy-authorization: Basic " in proxy.requests[0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n", Unavailable),
        (b"HTTP/1.1 200 Go\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", Malformed),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Malformed),
        (b"", Unavailable),
        (b"x" * 100_000, Unavailable),
    ],
)
async def test_a_proxy_that_refuses_or_lies_fails_before_anything_is_sent(
    answer: bytes, kind: type[Exception]
) -> None:
    async with peer(answering(answer)) as proxy, asyncio.timeout(5):
        upstream = Upstream(proxies=environment(proxy, "HTTPS"), ssl_context=client_context())
        with pytest.raises(kind) as refused:
            await upstream.send(Call(Origin(FAR, 443, True), "/v1"))
        assert not refused.value.sent  # type: ignore[attr-defined]
        await upstream.close()


async def test_a_proxy_that_says_nothing_times_out() -> None:
    async with peer(silent_after()) as proxy, asyncio.timeout(5):
        upstream = Upstream(proxies=environment(proxy, "HTTPS"), ssl_context=client_context())
        call = Call(Origin(FAR, 443, True), "/v1", timeouts=Timeouts(connect=0.05))
        with pytest.raises(TimedOut, match="through the proxy") as late:
            await upstream.send(call)
        assert not late.value.sent
        await upstream.close()


async def test_this_machine_is_reached_without_a_proxy() -> None:
    async with peer(always()) as server, peer(always()) as proxy:
        upstream = Upstream(proxies={"ALL_PROXY": f"http://127.0.0.1:{proxy.origin.port}"})
        assert await (await upstream.send(server.call())).body(10) == b"ok"
        assert proxy.accepted == 0
        await upstream.close()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"ALL_PROXY": "http://a:1"}, "a"),
        ({"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:1"}, "b"),
        ({"HTTPS_PROXY": "http://b:1", "https_proxy": "c:1"}, "c"),
        ({"HTTP_PROXY": "http://a:1"}, None),
        ({"ALL_PROXY": "http://a:1", "NO_PROXY": "*"}, None),
        ({"ALL_PROXY": "http://a:1", "NO_PROXY": "other, .example"}, None),
        ({"ALL_PROXY": "http://a:1", "NO_PROXY": "provider.example:443"}, None),
        ({"ALL_PROXY": "http://a:1", "NO_PROXY": "provider.example:80"}, "a"),
        ({"ALL_PROXY": "http://a:1", "NO_PROXY": "der.example"}, "a"),
    ],
)
def test_the_environment_chooses_the_proxy(settings: dict[str, str], wanted: str | None) -> None:
    chosen = Proxies(settings).choose(Origin(FAR, 443, True))
    assert (chosen.host if chosen else None) == wanted


def test_a_network_may_be_reached_without_a_proxy() -> None:
    proxies = Proxies({"ALL_PROXY": "http://a:1", "NO_PROXY": "10.0.0.0/8,2001:db8::/32"})
    assert proxies.choose(Origin("10.1.2.3", 443, True)) is None
    assert proxies.choose(Origin("2001:db8::7", 443, True)) is None
    assert proxies.choose(Origin("11.1.2.3", 443, True))


@pytest.mark.parametrize("url", ["https://me:hunter2@a:1", "socks5://a:1", "http://", "http://a:port"])
def test_a_proxy_we_cannot_speak_to_is_refused_and_its_password_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Proxy.of(url)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(Proxy.of("http://me:hunter2@a:1"))


async def test_a_redirect_is_returned_and_the_key_does_not_travel(upstream: Upstream) -> None:
    async with peer(always()) as other:
        there = f"http://127.0.0.1:{other.origin.port}/".encode()
        moved = b"HTTP/1.1 307 Moved\r\nlocation: " + there + b"\r\ncontent-length: 0\r\n\r\n"
        async with peer(always(moved)) as server:
            exchange = await upstream.send(server.call(headers=b"authorization: Bearer k\r\n"))
            assert (exchange.status, exchange.header(b"location")) == (307, there)
            exchange.close()
        assert other.accepted == 0
