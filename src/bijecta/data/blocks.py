"""Files that are read in blocks of rows: Parquet by row groups, HDF5 and NPY by slices."""

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from bijecta.data.formats import damage_named, table_from_arrow
from bijecta.data.table import Table, check_names, table_from_array, table_from_arrays
from bijecta.errors import FileFormatError, InputError, require

ROWS = 65_536  # in a block of formats that have none of their own
BLOCK_SUFFIXES = (".parquet", ".h5", ".hdf5", ".npy")


class BlockFile(ABC):
    """A file of rows that is read block by block.

    Attributes:
        path: where it is.
        names: its columns.
        sizes: number of rows in each block.
    """

    path: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @abstractmethod
    def read(self, block: int, names: Sequence[str]) -> Table:
        """Read some columns of one block."""


@final
class ParquetBlocks(BlockFile):
    """The row groups of a Parquet file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._parquet = require("pyarrow.parquet", extra="data", purpose="Reading Parquet files")
        with damage_named(path, "Parquet"), self._parquet.ParquetFile(path) as file:
            self._footer, self.names = file.metadata, tuple(file.schema_arrow.names)
        check_names(self.names)
        self.sizes = tuple(self._footer.row_group(k).num_rows for k in range(self._footer.num_row_groups))

    def read(self, block: int, names: Sequence[str]) -> Table:
        """Read one row group; the footer is known already."""
        with damage_named(self.path, "Parquet"), self._parquet.ParquetFile(self.path, metadata=self._footer) as file:
            return table_from_arrow(file.read_row_group(block, columns=list(names)))


@final
class NumpyBlocks(BlockFile):
    """Slices of an .npy file, which is mapped into memory and not read as a whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        rows = len(self._mapped())
        self.sizes = _slices(rows)
        self.names = table_from_array(self._mapped()[:0]).names

    def read(self, block: int, names: Sequence[str]) -> Table:
        """Read one slice; a copy, so that the pages of the file can leave the memory."""
        return table_from_array(np.array(self._mapped()[block * ROWS :][: self.sizes[block]])).select(names)

    def _mapped(self) -> Any:
        with damage_named(self.path, "a NumPy file without Python objects"):
            return np.load(self.path, mmap_mode="r", allow_pickle=False)


@final
class Hdf5Blocks(BlockFile):
    """Slices of the datasets of an HDF5 file's root or of one group."""

    def __init__(self, path: str, entry: str) -> None:
        self.path, self._entry = path, entry or "/"
        self._h5py = require("h5py", extra="data", purpose="Reading HDF5 files")
        with damage_named(path, "HDF5"), self._h5py.File(path, "r") as file:
            lengths = [node.shape[0] for node in self._datasets(file).values() if node.shape]
        if not lengths:
            raise FileFormatError(f"{path}::{self._entry} has no datasets with rows. Pick a group with file::group.")
        self._rows = max(lengths)  # a short dataset holds the names of columns
        self.sizes = _slices(self._rows)
        self.names = self._slice(0, 1).names

    def read(self, block: int, names: Sequence[str]) -> Table:
        """Read one slice of every dataset."""
        return self._slice(block * ROWS, block * ROWS + self.sizes[block]).select(names)

    def _slice(self, start: int, stop: int) -> Table:
        with damage_named(self.path, "HDF5"), self._h5py.File(self.path, "r") as file:
            arrays = {
                name: self._read(node, slice(start, stop) if node.shape[0] == self._rows else slice(None))
                for name, node in self._datasets(file).items()
                if node.shape
            }
        return table_from_arrays(arrays)

    def _read(self, node: Any, rows: slice) -> Any:
        text = self._h5py.check_string_dtype(node.dtype) is not None
        return np.asarray(node.asstr()[rows], dtype=np.str_) if text else np.asarray(node[rows])

    def _datasets(self, file: Any) -> dict[str, Any]:
        if self._entry not in file:
            raise InputError(f"{self.path} has no entry {self._entry!r}. Entries at its root: {', '.join(file)}.")
        node = file[self._entry]
        if isinstance(node, self._h5py.Dataset):
            return {self._entry.rsplit("/", 1)[-1]: node}
        return {name: each for name, each in node.items() if isinstance(each, self._h5py.Dataset)}


def find_files(source: Any) -> list[str]:
    """List the files that a path, a folder, a pattern such as 'events-*.parquet', or a list of these stands for.

    Args:
        source: path, folder, pattern, or a sequence of them; ``file.h5::group`` picks a group.

    Returns:
        Paths, sorted within a folder or pattern.

    Raises:
        InputError: nothing is found.
    """
    if not isinstance(source, str | os.PathLike):
        return [path for each in source for path in find_files(each)]
    text = os.fspath(source)
    pattern, separator, entry = text.partition("::")
    if Path(pattern).is_dir():
        found = [each for each in sorted(glob.glob(glob.escape(pattern) + "/*")) if each.endswith(BLOCK_SUFFIXES)]
    else:
        found = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise InputError(f"No file is called {text}. Give a path, a folder, or a pattern such as 'big/*.parquet'.")
    return [path + separator + entry for path in found]


def open_blocks(path: str) -> BlockFile:
    """Look at a file that can be read in blocks.

    Raises:
        InputError: its format is none of them.
        FileFormatError: it is damaged.
    """
    file, _, entry = path.partition("::")
    suffix = Path(file).suffix.lower()
    if suffix == ".parquet":
        return ParquetBlocks(file)
    if suffix == ".npy":
        return NumpyBlocks(file)
    if suffix in (".h5", ".hdf5"):
        return Hdf5Blocks(file, entry)
    raise InputError(f"{path} cannot be read in blocks: that takes {', '.join(BLOCK_SUFFIXES)}. Convert it to Parquet.")


def _slices(rows: int) -> tuple[int, ...]:
    return tuple(min(ROWS, rows - start) for start in range(0, rows, ROWS))
