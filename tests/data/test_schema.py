"""Schemas: kinds, supports, the override syntax, JSON, and restoring types."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bijecta.data import Column, Schema, Table
from bijecta.errors import FileFormatError, InputError, ShapeError

SCHEMA = Schema(
    (
        Column("x", "real", dtype="float32"),
        Column("p", "positive", dtype="float32"),
        Column("u", "interval", low=0.1, high=0.7, dtype="float32"),
        Column("phi", "periodic", low=-np.pi, high=np.pi, dtype="float32"),
        Column("n", "integer", low=0, dtype="uint8"),
        Column("m", "integer", dtype="int64"),
    )
)


def test_json_round_trip():
    assert Schema.from_json(json.loads(json.dumps(SCHEMA.to_json()))) == SCHEMA


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"columns": 3},
        {"columns": []},
        {"columns": [{"name": "x"}]},
        {"columns": [{"name": "x", "kind": "real", "code": 1}]},
        {"columns": [{"name": "x", "kind": "interval", "low": "0", "high": "1"}]},
        {"columns": [{"name": 3, "kind": "real"}]},
        {"columns": ["x"]},
        {"columns": [{"name": "x", "kind": "category", "categories": "ab"}]},
        {"columns": [{"name": "x", "kind": "category", "categories": [1]}]},
        [],
    ],
)
def test_foreign_json_is_refused(content):
    with pytest.raises(FileFormatError, match="not a schema"):
        Schema.from_json(content)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("positive", Column("x", "positive", low=0.0, dtype="float32")),
        ("positive:2", Column("x", "positive", low=2.0, dtype="float32")),
        ("interval:-1:1", Column("x", "interval", low=-1.0, high=1.0, dtype="float32")),
        ("periodic:0:360", Column("x", "periodic", low=0.0, high=360.0, period=360.0, dtype="float32")),
        ({"kind": "periodic", "period": 24}, Column("x", "periodic", low=0.0, high=24, period=24, dtype="float32")),
        ({"dtype": "float64"}, Column("x", "real")),
    ],
)
def test_overrides(change, expected):
    assert SCHEMA.override({"x": change}).columns == (expected, *SCHEMA.columns[1:])


def test_an_override_forgets_the_bounds_of_the_old_kind():
    assert SCHEMA.override({"u": "real"}).columns[2] == Column("u", "real", dtype="float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": "real"}, "no column 'y'"),
        ({"x": "angular"}, "unknown kind"),
        ({"x": "interval"}, "needs low and high"),
        ({"x": "interval:1:0"}, "low must be below high"),
        ({"x": "interval:a:b"}, "cannot read"),
        ({"x": "interval:0:1:2"}, "too many"),
        ({"x": "real:0:1"}, "takes no"),
        ({"x": "positive:nan"}, "finite"),
        ({"x": {"kind": "interval", "lo": 0}}, "unknown option"),
        ({"x": {"kind": "periodic", "low": 0, "high": 3, "period": 4}}, "low \\+ period"),
        ({"x": {"dtype": "float17"}}, "unknown type"),
        ({"x": {"categories": ["a"]}}, "takes no categories"),
        ({"x": {"kind": "category", "categories": ["a", "a"]}}, "there once"),
        ({"x": {"kind": "category", "categories": []}}, "list of texts"),
    ],
)
def test_wrong_overrides_are_explained(changes, message):
    with pytest.raises(InputError, match=message):
        SCHEMA.override(changes)


@given(arrays(np.float64, (7, 6), elements=st.floats(-1e12, 1e12)))
def test_restored_columns_have_their_type_and_lie_in_their_support(matrix):
    columns = SCHEMA.columns_from_matrix(matrix)
    for column in SCHEMA.columns:
        assert columns[column.name].dtype == column.dtype
        assert not column.outside(columns[column.name].astype(np.float64)).any()
    assert (np.abs(columns["phi"]) <= np.float32(np.pi)).all()
    SCHEMA.validate(Table(SCHEMA.names, columns))


@given(arrays(np.float64, (5,), elements=st.floats(-1e6, 1e6)))
def test_wrapping_keeps_the_direction(values):
    column = Column("phi", "periodic", low=10.0, period=7.0)
    wrapped = column.restore(values)
    assert ((wrapped >= 10.0) & (wrapped < 17.0)).all()
    turns = (wrapped - values) / 7.0
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-8)


def test_values_inside_the_support_come_back_unchanged():
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=9).astype(np.float32),
        "p": rng.exponential(size=9).astype(np.float32),
        "u": rng.uniform(0.2, 0.6, 9).astype(np.float32),
        "phi": rng.uniform(-3, 3, 9).astype(np.float32),
        "n": rng.integers(0, 255, 9).astype(np.uint8),
        "m": rng.integers(-(2**50), 2**50, 9),
    }
    restored = SCHEMA.columns_from_matrix(SCHEMA.matrix(Table(SCHEMA.names, columns)))
    for name, column in columns.items():
        if name == "phi":  # wrapping adds and subtracts π in float64
            np.testing.assert_allclose(restored[name], column, atol=1e-6)
        else:
            np.testing.assert_array_equal(restored[name], column)


def test_integers_beyond_their_type_are_clipped_not_wrapped():
    for dtype in ("uint8", "int8", "int64", "uint64"):
        column = Column("n", "integer", dtype=dtype)
        restored = column.restore(np.array([-1e30, 1e30]))
        limits = np.iinfo(dtype)
        assert restored[0] == limits.min
        assert restored[1] > 0.999 * limits.max


def test_validate_lists_every_problem_with_rows():
    table = Table(
        ("p", "u", "phi", "n", "m"),
        {
            "p": np.array([1.0, -2.0, 0.0]),
            "u": np.array([0.5, 0.7, 0.3]),
            "phi": np.array([0.0, 99.0, 1.0]),
            "n": np.array([1.0, 2.5, 3.0]),
            "m": np.array([1.0, np.nan, 3.0]),
        },
    )
    with pytest.raises(InputError) as caught:
        SCHEMA.validate(table)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 5
    assert "no column 'x'" in lines[0]
    assert "row 1 = -2, row 2 = 0" in lines[1]
    assert "row 1 = 0.7" in lines[2]
    assert "row 1 = 2.5" in lines[3]
    assert "NaN" in lines[4]


def test_matrix_of_the_wrong_width_is_refused():
    with pytest.raises(ShapeError, match=r"\(n, 6\)"):
        SCHEMA.columns_from_matrix(np.zeros((3, 5)))


def test_printed_table_is_aligned():
    lines = str(SCHEMA).splitlines()
    assert len(lines) == 7
    assert len({line.index(column.kind) for line, column in zip(lines[1:], SCHEMA.columns, strict=True)}) == 1


LABELS = Schema(
    (
        Column("colour", "category", dtype="str", categories=("red", "green", "")),
        Column("flag", "category", dtype="bool", categories=("False", "True")),
        Column("code", "category", dtype="int64", categories=("7", "-1", "12")),
        Column("x", "real"),
    )
)


def labelled(**changes):
    columns = {
        "colour": np.array(["green", "", "red"]),
        "flag": np.array([True, False, True]),
        "code": np.array([12, 7, -1]),
        "x": np.array([0.5, 1.5, 2.5]),
    }
    return Table(LABELS.names, columns | changes)


def test_labels_survive_json():
    text = json.dumps(LABELS.to_json())
    assert Schema.from_json(json.loads(text)) == LABELS
    assert json.loads(text) == LABELS.to_json()
    assert LABELS.override({"code": "integer"}).columns[2] == Column("code", "integer", dtype="int64")


def test_labels_become_their_position_and_come_back_in_their_own_type():
    table = labelled()
    LABELS.validate(table)
    matrix = LABELS.matrix(table)
    np.testing.assert_array_equal(matrix, [[1, 1, 2, 0.5], [2, 0, 0, 1.5], [0, 1, 1, 2.5]])
    restored = LABELS.columns_from_matrix(matrix)
    for name, column in table.columns.items():
        np.testing.assert_array_equal(restored[name], column)
        assert restored[name].dtype.kind == column.dtype.kind


@pytest.mark.parametrize(
    "other",
    [
        {"code": np.array([12.0, 7.0, -1.0])},
        {"code": np.array(["12", "7", "-1"])},
        {"flag": np.array([1, 0, 1])},
        {"flag": np.array([1.0, 0.0, 1.0])},
        {"flag": np.array(["True", "False", "True"])},
    ],
)
def test_labels_are_known_in_another_spelling(other):
    np.testing.assert_array_equal(LABELS.matrix(labelled(**other)), LABELS.matrix(labelled()))


def test_unknown_labels_are_named():
    table = labelled(colour=np.array(["green", "blue", "red"]), code=np.array([12, 7, 8]), flag=np.array([0, 1, 2]))
    with pytest.raises(InputError) as caught:
        LABELS.validate(table)
    message = str(caught.value)
    assert "colour has unknown labels in 1 of 3 rows (row 1 = 'blue'). Known: {red, green, ''}" in message
    assert "code has unknown labels in 1 of 3 rows (row 2 = 8)" in message
    assert "flag has unknown labels in 1 of 3 rows (row 2 = 2)" in message
    with pytest.raises(InputError, match="row 1 = 'blue'"):
        LABELS.matrix(table)


def test_a_category_without_labels_has_no_codes():
    with pytest.raises(InputError, match="without labels"):
        Schema((Column("colour", "category"),)).matrix(labelled())


def test_labels_are_printed_as_the_support():
    assert Column("n", "category", categories=tuple("abcdef")).support() == "{a, b, c, d, ... 6 labels}"
