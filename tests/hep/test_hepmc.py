"""HepMC files of others, and that others read ours."""

import numpy as np
import pytest

from bijecta.hep import MuonPairs, read_events, write_events

hepmc = pytest.importorskip("pyhepmc", reason="HepMC3 needs pyhepmc")


def write_foreign(path, energies, unit):
    """Events with one more pion each than the one before, in the given unit of momentum, with an unstable parent."""
    with hepmc.io.WriterAscii(str(path)) as writer:
        for row, energy in enumerate(energies):
            event = hepmc.GenEvent(unit, hepmc.Units.MM)
            event.weights = [0.5 - row]
            vertex = hepmc.GenVertex()
            vertex.add_particle_in(hepmc.GenParticle((0.0, 0.0, 0.0, 91.0), 23, 2))
            for pion in range(row + 1):
                vertex.add_particle_out(hepmc.GenParticle((energy * (pion + 1), 0.0, 0.0, energy * 10), 211, 1))
            event.add_vertex(vertex)
            writer.write(event)


@pytest.mark.parametrize(("unit", "scale"), [("GEV", 1.0), ("MEV", 1e-3)])
def test_final_particles_of_others_are_read_in_gev(unit, scale, tmp_path):
    write_foreign(tmp_path / "pions.hepmc", [1.0, 2.0, 3.0], getattr(hepmc.Units, unit))
    events = read_events(tmp_path / "pions.hepmc")
    assert events.schema.slots == ("particle1", "particle2", "particle3")
    assert events.mask.sum(axis=1).tolist() == [1, 2, 3]
    assert events.weight.tolist() == [0.5, -0.5, -1.5]
    np.testing.assert_allclose(events.column("particle1.pt"), np.array([1.0, 4.0, 9.0]) * scale)
    np.testing.assert_allclose(events.column("particle1.E"), np.array([10.0, 20.0, 30.0]) * scale)
    assert events.column("pdg_particle2").tolist() == [0, 211, 211]


def test_others_read_ours(tmp_path):
    events = MuonPairs().sample(4, energy=91.2, seed=0)
    write_events(events, tmp_path / "muons.hepmc")
    with hepmc.open(tmp_path / "muons.hepmc") as file:
        for row, event in enumerate(file):
            final = [p for p in event.particles if p.status == 1]
            assert [p.pid for p in final] == [13, -13]
            assert [p.pid for p in event.particles if p.status == 4] == [11, -11]
            np.testing.assert_array_equal([final[0].momentum.e, final[0].momentum.px], events.momenta[row, 0, :2])
