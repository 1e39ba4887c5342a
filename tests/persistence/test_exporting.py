"""Exported files against the flow, against known integrals, and what cannot be exported."""

import json
import math
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import stats

from bijecta.bijections import Chain, Continuous, Inverse, Standardise
from bijecta.distributions import (
    CategoricalHead,
    CircularUniform,
    Dequantised,
    DiagonalNormal,
    Discrete,
    GaussianMixture,
    Mixed,
    Normal,
    Product,
    StudentT,
    UniformBox,
    VonMises,
)
from bijecta.errors import InputError, MissingDependencyError
from bijecta.flows import Flow, build, cnf, glow_image, nice, realnvp, residual_flow
from bijecta.functional import Solver
from bijecta.persistence import export
from bijecta.persistence.export_program import draw_noise, from_noise, noise_kinds
from contract.table import perturb

ROWS = (1, 7, 1000)


def fitted(flow, shape=(2,), context=0):
    """Start a flow from data and move it away from there, as training would."""
    torch.manual_seed(0)
    contexts = 3 + 2 * torch.randn(200, context) if context else None
    flow.initialise(1 + 2 * torch.rand(200, *shape), contexts)
    return perturb(flow, 0.1).eval()


def relative(found, expected):
    expected = expected.detach().numpy()
    return float((np.abs(found - expected) / (1 + np.abs(expected))).max())


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Density and sampler of one conditional flow with a mixture as base, as ONNX."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    flow = fitted(realnvp(2, context=1, layers=1, hidden=(8,), base="mixture"), context=1)
    facts = {"schema": {"columns": [{"name": "mass", "kind": "real"}]}, "ranges": {"mass": [0.5, 2.0]}}
    density = export(flow, folder / "density.onnx", what="log_prob", metadata=facts)
    return flow, density, export(flow, folder / "sampler.onnx", what="sample")


# ---------------------------------------------------------------- ONNX


@pytest.mark.parametrize("rows", ROWS)
def test_onnx_density_is_that_of_the_flow(files, rows):
    flow, density, _ = files
    x, context = 2 * torch.randn(rows, 2), 3 + torch.randn(rows, 1)
    found = session(density.path).run(None, {"x": x.numpy(), "context": context.numpy()})[0]
    assert found.shape == (rows,)
    assert found.dtype == np.float32
    assert relative(found, flow.log_prob(x, context)) < 1e-4


