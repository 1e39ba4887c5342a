"""Read and write tables piece by piece, so that any number of rows passes through little memory."""

import gzip
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bijecta.data.background import in_background
from bijecta.data.blocks import BLOCK_SUFFIXES, find_files, open_blocks
from bijecta.data.files import write_atomically
from bijecta.data.formats import DELIMITERS, damage_named, header_names, read_delimited
from bijecta.data.reading import read_table
from bijecta.data.table import AnyArray, Table
from bijecta.data.writing import arrow_table, csv_text, write_all, write_table
from bijecta.errors import InputError, require

TEXT_BYTES = 2**26  # of CSV at once

Columns = Mapping[str, AnyArray]


def read_chunks(source: str | os.PathLike[str]) -> Iterator[Table]:
    """Read the tables that a path, folder or pattern stands for, in pieces where the format has blocks.

    Args:
        source: as for `Stream`, or any file that `read_table` knows; of these, only CSV and TSV come in pieces.

    Yields:
        Tables of at least one row, in the order of the files.

    Raises:
        InputError: there is no such file, or files have different columns.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/a.npy"
        >>> np.save(path, np.zeros((100_000, 2)))
        >>> [table.n_rows for table in read_chunks(path)]
        [65536, 34464]
    """
    path = os.fspath(source)
    files = find_files(path) if stands_for_many(path) else [path]
    names: tuple[str, ...] = ()
    for file in files:
        for table in in_background(_read_file(file)):
            names = names or table.names
            yield table if len(files) == 1 else table.select(names)


def stands_for_many(path: str) -> bool:
    """Tell whether a path is a folder or a pattern."""
    file = Path(path.partition("::")[0])
    return file.is_dir() or (not file.exists() and any(mark in str(file) for mark in "*?["))


def _read_file(path: str) -> Iterator[Table]:
    file = Path(path.partition("::")[0])
    if file.name.lower().endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")) and file.is_file():
        yield from _read_text(file)
        return
    if file.suffix.lower() not in BLOCK_SUFFIXES or not file.exists():
        yield read_table(path)
        return
    blocks = open_blocks(path)
    filled = [block for block, size in enumerate(blocks.sizes) if size]
    if not filled:
        raise InputError(f"{path} has no rows. Check where it came from.")
    for block in filled:
        yield blocks.read(block, blocks.names)


def _read_text(path: Path) -> Iterator[Table]:
    """Read lines in pieces; each further piece gets the header, so that one reader does for all."""
    compressed = path.suffix.lower() == ".gz"
    delimiter = DELIMITERS[Path(path.stem if compressed else path).suffix.lower()]
    with damage_named(str(path), "text"), gzip.open(path) if compressed else path.open("rb") as file:
        piece = _lines(file)
        header = piece.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").split(b"\n", 1)[0] + b"\n"
        named = bool(header.strip()) and header_names(header, delimiter)[1]
        yield read_delimited(piece, str(path), delimiter)
        while piece := _lines(file):
            if piece.strip():
                yield read_delimited(header + piece if named else piece, str(path), delimiter)


def _lines(file: Any) -> bytes:
    """Read about `TEXT_BYTES` up to the end of a row; a line break between quotes ends none."""
    piece: bytes = file.read(TEXT_BYTES) + file.readline()
    while piece.count(b'"') % 2 and (line := file.readline()):
        piece += line
    return piece


def write_chunks(path: str | os.PathLike[str], names: Sequence[str], chunks: Iterable[Columns]) -> None:
    r"""Write columns piece by piece to one file, which appears complete or not at all.

    Args:
        path: as for `write_table`; .npz is collected in memory first, as its format knows no pieces.
        names: columns to write, in order.
        chunks: the values, at least one piece; all pieces have the same types.

    Raises:
        InputError: unknown extension or column, or names that the format cannot hold.
        MissingDependencyError: CSV and Parquet need pyarrow, HDF5 needs h5py.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/a.csv"
        >>> write_chunks(path, ["x"], ({"x": np.array([k, k + 1])} for k in range(2)))
        >>> Path(path).read_text()
        'x\n0\n1\n1\n2\n'
    """
    several = iter(chunks)
    first = list(itertools.islice(several, 2))
    if len(first) == 1:
        return write_table(path, names, first[0])
    tables = (Table(tuple(chunk), chunk).select(names) for chunk in itertools.chain(first, several))
    if os.fspath(path) == "-":
        return _write_text(sys.stdout.buffer, tables, ",")
    write = _writer(Path(path))
    if write is None:
        return write_table(path, names, _collected(tables, names))
    return write_atomically(path, lambda file: write(file, tables))


def _writer(path: Path) -> Callable[[BinaryIO, Iterator[Table]], None] | None:
    """Return what writes tables to an open file, by the extension; None for formats that need all rows at once."""
    name = path.name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix in (".csv", ".tsv"):
        write = _write_packed if name.endswith(".gz") else _write_text
        return lambda file, tables: write(file, tables, DELIMITERS[suffix])
    return {".parquet": _write_parquet, ".npy": _write_npy, ".h5": _write_hdf5, ".hdf5": _write_hdf5}.get(suffix)


def _collected(tables: Iterator[Table], names: Sequence[str]) -> dict[str, AnyArray]:
    every = list(tables)
    return {name: np.concatenate([table.columns[name] for table in every]) for name in names}


def _write_text(file: BinaryIO, tables: Iterator[Table], delimiter: str) -> None:
    begin = 0
    for table in tables:
        write_all(file, csv_text(table, delimiter)[begin:])
        begin = len(csv_text(Table(table.names, {n: c[:0] for n, c in table.columns.items()}), delimiter))  # the header
    file.flush()


def _write_packed(file: BinaryIO, tables: Iterator[Table], delimiter: str) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        _write_text(packed, tables, delimiter)  # type: ignore[arg-type]


def _write_parquet(file: BinaryIO, tables: Iterator[Table]) -> None:
    parquet = require("pyarrow.parquet", extra="data", purpose="Writing Parquet files")
    first: Any = arrow_table(next(tables))
    with parquet.ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(arrow_table(table))


def _write_npy(file: BinaryIO, tables: Iterator[Table]) -> None:
    """Write the matrix behind a header for no rows, then the header again: NumPy leaves room in it for the number."""
    rows = 0
    for table in tables:
        matrix = table.matrix()
        if rows == 0:
            _npy_header(file, 0, matrix.shape[1])
        file.write(matrix.tobytes())
        rows += len(matrix)
    file.seek(0)
    _npy_header(file, rows, matrix.shape[1])


def _npy_header(file: BinaryIO, rows: int, columns: int) -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_hdf5(file: BinaryIO, tables: Iterator[Table]) -> None:
    h5py = require("h5py", extra="data", purpose="Writing HDF5 files")
    with h5py.File(file, "w", track_order=True) as target:
        for table in tables:
            for name in table.names:
                _append(h5py, target, name, table.columns[name])


def _append(h5py: Any, target: Any, name: str, column: AnyArray) -> None:
    if "/" in name or name == ".":
        raise InputError(f"HDF5 cannot hold a column called {name!r}: a slash separates groups. Rename it.")
    text = column.dtype.kind in "UMm"
    values = column.astype(str).astype(object) if text else column
    if name not in target:
        kind = h5py.string_dtype() if text else column.dtype
        target.create_dataset(name, data=values, dtype=kind, maxshape=(None,), chunks=(min(len(values), 65_536),))
        return
    dataset = target[name]
    dataset.resize((len(dataset) + len(values),))
    dataset[-len(values) :] = values
