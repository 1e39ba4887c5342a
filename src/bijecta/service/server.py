"""Run the service: one socket, one process, and an end that finishes what was begun."""

import json
import socket
import time
from typing import TYPE_CHECKING, Any, TextIO

from bijecta.errors import InputError, require
from bijecta.service.settings import ServiceSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

_BACKLOG = 2048  # connections that the system keeps until they are taken
_IDLE_SECONDS = 75  # longer than clients keep a connection: one that is closed while a request is on its way loses it


def listen(host: str, port: int) -> socket.socket:
    """Open the socket of a service.

    Raises:
        InputError: the address does not exist here, or is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise InputError(f"Cannot listen on {host}, port {port}: {error}. Choose another --host or --port.") from error


def serve(app: "FastAPI", listener: socket.socket, settings: ServiceSettings, log: TextIO | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; then take no more requests and finish those that were accepted.

    Args:
        app: what `create_app` returns.
        listener: what `listen` returns; port 0 takes a free one.
        settings: the limits.
        log: where to write one JSON line per request; left out, nowhere.

    Raises:
        MissingDependencyError: the package uvicorn is not installed.
    """
    uvicorn = require("uvicorn", extra="serve", purpose="The HTTP service")
    config = uvicorn.Config(
        app if log is None else logged(app, log),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    uvicorn.Server(config).run(sockets=[listener])


def logged(app: Any, log: TextIO) -> Any:
    """Wrap an ASGI application so that it writes one JSON line per request; no line holds what was sent."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        facts = {"time": time.time(), "method": scope["method"], "path": scope["path"], "status": 0}
        start = time.perf_counter()

        async def watched(message: Any) -> None:
            facts["status"] = message.get("status", facts["status"])
            await send(message)

        try:
            await app(scope, receive, watched)
        finally:
            line = json.dumps({**facts, "seconds": round(time.perf_counter() - start, 6)})
            log.write(line + "\n")
            log.flush()
        return None

    return wrapped
