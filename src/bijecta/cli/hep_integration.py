"""The command `hep integrate`: a function that is named on the command line."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import ArrayLike, NDArray

from bijecta.cli.console import show, show_json
from bijecta.errors import BijectaError, InputError
from bijecta.hep.integration import Integrand
from bijecta.hep.integration import integrate as integrate_by_flow


def run_integrate(name: str, dimensions: int, calls: int, seed: int, *, signed: bool, vegas: bool, json: bool) -> None:
    """Integrate a function over the unit cube and print the result."""
    found = integrate_by_flow(
        find_function(name), dimensions, calls, signed=signed, seed=seed, warm_start="vegas" if vegas else None
    )
    if json:
        names = ("value", "error", "calls", "relative_deviation", "chi2", "method")
        show_json({each: getattr(found, each) for each in names})
        return
    show(f"{found.value:.8g} ± {found.error:.2g}")
    show(f"{found.calls:,} calls, by {found.method}, deviation of one call {found.relative_deviation:.3g}")


def find_function(name: str) -> Integrand:
    """Import MODULE:FUNCTION; the current folder comes first.

    Raises:
        typer.BadParameter: another form, or the module has no such function.
        InputError: the module cannot be imported, or at the call, the function fails.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise typer.BadParameter(f"expected MODULE:FUNCTION, got {name!r}.", param_hint="MODULE:FUNCTION")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # whatever a foreign module does when it is imported
        raise InputError(f"The module {module} could not be imported: {type(error).__name__}: {error}.") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not callable(found):
        raise typer.BadParameter(f"{module} has no function {function}.", param_hint="MODULE:FUNCTION")
    return _explained(found, name)


def _explained(function: Any, name: str) -> Integrand:
    """Turn what a function raises into an error that names it: it is the user's, not a fault here."""

    def call(points: NDArray[np.float64]) -> ArrayLike:
        try:
            values: ArrayLike = function(points)
        except BijectaError:
            raise
        except Exception as error:
            raise InputError(
                f"{name} failed on points of shape {points.shape}: {type(error).__name__}: {error}."
            ) from error
        return values

    return call
