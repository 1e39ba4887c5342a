"""Evaluations of events: truth against truth stays silent, known differences are found and named."""

import json
from pathlib import Path

import numpy as np
import pytest

from bijecta.errors import InputError
from bijecta.hep import Events, EventSchema, Particle, VariableParticles, evaluate
from bijecta.hep.kinematics import four_momentum

DATA = Path(__file__).parents[3] / "shared" / "data" / "pythia"
MUON, Z_MASS, Z_WIDTH = 0.1056583755, 91.1876, 2.4952
PAIR = EventSchema((Particle("mu-", 13, MUON), Particle("mu+", -13, MUON)))


def z_decays(n, seed, *, shift=0.0, scale=1.0):
    """Decay a Breit-Wigner at rest in the transverse plane and moving along the beam, isotropically."""
    generator = np.random.default_rng(seed)
    low, high = np.arctan((np.array([60.0, 120.0]) - Z_MASS) * 2.0 / Z_WIDTH)
    mass = Z_MASS + shift + Z_WIDTH / 2.0 * np.tan(generator.uniform(low, high, n))
    cosine, phi = generator.uniform(-1.0, 1.0, n), generator.uniform(-np.pi, np.pi, n)
    momentum = np.sqrt(mass**2 / 4.0 - MUON**2)
    along, across = momentum * cosine, momentum * np.sqrt(1.0 - cosine**2)
    gamma_beta = np.sinh(generator.normal(0.0, 1.0, n))
    sides = []
    for sign in (1.0, -1.0):
        pz = np.hypot(1.0, gamma_beta) * sign * along + gamma_beta * mass / 2.0
        x, y = sign * scale * across * np.cos(phi), sign * scale * across * np.sin(phi)
        sides.append(np.stack([np.sqrt(MUON**2 + x**2 + y**2 + pz**2), x, y, pz], axis=1))
    return Events(PAIR, np.stack(sides, axis=1))


def simulated(name):
    path = DATA / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with np.load(path) as content:
        return {key: content[key] for key in ("p4", "weight") if key in content}


def top_pairs(n):
    momenta = simulated("ttbar_13tev")["p4"][:n]
    names = ("b", "f(W+)", "fbar(W+)", "bbar", "f(W-)", "fbar(W-)")
    return Events(EventSchema(tuple(Particle(name, 0) for name in names)), momenta)


def smeared(events, width, seed):
    """Blur every momentum and keep every mass: what a flow on raw momenta makes of a resonance."""
    generator = np.random.default_rng(seed)
    p = events.momenta
    square = np.maximum(p[..., 0] ** 2 - (p[..., 1:] ** 2).sum(-1), 0.0)
    blurred = p[..., 1:] * (1.0 + width * generator.normal(size=p[..., 1:].shape))
    energy = np.sqrt(square + (blurred**2).sum(-1))
    return Events(events.schema, np.concatenate([energy[..., None], blurred], axis=-1))


def false_alarms(repetitions, n, **settings):
    found = [evaluate(z_decays(n, 2 * k), z_decays(n, 2 * k + 1), seed=k, **settings) for k in range(repetitions)]
    return sum(evaluation.grade != "good" for evaluation in found)


def test_truth_against_truth_raises_few_alarms():
    assert false_alarms(20, 600, bootstrap=40, classifier=False) <= 3


@pytest.mark.slow
def test_hundred_truths_raise_at_most_ten_alarms():
    assert false_alarms(100, 600, bootstrap=40) <= 10


def test_a_scale_of_the_transverse_momentum_is_flagged():
    found = evaluate(z_decays(4000, 1, scale=1.02), z_decays(4000, 2), bootstrap=30, classifier=False)
    assert any(alarm.startswith("pt(") for alarm in found.alarms)


def test_a_shift_of_the_mass_is_flagged_and_named():
    found = evaluate(z_decays(6000, 1, shift=0.2), z_decays(6000, 2), bootstrap=30, classifier=False)
    assert {alarm.partition(":")[0] for alarm in found.alarms} == {"m(mu- mu+)"}
    assert found.grade in ("fair", "poor")


def test_smeared_top_pairs_are_called_bad_and_single_momenta_do_not_see_it():
    events = top_pairs(4000)
    truth, model = events.take(slice(2000, 4000)), smeared(events.take(slice(2000)), 0.08, seed=1)
    found = evaluate(model, truth, bootstrap=5)
    assert found.grade == "bad"
    assert found.whole["AUC"].value >= 0.9
    assert abs(found.whole["AUC"].null - 0.5) < 0.06
    assert "m(f(W+) fbar(W+)): separation" in found.beyond
    single = [f"{kind}({slot})" for slot in events.schema.slots for kind in ("pt", "y", "phi")]
    blind = evaluate(model, truth, bootstrap=5, observables=single)
    assert blind.whole["AUC"].value < 0.7
    assert blind.grade != "bad"


