"""Where a server listens, and how it ends, for both `serve` and `view`."""

import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from starlette.applications import Starlette

from understudy.core.errors import UserError

GRACE = 30
"""Seconds that requests under way have when the server must stop."""


def open_port(host: str, port: int) -> socket.socket:
    """Listen at ``host`` and ``port`` (0: any free port). Raises UserError if that is impossible."""
    if not 0 <= port < 1 << 16:
        raise UserError(f"--port {port}: must be between 0 and 65535")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot listen there ({error.strerror or error})") from None


def show_app(app: Starlette, host: str, port: int, started: Callable[[str], None]) -> None:
    """Listen at ``host`` and ``port``, and serve ``app`` as `run_app` does. Raises UserError if it cannot listen there."""
    with open_port(host, port) as listening:
        run_app(app, listening, started)


def run_app(app: Starlette, port: socket.socket, started: Callable[[str], None]) -> None:
    """Serve ``app`` until SIGINT or SIGTERM; ``started`` is called with the address."""
    config = uvicorn.Config(app, timeout_graceful_shutdown=GRACE, log_level="warning", access_log=False, ws="none", lifespan="off")
    host, number = port.getsockname()[:2]
    started(f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}")
    with suppress(KeyboardInterrupt):  # uvicorn re-raises the signal that ended it
        uvicorn.Server(config).run(sockets=[port])
