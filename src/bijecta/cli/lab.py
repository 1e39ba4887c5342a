"""The command that opens the Lab."""

import os
import subprocess
import sys


def run_lab(port: int, address: str, *, browser: bool) -> int:
    """Start the app in place of the command line, which must not know it.

    Returns:
        The exit code, where the system cannot replace a process by another one.
    """
    command = [sys.executable, "-m", "bijecta.app", "--port", str(port), "--address", address]
    command += [] if browser else ["--no-browser"]
    if os.name == "posix":  # signals and exit code are then those of the app itself
        os.execv(sys.executable, command)  # noqa: S606 (no shell, our own module)
    return subprocess.call(command)  # noqa: S603 (our own module)
