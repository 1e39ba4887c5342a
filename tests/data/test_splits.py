"""Row splits: a partition, reproducible, with both parts non-empty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bijecta.data import split_rows
from bijecta.errors import InputError


@given(n=st.integers(2, 500), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**32))
def test_a_split_is_a_partition(n, fraction, seed):
    training, validation = split_rows(n, fraction, seed)
    assert min(len(training), len(validation)) >= 1
    assert abs(len(validation) - fraction * n) <= 1.0
    np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), np.arange(n))
    np.testing.assert_array_equal(split_rows(n, fraction, seed)[1], validation)


def test_seeds_differ():
    assert not np.array_equal(split_rows(100, 0.5, 0)[0], split_rows(100, 0.5, 1)[0])


@pytest.mark.parametrize("arguments", [(1, 0.5, 0), (10, 0.0, 0), (10, 1.0, 0), (10, float("nan"), 0), (10, 0.5, -1)])
def test_wrong_arguments_are_explained(arguments):
    with pytest.raises(InputError):
        split_rows(*arguments)
