"""A Prefect server for one command, where none runs: started by `flows.prefect_environment`.

Prefect could start one by itself, but that one outlives a command that is killed, and makes the command import the
whole server. This one ends when its standard input does, that is with the process that started it.
"""

import asyncio
import os
import socket
import sys
import threading

_ENDS_WITHIN = 10.0  # seconds for what is still being written
_NICE = 5  # the work goes before its showing, where both want the same processors


def main() -> None:
    """Bind a free port, print it, and serve until standard input ends. Connections made meanwhile wait.

    The first line of standard input is the URL of the database: the process that starts this one prepares it, while
    this one loads what a server consists of.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)

    os.environ.update(PREFECT_UI_ENABLED="0", PREFECT__SERVER_EPHEMERAL="1", PREFECT__SERVER_FINAL="1")
    import uvicorn
    from prefect.context import refresh_global_settings_context
    from prefect.server.api.server import create_app

    database = sys.stdin.readline().strip()
    if not database:  # it is not needed
        return
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    refresh_global_settings_context()
    os.nice(_NICE)
    config = uvicorn.Config(
        create_app, factory=True, lifespan="on", log_level="error",
        ws_per_message_deflate=False,  # to compress what stays on this machine costs both sides time
    )  # fmt: skip
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    asyncio.run(server.serve(sockets=[listener]))


def _end_with_parent(server: object) -> None:
    sys.stdin.read()
    server.should_exit = True  # type: ignore[attr-defined] # uvicorn's own way
    threading.Timer(_ENDS_WITHIN, os._exit, args=(0,)).start()


if __name__ == "__main__":
    main()
