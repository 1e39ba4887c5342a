"""Streams hand out every row once, in an order that repeats, whatever the format and however small the buffer."""

import threading

import numpy as np
import pytest

from bijecta.data import Column, Schema, Stream, Table, read_table, write_table
from bijecta.data import blocks as files
from bijecta.data.background import in_background
from bijecta.errors import FileFormatError, InputError

COUNTS = (70, 1, 45)  # rows in three files


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(files, "ROWS", 16)


def columns_of(rows, start):
    x = np.arange(start, start + rows, dtype=np.float64)
    return {"x": x, "angle": 7 * x % 360, "energy": -x, "weight": 1 + x % 3}


def write(folder, suffix):
    """Write 116 rows, numbered in x, into three files; Parquet in row groups of 16."""
    start = 0
    for number, rows in enumerate(COUNTS):
        columns = columns_of(rows, start)
        path = folder / f"part-{number}{suffix}"
        if suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table(columns), path, row_group_size=16)
        else:
            write_table(path, list(columns), columns)
        start += rows
    return str(folder / f"part-*{suffix}")


@pytest.fixture(params=[".parquet", ".h5", ".npy"])
def pattern(request, tmp_path):
    return write(tmp_path, request.param)


def open_stream(pattern, **options):
    if pattern.endswith(".npy"):  # these have no names of their own
        names = {"columns": ["x0", "x1"], "context": ["x2"], "weight": "x3"}
    else:
        names = {"columns": ["x", "angle"], "context": ["energy"], "weight": "weight"}
    return Stream(pattern, **names, **options)


def test_all_rows_in_the_order_of_the_files(pattern):
    stream = open_stream(pattern, dtype="float64")
    parts = list(stream.parts())
    assert len(stream) == sum(len(part) for part in parts) == sum(COUNTS)
    assert max(len(part) for part in parts) <= 16
    number = np.concatenate([part.number for part in parts])
    assert number.tolist() == list(range(sum(COUNTS)))
    expected = columns_of(sum(COUNTS), 0)
    assert np.array_equal(np.concatenate([part.x for part in parts]), np.stack([expected["x"], expected["angle"]], 1))
    assert np.array_equal(np.concatenate([part.context for part in parts])[:, 0], expected["energy"])
    assert np.array_equal(np.concatenate([part.weight for part in parts]), expected["weight"])


@pytest.mark.parametrize("buffer_rows", [1, 10, 50, 1000])
def test_an_epoch_is_a_permutation_that_repeats(pattern, buffer_rows):
    stream = open_stream(pattern, buffer_rows=buffer_rows)

    def order(seed, epoch):
        return [int(x) for part in stream.shuffled(seed, epoch) for x in part.x[:, 0]]

    assert sorted(order(0, 1)) == list(range(sum(COUNTS)))
    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(*key)) for key in ((0, 1), (0, 2), (1, 1))}) == 3


def test_the_buffer_mixes_the_blocks(tmp_path):
    stream = open_stream(write(tmp_path, ".parquet"), buffer_rows=64)
    order = np.concatenate([part.number for part in stream.shuffled(0, 1)])
    near = np.abs(np.diff(order)) == 1
    assert near.mean() < 0.1, "neighbours in the file are rarely neighbours in the training"
    parts = [len(part) for part in stream.shuffled(0, 1)]
    assert max(parts[:-1]) <= 64 + 16, "no part is larger than half the buffer and a block"


def test_held_out_rows_are_random_repeat_and_leave_the_rest(pattern):
    stream = open_stream(pattern)
    first = stream.choose(20, seed=3)
    assert np.array_equal(first, stream.choose(20, seed=3))
    assert len(np.unique(first)) == 20
    rest = stream.without(first)
    second = rest.choose(30, seed=3)
    assert not set(first) & set(second)
    rest = rest.without(second)
    left = np.concatenate([part.number for part in rest.parts()])
    assert len(rest) == len(left) == sum(COUNTS) - 50
    assert sorted([*left, *first, *second]) == list(range(sum(COUNTS)))
    assert rest.choose(10_000, seed=0).tolist() == left.tolist()


