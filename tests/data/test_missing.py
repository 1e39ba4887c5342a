"""Rows with gaps are left out, and counted."""

import numpy as np
import pytest

from bijecta.data import Table
from bijecta.data.missing import without_missing
from bijecta.errors import InputError

COLUMNS = {
    "x": np.array([1.0, np.nan, 3.0, np.inf]),
    "n": np.array([1, 2, 3, 4]),
    "text": np.array(["a", "b", "", "d"]),
    "day": np.array(["2024-01-01", "2024-01-02", "2024-01-03", "NaT"], dtype="datetime64[D]"),
}


@pytest.mark.parametrize(
    ("names", "left", "gaps"),
    [
        (["x"], [1, 3, 4], {"x": 1}),
        (["n"], [1, 2, 3, 4], {}),
        (["x", "text"], [1, 4], {"x": 1, "text": 1}),
        (["x", "n", "text", "day"], [1], {"x": 1, "text": 1, "day": 1}),
    ],
)
def test_gaps_in_the_chosen_columns_count(names, left, gaps):
    table, found = without_missing(Table(tuple(COLUMNS), COLUMNS), names)
    assert table.columns["n"].tolist() == left
    assert found == gaps


def test_infinity_is_a_value_and_unknown_columns_are_named():
    table = Table(tuple(COLUMNS), COLUMNS)
    assert np.isinf(without_missing(table, ["x"])[0].columns["x"]).any()
    with pytest.raises(InputError, match="no column 'y'"):
        without_missing(table, ["y"])
