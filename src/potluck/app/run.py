"""Runs the gateway: binds the port, starts the local model, serves in this process or in several workers.

Rules: the port is bound once, by the parent, so that a worker that dies loses no connection that waits in the
backlog. The parent owns the local model. SIGTERM and SIGINT drain what runs; a second one does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import msgspec
import uvicorn

from potluck.app.compose import Gateway, database, worker_name
from potluck.app.neighbours import Neighbours
from potluck.app.workers import Crew
from potluck.config import Settings
from potluck.errors import ConfigError
from potluck.server.guard import may_bind
from potluck.store import keys

DRAIN_SECONDS = 30  # how long open streams may take to end after SIGTERM
KEEP_ALIVE_SECONDS = 75  # as nginx: longer than the idle time of the usual clients' pools
BACKLOG = 4096
ONE_WORKER = "SIGUSR2 renews workers one after the other, and there is one: set workers = 2 for that."

_log = logging.getLogger("potluck")
OnReady = Callable[[str], None]


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling: signals are ours, because we clean up after serving.

    `on_serving` is called once connections are taken.
    """

    on_serving: Callable[[], object] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_serving is not None:
            self.on_serving()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, environ: Mapping[str, str], *, on_ready: OnReady | None = None) -> int:
    """Blocks until SIGTERM or SIGINT; the exit status. Raises ConfigError when it cannot start.

    `on_ready` is called with the URL, in a thread of its own, once requests are served.
    """
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(
        logging.WARNING
    )  # what it says of itself at start, we say better
    check_bind(settings)
    listener = bind(settings.host, settings.port)
    settings = msgspec.structs.replace(settings, port=listener.getsockname()[1])
    _raise_file_limit()
    run = _alone if settings.workers == 1 else _crew
    with listener:
        return _loop(run(settings, dict(environ), listener, on_ready))


def check_bind(settings: Settings) -> None:
    """Refuses to open a gateway without client keys to a network. Raises ConfigError."""
    store = database(settings)
    connection = store.connect()
    try:
        may_bind(settings.host, any(not key.revoked_at for key in keys.list_keys(connection)))
    finally:
        connection.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError that says who else may be there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port} ({error.strerror}). Perhaps a gateway runs already (`potluck doctor`); "
            "choose another port with --port."
        ) from error
    listener.set_inheritable(True)
    return listener


async def serve_on(
    gateway: Gateway,
    listener: socket.socket,
    stop: asyncio.Event,
    on_serving: Callable[[], object] | None = None,
) -> None:
    """One worker's life, until `stop` is set."""
    config = uvicorn.Config(
        gateway.asgi,
        http=gateway.door.protocol(),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nobody in front of us may say who the client is
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=BACKLOG,
    )
    server = Server(config)
    server.on_serving = on_serving
    gateway.start()
    _spare_the_collector()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    gateway.queue.close()  # draining is for answers that have begun
    gateway.background.runner.rest()
    stopping.cancel()
    await serving
    await gateway.stop()


async def _alone(
    settings: Settings, environ: dict[str, str], listener: socket.socket, on_ready: OnReady | None
) -> int:
    stop = stop_on_signals()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, _log.warning, ONE_WORKER)
    async with Neighbours(settings, environ) as neighbours:
        gateway = Gateway(neighbours.settings, neighbours.environ, worker=worker_name(0))
        neighbours.tell(gateway.use, gateway.inventory.providers)
        _announce(settings, on_ready)
        await serve_on(gateway, listener, stop)
    return 0


async def _crew(
    settings: Settings, environ: dict[str, str], listener: socket.socket, on_ready: OnReady | None
) -> int:
    stop = stop_on_signals()
    async with Neighbours(settings, environ) as neighbours:
        crew = Crew(neighbours.settings, neighbours, listener)
        _announce(settings, on_ready)
        await crew.run(stop)
    return 0


def stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


def _announce(settings: Settings, on_ready: OnReady | None) -> None:
    if on_ready is not None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        threading.Thread(target=on_ready, args=(f"http://{host}:{settings.port}",), daemon=True).start()


def _loop(main: object) -> int:
    import uvloop

    result: int = uvloop.run(main)  # type: ignore[arg-type]
    return result


def _spare_the_collector() -> None:
    """What is alive now lives as long as the process, so the cyclic garbage collector need not walk it.

    Measured at 64 connections: a full collection took 20-30 ms and was the whole of p99; the young ones, at
    the default of 700 objects, were a tenth of the CPU. Hardly anything here is cyclic: connections that close.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _raise_file_limit() -> None:
    # Every connection is a file; the usual soft limit of 1,024 would end a flood test, or a busy day.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