def test_onnx_density_integrates_to_one(files):
    axis = np.linspace(-15, 15, 500, dtype=np.float32)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    log_prob = session(files[1].path).run(None, {"x": x, "context": np.full((len(x), 1), 2.0, np.float32)})[0]
    assert float(np.exp(log_prob).sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("rows", ROWS)
def test_onnx_sampler_maps_noise_as_the_flow_does(files, rows):
    """The mixture by hand: the component is the first whose cumulated weight exceeds the uniform number."""
    flow, _, sampler = files
    assert sampler.metadata["noise"] == ["uniform", "normal", "normal"]
    random = np.random.default_rng(rows)
    uniform, normal = random.random((rows, 1)), random.normal(size=(rows, 2))
    weights = flow.base.logits.softmax(0).detach().numpy()
    component = np.minimum(np.searchsorted(weights.cumsum(), uniform[:, 0], side="right"), len(weights) - 1)
    z = flow.base.mean[component] + flow.base.log_scale[component].exp() * torch.tensor(normal)
    context = 3 + torch.randn(rows, 1)
    noise = np.concatenate([uniform, normal], 1).astype(np.float32)
    found = session(sampler.path).run(None, {"noise": noise, "context": context.numpy()})[0]
    assert relative(found, flow.to_data(z.float(), context)) < 1e-4


def test_onnx_file_says_what_it_is_and_not_where_it_was_made(files):
    _, density, sampler = files
    found = session(density.path)
    assert [(given.name, given.shape) for given in found.get_inputs()] == [
        ("x", ["batch", 2]),
        ("context", ["batch", 1]),
    ]
    assert [(given.name, given.shape) for given in found.get_outputs()] == [("log_prob", ["batch"])]
    facts = found.get_modelmeta().custom_metadata_map
    assert facts["what"] == "log_prob"
    assert facts["recipe"] == "realnvp"
    assert json.loads(facts["arguments"])["base"] == "mixture"
    assert json.loads(facts["schema"])["columns"][0]["name"] == "mass"
    assert json.loads(facts["ranges"]) == {"mass": [0.5, 2.0]}
    assert set(json.loads(facts["versions"])) == {"bijecta", "torch"}
    assert int(facts["opset"]) >= 18
    assert json.loads(session(sampler.path).get_modelmeta().custom_metadata_map["noise"])[0] == "uniform"
    assert b".py" not in density.path.read_bytes()


def test_export_measures_its_own_error(files):
    assert all(0 <= written.error < 1e-4 for written in files[1:])
    assert files[1].findings == ()


@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_named(module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf'{module}.*pip install "bijecta\[onnx\]"'):
        export(nice(1, layers=1, hidden=(2,)), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- torch.export


@pytest.mark.parametrize(("what", "shape"), [("log_prob", (1, 4, 4)), ("sample", (16,))])
def test_torch_program_of_an_image_flow(what, shape, tmp_path):
    torch.manual_seed(0)
    flow = fitted(glow_image([1, 4, 4], levels=1, steps=1, hidden=4), (1, 4, 4))
    module = torch.export.load(export(flow, tmp_path / "model.pt2", "torch", what=what).path).module()
    for rows in ROWS:
        given = torch.rand(rows, *shape)
        assert relative(module(given).numpy(), (flow.log_prob if what == "log_prob" else flow.to_data)(given)) < 1e-4


def test_torch_program_needs_no_bijecta(tmp_path):
    flow = fitted(nice(2, layers=2, hidden=(8,)))
    path = export(flow, tmp_path / "model.pt2", "torch", metadata={"ranges": [0, 1]}).path
    script = (
        "import json, sys, torch\n"
        "extra = {'metadata.json': ''}\n"
        "module = torch.export.load(sys.argv[1], extra_files=extra).module()\n"
        "print(json.dumps([module(torch.ones(3, 2)).tolist(), json.loads(extra['metadata.json'])['ranges'],"
        " 'bijecta' in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    values, ranges, loaded = json.loads(run.stdout)
    assert not loaded
    assert ranges == [0, 1]
    assert relative(np.array(values), flow.log_prob(torch.ones(3, 2))) < 1e-6


@pytest.mark.slow
def test_compiled_program(tmp_path):
    flow = fitted(nice(2, layers=1, hidden=(8,)))
    written = export(flow, tmp_path / "model.pt2", "aoti")
    module = torch._inductor.aoti_load_package(str(written.path))
    assert json.loads(module.get_metadata()["arguments"])["layers"] == 1
    for rows in ROWS:
        x = torch.randn(rows, 2)
        assert relative(module(x).numpy(), flow.log_prob(x)) < 1e-4


def test_samples_of_integers_are_whole_and_densities_are_of_noisy_ones(tmp_path):
    torch.manual_seed(0)
    flow = Dequantised(nice(2, layers=1, hidden=(4,)), [0])
    flow.initialise(torch.rand(50, 2) * 9)
    written = export(flow, tmp_path / "sampler.pt2", "torch", what="sample")
    noise = torch.randn(100, 2)
    x = torch.export.load(written.path).module()(noise)
    continuous = flow.distribution.to_data(noise)
    torch.testing.assert_close(x, torch.stack([continuous[:, 0].floor(), continuous[:, 1]], -1))
    density = export(flow, tmp_path / "density.pt2", "torch")
    assert density.metadata["integers"] == [0]
    assert "add uniform noise" in str(density.findings[0])
    noisy = torch.tensor([[3.25, 1.0]])
    found = torch.export.load(density.path).module()(noisy)
    torch.testing.assert_close(found, flow.distribution.log_prob(noisy))


def test_mixed_tables_have_a_density_to_export(tmp_path):
    torch.manual_seed(0)
    discrete = Discrete([CategoricalHead(2)], context=1)
    flow = Mixed(discrete, nice(1, context=3, layers=1, hidden=(4,)), ([1], [0]))
    x, context = torch.stack([torch.randn(50), torch.randint(2, (50,)).float()], -1), torch.randn(50, 1)
    flow.initialise(x, context)
    written = export(flow, tmp_path / "density.pt2", "torch")
    found = torch.export.load(written.path).module()(x, context)
    torch.testing.assert_close(found, flow.log_prob(x, context))
    with pytest.raises(InputError, match="Only a Flow maps noise to data; of Mixed there is what='log_prob'"):
        export(flow, tmp_path / "sampler.pt2", "torch", what="sample")


def test_the_flow_stays_as_it_is(tmp_path):
    flow = nice(2, layers=1, hidden=(4,)).double().train()
    written = export(flow, tmp_path / "model.pt2", "torch", what="to_data")
    assert flow.training
    assert {(p.dtype, p.requires_grad) for p in flow.parameters()} == {(torch.float64, True)}
    assert "never initialised from data" in str(written.findings[0])


# ---------------------------------------------------------------- what can't be exported


def test_an_adaptive_solver_says_how_to_fix_its_steps(tmp_path):
    flow = cnf(2, hidden=(4,))
    with pytest.raises(InputError, match=r"log_prob.*adaptive solver.*Solver\('rk4', steps=32\)"):
        export(flow, tmp_path / "model.pt2", "torch")
    for layer in flow.modules():
        if isinstance(layer, Continuous):
            layer.solver = Solver("rk4", steps=4)
    assert export(flow, tmp_path / "model.pt2", "torch").error < 1e-4


@pytest.mark.parametrize("recipe", ["bernstein", "bnaf", "naf", "sos", "unaf", "residual_flow"])
def test_numerical_inverses_are_refused(recipe, tmp_path, capfd):
    target = tmp_path / "model.pt2"
    target.write_text("what was there before")
    flow = build(recipe, {"features": 2, "layers": 1, "hidden": [4]})
    with pytest.raises(InputError, match="sample of this flow can't be exported: its numerical inverse is a search"):
        export(flow, target, "torch", what="sample")
    assert target.read_text() == "what was there before"
    assert capfd.readouterr() == ("", "")


def test_random_estimates_are_refused(tmp_path):
    for flow in (residual_flow(17, layers=1, hidden=(4,)), cnf(17, hidden=(4,), solver="rk4", steps=1)):
        with pytest.raises(InputError, match=r"an estimate that draws random numbers.*what='to_data'"):
            export(flow, tmp_path / "model.pt2", "torch")


@pytest.mark.parametrize("base", [StudentT(1), VonMises(1)])
def test_bases_without_a_formula_are_refused(base, tmp_path):
    flow = Flow(Chain([Standardise(1)]), base, event_shape=(1,))
    with pytest.raises(InputError, match=rf"Samples of {type(base).__name__}.*what='to_data'"):
        export(flow, tmp_path / "model.pt2", "torch", what="sample")


def test_latent_of_a_student_base_is_described(tmp_path):
    flow = Flow(Inverse(Standardise(1)), StudentT(1, degrees=4.0), event_shape=(1,))
    written = export(flow, tmp_path / "model.pt2", "torch", what="to_data")
    assert written.metadata["base"] == "StudentT"
    assert written.metadata["degrees"] == pytest.approx([4.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": "onxx"}, "to to be one of onnx, torch, aoti; got 'onxx'"),
        ({"what": "density"}, "what to be one of log_prob, to_data, sample; got 'density'"),
        ({"path": "nowhere/model.pt2"}, "no folder .*nowhere to write model.pt2"),
        ({"path": "model.pth"}, r"only programs named \*.pt2; got model.pth"),
        ({"flow": Normal(2)}, "knows the shape of its events, got Normal without event_shape"),
        ({"metadata": {"a": {1, 2}}}, "metadata of JSON types"),
        ({"metadata": {"a": math.nan}}, "metadata of JSON types"),
    ],
)
def test_impossible_arguments_are_explained(change, message, tmp_path):
    arguments = {"flow": nice(2, layers=1), "path": "model.pt2", "to": "torch"} | change
    with pytest.raises(InputError, match=message):
        export(**{**arguments, "path": tmp_path / arguments["path"]})


# ---------------------------------------------------------------- noise


def mixture():
    torch.manual_seed(3)
    return perturb(GaussianMixture(1, components=3), 0.5)


def mixture_cdf(x):
    base = mixture()
    mean, scale = base.mean.detach().numpy()[:, 0], base.log_scale.exp().detach().numpy()[:, 0]
    weight = base.logits.softmax(0).detach().numpy()
    return (weight * stats.norm.cdf(x[:, None], mean, scale)).sum(-1)


@pytest.mark.parametrize(
    ("base", "cdf"),
    [
        (Normal(1), stats.norm.cdf),
        (perturb(DiagonalNormal(1), 0.0), stats.norm.cdf),
        (UniformBox(torch.tensor([2.0]), torch.tensor([5.0])), stats.uniform(2, 3).cdf),
        (CircularUniform(1), stats.uniform(-math.pi, 2 * math.pi).cdf),
        (mixture(), mixture_cdf),
    ],
    ids=lambda value: type(value).__name__,
)
def test_noise_becomes_samples_of_the_base(base, cdf):
    noise = draw_noise(noise_kinds(base), 20_000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        samples = from_noise(base, noise).double().numpy()[:, 0]
    assert stats.kstest(samples, cdf).pvalue > 1e-3


def test_noise_of_a_product_goes_to_its_columns():
    base = Product([UniformBox(torch.zeros(1), 3 * torch.ones(1)), Normal(2)], columns=[[1], [0, 2]])
    assert noise_kinds(base) == ["uniform", "normal", "normal"]
    x = from_noise(base, torch.tensor([[0.5, -7.0, 8.0]]))
    assert x.tolist() == [[-7.0, 1.5, 8.0]]