def test_the_null_agrees_with_a_split_of_the_truth():
    """The printed null comes from draws with replacement; here, fresh independent samples."""
    found = evaluate(z_decays(1500, 1), z_decays(1500, 2), bootstrap=200, classifier=False)
    fresh = [evaluate(z_decays(1500, 10 + k), z_decays(1500, 60 + k), bootstrap=0, classifier=False) for k in range(25)]
    for kind in ("ks", "wasserstein", "separation", "chi2"):
        values = [other.observables["m(mu- mu+)"][kind].value for other in fresh]
        assert np.mean(values) == pytest.approx(found.observables["m(mu- mu+)"][kind].null, rel=0.25)


def test_signed_weights_of_either_sample_are_understood():
    """Negative weights that remove what was added are no difference; dropping the signs is one."""
    generator = np.random.default_rng(0)
    wide, narrow = generator.normal(size=8000), 0.5 * generator.normal(size=1500)
    values = {"x": np.concatenate([wide, narrow]), "weight": np.concatenate([np.ones(8000), -np.ones(1500)])}
    proposal = 1.5 * generator.normal(size=20000)
    density = np.exp(-(proposal**2) / 2.0) - 0.375 * np.exp(-2.0 * proposal**2)
    truth = {"x": proposal, "weight": density / np.exp(-(proposal**2) / 4.5)}
    assert evaluate(values, truth, classifier=False).grade == "good"
    unsigned = {**values, "weight": np.abs(values["weight"])}
    assert "x: chi2" in evaluate(unsigned, truth, classifier=False).alarms


def test_weighted_dijets_agree_with_themselves_and_not_without_their_weights():
    sample = simulated("dijet_weighted")
    schema = EventSchema((Particle("parton1", 0), Particle("parton2", 0)), weight="weight")
    order = np.random.default_rng(0).permutation(len(sample["p4"]))[:6000]
    first, second = (Events(schema, sample["p4"][rows], weight=sample["weight"][rows]) for rows in np.split(order, 2))
    assert evaluate(first, second, bootstrap=40, classifier=False).grade == "good"
    unweighted = Events(schema, first.momenta)
    assert evaluate(unweighted, second, bootstrap=40, classifier=False).grade == "poor"


def test_particles_off_shell_and_momentum_that_is_not_conserved_are_bad():
    truth, model = z_decays(300, 1), z_decays(300, 2)
    shifted = Events(PAIR, model.momenta + np.array([0.5, 0.01, 0.0, 0.0]))
    found = evaluate(shifted, truth, bootstrap=0, null=False, classifier=False)
    broken = {constraint.name for constraint in found.constraints if not constraint.passed}
    assert {"mu- on its mass shell", "sum of px"} <= broken
    assert "sum of py" not in broken
    assert found.grade == "bad"


def test_what_lies_beyond_a_cut_is_flagged():
    truth = np.random.default_rng(0).uniform(20.0, 100.0, 2000)
    model = np.random.default_rng(1).uniform(19.5, 100.0, 2000)
    assert evaluate({"pt": model}, {"pt": truth}, classifier=False).alarms == ("pt: outside",)


def test_absent_particles_count_by_their_number():
    generator = np.random.default_rng(0)
    schema = EventSchema((Particle("Z", 23),), (VariableParticles("jet", 0, 0.0, most=2),))

    def events(share, n=1200):
        pt, eta, phi = (
            generator.exponential(30.0, (n, 3)),
            generator.normal(size=(n, 3)),
            generator.uniform(-3, 3, (n, 3)),
        )
        mass = np.stack([generator.normal(91.0, 2.0, n), np.zeros(n), np.zeros(n)], axis=1)
        momenta = four_momentum(pt, eta, phi, mass)
        jets = generator.binomial(2, share, n)
        return Events(schema, momenta, np.arange(3) <= jets[:, None])

    assert evaluate(events(0.3), events(0.3), bootstrap=40).grade == "good"
    assert "n(jet): ks" in evaluate(events(0.4), events(0.3), bootstrap=40, classifier=False).alarms


def test_the_files_are_complete(tmp_path):
    found = evaluate(z_decays(400, 1, shift=3.0), z_decays(400, 2), bootstrap=20)
    found.write(tmp_path / "made")
    content = json.loads((tmp_path / "made" / "report.json").read_text())
    assert content["verdict"] == found.verdict
    assert content["observables"]["m(mu- mu+)"]["ks"]["null"] > 0.0
    page = (tmp_path / "made" / "report.html").read_text()
    assert page.count("data:image/png") == len(found.panels) + 1
    assert "http" not in page.replace("http-equiv", "")
    assert "m(mu- mu+): ks" in page


@pytest.mark.parametrize(
    ("generated", "reference", "message"),
    [
        ({"x": np.zeros(10)}, {"x": np.zeros(10)}, "160 events"),
        ({"x": np.zeros(200)}, {"y": np.zeros(200)}, "x, y"),
        ({"x": np.full(200, np.inf)}, {"x": np.zeros(200)}, "infinite"),
        ({"x": np.zeros(200), "weight": -np.ones(200)}, {"x": np.zeros(200)}, "positive sum"),
        ({}, {"x": np.zeros(200)}, "no observables"),
        ({"x": np.zeros(200), "y": np.zeros(3)}, {"x": np.zeros(200)}, "one value per event"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(generated, reference, message):
    with pytest.raises(InputError, match=message):
        evaluate(generated, reference)
