"""Reading and writing tables: every format round-trips, every damage is named."""

import gzip
import io

import h5py
import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bijecta.data import Table, read_table, write_table
from bijecta.errors import FileFormatError, InputError, ShapeError

COLUMNS = {
    "b": np.array([0.1, -1e-300, np.nan, 3.5e200]),
    "a": np.array([1, 2, 3, -4]),
    "flag": np.array([True, False, True, True]),
    "word": np.array(["x, y", 'say "hi"', "", "ünï"]),
    "single": np.array([0.1, 0.2, np.nan, 0.4], dtype=np.float32),
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".npz", ".h5"])
def test_tables_round_trip(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    write_table(path, list(COLUMNS), COLUMNS)
    table = read_table(path)
    assert table.names == tuple(COLUMNS)
    for name, column in COLUMNS.items():
        exact = name != "single" or suffix in (".parquet", ".npz", ".h5")
        np.testing.assert_array_equal(table.columns[name].astype(column.dtype), column)
        assert table.columns[name].dtype == column.dtype or not exact
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_npy_holds_the_matrix(tmp_path):
    write_table(tmp_path / "m.npy", ["a", "b"], COLUMNS)
    table = read_table(tmp_path / "m.npy", columns=["x1"])
    np.testing.assert_array_equal(table.columns["x1"], COLUMNS["b"])


def test_standard_input_and_output_are_csv():
    stream = io.BytesIO()
    write_table("-", ["a", "word"], COLUMNS, stream=stream)
    stream.seek(0)
    table = read_table("-", columns=["word"], stream=stream)
    np.testing.assert_array_equal(table.columns["word"], COLUMNS["word"])


def test_awkward_column_names_survive(tmp_path):
    columns = {"file": np.arange(2), "a,b": np.arange(2), 'c"d': np.arange(2), "allow_pickle": np.arange(2)}
    for suffix in (".csv", ".npz", ".parquet", ".h5"):
        write_table(tmp_path / f"t{suffix}", list(columns), columns)
        assert read_table(tmp_path / f"t{suffix}").names == tuple(columns)


# ---------------------------------------------------------------- in memory


class FakeFrame:
    """Looks like a pandas frame: columns, and access by name."""

    def __init__(self, data):
        self.columns = list(data)
        self._data = data

    def __getitem__(self, name):
        return np.asarray(self._data[name])


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (np.zeros((3, 2)), ("x0", "x1")),
        (np.zeros(3), ("x0",)),
        ([[1, 2], [3, 4]], ("x0", "x1")),
        ({"u": [1, 2], "v": ["a", "b"]}, ("u", "v")),
        (FakeFrame({"u": [1.0], "v": [2.0]}), ("u", "v")),
        (pyarrow.table({"u": [1.0], "v": [None]}), ("u", "v")),
        (np.array([(1, 2.0)], dtype=[("u", int), ("v", float)]), ("u", "v")),
    ],
)
def test_sources_in_memory(source, names):
    assert read_table(source).names == names


def test_tensors_are_read_without_importing_torch_here():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[1.0, 2.0]], requires_grad=True)
    np.testing.assert_array_equal(read_table(tensor).matrix(), [[1.0, 2.0]])


def test_arrow_types_become_plain_columns():
    source = pyarrow.table(
        {
            "gap": pyarrow.array([1, None, 3]),
            "label": pyarrow.array(["a", "b", "a"]).dictionary_encode(),
            "maybe": pyarrow.array([True, None, False]),
            "money": pyarrow.array([1, 2, 3], pyarrow.decimal128(5, 2)),
            "when": pyarrow.array([0, 1, 2], pyarrow.timestamp("s")),
            "__index_level_0__": pyarrow.array([0, 1, 2]),
        }
    )
    table = read_table(source)
    assert table.names == ("gap", "label", "maybe", "money", "when")
    np.testing.assert_array_equal(table.columns["gap"], [1.0, np.nan, 3.0])
    np.testing.assert_array_equal(table.columns["maybe"], [1.0, np.nan, 0.0])
    assert table.columns["label"].tolist() == ["a", "b", "a"]
    assert table.columns["money"].dtype == np.float64
    assert table.columns["when"][1].startswith("1970-01-01")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros((2, 2, 2)), ShapeError, "shape"),
        (np.array(1.0), ShapeError, "shape"),
        (np.zeros((0, 2)), InputError, "no rows"),
        ([[1, 2], [3]], InputError, "different length"),
        (np.array([[1j, 2.0]]), InputError, "complex"),
        ({"a": np.array([object(), object()])}, InputError, "Python objects"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, ShapeError, "same number of rows"),
        ({"a": np.zeros((2, 2))}, ShapeError, "Column a"),
        (pyarrow.table([[1], [2]], names=["a", "a"]), InputError, "unique"),
        (pyarrow.table({"a": [[1, 2]]}), InputError, "Flatten"),
        ({}, InputError, "at least one"),
    ],
)
def test_unusable_sources_are_explained(source, error, message):
    with pytest.raises(error, match=message):
        read_table(source)


def test_unknown_columns_get_a_suggestion():
    with pytest.raises(InputError, match="Did you mean 'mass'"):
        read_table({"mass": [1.0]}, columns=["mas"])


# ---------------------------------------------------------------- text files


