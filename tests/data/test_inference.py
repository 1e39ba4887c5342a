"""Inferred kinds, and a finding for every trouble that was planted."""

# ruff: noqa: ARG005  (the planted troubles share one signature)

from pathlib import Path

import numpy as np
import pytest

from bijecta.data import Table, infer_schema, read_table
from bijecta.errors import InputError

POWER = Path(__file__).parents[3] / "shared" / "data" / "power_hourly" / "power_hourly.npz"
N = 1000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def table_of(**columns):
    return Table(tuple(columns), {name: np.asarray(column) for name, column in columns.items()})


def messages(table, severity=None, **options):
    _, findings = infer_schema(table, **options)
    return [str(finding) for finding in findings if severity in (None, finding.severity)]


def test_clean_data_has_no_findings(rng):
    assert messages(table_of(x=rng.normal(size=N), y=rng.normal(size=N).astype(np.float32))) == []


def test_kinds_are_inferred(rng):
    table = table_of(
        real=rng.normal(size=N),
        momentum=np.exp(2.0 * rng.normal(size=N)),
        mild=rng.uniform(1.0, 50.0, N),
        count=rng.poisson(50, N),
        whole=rng.poisson(50, N).astype(np.float32),
        few=rng.integers(0, 3, N),
        word=rng.choice(["a", "b"], N),
        flag=rng.random(N) < 0.5,
    )
    schema, findings = infer_schema(table)
    kinds = {column.name: column.kind for column in schema.columns}
    assert kinds == {
        "real": "real",
        "momentum": "positive",
        "mild": "real",
        "count": "integer",
        "whole": "integer",
        "few": "integer",
        "word": "category",
        "flag": "category",
    }
    assert schema.columns[4].dtype == "float32"
    assert schema.columns[6].categories == ("a", "b")
    assert schema.columns[7].categories == ("False", "True")
    assert not any(finding.severity == "error" for finding in findings)
    assert sum("gets a probability" in f.message for f in findings) == 3


def test_levels_have_two_ends_and_counts_do_not(rng):
    schema, _ = infer_schema(
        table_of(
            level=rng.integers(-1, 4, N),
            count=rng.poisson(2, N),
            big=rng.poisson(50, N),
            far=rng.choice([0, 255], N),
            two=rng.choice([3, 9], N).astype(float),
        )
    )
    assert [(c.low, c.high) for c in schema.columns] == [(-1, 3), (0, None), (None, None), (0, None), (3, 9)]


def test_labels_are_listed_unless_given(rng):
    table = table_of(n=rng.choice([10, 2], N), f=rng.choice([0.5, -1.0], N), w=rng.choice(["b", "a"], N))
    given = {"kind": "category", "categories": ["b", "a", "never"]}
    schema, findings = infer_schema(table, {"n": "category", "f": "category", "w": given})
    assert [c.categories for c in schema.columns] == [("2", "10"), ("-1.0", "0.5"), ("b", "a", "never")]
    assert findings == []
    restored = schema.columns_from_matrix(schema.matrix(table))
    for name in table.names:
        np.testing.assert_array_equal(restored[name], table.columns[name])
    _, findings = infer_schema(table, {"w": {"kind": "category", "categories": ["b"]}})
    assert "w has unknown labels" in findings[0].message


@pytest.mark.parametrize(
    ("plant", "severity", "fragment"),
    [
        (lambda x, r: {"y": np.where(np.arange(N) == 7, np.nan, r.normal(size=N))}, "error", "row 7 = nan"),
        (lambda x, r: {"y": np.where(np.arange(N) == 7, np.inf, r.normal(size=N))}, "error", "row 7 = inf"),
        (lambda x, r: {"y": np.full(N, 3.0)}, "error", "y is constant (3)"),
        (lambda x, r: {"y": np.full(N, np.nan)}, "error", "1000 of 1000"),
        (lambda x, r: {"y": np.full(N, "red")}, "error", "y is constant ('red')"),
        (lambda x, r: {"y": np.arange(N).astype(str)}, "error", "1000 different labels in 1000 rows"),
        (lambda x, r: {"y": r.integers(0, 150, N).astype(str)}, "error", "150 different labels"),
        (lambda x, r: {"y": np.where(r.random(N) < 0.5, "", "a")}, "note", "Empty counts as a label"),
        (
            lambda x, r: {"y": (z := r.choice(["a", "b", "c"], N)), "s": np.char.add(z, "!")},
            "warning",
            "y and s say the same",
        ),
        (lambda x, r: {"y": (z := r.random(N) < 0.5), "s": 3 - 2 * z}, "warning", "y and s say the same"),
        (lambda x, r: {"y": x}, "error", "x and y are identical"),
        (lambda x, r: {"y": (2.0 - 3.0 * x).astype(np.float32)}, "error", "y = -3 x +2"),
        (
            lambda x, r: {"y": (z := r.normal(size=N)), "s": 2.0 * x - z},
            "error",
            "s is (nearly) a linear combination of x, y",
        ),
        (lambda x, r: {"y": np.where(r.random(N) < 0.1, 0.25, r.normal(size=N))}, "warning", "y repeats itself"),
        (lambda x, r: {"y": np.round(0.4 * r.normal(size=N), 1)}, "warning", "smallest step seen: 0.1"),
        (lambda x, r: {"y": np.clip(r.standard_cauchy(N), -15, 15)}, "warning", "y has heavy tails"),
        (lambda x, r: {"y": np.where(np.arange(N) == 4, 60.0, r.normal(size=N))}, "warning", "row 4 = 60"),
        (lambda x, r: {"y": np.arange(N)}, "warning", "y counts the rows"),
        (lambda x, r: {"phi": r.uniform(0, 360, N)}, "note", "periodic:0.0:360.0"),
        (lambda x, r: {"jet_phi": r.uniform(-np.pi, np.pi, N)}, "note", "[-3.14159, 3.14159]"),
    ],
)
def test_planted_troubles_are_found(rng, plant, severity, fragment):
    x = rng.normal(size=N)
    found = messages(table_of(x=x, **plant(x, rng)), severity)
    assert any(fragment in message for message in found), found
    assert len(found) == 1


