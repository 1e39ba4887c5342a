"""The start from quantiles: an exact map whatever the data, and the right one where they allow it."""

import math

import numpy as np
import pytest
import torch

from bijecta.errors import InputError, ShapeError
from bijecta.hep import QuantileStart
from bijecta.hep.coordinates_quantile import weighted_quantiles


def samples(seed=0, n=4000):
    """Draw a falling spectrum, two peaks, and a column in which half of all values are the same."""
    generator = np.random.default_rng(seed)
    falling = 20.0 + generator.exponential(15.0, n)
    peaks = np.where(generator.random(n) < 0.5, -3.0, 3.0) + 0.3 * generator.standard_normal(n)
    repeated = np.where(generator.random(n) < 0.5, 0.0, generator.standard_normal(n))
    return torch.tensor(np.stack([falling, peaks, repeated], 1))


def started():
    x = samples()
    start = QuantileStart(3).double()
    start.initialise(x)
    return start, x


def test_ladj_is_the_autograd_derivative_in_both_directions():
    start, x = started()
    wide = torch.cat([x[:200], 40.0 * torch.randn(50, 3, dtype=torch.float64)]).requires_grad_()
    z, ladj = start.forward_and_ladj(wide)
    slopes = torch.autograd.grad(z.sum(), wide)[0]
    torch.testing.assert_close(slopes.log().sum(-1), ladj)
    back, opposite = start.inverse_and_ladj(z)
    torch.testing.assert_close(back, wide, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(opposite, -ladj)


def test_what_is_spread_evenly_over_quantiles_becomes_normal():
    start, x = started()
    z = start.forward(x)[:, 0].sort().values
    shares = (torch.arange(len(z), dtype=torch.float64) + 0.5) / len(z)
    assert (torch.special.ndtr(z) - shares).abs().max() < 0.01


def test_slopes_are_bounded_where_values_are_repeated():
    start, x = started()
    grid = torch.linspace(-4.0, 4.0, 4001, dtype=torch.float64)[:, None].expand(-1, 3)
    grid = grid * x.std(0) + x.mean(0)
    z = start.forward(grid)
    assert (z.diff(dim=0) > 0.0).all()
    mean_slope = 6.0 / (start.high - start.low)
    assert ((z.diff(dim=0) / grid.diff(dim=0) / mean_slope).amax(0) < 3000.0).all()


def test_weights_count_as_copies():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(500, 1, generator=generator, dtype=torch.float64)
    copies = torch.randint(1, 5, (500,), generator=generator)
    weighted, repeated = QuantileStart(1).double(), QuantileStart(1).double()
    weighted.measure(x, copies.double())
    repeated.measure(x.repeat_interleave(copies, 0))
    grid = torch.linspace(0.0, 1.0, 50, dtype=torch.float64)[:, None]
    torch.testing.assert_close(weighted.forward(grid), repeated.forward(grid), atol=0.05, rtol=0)
    plain = QuantileStart(1).double()
    plain.measure(x, x[:, 0] ** 4)
    assert (plain.forward(grid) - repeated.forward(grid)).abs().max() > 0.5


def test_signed_weights_give_the_quantiles_of_the_difference():
    """A quarter of all is taken away below 1/2: the median of what is left lies at 5/8."""
    x = torch.linspace(0.0, 1.0, 20001, dtype=torch.float64)
    value, weight = torch.cat([x, x / 2.0]), torch.cat([torch.ones_like(x), torch.full_like(x, -0.25)])
    # Density 1 - 1/2 below a half and 1 above: mass 3/4, the median where 1/4 + (m - 1/2) = 3/8.
    median = weighted_quantiles(value, weight, torch.tensor([0.5], dtype=torch.float64))
    assert float(median) == pytest.approx(0.625, abs=1e-3)


def test_quantiles_agree_with_numpy():
    values = samples()[:, 0]
    levels = torch.tensor([0.01, 0.3, 0.5, 0.99], dtype=torch.float64)
    expected = np.quantile(values.numpy(), levels.numpy())
    np.testing.assert_allclose(weighted_quantiles(values, torch.ones_like(values), levels), expected, rtol=1e-9)


def test_the_state_saves_and_data_set_it_once():
    start, x = started()
    again = QuantileStart(3).double()
    again.load_state_dict(start.state_dict())
    assert torch.equal(again.initialise(10.0 * x), start.forward(10.0 * x))


def test_before_any_data_it_is_the_identity():
    x = torch.linspace(-9.0, 9.0, 19)[:, None]
    z, ladj = QuantileStart(1).forward_and_ladj(x)
    torch.testing.assert_close(z, x)
    assert ladj.abs().max() < 1e-5


def test_the_density_of_a_normal_through_the_map_integrates_to_one():
    x = samples()
    grid = torch.linspace(float(x[:, 1].min()) - 60.0, float(x[:, 1].max()) + 60.0, 400001, dtype=torch.float64)
    one = QuantileStart(1).double()
    one.measure(x[:, 1:2])
    z, ladj = one.forward_and_ladj(grid[:, None])
    density = torch.exp(ladj - 0.5 * z[:, 0] ** 2) / math.sqrt(2.0 * math.pi)
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "weight", "error"),
    [
        (torch.ones(20, 1), None, InputError),
        (torch.tensor([[1.0], [math.nan], [2.0]]), None, InputError),
        (torch.arange(5.0)[:, None], torch.tensor([1.0, 1.0, -1.0, -1.0, 0.0]), InputError),
        (torch.arange(5.0)[:, None], torch.ones(4), ShapeError),
    ],
)
def test_what_has_no_quantiles_is_refused(x, weight, error):
    with pytest.raises(error):
        QuantileStart(1).measure(x, weight)
