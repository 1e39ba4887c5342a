"""Preprocessing, angles, images and combinators: closed forms, starting values and errors."""

import math

import pytest
import torch

from bijecta.bijections import (
    AffineUnivariate,
    Chain,
    Coupling,
    Elementwise,
    Indexed,
    Inverse,
    Log,
    Logit,
    LULinear,
    Multiscale,
    Permute,
    Reshape,
    Squeeze,
    Standardise,
    Turn,
    Whiten,
    Wrap,
)
from bijecta.errors import InputError, ShapeError
from bijecta.flows import realnvp
from bijecta.nets import MLP


def test_standardise_measures_in_float64():
    """A mean of 1e6 with a spread of 1: in float32 sums the spread would be lost."""
    x = (1e6 + torch.randn(1000, 1).double()).float()
    layer = Standardise(1)
    z = layer.initialise(x)
    assert float(z.double().std()) == pytest.approx(1, abs=0.01)
    assert abs(float(z.double().mean())) < 0.05


def test_standardise_is_the_identity_before_it_has_seen_data():
    z, ladj = Standardise(2).forward_and_ladj(torch.tensor([3.0, 4.0]))
    assert z.tolist() == [3.0, 4.0]
    assert ladj == 0


@pytest.mark.parametrize("bad", [[1.0, 1.0], [0.1, 0.1], [1e30, 1e30], [1.0, torch.nan], [1.0, torch.inf]], ids=str)
def test_standardise_names_the_column_that_has_no_density(bad):
    x = torch.stack([torch.arange(2.0), torch.tensor(bad)], -1)
    with pytest.raises(InputError, match=r"column \[1\].*NaN or infinity"):
        Standardise(2).initialise(x)


def test_log_and_logit_are_their_formulas():
    x = torch.tensor([[0.5, 3.0]]).double()
    z, ladj = Log(-1.0).forward_and_ladj(x)
    torch.testing.assert_close(z, (x + 1).log())
    torch.testing.assert_close(ladj, -(x + 1).log().sum(-1))
    z, ladj = Logit(0.0, 4.0).forward_and_ladj(x)
    torch.testing.assert_close(z, torch.logit(x / 4))
    torch.testing.assert_close(ladj, (4 / (x * (4 - x))).log().sum(-1))


def test_values_outside_a_support_are_nan_and_edges_infinite():
    assert Log().forward(torch.tensor([-1.0])).isnan().all()
    assert Log().forward(torch.tensor([0.0])) == -torch.inf
    assert Logit().forward(torch.tensor([1.5, -0.5])).isnan().all()
    assert Logit().forward(torch.tensor([0.0, 1.0])).tolist() == [-torch.inf, torch.inf]


def test_samples_come_out_in_the_support():
    z = torch.linspace(-40, 40, 101)[:, None]
    assert (Log(2.0).inverse(z) >= 2).all()
    x = Logit(-1.0, 5.0).inverse(z)
    assert ((x >= -1) & (x <= 5)).all()
    angle = Wrap(0.0, 360.0).inverse(torch.linspace(-9, 9, 100)[:, None])
    assert ((angle >= 0) & (angle < 360)).all()


def test_equivalent_angles_have_the_same_latent():
    layer = Wrap(0.0, 24.0)
    torch.testing.assert_close(layer.forward(torch.tensor([25.0, -1.0])), layer.forward(torch.tensor([1.0, 23.0])))
    assert layer.forward_and_ladj(torch.zeros(3, 2))[1].tolist() == pytest.approx([2 * math.log(2 * math.pi / 24)] * 3)


def test_turns_add_up_modulo_a_full_turn():
    layer = Turn(1)
    torch.nn.init.constant_(layer.angle, 2.0)
    four = Chain([layer] * 4)
    torch.testing.assert_close(four.forward(torch.zeros(1)), torch.tensor([8.0 - 2 * math.pi]))


def test_squeeze_is_pixel_unshuffle():
    x = torch.randn(2, 3, 3, 4, 6)
    z = Squeeze().forward(x)
    assert torch.equal(z, torch.nn.functional.pixel_unshuffle(x, 2))
    assert torch.equal(Squeeze().inverse(z), x)


def test_multiscale_keeps_every_pixel_once():
    layer = Multiscale([Squeeze(), Squeeze(), Squeeze()], (1, 8, 8))
    x = torch.arange(64.0).reshape(1, 8, 8)
    z = layer.forward(x)
    assert z.sort().values.tolist() == x.flatten().tolist()
    assert torch.equal(layer.inverse(z), x)