def test_duplicate_rows_are_found(rng):
    x = rng.normal(size=(N, 2))
    x[: N // 10] = x[N // 2 : N // 2 + N // 10]
    assert any("10.0% of the rows repeat" in each for each in messages(read_table(x), "warning"))


def test_rows_that_differ_in_their_labels_are_no_duplicates(rng):
    x = np.repeat(rng.normal(size=N), 2)
    assert messages(table_of(x=x, w=["a", "b"] * N), "warning") == []
    assert any("repeat another row" in each for each in messages(table_of(x=x, w=["a"] * (2 * N - 1) + ["b"])))


def test_few_rows_are_found(rng):
    assert any("19 rows for 2 columns" in each for each in messages(read_table(rng.normal(size=(19, 2)))))


def test_several_planes_are_named_one_by_one(rng):
    a, b, c, d = rng.normal(size=(4, N))
    found = messages(table_of(a=a, b=b, ab=a + b, c=c, d=d, cd=c - 5 * d, far=a + 1e4), "error")
    assert len(found) == 3
    assert "ab is (nearly) a linear combination of a, b" in "".join(found)
    assert "cd is (nearly) a linear combination of c, d" in "".join(found)
    assert "a and far" in "".join(found)


def test_every_named_culprit_dropped_leaves_no_error(rng):
    a, b = rng.normal(size=(2, N))
    table = table_of(a=a, b=b, s=a + b, copy=b, flat=np.ones(N), word=["x"] * N)
    assert messages(table, "error") != []
    assert messages(table, "error", drop=["s", "copy", "flat", "word"]) == []


def test_overrides_are_checked_against_the_data(rng):
    table = table_of(x=rng.normal(size=N), n=rng.poisson(9, N))
    schema, findings = infer_schema(table, {"x": "positive", "n": "real"})
    assert [column.kind for column in schema.columns] == ["positive", "real"]
    assert [finding.severity for finding in findings] == ["error", "warning"]
    assert "leaves its support (0, ∞)" in findings[0].message


def test_dropping_unknown_or_all_columns_is_refused(rng):
    table = table_of(x=rng.normal(size=N))
    with pytest.raises(InputError, match="no column 'y'"):
        infer_schema(table, drop=["y"])
    with pytest.raises(InputError, match="at least one"):
        infer_schema(table, drop=["x"])


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_extreme_scales_are_quiet(rng, scale):
    assert messages(read_table(scale * rng.normal(size=(N, 3)))) == []


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_tables_do_not_crash(n):
    messages(read_table(np.random.default_rng(0).normal(size=(n, 3))))


def test_power_data():
    if not POWER.exists():
        pytest.skip(f"{POWER} is not here: the data are not part of the repository")
    schema, findings = infer_schema(read_table(POWER), drop=["datetime"])
    assert [column.kind for column in schema.columns] == ["real"] * 4 + ["integer"] * 2
    assert not any(finding.severity == "error" for finding in findings)
    assert any("Voltage has heavy tails" in finding.message for finding in findings)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wine_data():
    datasets = pytest.importorskip("sklearn.datasets")
    wine = datasets.load_wine()
    _, findings = infer_schema(
        Table(tuple(wine.feature_names), dict(zip(wine.feature_names, wine.data.T, strict=True)))
    )
    assert {f.columns[0] for f in findings if f.severity == "note"} == {"magnesium", "proline"}
    assert not any(f.severity == "error" for f in findings)
