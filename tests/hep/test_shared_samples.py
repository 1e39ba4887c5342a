"""The samples beside the project load as events in a few lines each, and pass the checks."""

from pathlib import Path

import numpy as np
import pytest

from bijecta.hep import (
    Condition,
    Events,
    EventSchema,
    Particle,
    VariableParticles,
    check_events,
    read_events,
    write_events,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def arrays(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def identities(pdg, slots):
    conditions = tuple(
        Condition(f"pdg_{slot}", "one_hot", tuple(np.unique(pdg[:, k]).tolist())) for k, slot in enumerate(slots)
    )
    return conditions, {f"pdg_{slot}": pdg[:, k].astype(np.int64) for k, slot in enumerate(slots)}


def dijets():
    data = arrays("pythia/dijet_weighted.npz")
    slots = ("parton1", "parton2")
    conditions, columns = identities(data["pdgid"], slots)
    schema = EventSchema(tuple(Particle(slot, 0) for slot in slots), condition=conditions, weight="weight")
    metadata = {"cross_section_pb": [float(data["sigma_pb"])]}
    return Events(schema, data["p4"], condition=columns, weight=data["weight"], metadata=metadata)


def top_pairs():
    data = arrays("pythia/ttbar_13tev.npz")
    slots = ("b", "W+_fermion", "W+_antifermion", "bbar", "W-_fermion", "W-_antifermion")
    conditions, columns = identities(data["pdgid"], slots)
    schema = EventSchema(tuple(Particle(slot, 0) for slot in slots), condition=conditions)
    return Events(schema, data["p4"], condition=columns)


def z_and_jets():
    data = arrays("zjets_lhe/zjets_lhe.npz")
    schema = EventSchema(
        (Particle("l-", 0), Particle("l+", 0)),
        (VariableParticles("jet", 0, None, most=2),),
        (Condition("sample", "one_hot", ("MLM", "CKKW-L", "FxFx")),),
        weight="weight",
    )
    momenta = np.concatenate([data["lep"], data["jets"]], axis=1)[..., [3, 0, 1, 2]]  # the energy comes last
    # One event lists a second parton without any energy.
    mask = (np.arange(4) < 2 + data["njets"][:, None]) & (momenta[..., 0] > 0.0)
    labels = np.array(["MLM", "CKKW-L", "FxFx"])[data["sample"]]
    return Events(schema, momenta, mask, {"sample": labels}, data["weight"])


@pytest.mark.parametrize(("load", "n", "k"), [(dijets, 20000, 2), (top_pairs, 10000, 6), (z_and_jets, 30000, 4)])
def test_the_samples_are_events(load, n, k):
    events = load()
    assert events.momenta.shape == (n, k, 4)
    assert [str(finding) for finding in check_events(events) if finding.severity == "error"] == []


def test_the_weights_of_dijets_span_orders_of_magnitude():
    weight = dijets().weight
    assert weight.sum() ** 2 / (weight**2).sum() / len(weight) == pytest.approx(0.24, abs=0.01)


def test_top_quarks_have_their_mass():
    from bijecta.hep import kinematics

    top = kinematics.mass(top_pairs().momenta[:, :3].sum(axis=1))
    assert np.median(top) == pytest.approx(173.0, abs=0.3)


def test_negative_weights_are_noted():
    events = z_and_jets()
    assert (events.weight[events.column("sample") == "FxFx"] < 0).mean() == pytest.approx(0.185, abs=0.001)
    assert any("negative in 6" in finding.message for finding in check_events(events))


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".parquet"])
def test_large_samples_pass_through_files(suffix, tmp_path):
    if suffix != ".npz":
        pytest.importorskip({".h5": "h5py", ".parquet": "pyarrow"}[suffix])
    events = z_and_jets()
    write_events(events, tmp_path / f"z{suffix}")
    again = read_events(tmp_path / f"z{suffix}")
    np.testing.assert_array_equal(again.momenta, events.momenta)
    np.testing.assert_array_equal(again.column("sample"), events.column("sample"))
