"""The native network of three convolutions against torch's own convolutions."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, relu

from bijecta.functional.kernels import three_convolutions
from bijecta.functional.kernels.convolution import _map

SHAPES = {  # images, channels, hidden, outputs, height, width
    "several blocks": (40, 2, 64, 4, 14, 14),
    "many outputs": (9, 4, 13, 15, 7, 7),
    "one row": (3, 1, 5, 1, 1, 6),
    "one pixel": (3, 2, 4, 2, 1, 1),
    "large images": (2, 3, 7, 5, 30, 41),
    "no images": (0, 2, 4, 2, 4, 4),
}


def network(
    images: int, channels: int, hidden: int, outputs: int, height: int, width: int
) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (hidden, channels, 3, 3),
        (hidden,),
        (hidden, hidden, 1, 1),
        (hidden,),
        (outputs, hidden, 3, 3),
        (outputs,),
    ]
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    x = torch.randn(images, channels, height, width, generator=generator, dtype=torch.float64)
    return x, weights


def plainly(x: Tensor, weights: list[Tensor], added: Tensor | None = None) -> Tensor:
    first, first_bias, second, second_bias, last, last_bias = weights
    h = conv2d(x, first, first_bias, padding=1)
    h = relu(conv2d(relu(h if added is None else h + added), second, second_bias))
    return conv2d(h, last, last_bias, padding=1)


def natively(x: Tensor, weights: list[Tensor], added: Tensor | None = None) -> Tensor:
    def refuse(x: Tensor, added: Tensor | None) -> Tensor:
        raise AssertionError("the plain version was called")

    return three_convolutions(refuse, x, added, weights)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_numbers_and_gradients_are_those_of_torch(each_instruction_set, monkeypatch, shape, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, weights = network(*shape)
    inputs = [tensor.requires_grad_() for tensor in (x, *weights)]
    expected, found = plainly(x, weights), natively(x, weights)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad(y, inputs, upstream) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["every image", "one for all", "of channels", "no images"])
def test_what_is_added_has_the_gradient_of_torch(each_instruction_set, monkeypatch, kind, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    images = 0 if kind == "no images" else 13
    x, weights = network(images, 2, 7, 3, 9, 10)
    shape = {"every image": (images, 7, 9, 10), "of channels": (images, 7, 1, 1)}.get(kind, (7, 9, 10))
    added = torch.randn(shape, dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in (x, added, *weights)]
    expected, found = plainly(x, weights, added), natively(x, weights, added)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad(y, inputs, upstream) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_single_precision_costs_a_few_roundings(native):
    x, weights = network(8, 2, 64, 4, 14, 14)
    exact, single = plainly(x, weights), [tensor.float() for tensor in (x, *weights)]
    error = (natively(single[0], single[1:]) - exact).abs().max()
    assert error < 40 * torch.finfo(torch.float32).eps * exact.abs().max()


def test_any_strides_of_images_and_gradients(native):
    x, weights = network(5, 2, 6, 3, 4, 5)
    x = x.movedim(-3, -1).contiguous().movedim(-1, -3).requires_grad_()
    for y in (plainly(x, weights), natively(x, weights)):
        y.transpose(0, 1).square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * torch.autograd.grad(plainly(x, weights).square().sum(), x)[0])


def test_an_image_of_nan_stays_alone(native):
    """In one block its neighbours lie behind it and before it."""
    x, weights = network(5, 2, 6, 3, 4, 5)
    x[2] = torch.nan
    x.requires_grad_()
    y = natively(x, weights)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    others = [0, 1, 3, 4]
    torch.testing.assert_close(y[others], plainly(x, weights)[others])
    assert y[2].isnan().all()
    assert gradient[others].isfinite().all()


def either_way(x: Tensor, weights: list[Tensor], added: Tensor | None = None) -> Tensor:
    return three_convolutions(lambda x, added: plainly(x, weights, added), x, added, weights)


@pytest.mark.parametrize("more", [True, False])
def test_second_derivatives(native, more):
    x, weights = network(2, 1, 3, 2, 3, 4)
    added = torch.randn(2, 3, 3, 4, dtype=torch.float64) if more else None
    inputs = [tensor.requires_grad_() for tensor in (x, *weights, *([added] if more else []))]
    penalties = []
    for compute in (plainly, either_way):
        slopes = torch.autograd.grad(compute(x, weights, added).sin().sum(), inputs, create_graph=True)
        penalties.append(torch.autograd.grad(sum(slope.square().sum() for slope in slopes), inputs))
    for a, b in zip(*penalties, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("change", ["kernel", "outputs", "dtype", "images"])
def test_other_networks_are_computed_plainly(native, change):
    x, weights = network(2, 2, 4, 16 if change == "outputs" else 3, 4, 4)
    if change == "kernel":
        weights[0] = weights[0].new_zeros(4, 2, 5, 5)
    x = {"dtype": x.float(), "images": x[:, :1]}.get(change, x)
    assert three_convolutions(lambda *_: torch.tensor(7.0), x, None, weights) == 7


def test_transforms_see_the_plain_version(native):
    x, weights = network(4, 2, 6, 3, 4, 5)
    each = torch.vmap(lambda image: either_way(image[None], weights)[0])
    torch.testing.assert_close(each(x), _map(x, None, weights))
