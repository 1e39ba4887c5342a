"""Start the Lab: ``python -m bijecta.app``, which is what ``bijecta app`` does."""

import argparse
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser

from bijecta.errors import MissingDependencyError, require


def main() -> int:
    """Serve the Lab until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m bijecta.app", description="Watch a flow learn, in the browser.")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--address", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    options = parser.parse_args()
    try:
        require("streamlit", extra="app", purpose="The Lab")
        uvicorn = require("uvicorn", extra="app", purpose="The Lab")
    except MissingDependencyError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not _is_free(options.address, options.port):
        sys.stderr.write(f"Port {options.port} is in use. Choose another one: --port {options.port + 1}\n")
        return 1
    address = f"http://{'localhost' if options.address == '0.0.0.0' else options.address}:{options.port}"  # noqa: S104
    threading.Thread(target=_welcome, args=(address, not options.no_browser), daemon=True).start()
    uvicorn.run(
        "bijecta.app.server:app", host=options.address, port=options.port, log_level="warning", access_log=False
    )
    return 0


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError:
            return False
    return True


def _welcome(address: str, browser: bool) -> None:  # noqa: FBT001 (private, of a thread)
    """Say where the Lab is, as soon as it answers."""
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()  # noqa: S310 (our own server)
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.stdout.write(f"The Lab is open at {address} (Ctrl-C ends it).\n")
    sys.stdout.flush()
    if browser:
        webbrowser.open(address)


if __name__ == "__main__":
    sys.exit(main())
