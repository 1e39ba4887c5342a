"""Layers as a person counts them, and the terms of log p."""

import numpy as np
import pytest
import torch

from bijecta.app.controls import recipe_controls, recipes_of_the_plane
from bijecta.app.layers import SLICES, layers_of, probe
from bijecta.data import toy
from bijecta.flows import build


@pytest.fixture(scope="module")
def rows():
    return torch.as_tensor(toy("moons").sample(200, 0), dtype=torch.float64)


def shaken(recipe, rows):
    """A flow whose layers all do something."""
    torch.manual_seed(0)
    flow = build(recipe, {"features": 2, **({"layers": 3} if "layers" in recipe_controls(recipe) else {})})
    flow.double().initialise(rows)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return flow.eval()


@pytest.mark.parametrize("recipe", recipes_of_the_plane())
def test_paths_and_terms_are_those_of_the_flow(recipe, rows):
    flow = shaken(recipe, rows)
    layers = layers_of(flow.bijection)
    # Gaussianization has a rotation beside every layer; a mixture has its layers in the components of its base.
    expected = {"cnf": SLICES, "made": 1, "gaussianization": 6, "mixture_of_flows": 1}.get(recipe, 3)
    assert len(layers.maps) == len(layers.names) == expected
    with torch.no_grad():
        path, ladj = layers.to_latent(rows[:40])
        torch.testing.assert_close(path[0], flow.to_latent(rows[:40]), atol=1e-5, rtol=1e-5)
        terms = flow.base.log_prob(path[0]) + ladj.sum(0)
        torch.testing.assert_close(terms, flow.log_prob(rows[:40]), atol=1e-5, rtol=1e-5)
        back, ladj_back = layers.to_data(path[0])
        torch.testing.assert_close(back, path, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ladj_back[-1], -ladj.sum(0), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("recipe", ["nsf", "realnvp", "maf", "iaf", "residual_flow", "planar"])
def test_the_sum_of_a_probe_is_log_prob(recipe, rows):
    flow = shaken(recipe, rows)
    answer = probe(flow, layers_of(flow.bijection), [0.3, -0.4])
    assert answer["sum"] == pytest.approx(
        flow.log_prob(torch.tensor([[0.3, -0.4]], dtype=torch.float64)).item(), abs=1e-9
    )
    assert answer["sum"] == pytest.approx(answer["base"] + sum(answer["ladj"]), abs=1e-9)
    np.testing.assert_allclose(answer["path"][-1], [0.3, -0.4], atol=1e-6)


def test_a_layer_has_the_log_det_of_autograd(rows):
    flow = shaken("nsf", rows)
    layers = layers_of(flow.bijection)
    point = rows[:1]
    path, ladj = layers.to_latent(point)
    for k, layer in enumerate(layers.maps):
        jacobian = torch.autograd.functional.jacobian(lambda x, f=layer: f.forward(x)[0], path[k + 1])[:, 0]
        assert ladj[k].item() == pytest.approx(jacobian.det().abs().log().item(), abs=1e-8)
