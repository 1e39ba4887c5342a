"""Rows of files that are larger than the memory."""

import copy
import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from bijecta.data.background import in_background
from bijecta.data.blocks import BlockFile, find_files, open_blocks
from bijecta.data.missing import is_missing, stack_tables, take_rows
from bijecta.data.schema import Column, Schema
from bijecta.data.table import AnyArray, Table, unknown_column
from bijecta.errors import InputError

RowNumbers = NDArray[np.int64]

BUFFER = 262_144
SAMPLED_BLOCKS = 32


@dataclass(frozen=True)
class Part:
    """Some rows of a stream.

    Attributes:
        number: their row numbers in the files, of shape (N,), counted through all files.
        x: of shape (N, D).
        context: of shape (N, C), or None.
        weight: of shape (N,), or None.
    """

    number: RowNumbers
    x: AnyArray
    context: AnyArray | None
    weight: AnyArray | None

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: AnyArray) -> "Part":
        """Take rows by position or mask."""
        return Part(*(None if each is None else each[rows] for each in _arrays(self)))  # type: ignore[arg-type]


@final
class Stream:
    r"""Name rows in files that need not fit into memory, to fit a flow to.

    The files are read block by block: Parquet by its row groups, HDF5 and NPY by slices of 65,536 rows. For training,
    blocks come in random order and pass a buffer of bounded size, from which rows leave in random order; the order
    follows from seed and epoch alone.

    Args:
        source: path, folder, pattern such as ``'events-*.parquet'``, or a list of these.
        columns: columns to model, in order (default: all that are neither context nor weight).
        context: columns to condition on.
        weight: column of event weights.
        schema: what the columns are, for kinds other than real; then ``columns`` may be left out.
        missing: "error" refuses rows with missing values, "drop" leaves them out.
        buffer_rows: size of the buffer. Rows of a block stay near each other on this scale, so files that are sorted
            want a large one.
        dtype: type of the numbers handed out; `fit` takes that of the flow.

    Raises:
        InputError: no file, a format that has no blocks, or columns that are not in every file.
        FileFormatError: a file is damaged.
        MissingDependencyError: Parquet needs pyarrow, HDF5 needs h5py.

    References:
        L. Bottou (2009), Curiously Fast Convergence of some Stochastic Gradient Descent Algorithms: why every epoch
        has another order.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> np.save(folder + "/a.npy", np.arange(6.0).reshape(3, 2))
        >>> np.save(folder + "/b.npy", np.arange(4.0).reshape(2, 2))
        >>> stream = Stream(folder, columns=["x1"])
        >>> len(stream), [part.x.ravel().tolist() for part in stream.parts()]
        (5, [[1.0, 3.0, 5.0], [1.0, 3.0]])
    """

    def __init__(
        self,
        source: Any,
        *,
        columns: Sequence[str] | None = None,
        context: Sequence[str] = (),
        weight: str | None = None,
        schema: Schema | None = None,
        missing: str = "error",
        buffer_rows: int = BUFFER,
        dtype: str = "float32",
    ) -> None:
        if missing not in ("error", "drop") or buffer_rows < 1:
            raise InputError(
                "A stream expects missing='error' or 'drop' and at least one row in the buffer; "
                f"got {missing!r} and {buffer_rows}."
            )
        self.files = [open_blocks(path) for path in find_files(source)]
        self.names, self.context, self.weight = self.files[0].names, tuple(context), weight
        side = (*self.context, *([weight] if weight else []))
        chosen = tuple(columns or (schema.names if schema else [name for name in self.names if name not in side]))
        self.schema = schema or Schema(tuple(Column(name, "real") for name in chosen))
        self._side = Schema(tuple(Column(name, "real") for name in side)) if side else None
        self.missing, self.buffer_rows, self.dtype = missing, buffer_rows, dtype
        self.blocks = [(file, block) for file in self.files for block in range(len(file.sizes))]
        self._starts = np.cumsum([0, *(size for file in self.files for size in file.sizes)])
        self._left_out: RowNumbers = np.empty(0, dtype=np.int64)
        for file in self.files:
            _check_columns(file, (*self.schema.names, *side), self.files[0])

    def __len__(self) -> int:
        """Count the rows in the files, without those left out; rows with missing values still count."""
        return int(self._starts[-1]) - len(self._left_out)

    def choose(self, count: int, seed: int | Sequence[int]) -> RowNumbers:
        """Choose rows at random, the same way every time; return their numbers in ascending order."""
        positions = np.random.default_rng(seed).choice(len(self), min(count, len(self)), replace=False)
        # The k-th row that is still there: k, and one more for each row left out before it.
        gaps = self._left_out - np.arange(len(self._left_out))
        return np.sort(positions + np.searchsorted(gaps, positions, side="right")).astype(np.int64)

    def without(self, numbers: RowNumbers) -> "Stream":
        """Return the stream without some rows."""
        rest = copy.copy(self)
        rest._left_out = np.union1d(self._left_out, numbers)
        return rest

    def as_type(self, dtype: str) -> "Stream":
        """Return the stream with numbers of another type."""
        rest = copy.copy(self)
        rest.dtype = dtype
        return rest

    def parts(self) -> Generator[Part, None, None]:
        """Read all blocks in the order of the files; the next one is read while one is used."""
        return in_background(self._part(block) for block in range(len(self.blocks)))

    def shuffled(self, seed: int, epoch: int) -> Generator[Part, None, None]:
        """Read all rows in the random order of an epoch, as parts of about half the buffer or of one block."""
        return in_background(self._mixed(np.random.default_rng([seed, epoch])))

    def sample(self, rows: int, seed: int) -> Table:
        """Read some rows of blocks that are spread evenly over the files, with all columns as they are stored."""
        generator = np.random.default_rng(seed)
        filled = [k for k, (file, block) in enumerate(self.blocks) if file.sizes[block]]
        chosen = np.unique(np.linspace(0, len(filled) - 1, min(SAMPLED_BLOCKS, len(filled))).round().astype(int))
        tables = []
        for file, block in (self.blocks[filled[k]] for k in chosen):
            table = file.read(block, self.names)
            count = min(table.n_rows, -(-rows // len(chosen)))
            tables.append(take_rows(table, np.sort(generator.permutation(table.n_rows)[:count])))
        return stack_tables(tables)

    def fingerprint(self) -> str:
        """Hash what makes these rows these, to recognise them when a run is resumed: files by name and size."""
        files = [(Path(file.path).name, Path(file.path).stat().st_size, file.sizes) for file in self.files]
        choices = (self.schema.to_json(), self.context, self.weight, self.missing, self.buffer_rows)
        return hashlib.sha256(repr((files, choices)).encode() + self._left_out.tobytes()).hexdigest()

    def _mixed(self, generator: np.random.Generator) -> Iterator[Part]:
        waiting: list[Part] = []
        fresh = 0
        for block in generator.permutation(len(self.blocks)):
            waiting.append(self._part(int(block)))
            fresh += len(waiting[-1])
            if 2 * fresh >= self.buffer_rows:  # small blocks are mixed together: mixing costs as much as the buffer
                pool, fresh = join_parts(waiting), 0
                order = generator.permutation(len(pool))
                if len(pool) > self.buffer_rows:
                    yield pool.take(order[self.buffer_rows :])
                waiting = [pool.take(order[: self.buffer_rows])]
        if waiting:
            pool = join_parts(waiting)
            yield pool.take(generator.permutation(len(pool)))

    def _part(self, block: int) -> Part:
        """Read a block, leave out what is to be left out, and check what is left."""
        file, number = self.blocks[block]
        start, stop = self._starts[block], self._starts[block + 1]
        side = self._side.names if self._side else ()
        table = file.read(number, (*self.schema.names, *side))
        kept = np.ones(table.n_rows, dtype=bool)
        first, last = np.searchsorted(self._left_out, [start, stop])
        kept[self._left_out[first:last] - start] = False
        if self.missing == "drop":
            kept &= ~np.any([is_missing(column) for column in table.columns.values()], axis=0)
        numbers = np.arange(start, stop)
        if not kept.all():
            table, numbers = take_rows(table, kept), numbers[kept]
        try:
            return self._converted(table, numbers)
        except InputError as error:
            raise InputError(f"In block {number} of {file.path}, which begins at row {start}: {error}") from error

    def _converted(self, table: Table, numbers: RowNumbers) -> Part:
        self.schema.validate(table)
        x = self.schema.matrix(table).astype(self.dtype)
        if self._side is None:
            return Part(numbers, x, None, None)
        self._side.validate(table)
        side = self._side.matrix(table).astype(self.dtype)
        width = len(self.context)
        return Part(numbers, x, side[:, :width] if width else None, side[:, -1] if self.weight else None)


def join_parts(parts: Sequence[Part]) -> Part:
    """Put parts of one stream under each other."""
    columns = zip(*(_arrays(part) for part in parts), strict=True)
    return Part(*(None if column[0] is None else np.concatenate(column) for column in columns))  # type: ignore[arg-type]


def _arrays(part: Part) -> tuple[AnyArray | None, ...]:
    return part.number, part.x, part.context, part.weight


def _check_columns(file: BlockFile, names: Sequence[str], first: BlockFile) -> None:
    for name in names:
        if name not in file.names:
            where = "" if file is first else f" {Path(first.path).name} has it: give files with the same columns."
            raise InputError(f"{Path(file.path).name}: {unknown_column(name, file.names)}{where}")
