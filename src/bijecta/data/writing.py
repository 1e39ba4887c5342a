"""Write a table to a file, completely or not at all."""

import gzip
import io
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bijecta.data.files import write_atomically
from bijecta.data.formats import DELIMITERS
from bijecta.data.table import AnyArray, Table
from bijecta.errors import InputError, require

_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".npy", ".npz", ".h5", ".hdf5")


def write_table(
    path: str | os.PathLike[str],
    names: Sequence[str],
    columns: Mapping[str, AnyArray],
    *,
    stream: BinaryIO | None = None,
) -> None:
    r"""Write columns to a file whose extension says the format.

    The file appears complete or not at all. ``read_table`` gives back the same columns with the same types, except
    that .npy holds a plain (n, d) float64 matrix without names, and text formats keep the values but not the widths
    of numbers.

    Args:
        path: .csv, .tsv (also .gz), .parquet, .npy, .npz, .h5 or .hdf5; "-" writes CSV to standard output.
        names: columns to write, in order.
        columns: the values, 1-D arrays of equal length.
        stream: binary stream to use instead of standard output when the path is "-".

    Raises:
        InputError: unknown extension or column, a missing folder, or names that the format cannot hold.
        ShapeError: columns of different length.
        MissingDependencyError: CSV and Parquet need pyarrow, HDF5 needs h5py.

    Reference:
        Shafranovich (2005), RFC 4180, "Common format and MIME type for CSV files".

    Example:
        >>> stream = io.BytesIO()
        >>> write_table("-", ["x"], {"x": np.array([0.5, 1.0])}, stream=stream)
        >>> stream.getvalue()
        b'x\n0.5\n1\n'
    """
    table = Table(tuple(columns), columns).select(names)
    if os.fspath(path) == "-":
        target = stream or sys.stdout.buffer
        write_all(target, csv_text(table, ","))
        target.flush()
        return
    content = _encode(table, Path(path))
    write_atomically(path, lambda file: file.write(content))


def write_all(file: BinaryIO, content: bytes) -> None:
    """Write until everything is written: an unbuffered pipe may take only a part at a time."""
    rest = memoryview(content)
    while rest:
        written = file.write(rest)
        rest = rest[len(rest) if written is None else written :]


def _encode(table: Table, path: Path) -> bytes:
    name = path.name.lower()
    compressed = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix
    if (suffix if not compressed else suffix + ".gz") not in _SUFFIXES:
        raise InputError(f"Cannot write {path}: the extension must be one of {', '.join(_SUFFIXES)}.")
    if suffix in DELIMITERS:
        text = csv_text(table, DELIMITERS[suffix])
        return gzip.compress(text, mtime=0) if compressed else text
    return {".parquet": _parquet, ".npy": _npy, ".npz": _npz}.get(suffix, _hdf5)(table)


def csv_text(table: Table, delimiter: str) -> bytes:
    """Return the rows as text, without the header."""
    pyarrow_csv = require("pyarrow.csv", extra="data", purpose="Writing CSV files")
    options = pyarrow_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="needed")
    buffer = io.BytesIO()
    buffer.write((delimiter.join(_quote(name, delimiter) for name in table.names) + "\n").encode())
    pyarrow_csv.write_csv(arrow_table(table), buffer, options)
    return buffer.getvalue()


def _quote(name: str, delimiter: str) -> str:
    if any(mark in name for mark in (delimiter, '"', "\n", "\r")):
        return '"' + name.replace('"', '""') + '"'
    return name


def arrow_table(table: Table) -> object:
    """Return the table as pyarrow's."""
    pyarrow = require("pyarrow", extra="data", purpose="Writing CSV and Parquet files")
    return pyarrow.table({name: pyarrow.array(np.ascontiguousarray(table.columns[name])) for name in table.names})


def _parquet(table: Table) -> bytes:
    parquet = require("pyarrow.parquet", extra="data", purpose="Writing Parquet files")
    buffer = io.BytesIO()
    parquet.write_table(arrow_table(table), buffer)
    return buffer.getvalue()


def _npy(table: Table) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, table.matrix(), allow_pickle=False)
    return buffer.getvalue()


def _npz(table: Table) -> bytes:
    # numpy.savez takes the names as keyword arguments, where a column called "file" would collide with its own.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in table.names:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, table.columns[name], allow_pickle=False)
    return buffer.getvalue()


def _hdf5(table: Table) -> bytes:
    h5py = require("h5py", extra="data", purpose="Writing HDF5 files")
    for name in table.names:
        if "/" in name or name == ".":
            raise InputError(f"HDF5 cannot hold a column called {name!r}: a slash separates groups. Rename it.")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=True) as file:
        for name in table.names:
            column = table.columns[name]
            as_text = column.dtype.kind in "UMm"
            file.create_dataset(
                name,
                data=column.astype(str).astype(object) if as_text else column,
                dtype=h5py.string_dtype() if as_text else None,
            )
    return buffer.getvalue()
