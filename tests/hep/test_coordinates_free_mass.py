"""Particles whose mass differs from event to event: a coordinate more for each."""

import json

import numpy as np
import pytest
import torch

from bijecta.hep import (
    Condition,
    DecayChain,
    Events,
    EventSchema,
    Particle,
    event_flow,
    measure_coordinates,
    sample_events,
)

NAMES = ("jet1", "lepton", "jet2")
CHAIN = DecayChain(("jet1", ("lepton", "jet2")), NAMES, (None, 0.1057, None))


def rows(n=64):
    generator = torch.Generator().manual_seed(0)
    three = 40.0 * torch.randn(n, 9, generator=generator, dtype=torch.float64)
    return torch.cat([three, 0.5 + 20.0 * torch.rand(n, 2, generator=generator, dtype=torch.float64)], 1)


def events(n=400):
    x = rows(n).numpy()
    three, own = x[:, :9].reshape(n, 3, 3), np.stack([x[:, 9], np.full(n, 0.1057), x[:, 10]], 1)
    momenta = np.concatenate([np.sqrt((three**2).sum(-1) + own**2)[..., None], three], -1)
    schema = EventSchema(
        (Particle("jet1", 0), Particle("lepton", 13, 0.1057), Particle("jet2", 0)), condition=(Condition("energy"),)
    )
    return Events(schema, momenta, condition={"energy": np.full(n, 5000.0)})


def test_ladj_is_the_determinant_and_the_way_back_is_exact():
    x = rows().requires_grad_()
    z, ladj = CHAIN.forward_and_ladj(x)
    matrix = torch.stack([torch.autograd.grad(z[:, i].sum(), x, retain_graph=True)[0] for i in range(11)], -2)
    torch.testing.assert_close(torch.linalg.slogdet(matrix).logabsdet, ladj, atol=1e-8, rtol=1e-8)
    back, opposite = CHAIN.inverse_and_ladj(z)
    torch.testing.assert_close(back, x, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(opposite, -ladj, atol=1e-8, rtol=1e-8)


def test_the_mother_is_heavier_than_her_daughters():
    coordinates = measure_coordinates(events())
    assert coordinates.columns[-2:] == ("mass(jet1)", "mass(jet2)")
    assert coordinates.kinds[-2:] == ("real", "real")
    torch.manual_seed(0)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=2, hidden=[8], bins=4)
    x, context = coordinates.rows(events())
    flow.initialise(x, context)
    new = sample_events(flow, 1000, {"energy": 5000.0}, seed=0)
    mass = coordinates.rows(new)[0]
    assert (mass[:, -2:] > 0.0).all()
    assert (new.column("jet1.mass") > 0.0).all()
    np.testing.assert_allclose(new.column("jet1.mass"), mass[:, -2], rtol=1e-3, atol=1e-2)
    assert (mass[:, 0] > mass[:, 6] + mass[:, -2]).all()
    assert (mass[:, 6] > 0.1057 + mass[:, -1]).all()


def test_the_flow_is_exact_in_double_precision():
    coordinates = measure_coordinates(events())
    torch.manual_seed(1)
    flow = event_flow(json.dumps(coordinates.to_json()), layers=2, hidden=[8], bins=4).double()
    x, context = (each.double() for each in coordinates.rows(events()))
    flow.initialise(x, context)
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    z, ladj = flow.bijection.forward_and_ladj(x[:4], context[:4])
    torch.testing.assert_close(flow.to_data(z, context[:4]), x[:4], atol=1e-7, rtol=1e-9)
    for row in range(4):
        matrix = torch.autograd.functional.jacobian(lambda r, c=context[row]: flow.to_latent(r, c), x[row])
        assert float(torch.linalg.slogdet(matrix).logabsdet) == pytest.approx(ladj[row].item(), abs=1e-7)
