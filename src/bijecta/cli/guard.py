"""Between the commands and the shell: every way to end becomes an exit code and one clear message."""

import os
import sys
import traceback
from collections.abc import Sequence

from bijecta.cli.console import complain
from bijecta.errors import BijectaError, MissingDependencyError

EXPECTED, USAGE, FAULT, INTERRUPTED = 1, 2, 70, 130
DEBUG = "BIJECTA_DEBUG"


def run_guarded(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; no traceback reaches the user unless BIJECTA_DEBUG is set."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return _explain(error)


def _run(arguments: Sequence[str]) -> int:
    from bijecta.cli.app import app

    try:
        app(list(arguments), prog_name="bijecta")
    except SystemExit as end:
        sys.stdout.flush()
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _explain(error: Exception) -> int:
    """Say what went wrong, and return the exit code for it."""
    if isinstance(error, MissingDependencyError):
        complain(str(error))
        return USAGE
    if isinstance(error, BijectaError):
        complain(str(error))
        return EXPECTED
    if isinstance(error, OSError):
        _give_up_output()
        if not isinstance(error, BrokenPipeError):  # the reader has gone, as in `| head`: there is nobody to tell
            where = f" ({error.filename})" if error.filename else ""
            complain(f"{error.strerror or error}{where}. What was written is kept. Check permissions and free space.")
        return EXPECTED
    if isinstance(error, MemoryError):
        complain("The memory is full. Try fewer rows, a smaller --batch-size, or a smaller model.")
        return EXPECTED
    complain(f"Unexpected {type(error).__name__}: {error}\nThis is a fault in bijecta. {DEBUG}=1 shows the traceback.")
    return FAULT


def _give_up_output() -> None:
    """Throw away output that cannot be written: at exit, Python would try again and complain in its own words."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
