"""A table: named columns of equal length, each with its own type."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import InputError, ShapeError

AnyArray = NDArray[Any]
FloatArray = NDArray[np.float64]

_NUMBERS = "biuf"


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length.

    Args:
        names: column names in order, each once.
        columns: for every name a 1-D array of numbers, booleans, text or dates. Missing numbers are NaN.

    Raises:
        InputError: duplicate or unknown names, complex numbers or Python objects.
        ShapeError: a column is not 1-D, or lengths differ.

    Reference:
        Codd (1970), "A relational model of data for large shared data banks".

    Example:
        >>> table = Table(("x", "n"), {"x": np.array([0.5, 1.5]), "n": np.array([1, 2])})
        >>> table.n_rows, table.matrix().tolist()
        (2, [[0.5, 1.0], [1.5, 2.0]])
    """

    names: tuple[str, ...]
    columns: Mapping[str, AnyArray]

    def __post_init__(self) -> None:
        check_names(self.names)
        if set(self.names) != set(self.columns):
            raise InputError(f"The names {list(self.names)} and the columns {list(self.columns)} must be the same.")
        columns = {name: plain_column(name, self.columns[name]) for name in self.names}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"All columns need the same number of rows; got {lengths}.")
        object.__setattr__(self, "columns", columns)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[self.names[0]])

    def select(self, names: Sequence[str]) -> "Table":
        """Return a table of some columns, in the order asked for.

        Args:
            names: columns to keep.

        Returns:
            The smaller table; columns are shared, not copied.

        Raises:
            InputError: a column does not exist, or is asked for twice.
        """
        for name in names:
            if name not in self.columns:
                raise InputError(unknown_column(name, self.names))
        return Table(tuple(names), {name: self.columns[name] for name in names})

    def matrix(self, names: Sequence[str] | None = None) -> FloatArray:
        """Return columns of numbers side by side.

        Args:
            names: columns to take; left out, all.

        Returns:
            Array of shape (n, d), float64.

        Raises:
            InputError: a column does not exist or does not hold numbers.
        """
        chosen = self if names is None else self.select(names)
        for name in chosen.names:
            if not is_numeric(chosen.columns[name]):
                kind = chosen.columns[name].dtype
                raise InputError(f"Column {name} holds {kind}, not numbers. Leave it out or encode it as numbers.")
        return np.stack([chosen.columns[name].astype(np.float64) for name in chosen.names], axis=1)


def is_numeric(column: AnyArray) -> bool:
    """Tell whether a column holds numbers or booleans."""
    return column.dtype.kind in _NUMBERS