def test_chain_sums_what_its_layers_contribute():
    layers = [LULinear(2), Elementwise(AffineUnivariate(), 2), Permute([1, 0])]
    for layer in layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter)
    chain, x = Chain(layers), torch.randn(4, 2)
    total, h = torch.zeros(4), x
    for layer in chain:
        h, ladj = layer.forward_and_ladj(h)
        total = total + ladj
    torch.testing.assert_close(chain.forward_and_ladj(x), (h, total))
    assert len(chain) == 3
    backwards = Inverse(chain)
    torch.testing.assert_close(backwards.forward(h), x, atol=1e-4, rtol=1e-4)


def test_chain_starts_each_layer_from_what_the_layers_before_make_of_the_data():
    chain = Chain([Elementwise(AffineUnivariate(), 1), Standardise(1)])
    torch.nn.init.constant_(chain.layers[0].params, 1.0)
    x = torch.randn(100, 1)
    z = chain.initialise(x)
    torch.testing.assert_close(z, chain.forward(x))
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(1))


def test_indexed_leaves_the_other_columns_alone():
    layer = Indexed(Permute([1, 0]), [3, 1], features=4)
    x = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert layer.forward(x).tolist() == [0.0, 3.0, 2.0, 1.0]
    assert layer.initialise(x[None])[0].tolist() == [0.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Chain([]), InputError, "at least one bijection"),
        (lambda: Indexed(Log(), [0, 0], 2), InputError, r"distinct columns between 0 and 1, got \[0, 0\]"),
        (lambda: Indexed(Log(), [2], 2), InputError, r"between 0 and 1, got \[2\]"),
        (lambda: Reshape((2, 3), (5,)), InputError, r"equal size, got \(2, 3\) and \(5,\)"),
        (lambda: Reshape((2, 3), (6,)).forward(torch.zeros(7, 3, 2)), ShapeError, r"\(2, 3\), got .*\(7, 3, 2\)"),
        (lambda: Reshape((2, 3), (6,)).forward(torch.zeros(3)), ShapeError, r"\(2, 3\), got .*\(3,\)"),
        (lambda: Squeeze().forward(torch.zeros(1, 3, 4)), ShapeError, r"even height and width, got .*\(1, 3, 4\)"),
        (lambda: Squeeze().inverse(torch.zeros(3, 2, 2)), ShapeError, r"multiple of 4 channels, got .*\(3, 2, 2\)"),
        (lambda: Multiscale([Squeeze()], (1, 4, 4)).forward(torch.zeros(1, 4, 6)), ShapeError, r"\(1, 4, 4\), got"),
        (lambda: Wrap(1.0, 1.0), InputError, "Wrap expects low < high, got low=1.0 and high=1.0"),
        (lambda: Logit(2.0, 1.0), InputError, "Logit expects low < high"),
        (lambda: Logit(0.0, math.nan), InputError, "low < high"),
        (lambda: Coupling(AffineUnivariate(), [False], MLP(1, 1)), InputError, "at least one feature to transform"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


class TestWhiten:
    def rows(self, n: int) -> torch.Tensor:
        mix = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 2.0]])
        return torch.randn(n, 3, generator=torch.Generator().manual_seed(0)).double() @ mix.double()

    def test_uncorrelates_and_agrees_with_a_gaussian(self):
        x = self.rows(100_000)
        layer = Whiten(3).double()
        z = layer.initialise(x)
        torch.testing.assert_close(torch.cov(z.T), torch.eye(3).double(), rtol=0, atol=2e-3)
        _, ladj = layer.forward_and_ladj(x[:1])
        assert ladj.item() == pytest.approx(-0.5 * torch.logdet(torch.cov(x.T)).item(), abs=1e-3)

    @pytest.mark.parametrize("n", [2, 3, 4])
    def test_few_rows_still_give_an_invertible_map(self, n: int):
        layer = Whiten(3).double()
        z = layer.initialise(self.rows(n))
        assert z.isfinite().all()
        torch.testing.assert_close(layer.inverse(z), self.rows(n))

    def test_a_fresh_flow_is_the_gaussian_of_its_data(self):
        x = self.rows(50_000)
        flow = realnvp(3).double()
        flow.initialise(x)
        gaussian = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
        torch.testing.assert_close(flow.log_prob(x[:100]), gaussian.log_prob(x[:100]), rtol=0, atol=2e-3)
