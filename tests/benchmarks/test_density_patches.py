"""Patches of natural images: what is evaluated, and what is written down about it."""

import json
import sys

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import density
import machine
import patches
from bijecta.persistence import load_into

SMALL = {"affine": 1, "hidden": [16], "bins": 4, "bound": 6.0}


def walks(rows, seed):
    """Make rows as correlated as neighbouring pixels."""
    return torch.randn(rows, 63, generator=torch.Generator().manual_seed(seed)).cumsum(1)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Put walks in the place of images, a small flow in that of a large one, and all results elsewhere."""
    cut = {"train": walks(2000, 0), "val": walks(500, 1), "test": walks(500, 2)}
    monkeypatch.setattr(patches, "read_patches", lambda **_: cut)
    monkeypatch.setattr(patches, "FLOW", SMALL)
    monkeypatch.setattr(patches, "RUNS", tmp_path)
    monkeypatch.setattr(patches, "published", list)
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    return tmp_path


def test_the_gaussian_is_that_of_scipy():
    train, test = walks(400, 0), walks(20, 1)
    oracle = multivariate_normal(train.double().mean(0).numpy(), np.cov(train.double().numpy().T))
    np.testing.assert_allclose(patches.gaussian_log_prob(train, test), oracle.logpdf(test.double()), rtol=1e-8)


def test_the_kept_figure_is_that_of_the_kept_weights(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["density.py", "bsds300", "--minutes", "0.02", "--rows", "500", "--threads", "1"])
    density.main()
    (row,) = json.loads((folder / "density_bsds300_quick.json").read_text())["rows"]
    flow = load_into(patches.patch_flow(**SMALL), folder / "density_bsds300_quick.safetensors")
    x = walks(500, 2)
    values = flow.log_prob(x).detach().double().numpy()
    assert row["nats"] == pytest.approx(values.mean(), rel=1e-6)
    assert row["2 s.e."] == pytest.approx(2 * values.std(ddof=1) / 500**0.5, rel=1e-4)
    assert row["Gaussian"] == pytest.approx(float(patches.gaussian_log_prob(walks(2000, 0), x).mean()))
    assert len(row["curve"]) == row["epochs"] > 0
    assert {"CPU seconds", "held-out images", "train"} <= set(row["curve"][0])


@pytest.mark.skipif(not (patches.DATA / "bsds300").exists(), reason="the patches lie in ../shared/data")
def test_patches_without_their_mean_and_their_last_pixel():
    cut = patches.read_patches(n_train=300, n_val=100, n_test=200)
    assert {name: tuple(part.shape) for name, part in cut.items()} == {
        "train": (300, 63),
        "val": (100, 63),
        "test": (200, 63),
    }
    assert all(part.abs().max() < 1 for part in cut.values())


@pytest.mark.skipif(not (patches.DATA / "published").exists(), reason="the published figures lie in ../shared/data")
def test_published_figures_are_those_of_the_papers():
    nats = {row["model"]: row["nats"] for row in patches.published()}
    assert (nats["MADE"], nats["MAF(5)"], nats["RQ-NSF(C)"]) == (148.85, 155.69, 157.54)
