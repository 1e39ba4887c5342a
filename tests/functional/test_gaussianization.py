"""The normal tail and quantile against SciPy, and the map of a mixture against quadrature of its density."""

import numpy as np
import pytest
import torch
from scipy import stats

from bijecta.errors import InputError
from bijecta.functional.gaussianization import gaussianise, normal_quantile, normal_tail

FAR_AND_NEAR = torch.tensor([-1e4, -300.0, -38.0, -5.0, -1e-3, 0.0, 1e-3, 0.7, 5.0, 30.0]).double()


def mixture(params: torch.Tensor, limit: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logits, log_scales, centres = params.unflatten(-1, (3, -1)).unbind(-2)
    return logits.softmax(-1).numpy(), torch.exp(-limit * torch.tanh(log_scales / limit)).numpy(), centres.numpy()


def test_tail_and_hazard_keep_their_digits_at_any_distance():
    log_cdf, log_hazard = normal_tail(FAR_AND_NEAR)
    np.testing.assert_allclose(log_cdf, stats.norm.logcdf(FAR_AND_NEAR), rtol=1e-12, atol=0)
    near = FAR_AND_NEAR[1:]  # the difference of two numbers of size 1e8 has not enough digits left for an oracle
    expected = stats.norm.logpdf(near) - stats.norm.logcdf(near)
    np.testing.assert_allclose(log_hazard[1:], expected, rtol=1e-9, atol=1e-9)
    single = normal_tail(FAR_AND_NEAR.float())
    torch.testing.assert_close(single[1].double(), log_hazard, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_quantile_inverts_the_tail(dtype):
    y = -torch.logspace(-3, 4, 200, dtype=dtype)
    error = (normal_quantile(normal_tail(y)[0]) - y).abs() / (1 + y.abs())
    assert error.max() < 8 * torch.finfo(dtype).eps


def test_derivatives_of_the_quantile_to_third_order():
    """With y' = Phi / phi = m: y'' = m (1 + y m), and so on, by differences of the exact first derivative."""
    log_p = torch.tensor([-200.0, -30.1, -29.9, -3.0, -0.7]).double().requires_grad_()
    assert torch.autograd.gradcheck(normal_quantile, (log_p,))
    assert torch.autograd.gradgradcheck(normal_quantile, (log_p,))


def test_follows_the_mixture_and_its_density():
    params = torch.randn(9, generator=torch.Generator().manual_seed(1)).double()
    weights, widths, centres = mixture(params)
    x = torch.linspace(-6, 6, 101).double()
    y, ladj = gaussianise(x, params, min_slope=1e-15)
    cdf = (weights * stats.norm.cdf(x.numpy()[:, None], centres, widths)).sum(-1)
    pdf = (weights * stats.norm.pdf(x.numpy()[:, None], centres, widths)).sum(-1)
    np.testing.assert_allclose(stats.norm.cdf(y), cdf, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stats.norm.logpdf(y) + ladj.numpy(), np.log(pdf), rtol=1e-9, atol=1e-9)


def test_single_precision_reaches_where_one_minus_p_is_zero():
    params = torch.randn(12, generator=torch.Generator().manual_seed(2)).double()
    x = torch.linspace(-45, 45, 501).double()
    y, ladj = gaussianise(x, params)
    y32, ladj32 = gaussianise(x.float(), params.float())
    torch.testing.assert_close(y32.double(), y, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(ladj32.double(), ladj, rtol=1e-4, atol=1e-4)


def test_no_gap_between_components_is_flatter_than_the_identity_s_share():
    apart = torch.tensor([0.0, 0.0, 3.0, 3.0, -3.0, 3.0])  # 60 widths from each other
    x = torch.linspace(-4, 4, 201)
    y, ladj = gaussianise(x, apart)
    assert float(ladj.exp().min()) >= 0.999e-3
    torch.testing.assert_close(gaussianise(y, apart, inverse=True)[0], x, atol=2e-3, rtol=0)


def test_equal_components_are_one_normal_and_the_tails_go_on_as_tangents():
    x = torch.tensor([-1e30, -51.0, 0.0, 3.0, 1e6])
    torch.testing.assert_close(gaussianise(x, torch.zeros(6))[0], x, rtol=1e-4, atol=1e-6)
    wide = torch.tensor([0.0, 0.0, 0.0, -0.7, 1.0, -1.0]).double()
    y, ladj = gaussianise(torch.tensor([50.0, 60.0, 1e6]).double(), wide)
    torch.testing.assert_close(ladj, ladj[:1].expand(3))
    torch.testing.assert_close(y[1:], y[0] + ladj[0].exp() * torch.tensor([10.0, 1e6 - 50]).double())


def test_bounds_are_checked():
    with pytest.raises(InputError):
        gaussianise(torch.zeros(1), torch.zeros(3), bound=-1.0)