def test_choices_cover_the_rows_evenly(tmp_path):
    stream = open_stream(write(tmp_path, ".npy"))
    counts = np.zeros(sum(COUNTS))
    for seed in range(400):
        counts[stream.without(stream.choose(60, 1)).choose(14, seed)] += 1
    hit = counts[counts > 0]
    assert len(hit) == sum(COUNTS) - 60
    assert hit.mean() == 100
    assert hit.std() < 20  # binomial: 8.7


def test_a_sample_is_spread_over_the_files(pattern):
    table = open_stream(pattern).sample(58, seed=0)
    x = table.columns[table.names[0]]
    assert len(np.unique(x)) == len(x)
    assert x.min() < 16
    assert x.max() >= 100
    assert 40 <= len(x) <= 70
    assert set(table.names) == set(read_table(pattern.replace("*", "0")).names)


def test_rows_with_gaps(tmp_path):
    columns = columns_of(50, 0)
    columns["x"][[3, 30]] = columns["energy"][[30, 40]] = np.nan
    write_table(tmp_path / "a.parquet", list(columns), columns)
    path = str(tmp_path / "a.parquet")
    dropped = open_stream(path, missing="drop")
    assert sorted(set(range(50)) - set(np.concatenate([p.number for p in dropped.parts()]))) == [3, 30, 40]
    with pytest.raises(InputError, match=r"(?s)block 0 of .*a\.parquet.*row 0: .*x is NaN or infinite in 2 of 50 rows"):
        list(open_stream(path).parts())
    assert len(next(Stream(path, columns=["angle"]).parts())) == 50, "gaps elsewhere do not matter"


def test_the_schema_says_what_columns_are(tmp_path):
    schema = Schema((Column("angle", "periodic", high=90.0),))
    stream = Stream(write(tmp_path, ".parquet"), schema=schema)
    parts = list(stream.parts())
    assert max(part.x.max() for part in parts) < 90
    assert parts[0].context is None
    positive = Schema((Column("energy", "positive"),))
    with pytest.raises(InputError, match="leaves its support"):
        list(Stream(str(tmp_path), schema=positive).parts())


def test_hdf5_groups_and_labelled_matrices(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("deep")
        group["table"] = np.arange(80.0).reshape(40, 2)
        group["columns"] = np.array(["p", "q"], dtype=h5py.string_dtype())
    stream = Stream(f"{tmp_path}/a.h5::deep")
    assert stream.names == ("p", "q")
    assert sum(part.x.sum() for part in stream.parts()) == 79 * 80 / 2
    with pytest.raises(InputError, match="no entry"):
        Stream(f"{tmp_path}/a.h5::shallow")


def test_fingerprints_tell_streams_apart(pattern):
    streams = [
        open_stream(pattern),
        open_stream(pattern, missing="drop"),
        open_stream(pattern.replace("*", "0")),
        open_stream(pattern).without(np.array([4])),
    ]
    assert len({stream.fingerprint() for stream in streams}) == 4
    assert open_stream(pattern).fingerprint() == streams[0].fingerprint()


def test_what_cannot_be_read_is_named(tmp_path):
    write(tmp_path, ".parquet")
    with pytest.raises(InputError, match=r"part-0\.parquet: There is no column 'angel'. Did you mean 'angle'"):
        Stream(tmp_path, columns=["angel"])
    with pytest.raises(InputError, match="No file is called"):
        Stream(tmp_path / "nothing-*.parquet")
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match="cannot be read in blocks"):
        Stream(tmp_path / "a.csv")
    with pytest.raises(InputError, match="missing='error' or 'drop'"):
        Stream(tmp_path, missing="guess")
    (tmp_path / "part-9.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(FileFormatError, match="part-9"):
        Stream(tmp_path)
    write_table(tmp_path / "part-9.parquet", ["y"], Table(("y",), {"y": np.ones(3)}).columns)
    with pytest.raises(InputError, match=r"part-9\.parquet: There is no column 'x'.*part-0\.parquet has it"):
        Stream(tmp_path, columns=["x"])


def test_the_background_passes_errors_on_and_ends_with_its_reader():
    def failing():
        yield 1
        raise ValueError("in the thread")

    items = in_background(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="in the thread"):
        next(items)
    before = threading.active_count()
    endless = in_background(iter(int, 1))
    assert next(endless) == 0
    assert threading.active_count() == before + 1
    endless.close()
    assert threading.active_count() == before
