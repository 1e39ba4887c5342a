"""Linear prediction against scikit-learn's formula in NumPy."""

import numpy as np
import torch

from bijecta.bijections import Regress
from bijecta.nets import Regression


def test_weights_are_those_of_ridge_regression():
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(2.0, 1.0, (40, 3)), rng.normal(size=(40, 2))
    line = Regression(3, 2).double()
    assert not line(torch.ones(3).double()).any()
    line.initialise(torch.as_tensor(inputs), torch.as_tensor(outputs))
    # Ridge regression is least squares with one more row of zeros per input.
    design = np.vstack([inputs - inputs.mean(0), np.eye(3)])
    target = np.vstack([outputs - outputs.mean(0), np.zeros((3, 2))])
    expected = np.linalg.lstsq(design, target, rcond=None)[0].T
    np.testing.assert_allclose(line.weight.detach().numpy(), expected, atol=1e-12)


def test_inputs_that_determine_each_other_are_no_trouble():
    rows = torch.nn.functional.one_hot(torch.arange(30) % 3).float()
    line = Regression(3, 1)
    line.initialise(rows, rows[:, :1] * 10)
    assert line.weight.isfinite().all()


def test_a_regress_layer_without_context_is_the_identity():
    x = torch.randn(4, 2)
    layer = Regress(2, 0)
    assert torch.equal(layer.initialise(x), x)
