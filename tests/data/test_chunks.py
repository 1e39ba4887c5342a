"""Tables that pass in pieces give the same file as in one piece."""

import gzip
import itertools

import numpy as np
import pytest

from bijecta.data import blocks as files
from bijecta.data import chunks, read_table, write_table
from bijecta.data.chunks import read_chunks, write_chunks
from bijecta.errors import InputError

NUMBERS = {"x": np.linspace(-1, 1, 50), "n, m": np.arange(50), "small": np.arange(50, dtype=np.float32) / 7}
TEXT = {"name": np.array([f"event {k}" for k in range(50)])}


def pieces(columns, *sizes):
    stops = np.cumsum([0, *sizes])
    for start, stop in itertools.pairwise(stops):
        yield {name: column[start:stop] for name, column in columns.items()}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".npy", ".npz", ".h5"])
@pytest.mark.parametrize("sizes", [(50,), (20, 20, 10), (1, 49)])
def test_pieces_make_the_same_table_as_the_whole(tmp_path, suffix, sizes):
    columns = NUMBERS if suffix == ".npy" else NUMBERS | TEXT
    write_table(tmp_path / f"whole{suffix}", list(columns), columns)
    write_chunks(tmp_path / f"pieces{suffix}", list(columns), pieces(columns, *sizes))
    whole, made = (read_table(tmp_path / f"{name}{suffix}") for name in ("whole", "pieces"))
    assert whole.names == made.names
    for name in whole.names:
        assert whole.columns[name].dtype == made.columns[name].dtype
        assert np.array_equal(whole.columns[name], made.columns[name])
    if suffix == ".csv":
        assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "pieces.csv").read_bytes()
    if suffix == ".csv.gz":
        texts = [gzip.decompress((tmp_path / f"{name}{suffix}").read_bytes()) for name in ("whole", "pieces")]
        assert texts[0] == texts[1]


def test_npy_files_of_many_rows_have_one_header(tmp_path):
    write_chunks(tmp_path / "a.npy", ["x"], ({"x": np.full(99_999, k)} for k in range(11)))
    assert np.load(tmp_path / "a.npy").shape == (1_099_989, 1)
    assert np.load(tmp_path / "a.npy")[[0, -1], 0].tolist() == [0, 10]


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    def broken():
        yield {"x": np.ones(3)}
        yield {"x": np.ones(3)}
        raise InputError("in the middle")

    for suffix in (".csv", ".parquet", ".npy", ".h5"):
        with pytest.raises(InputError, match="in the middle"):
            write_chunks(tmp_path / f"a{suffix}", ["x"], broken())
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written(tmp_path):
    two = [{"a/b": np.ones(2)}] * 2
    with pytest.raises(InputError, match="extension"):
        write_chunks(tmp_path / "a.xlsx", ["a/b"], two)
    with pytest.raises(InputError, match="slash"):
        write_chunks(tmp_path / "a.h5", ["a/b"], two)


def test_reading_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROWS", 20)
    for name in ("a.npy", "b.npy"):
        write_table(tmp_path / name, list(NUMBERS), NUMBERS)
    tables = list(read_chunks(str(tmp_path / "*.npy")))
    assert [table.n_rows for table in tables] == [20, 20, 10, 20, 20, 10]
    assert np.array_equal(np.concatenate([t.columns["x0"] for t in tables]), np.tile(NUMBERS["x"], 2))
    assert [table.n_rows for table in read_chunks(tmp_path)] == [20, 20, 10, 20, 20, 10]
    write_table(tmp_path / "c.csv", list(NUMBERS), NUMBERS)
    assert [table.n_rows for table in read_chunks(tmp_path / "c.csv")] == [50]
    write_table(tmp_path / "empty.npz", ["x"], {"x": np.ones(2)})
    assert [table.n_rows for table in read_chunks(tmp_path / "empty.npz")] == [2]
    np.save(tmp_path / "empty.npy", np.empty((0, 2)))
    with pytest.raises(InputError, match="no rows"):
        list(read_chunks(tmp_path / "empty.npy"))
    np.save(tmp_path / "z.npy", np.ones((3, 1)))
    with pytest.raises(InputError, match="no column"):
        list(read_chunks(tmp_path / "[az].npy"))


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz"])
@pytest.mark.parametrize("size", [40, 300, 10**6])
def test_text_in_pieces_is_the_text(tmp_path, monkeypatch, suffix, size):
    monkeypatch.setattr(chunks, "TEXT_BYTES", size)
    columns = NUMBERS | {"name": np.array([f'quoted, "{k}"\nand broken' for k in range(50)])}
    write_table(tmp_path / f"a{suffix}", list(columns), columns)
    tables = list(read_chunks(tmp_path / f"a{suffix}"))
    assert len(tables) > 1 or size > 10**4
    for name, column in read_table(tmp_path / f"a{suffix}").columns.items():
        assert np.array_equal(np.concatenate([table.columns[name] for table in tables]), column)


def test_text_without_a_header_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "TEXT_BYTES", 20)
    np.savetxt(tmp_path / "a.csv", np.arange(40).reshape(20, 2), delimiter=",")
    assert np.concatenate([table.matrix() for table in read_chunks(tmp_path / "a.csv")]).ravel().tolist() == [
        *range(40)
    ]
