"""Read a table from whatever holds one: arrays, data frames, files, standard input."""

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

from bijecta.data.formats import (
    DELIMITERS,
    SUFFIXES,
    read_bytes,
    read_delimited,
    read_hdf5,
    read_numpy,
    read_parquet,
    table_from_arrow,
)
from bijecta.data.table import Table, check_names, table_from_array, to_numpy
from bijecta.errors import InputError, require


def read_table(source: Any, *, columns: Sequence[str] | None = None, stream: BinaryIO | None = None) -> Table:
    """Read a table from an array, a mapping, a data frame, a file or standard input.

    Arrays get the column names x0, x1, ...; a file without a header line too. In .npz and .h5 files an entry, or
    a group, can be picked with ``file.npz::entry`` and ``file.h5::group/dataset``.

    Args:
        source: NumPy array or nested sequence of shape (n, d) or (n,); mapping from names to columns; pandas, polars
            or pyarrow table; path to .csv, .tsv, .txt (each also .gz), .parquet, .npy, .npz, .h5 or .hdf5; "-" for
            CSV on standard input.
        columns: names to keep, in this order; left out, all.
        stream: binary stream to read instead of standard input when the source is "-".

    Returns:
        The table.

    Raises:
        InputError: the source does not exist, is of an unknown kind, or lacks a column.
        ShapeError: an array has the wrong rank.
        FileFormatError: a file is empty, truncated, ragged, or holds pickled Python objects.
        MissingDependencyError: CSV and Parquet need pyarrow, HDF5 needs h5py.

    Reference:
        Apache Arrow project (2016), "Arrow columnar format": what data frames are exchanged through.

    Example:
        >>> read_table([[1.0, 2.0], [3.0, 4.0]]).names
        ('x0', 'x1')
        >>> read_table({"mass": [1.0, 2.0], "n": [3, 4]}, columns=["n"]).columns["n"].tolist()
        [3, 4]
    """
    table = _read(source, stream)
    if table.n_rows == 0:
        raise InputError(f"The table with columns {', '.join(table.names)} has no rows. Check where it came from.")
    return table if columns is None else table.select(columns)


def _read(source: Any, stream: BinaryIO | None) -> Table:
    if isinstance(source, Table):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_path(os.fspath(source), stream)
    if isinstance(source, Mapping):
        return _from_mapping(source)
    if hasattr(source, "__arrow_c_stream__") and _has_pyarrow():
        return _from_arrow(source)
    if hasattr(source, "columns") and hasattr(source, "__getitem__"):
        return _from_data_frame(source)
    return table_from_array(source)


def _from_mapping(source: Mapping[Any, Any]) -> Table:
    return Table(tuple(str(name) for name in source), {str(name): to_numpy(value) for name, value in source.items()})


def _from_data_frame(source: Any) -> Table:
    """Read pandas and polars frames column by column, when pyarrow is not there to convert them at once."""
    names = tuple(str(name) for name in source.columns)
    check_names(names)
    return Table(names, {str(name): to_numpy(source[name]) for name in source.columns})


def _from_arrow(source: Any) -> Table:
    pyarrow = require("pyarrow", extra="data", purpose="Reading data frames")
    table = pyarrow.table(source)
    check_names(table.column_names)
    # pandas hands over its row labels as such a column; they are not data.
    return table_from_arrow(table.select([n for n in table.column_names if not n.startswith("__index_level_")]))


def _has_pyarrow() -> bool:
    try:
        require("pyarrow", extra="data", purpose="Reading data frames")
    except ImportError:
        return False
    return True


def _read_path(path: str, stream: BinaryIO | None) -> Table:
    if path == "-":
        return read_delimited((stream or sys.stdin.buffer).read(), "standard input", ",")
    file, _, entry = path.partition("::")
    suffix, compressed = _suffix(Path(file))
    _check_exists(Path(file))
    if suffix in DELIMITERS:
        data = read_bytes(file, compressed=compressed)
        return read_delimited(data, file, DELIMITERS[suffix])
    if suffix == ".parquet":
        return read_parquet(file)
    if suffix in (".npy", ".npz"):
        return read_numpy(file, entry)
    return read_hdf5(file, entry)


def _suffix(path: Path) -> tuple[str, bool]:
    """Return the suffix that names the format, and whether the file is compressed."""
    suffix, compressed = path.suffix.lower(), False
    if suffix == ".gz":
        suffix, compressed = Path(path.stem).suffix.lower(), True
    if suffix not in SUFFIXES or (compressed and suffix not in DELIMITERS):
        raise InputError(
            f"The file {path} has the unknown extension {''.join(path.suffixes[-2:]) or '(none)'}. Known: "
            f"{', '.join(SUFFIXES)}, and .gz after .csv, .tsv or .txt. Convert the file or rename it."
        )
    return suffix, compressed


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the path of a file in it.")
    if path.exists():
        return
    neighbours = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, neighbours, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    where = f"There is no file {path.name} in {path.parent}" if neighbours else f"There is no file {path}"
    raise InputError(f"{where}.{hint} Check the path.")