@pytest.mark.parametrize(
    ("name", "text", "names", "first"),
    [
        ("a.csv", "x,y\n1,2\n", ("x", "y"), [1.0, 2.0]),
        ("a.csv", "\ufeffx,y\r\n1,2\r\n", ("x", "y"), [1.0, 2.0]),
        ("a.csv", "1,2\n3,4\n", ("x0", "x1"), [1.0, 2.0]),
        ("a.csv", ",y\n0,2\n", ("unnamed0", "y"), [0.0, 2.0]),
        ("a.csv", "x,y\n,nan\n1,2\n", ("x", "y"), [np.nan, np.nan]),
        ("a.tsv", "x\ty\n1\t2\n", ("x", "y"), [1.0, 2.0]),
        ("a.txt", "x;y\n1;2\n", ("x", "y"), [1.0, 2.0]),
        ("a.txt", "# x  y\n 1.0   2e0\n3 4", ("x", "y"), [1.0, 2.0]),
        ("a.csv", "x\n" + "1\n" * 300_000 + "1.5\n", ("x",), [1.0]),
    ],
)
def test_text_files(tmp_path, name, text, names, first):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    table = read_table(tmp_path / name)
    assert table.names == names
    np.testing.assert_array_equal(table.matrix()[0], first)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", FileFormatError, "empty"),
        (b"\n \n", FileFormatError, "empty"),
        (b"x,y\n", FileFormatError, "no rows"),
        (b"x,y\n1,2\n3\n", FileFormatError, "truncated"),
        (b"x,x\n1,2\n", InputError, "unique"),
        ("x\n1\n".encode("utf-16"), FileFormatError, "UTF-16"),
    ],
)
def test_damaged_text_is_named(tmp_path, content, error, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(error, match=message):
        read_table(tmp_path / "a.csv")


# ---------------------------------------------------------------- binary files


def test_npz_layouts(tmp_path):
    path, x = tmp_path / "a.npz", np.arange(6.0).reshape(3, 2)
    np.savez(path, anything=x)
    assert read_table(path).names == ("x0", "x1")
    np.savez(path, x=x, columns=np.array(["u", "v"]), when=np.array(["a", "b", "c"]), scale=np.float64(2.0))
    assert read_table(path).names == ("u", "v", "when")
    np.savez(path, a=x[:, 0], b=x[:, 1])
    assert read_table(path).names == ("a", "b")
    np.savez(path, X=x, y=x[:, 0])
    assert read_table(path).names == ("X0", "X1", "y")
    np.savez(path, train=x, test=x[:2])
    with pytest.raises(ShapeError, match="file::entry"):
        read_table(path)
    assert read_table(f"{path}::test").n_rows == 2
    with pytest.raises(InputError, match="no entry"):
        read_table(f"{path}::valid")


def test_hdf5_groups_and_datasets(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["run/mass"] = np.arange(3.0)
        file["run/label"] = ["a", "b", "c"]
        file["run/points"] = np.zeros((4, 2))
        file["other/n"] = np.arange(2)
    assert read_table(f"{path}::other").names == ("n",)
    assert read_table(f"{path}::run/mass").names == ("mass",)
    assert read_table(f"{path}::run/points").names == ("x0", "x1")
    assert read_table(f"{path}::run/label").columns["label"].tolist() == ["a", "b", "c"]
    with pytest.raises(InputError, match="run/mass"):
        read_table(path)
    with pytest.raises(InputError, match="no entry"):
        read_table(f"{path}::walk")


def test_pickles_and_object_arrays_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", x=np.array([{"a": 1}], dtype=object))
    for name in ("o.npy", "o.npz"):
        with pytest.raises(FileFormatError, match="Python objects"):
            read_table(tmp_path / name)


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy", ".h5", ".csv.gz"])
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.0, 0.97))
def test_truncated_files_are_refused(tmp_path_factory, suffix, share):
    path = tmp_path_factory.mktemp("cut") / f"a{suffix}"
    names = ["a", "b"]
    write_table(path, names, {name: np.random.default_rng(0).random(200) for name in names})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises((FileFormatError, InputError)):
        read_table(path)


def test_a_truncated_gzip_is_not_taken_for_the_whole(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 1000)[:-4])
    with pytest.raises(FileFormatError, match="truncated"):
        read_table(tmp_path / "a.csv.gz")


# ---------------------------------------------------------------- paths


def test_missing_files_get_suggestions(tmp_path):
    (tmp_path / "events.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match=r"Did you mean events\.csv"):
        read_table(tmp_path / "event.csv")
    with pytest.raises(InputError, match="no file"):
        read_table(tmp_path / "nowhere" / "event.csv")
    with pytest.raises(InputError, match="unknown extension"):
        read_table(tmp_path / "events.xlsx")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_table(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("name", "message"), [("a.xlsx", "extension"), ("a.npz.gz", "extension"), ("no/a.csv", "folder")]
)
def test_unwritable_paths_are_explained(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        write_table(tmp_path / name, ["a"], COLUMNS)


def test_tables_select_and_stack():
    table = Table(tuple(COLUMNS), COLUMNS)
    assert table.select(["a", "b"]).names == ("a", "b")
    assert table.matrix(["a", "flag"]).tolist() == [[1, 1], [2, 0], [3, 1], [-4, 1]]
    with pytest.raises(InputError, match="not numbers"):
        table.matrix()
    with pytest.raises(InputError, match="Did you mean 'flag'"):
        table.select(["flags"])
    with pytest.raises(InputError, match="unique"):
        table.select(["a", "a"])
