"""The command line. Typer and rich are imported when a command runs, not before."""

import sys
from collections.abc import Sequence

from bijecta.errors import MissingDependencyError, require

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the word ``bijecta`` (default: those of this process).

    Returns:
        The exit code: 0 done, 1 an expected error or a failed check, 2 wrong usage or a missing package, 70 a fault
        in bijecta, 130 interrupted by Ctrl-C.

    Example:
        >>> from bijecta.cli import main
        >>> main(["--version"])
        bijecta 0.1.0
        0
    """
    try:
        require("typer", extra="cli", purpose="The command line")
    except MissingDependencyError as error:
        sys.stderr.write(f"bijecta: {error}\n")
        return USAGE
    from bijecta.cli.guard import run_guarded

    return run_guarded(sys.argv[1:] if arguments is None else list(arguments))
