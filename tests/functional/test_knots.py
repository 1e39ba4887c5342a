"""Knots, bins and domains."""

import numpy as np
import pytest
import torch

from bijecta.errors import InputError, ShapeError
from bijecta.functional.knots import at_ends, count_bins, find_bin, match_dtype, unit_knots, within


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_knots_increase_and_are_pinned(dtype):
    knots = unit_knots(1e3 * torch.randn(2_000, 64, dtype=dtype), 1e-3)
    assert (knots.diff(dim=-1) > 1.9e-3).all()
    assert (knots[:, 0] == -1).all()
    assert (knots[:, -1] == 1).all()


def test_bins_agree_with_searchsorted():
    knots = unit_knots(torch.randn(200, 8), 1e-3)
    x = torch.cat([torch.rand(100) * 2 - 1, knots[100:, 3]])
    left = find_bin(x, knots)[:, 0]
    rows = zip(knots.numpy(), x.numpy(), strict=True)
    expected = [np.clip(np.searchsorted(row, value, side="right") - 1, 0, 7) for row, value in rows]
    assert left.tolist() == expected
    assert torch.equal(at_ends(knots, find_bin(x, knots))[0][100:], knots[100:, 3])


def test_within_keeps_unselected_branches_out_of_the_gradient():
    x = torch.tensor([0.5, 3.0], requires_grad=True)
    y, ladj = within(x, 1.0, lambda u: (torch.sqrt(1 - u / 2), -1 / (2 - u)))
    assert y[1] == 3
    assert ladj[1] == 0
    (gradient,) = torch.autograd.grad(y[1] + ladj[1], x)
    assert gradient.tolist() == [0, 1]


def test_settings_are_checked():
    with pytest.raises(ShapeError, match="got 22"):
        count_bins(torch.zeros(22), per_bin=3, extra=-1, min_bin=1e-3)
    with pytest.raises(InputError, match=r"\(0, 1/8\)"):
        count_bins(torch.zeros(23), per_bin=3, extra=-1, min_bin=0.0)
    with pytest.raises(InputError, match="half-width"):
        match_dtype(float("nan"), torch.zeros(1))
