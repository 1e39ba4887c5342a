"""Samples in ArviZ keep their values, names and chains."""

import sys

import numpy as np
import pytest

from bijecta.adapters import to_inference_data
from bijecta.errors import MissingDependencyError, ShapeError

SAMPLES = np.random.default_rng(0).normal(size=(2, 500, 3))


def test_values_names_and_chains():
    data = to_inference_data(SAMPLES, SAMPLES[..., 0], names=["a", "b", "c"])
    assert dict(data.posterior.sizes) == {"chain": 2, "draw": 500}
    np.testing.assert_array_equal(data.posterior["b"], SAMPLES[..., 1])
    np.testing.assert_array_equal(data.sample_stats["lp"], SAMPLES[..., 0])


def test_one_chain_and_default_names():
    data = to_inference_data(SAMPLES[0])
    assert list(data.posterior.data_vars) == ["x1", "x2", "x3"]
    assert data.posterior["x1"].shape == (1, 500)


def test_arviz_summarises_it():
    import arviz

    summary = arviz.summary(to_inference_data(SAMPLES))
    assert summary.loc["x3", "mean"] == pytest.approx(SAMPLES[..., 2].mean(), abs=1e-3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"got \(4,\)"):
        to_inference_data(np.zeros(4))
    with pytest.raises(ShapeError, match="Expected 3 names"):
        to_inference_data(SAMPLES, names=["a"])
    with pytest.raises(ShapeError, match=r"\(2, 500\), got \(500,\)"):
        to_inference_data(SAMPLES, np.zeros(500))


def test_a_missing_arviz_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "bijecta\[inference\]"'):
        to_inference_data(SAMPLES)
