"""Read tables from files, one function per format. pyarrow and h5py are imported when first needed."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bijecta.data.table import AnyArray, Table, check_names, table_from_array, table_from_arrays
from bijecta.errors import BijectaError, FileFormatError, InputError, require

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": ""}
SUFFIXES = (*DELIMITERS, ".parquet", ".npy", ".npz", ".h5", ".hdf5")

# pyarrow guesses a column's type from the first block alone; with one block it sees every row.
_LARGEST_BLOCK = 2**31 - 1


@contextmanager
def damage_named(path: str, kind: str) -> Iterator[None]:
    """Turn whatever a foreign parser raises about a file's content into one clear error."""
    try:
        yield
    except (BijectaError, MemoryError, PermissionError):
        raise
    except Exception as error:  # parsers of foreign files raise from OSError to zlib.error and AttributeError
        raise FileFormatError(
            f"{path} cannot be read as {kind}: it is truncated, damaged or of another format "
            f"({type(error).__name__}: {error}). Write or download it again."
        ) from error


def read_bytes(path: str, *, compressed: bool) -> bytes:
    """Return the content of a file, unpacked if it is compressed with gzip."""
    with damage_named(path, "gzip" if compressed else "text"):
        if compressed:
            with gzip.open(path, "rb") as packed:
                return packed.read()
        with open(path, "rb") as file:
            return file.read()


# ---------------------------------------------------------------- text


def read_delimited(data: bytes, path: str, delimiter: str) -> Table:
    """Read CSV-like text. An empty delimiter is guessed from the first line; missing numbers become NaN."""
    pyarrow_csv = require("pyarrow.csv", extra="data", purpose="Reading CSV files")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FileFormatError(f"{path} is encoded as UTF-16. Save it as UTF-8.")
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not data.strip():
        raise FileFormatError(f"{path} is empty. Expected a header line and rows of values.")
    if not delimiter:
        delimiter, data = _guess_delimiter(data)
    names, has_header = header_names(data, delimiter)
    check_names(names)
    with damage_named(path, "delimited text"):
        table = pyarrow_csv.read_csv(
            require("pyarrow", extra="data", purpose="Reading CSV files").BufferReader(data),
            read_options=pyarrow_csv.ReadOptions(
                column_names=names, skip_rows=int(has_header), block_size=min(len(data) + 1, _LARGEST_BLOCK)
            ),
            parse_options=pyarrow_csv.ParseOptions(delimiter=delimiter),
        )
    if table.num_rows == 0:
        raise FileFormatError(f"{path} has a header but no rows. Expected at least one row of values.")
    return table_from_arrow(table)


def _guess_delimiter(data: bytes) -> tuple[str, bytes]:
    """Find the delimiter of a .txt file; runs of blanks are turned into single tabs."""
    first, newline, rest = data.partition(b"\n")
    data = first.removeprefix(b"#").strip() + newline + rest  # numpy.savetxt marks its header with a hash
    for delimiter in ("\t", ";", ","):
        if delimiter.encode() in first:
            return delimiter, data
    return "\t", b"\n".join(b"\t".join(line.split()) for line in data.splitlines())


def header_names(data: bytes, delimiter: str) -> tuple[list[str], bool]:
    """Return the column names, and whether the first line held them; a line of numbers is no header."""
    line = data.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    fields = [field.strip() for field in next(csv.reader([line], delimiter=delimiter))]
    if all(_is_number(field) for field in fields):
        return [f"x{k}" for k in range(len(fields))], False
    return [field or f"unnamed{k}" for k, field in enumerate(fields)], True


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- Parquet


def read_parquet(path: str) -> Table:
    """Read a Parquet file."""
    parquet = require("pyarrow.parquet", extra="data", purpose="Reading Parquet files")
    with damage_named(path, "Parquet"), open(path, "rb") as file:
        table = parquet.read_table(file)
    return table_from_arrow(table)


def table_from_arrow(table: Any) -> Table:
    """Convert an Arrow table; numbers with gaps become float64 with NaN, dates become text."""
    check_names(table.column_names)
    return Table(
        tuple(table.column_names), {name: _from_arrow_column(name, table[name]) for name in table.column_names}
    )


def _from_arrow_column(name: str, column: Any) -> AnyArray:
    pyarrow = require("pyarrow", extra="data", purpose="Reading Arrow tables")
    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_nested(column.type):
        raise InputError(f"Column {name} holds {column.type} in each row. Flatten it into columns of single values.")
    if types.is_null(column.type):
        return np.full(len(column), np.nan)
    if types.is_temporal(column.type):
        column = column.cast(pyarrow.string())
    if types.is_string(column.type) or types.is_large_string(column.type):
        return np.array(column.fill_null("").to_pylist(), dtype=np.str_)
    if types.is_boolean(column.type) and column.null_count:
        column = column.cast(pyarrow.int8())
    if types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    return np.asarray(column.to_numpy())


# ---------------------------------------------------------------- NumPy and HDF5


def read_numpy(path: str, entry: str = "") -> Table:
    """Read an .npy or .npz file; pickled Python objects are refused, as loading them can run foreign code."""
    # The file is opened here because numpy.load leaves it open when it is no valid archive.
    with damage_named(path, "a NumPy file without Python objects"), open(path, "rb") as file:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return table_from_array(content)
        with content:
            if entry and entry not in content.files:
                raise InputError(f"{path} has no entry {entry!r}. Entries: {', '.join(content.files)}.")
            arrays = {name: content[name] for name in ([entry] if entry else content.files)}
    if not arrays:
        raise FileFormatError(f"{path} holds no arrays. Write it again.")
    return table_from_arrays(arrays)


def read_hdf5(path: str, entry: str = "") -> Table:
    """Read the datasets of an HDF5 file's root or of one group, or a single dataset."""
    h5py = require("h5py", extra="data", purpose="Reading HDF5 files")
    with damage_named(path, "HDF5"), h5py.File(path, "r") as file:
        if entry and entry not in file:
            raise InputError(f"{path} has no entry {entry!r}. Entries: {', '.join(_all_datasets(h5py, file))}.")
        node = file[entry or "/"]
        datasets = {entry.rsplit("/", 1)[-1]: node} if isinstance(node, h5py.Dataset) else _direct_datasets(h5py, node)
        if not datasets:
            known = ", ".join(_all_datasets(h5py, file)) or "none at all"
            raise InputError(
                f"{path}::{entry} has no datasets of its own. Pick a group with file::group from: {known}."
            )
        arrays = {name: _read_dataset(h5py, dataset) for name, dataset in datasets.items()}
    return table_from_arrays(arrays)


def _direct_datasets(h5py: Any, group: Any) -> dict[str, Any]:
    return {name: node for name, node in group.items() if isinstance(node, h5py.Dataset)}


def _all_datasets(h5py: Any, file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
    return found


def _read_dataset(h5py: Any, dataset: Any) -> AnyArray:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[()], dtype=np.str_)
    return np.asarray(dataset[()])
