"""Runs a service in this process: opens it on a port, answers until a signal comes, and ends in order.

SIGTERM and SIGINT: ``/readyz`` turns 503 and streams and long polls end; no connection is accepted any more and requests
under way get their answers; callouts get ``RETRACE_GRACE`` seconds; the process exits with 0. A second signal does not
wait for requests. What is cut off goes on at the next start, under the same idempotency keys.

The port is bound first: a port in use is told before a database is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
import uvicorn

from adapters.cli.failures import Failure
from adapters.settings import Settings
from adapters.system import calm_collector

if TYPE_CHECKING:
    from adapters.bootstrap import Service

_log = structlog.get_logger("retrace")

_LAST_ANSWERS_S = 5
"""How long requests under way may take after a signal; nothing long is among them, for long polls have ended."""


_KEEP_ALIVE_S = 75
"""How long a connection may idle: longer than load balancers let theirs (60 s), or they would meet it as it closes."""


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: its own would end the process by the signal instead of exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Among(NamedTuple):
    """Of a process that is one of several: what can be read when the parent has ended, and what to call when it serves."""

    parent: int
    serves: Callable[[], None]


def run(
    settings: Settings,
    listener: socket.socket,
    open_service: Callable[[], Awaitable[Service]],
    prepare: Callable[[Service, str], Awaitable[None]],
    among: Among | None = None,
) -> None:
    """Host a service until a signal ends it.

    Args:
        settings: how to answer, and how to end.
        listener: the port, bound.
        open_service: opens the service, on the loop it will run on.
        prepare: called with the service and its URL before the first request is answered.
        among: where this is one of several processes.

    Raises:
        Failure: whatever the two raise.
    """
    with asyncio.Runner(loop_factory=_loop()) as runner:
        runner.run(_host(settings, listener, open_service, prepare, among))


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Failure that names what is in the way."""
    try:
        family, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise Failure(f"RETRACE_HOST={host} is no address of this machine: {error.strerror}.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Failure(
                f"Port {port} of {host} is in use by another program. Stop that program, or choose another port: "
                f"--port {port + 1 if port < 65535 else 8081}."
            ) from None
        if error.errno == errno.EACCES:
            raise Failure(f"This user may not listen on port {port}. Choose one above 1023 with --port.") from None
        raise Failure(f"Cannot listen on {host} port {port}: {error.strerror}.") from None
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket for people on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _host(
    settings: Settings,
    listener: socket.socket,
    open_service: Callable[[], Awaitable[Service]],
    prepare: Callable[[Service, str], Awaitable[None]],
    among: Among | None,
) -> None:
    stop = asyncio.Event()
    servers: list[_Server] = []
    opening = asyncio.ensure_future(open_service())

    def on_signal() -> None:
        _log.info("stopping", grace_s=settings.grace)
        # A start may take long: another process migrates, or a database does not answer.
        opening.cancel()
        if stop.is_set():
            for server in servers:
                server.force_exit = True
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if among is not None:
        _on_end(among.parent, on_signal)
    try:
        service = await opening
    except asyncio.CancelledError:
        if stop.is_set():
            return
        raise
    try:
        if settings.public_url is None:
            service.node.callbacks.public_url = url_of(listener)
        await prepare(service, url_of(listener))
        calm_collector()
        servers.append(_Server(_config(settings, service.app)))
        serving = asyncio.create_task(servers[0].serve(sockets=[listener]))
        if among is not None:
            among.serves()
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        service.leave()
        servers[0].should_exit = True
        await serving
    finally:
        await service.close()


def _on_end(of: int, then: Callable[[], None]) -> None:
    """Call `then` once, when the other side of a pipe is gone."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(of)
        then()

    loop.add_reader(of, ended)


def _config(settings: Settings, app: Any) -> uvicorn.Config:
    shows_requests = settings.log_level == "debug"
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=shows_requests,
        # Addresses are of interest to the log of requests alone.
        proxy_headers=shows_requests,
        server_header=False,
        ws="none",
        lifespan="off",  # the service is opened and closed here
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )


def _loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