def as_labels(column: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Write values as labels, in the spelling of the type that a category has: 1.0 of a column of integers is "1"."""
    if not is_numeric(column) or dtype.kind not in _NUMBERS:
        return column.astype(np.str_)
    with np.errstate(invalid="ignore"):
        own = column.astype(dtype)
    return np.where(own == column, own.astype(np.str_), column.astype(np.str_))


def unknown_column(name: str, known: Iterable[str]) -> str:
    """Return the message for a column that does not exist."""
    known = list(known)
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"There is no column {name!r}.{hint} Columns: {shown}."


def check_names(names: Sequence[str]) -> None:
    """Refuse an empty list of column names, and names that occur twice or are no text."""
    if not names:
        raise InputError("A table needs at least one column; got none.")
    if not all(isinstance(name, str) and name for name in names):
        raise InputError(f"Column names must be non-empty text; got {list(names)}.")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"Column names must be unique; these occur more than once: {', '.join(twice)}. Rename them.")


def plain_column(name: str, values: Any) -> AnyArray:
    """Return values as a 1-D array of numbers, booleans, text or dates, or say why that is impossible."""
    column = np.asarray(values)
    if column.ndim != 1:
        raise ShapeError(f"Column {name} must have shape (n,); got {column.shape}. Split it into several columns.")
    if column.dtype.kind == "O":
        return _column_of_objects(name, column)
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "replace")
    if column.dtype.kind == "c":
        raise InputError(f"Column {name} holds complex numbers. Pass real and imaginary part as two columns.")
    if column.dtype.kind not in _NUMBERS + "UMm":
        raise InputError(f"Column {name} has the type {column.dtype}. Expected numbers, booleans, text or dates.")
    return column


def _column_of_objects(name: str, column: AnyArray) -> AnyArray:
    """Accept Python objects that are all text (as pandas stores it) or all real numbers, with None for missing."""
    present = [value for value in column if value is not None]
    if present and all(isinstance(value, str) for value in present):
        return np.array(["" if value is None else value for value in column])
    if all(isinstance(value, int | float | np.integer | np.floating) for value in present):
        return np.array([np.nan if value is None else float(value) for value in column])
    kinds = sorted({type(value).__name__ for value in present})
    raise InputError(f"Column {name} holds Python objects ({', '.join(kinds)}). Convert it to numbers or text first.")


def to_numpy(value: Any) -> AnyArray:
    """Convert anything array-like, torch tensors and data-frame columns included, to a NumPy array."""
    if hasattr(value, "detach"):  # a torch tensor, which may live on a GPU and carry gradients
        value = value.detach().cpu()
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(f"Rows of different length do not make a table ({error}). Make them equally long.") from error


def table_from_array(source: Any) -> Table:
    """Make a table of an array: (n, d) and (n,) with columns x0, x1, ..., or a structured array with its fields."""
    array = to_numpy(source)
    if array.dtype.names:
        return Table(tuple(array.dtype.names), {name: array[name] for name in array.dtype.names})
    if array.ndim not in (1, 2):
        raise ShapeError(f"A table is an array of shape (n, d) or (n,); got shape {array.shape}. Flatten each row.")
    matrix = array if array.ndim == 2 else array[:, None]
    names = tuple(f"x{k}" for k in range(matrix.shape[1]))
    return Table(names, {name: matrix[:, k] for k, name in enumerate(names)})


_LABEL_ENTRIES = ("columns", "names", "feature_names", "column_names")


def table_from_arrays(arrays: Mapping[str, AnyArray]) -> Table:
    """Make a table of the named arrays of one file.

    A single matrix gets the names x0, x1, ...; one matrix with a text array of as many names gets these; 1-D arrays
    are columns under their own name; further matrices are spread over columns entry0, entry1, ... Scalars are
    skipped, as they describe the file and not its rows.
    """
    entries = {name: array for name, array in arrays.items() if array.ndim > 0}
    if len(entries) == 1 and next(iter(entries.values())).ndim == 2:
        return table_from_array(next(iter(entries.values())))
    labels_entry = _find_labels(entries)
    columns: dict[str, AnyArray] = {}
    for entry, array in entries.items():
        if entry != labels_entry:
            columns |= _spread(entry, array, entries.get(labels_entry))
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in entries.items())
        raise ShapeError(f"The entries have different numbers of rows: {shapes}. Pick one with file::entry.")
    return Table(tuple(columns), columns)


def _find_labels(entries: Mapping[str, AnyArray]) -> str:
    """Find the text array that names the columns of a matrix; return its entry name, or an empty text."""
    matrices = [array for array in entries.values() if array.ndim == 2]
    for entry, array in entries.items():
        is_text = array.ndim == 1 and array.dtype.kind in "US"
        fits = any(len(array) == matrix.shape[1] for matrix in matrices)
        if is_text and fits and (entry in _LABEL_ENTRIES or all(len(array) != len(matrix) for matrix in matrices)):
            return entry
    return ""


def _spread(entry: str, array: AnyArray, labels: AnyArray | None) -> dict[str, AnyArray]:
    if array.dtype.names:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim == 1:
        return {entry: array}
    if array.ndim > 2:
        raise ShapeError(f"Entry {entry} has shape {array.shape}; a table has rows and columns only. Pick another one.")
    if labels is not None and len(labels) == array.shape[1]:
        return {str(label): array[:, k] for k, label in enumerate(plain_column(entry, labels))}
    return {f"{entry}{k}": array[:, k] for k in range(array.shape[1])}
