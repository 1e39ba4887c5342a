"""The native step of Adam is that of torch, whose optimiser can go on from it."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import optimizer as all_optimisers

from bijecta.functional.kernels.adam import adam_step
from bijecta.functional.kernels.library import library
from bijecta.training.averages import WeightAverage

pytestmark = pytest.mark.skipif(library() is None, reason="there is no native library")
MAKERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


def weights_of(count, dtype):
    weights = nn.Parameter(torch.randn(count, dtype=dtype))
    weights.grad = torch.randn(count, dtype=dtype)
    return weights


def optimiser_of(name, weights):
    return MAKERS[name]([weights], lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, fused=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 37, 50_000])
@pytest.mark.parametrize("name", MAKERS)
def test_steps_are_those_of_torch(name, count, dtype):
    torch.manual_seed(0)
    weights = weights_of(count, dtype)
    expected = copy.deepcopy(weights)
    expected.grad = weights.grad.clone()
    ours, theirs = optimiser_of(name, weights), optimiser_of(name, expected)
    average, their_average = weights.detach().clone(), WeightAverage([expected], 0.9)
    for number in range(5):
        gradient = torch.randn(count, dtype=dtype) * 10.0**number  # small ones and clipped ones
        weights.grad.copy_(gradient)
        expected.grad.copy_(gradient)
        norm = adam_step(ours, weights, average, largest=20.0, decay=their_average.next_decay)
        assert norm == pytest.approx(float(nn.utils.clip_grad_norm_([expected], 20.0)), rel=1e-5)
        theirs.step()
        their_average.update()
        tolerance = {torch.float32: 2e-6, torch.float64: 1e-13}[dtype]
        torch.testing.assert_close(weights, expected, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(average, their_average.average[0], atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(weights.grad, gradient, rtol=0, atol=0)
    ours.step(), theirs.step()  # torch's step goes on where ours ended
    assert ours.state[weights]["step"] == theirs.state[expected]["step"] == 6


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad):
    weights = weights_of(100, torch.float32)
    optimiser = optimiser_of("adamw", weights)
    adam_step(optimiser, weights)
    weights.grad[17] = bad
    before = weights.detach().clone(), copy.deepcopy(optimiser.state_dict()["state"])
    norm = adam_step(optimiser, weights)
    assert not torch.isfinite(torch.tensor(norm))
    torch.testing.assert_close((weights.detach(), optimiser.state_dict()["state"]), before, atol=0, rtol=0)


def test_threads_change_no_bit():
    found, threads = [], torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        torch.manual_seed(0)
        weights = weights_of(100_003, torch.float32)
        optimiser = optimiser_of("adam", weights)
        found.append((adam_step(optimiser, weights, largest=1.0), weights.detach()))
    torch.set_num_threads(threads)
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def test_moments_of_a_dead_unit_end_at_zero():
    """Subnormal numbers would make every later step many times as long."""
    weights = weights_of(64, torch.float32)
    optimiser = optimiser_of("adamw", weights)
    adam_step(optimiser, weights)
    weights.grad.zero_()
    optimiser.state[weights]["exp_avg"].fill_(1e-39)
    adam_step(optimiser, weights)
    assert not optimiser.state[weights]["exp_avg"].any()


@pytest.mark.parametrize("moment", ["pre", "post"])
@pytest.mark.parametrize("everywhere", [True, False])
def test_who_listens_to_steps_is_called(everywhere, moment):
    weights = weights_of(3, torch.float32)
    optimiser, heard = optimiser_of("adamw", weights), []
    place = all_optimisers if everywhere else optimiser
    register = getattr(place, f"register_{'optimizer_' if everywhere else ''}step_{moment}_hook")
    handle = register(lambda caller, *_: heard.append((caller, weights.detach().clone())))
    before = weights.detach().clone()
    adam_step(optimiser, weights)
    handle.remove()
    adam_step(optimiser, weights)
    ((caller, then),) = heard
    assert caller is optimiser
    assert torch.equal(then, before) == (moment == "pre")


def test_what_cannot_be_handed_over_is_left_to_torch():
    weights = nn.Parameter(torch.zeros(3, dtype=torch.float16))
    weights.grad = torch.ones_like(weights)
    optimiser = torch.optim.AdamW([weights])
    assert adam_step(optimiser, weights) is None
    assert not optimiser.state[weights]
