"""Every exception that bijecta raises on purpose.

    BijectaError
    ├── InputError (ValueError)             what the caller passed cannot be used
    │   └── ShapeError                      ... because of its shape
    ├── FileFormatError (ValueError)        a file is truncated, foreign or hostile
    ├── NotConvergedError (ArithmeticError) a numerical inverse missed its tolerance
    ├── TrainingDivergedError (ArithmeticError)   the loss became NaN or infinite
    └── MissingDependencyError (ImportError)      an optional package is not installed

A message says what was expected, what came, and what to do next.
"""

import importlib
from types import ModuleType


class BijectaError(Exception):
    """Base class of every error that bijecta raises on purpose."""


class InputError(BijectaError, ValueError):
    """What the caller passed cannot be used."""


class ShapeError(InputError):
    """An array has a shape that does not fit."""


class FileFormatError(BijectaError, ValueError):
    """A file is truncated, of a foreign format, or hostile."""


class NotConvergedError(BijectaError, ArithmeticError):
    """A numerical inverse did not reach its tolerance."""


class TrainingDivergedError(BijectaError, ArithmeticError):
    """The training loss became NaN or infinite."""


class MissingDependencyError(BijectaError, ImportError):
    """An optional package is needed but not installed."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, or say which pip line installs it.

    Args:
        module: dotted name of the module.
        extra: the extra of bijecta that brings it.
        purpose: what it is needed for, as the start of the message ("Reading Parquet files").

    Returns:
        The imported module.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f'{purpose} needs the package {package}. Install it with: pip install "bijecta[{extra}]"'
        ) from error
