"""The spline classes: parameters, settings per column, and agreement with the functions they wrap."""

import math

import pytest
import torch

from bijecta import functional
from bijecta.bijections.univariate.splines import CubicSpline, LinearSpline, QuadraticSpline, RationalQuadraticSpline
from bijecta.errors import InputError, ShapeError

MAKERS = {
    "rational quadratic": lambda: RationalQuadraticSpline(bins=5, bound=3.0),
    "circular": lambda: RationalQuadraticSpline(bins=5, bound=math.pi, circular=True),
    "mixed": lambda: RationalQuadraticSpline(bins=5, bound=[math.pi, 4.0], circular=[True, False]),
    "linear": lambda: LinearSpline(bins=5, bound=3.0),
    "quadratic": lambda: QuadraticSpline(bins=5, bound=3.0),
    "cubic": lambda: CubicSpline(bins=5, bound=3.0),
}


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("batch", [(), (4,), (3, 4)])
def test_round_trip_and_autograd(name, batch):
    spline = MAKERS[name]()
    x = (3 * torch.rand(*batch, 2, dtype=torch.float64)).requires_grad_()
    params = torch.randn(*batch, 2, spline.n_params, dtype=torch.float64)
    z, ladj = spline.forward_and_ladj(x, params)
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(ladj, slope.log())
    back, back_ladj = spline.inverse_and_ladj(z, params)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(back_ladj, -ladj, rtol=0, atol=1e-6)
    assert z.shape == ladj.shape == (*batch, 2)


@pytest.mark.parametrize("name", list(MAKERS))
def test_zero_parameters_are_the_identity(name):
    spline = MAKERS[name]()
    x = torch.tensor([[-2.9, 0.0], [1.0, 2.9]])
    z, ladj = spline.forward_and_ladj(x, torch.zeros(2, 2, spline.n_params))
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(ladj, torch.zeros(2, 2), rtol=0, atol=1e-6)


def test_parameter_counts():
    assert [RationalQuadraticSpline(8).n_params, RationalQuadraticSpline(8, circular=True).n_params] == [23, 24]
    assert [LinearSpline(8).n_params, QuadraticSpline(8).n_params, CubicSpline(8).n_params] == [8, 15, 18]


def test_columns_select_the_settings_of_each_column():
    spline = RationalQuadraticSpline(bins=4, bound=[math.pi, 5.0, 2.0], circular=[True, False, True], min_slope=1e-2)
    x, params = torch.randn(6, 3), torch.randn(6, 3, spline.n_params)
    index = [2, 0]
    part, _ = spline.columns(index).forward_and_ladj(x[:, index], params[:, index])
    assert torch.equal(part, spline.forward_and_ladj(x, params)[0][:, index])
    assert spline.columns([1]).n_params == spline.n_params
    plain = RationalQuadraticSpline()
    assert plain.columns([0]) is plain


def test_periods_are_exact_in_float64_and_follow_a_change_of_dtype():
    spline = RationalQuadraticSpline(bound=[math.pi], circular=[True])
    assert spline.bound.tolist() == [math.pi]
    params = torch.zeros(1, 1, spline.n_params)
    assert spline.forward_and_ladj(torch.zeros(1, 1), params)[0].dtype == torch.float32
    assert spline.float().forward_and_ladj(torch.zeros(1, 1).double(), params)[0].dtype == torch.float64


def test_settings_are_no_weights():
    spline = MAKERS["mixed"]()
    assert not list(spline.parameters())
    assert not spline.state_dict()
    assert repr(spline) == "RationalQuadraticSpline(bins=5, bound=[3.141592653589793, 4.0], circular=[True, False])"
    assert repr(CubicSpline(3)) == "CubicSpline(bins=3, bound=5.0)"


def test_a_call_equals_the_function():
    x, params = torch.randn(7, 2), torch.randn(7, 2, 15)
    expected = functional.quadratic_spline(x, params, bound=4.0)
    assert torch.equal(QuadraticSpline(8, 4.0).forward_and_ladj(x, params)[0], expected[0])


def test_errors_say_what_to_do():
    with pytest.raises(ShapeError, match="circular has 3 columns"):
        RationalQuadraticSpline(circular=[True, False, True]).forward_and_ladj(torch.zeros(1, 2), torch.zeros(1, 2, 24))
    with pytest.raises(InputError, match="bound must be positive"):
        RationalQuadraticSpline(bound=[1.0, -1.0])
    with pytest.raises(InputError, match="bins must be positive"):
        LinearSpline(bins=0)
