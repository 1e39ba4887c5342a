"""Linear maps against NumPy, the start of ActNorm, and errors."""

import numpy as np
import pytest
import torch

from bijecta import reference
from bijecta.bijections import ActNorm, Affine, LULinear, Permute
from bijecta.errors import InputError


def lu(features: int, permutation: list[int] | None = None) -> LULinear:
    layer = LULinear(features, permutation).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().numpy()


@pytest.mark.parametrize("features", [1, 2, 7])
def test_lu_is_an_affine_map_with_the_determinant_of_its_matrix(features):
    layer = lu(features, torch.randperm(features).tolist())
    x = torch.randn(10, features).double()
    matrix = torch.autograd.functional.jacobian(layer.forward, x[0])
    z, ladj = layer.forward_and_ladj(x)
    torch.testing.assert_close(z, x @ matrix.T + layer.forward(torch.zeros(features).double()))
    expected = np.linalg.slogdet(array(matrix)).logabsdet
    np.testing.assert_allclose(array(ladj), np.full(10, expected), atol=1e-12)
    inverse = torch.autograd.functional.jacobian(layer.inverse, z[0].detach())
    torch.testing.assert_close(inverse @ matrix, torch.eye(features).double(), atol=1e-10, rtol=0)


def test_lu_counts_every_pixel():
    layer = LULinear(2, event_ndim=3)
    torch.nn.init.constant_(layer.log_diagonal, 0.25)
    _, ladj = layer.forward_and_ladj(torch.zeros(5, 2, 3, 4))
    torch.testing.assert_close(ladj, torch.full((5,), 2 * 0.25 * 12))


def test_lu_acts_at_every_pixel_alike():
    layer, image = lu(3, [1, 2, 0]), torch.randn(2, 3, 4, 4).double()
    on_images = LULinear(3, [1, 2, 0], event_ndim=3).double()
    on_images.load_state_dict(layer.state_dict())
    pixel = on_images.forward(image)[1, :, 2, 3]
    torch.testing.assert_close(pixel, layer.forward(image[1, :, 2, 3]))


def test_lu_starts_as_its_permutation():
    x = torch.tensor([10.0, 20.0, 30.0])
    assert LULinear(3, [2, 0, 1]).forward(x).tolist() == Permute([2, 0, 1]).forward(x).tolist() == [30.0, 10.0, 20.0]


def test_actnorm_starts_like_the_reference():
    x = 5 + 3 * torch.randn(200, 4).double()
    layer = ActNorm(4).double()
    z = layer.initialise(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(4).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(4).double())
    scale, bias = reference.actnorm_start(array(x))
    expected, ladj = reference.actnorm_forward(array(x), scale, bias)
    np.testing.assert_allclose(array(z), expected, atol=1e-10)
    np.testing.assert_allclose(array(layer.forward_and_ladj(x)[1]), ladj, atol=1e-10)


def test_actnorm_of_images_normalises_channels():
    x = torch.tensor([1.0, -4.0])[:, None, None] + torch.tensor([2.0, 0.1])[:, None, None] * torch.randn(50, 2, 6, 6)
    z = ActNorm(2, event_ndim=3).initialise(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(2))


def test_actnorm_starts_once_also_after_loading():
    layer = ActNorm(2)
    first = layer.initialise(torch.randn(50, 2))
    x = 9 + torch.randn(50, 2)
    expected = layer.forward(x)
    assert first.shape == (50, 2)
    assert torch.equal(layer.initialise(x), expected)
    loaded = ActNorm(2)
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded.initialise(x), expected)


def test_actnorm_of_a_constant_column_stays_finite():
    layer = ActNorm(1)
    assert layer.initialise(torch.full((5, 1), 3.0)).isfinite().all()
    assert layer.log_scale.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Permute([0, 2]), r"Permute expects each of 0 to 1 once, got \[0, 2\]"),
        (lambda: LULinear(2, [0, 0]), r"LULinear expects each of 0 to 1 once, got \[0, 0\]"),
        (lambda: Affine(torch.zeros(2), torch.tensor([1.0, 0.0])), r"not zero, got \[1\.0, 0\.0\]"),
        (lambda: Affine(torch.zeros(1), torch.tensor([torch.inf])), "finite scales"),
    ],
)
def test_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
