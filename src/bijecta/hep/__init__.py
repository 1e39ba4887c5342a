"""Collision events: four-momenta with a schema, their kinematics, generators with exact densities, and files.

Natural units throughout: energies, momenta and masses in GeV, angles in radians. Importing needs NumPy and
PyTorch alone.
"""

from bijecta.hep.box_spline import BoxSpline
from bijecta.hep.coordinates import EventCoordinates, measure_coordinates
from bijecta.hep.coordinates_collider import BoundedRapidity, PartonFractions, RelativeAzimuth
from bijecta.hep.coordinates_mass import BreitWigner, MassExcess, PowerLaw
from bijecta.hep.coordinates_mass_mixture import PeakAndContinuum
from bijecta.hep.coordinates_measured import measure_objects
from bijecta.hep.coordinates_objects import ObjectCoordinates
from bijecta.hep.coordinates_plain import PlainCoordinates
from bijecta.hep.coordinates_quantile import QuantileStart
from bijecta.hep.decay import DecayChain
from bijecta.hep.deployment import export_events, training_facts
from bijecta.hep.evaluation import Evaluation, evaluate
from bijecta.hep.event_flow import coordinates_of, event_flow, sample_events
from bijecta.hep.event_flow_plain import plain_event_flow
from bijecta.hep.event_flow_variable import variable_event_flow
from bijecta.hep.events import Events, check_events
from bijecta.hep.files import read_events, write_events
from bijecta.hep.files_hdf5 import read_showers
from bijecta.hep.generators import DrellYan, MuonPairs
from bijecta.hep.generators_decays import MuonDecay, SignedMixture, ThreeJets, rambo, rambo_volume
from bijecta.hep.generators_electroweak import Electroweak
from bijecta.hep.integration import Integral, integrate
from bijecta.hep.observables import standard_observables
from bijecta.hep.pythia import from_pythia
from bijecta.hep.rambo_on_diet import RamboMasses
from bijecta.hep.schema import Condition, EventSchema, Particle, VariableParticles
from bijecta.hep.unweighting import Unweighted, bootstrap_maximum, unweight

__all__ = [
    "BoundedRapidity",
    "BoxSpline",
    "BreitWigner",
    "Condition",
    "DecayChain",
    "DrellYan",
    "Electroweak",
    "Evaluation",
    "EventCoordinates",
    "EventSchema",
    "Events",
    "Integral",
    "MassExcess",
    "MuonDecay",
    "MuonPairs",
    "ObjectCoordinates",
    "Particle",
    "PartonFractions",
    "PeakAndContinuum",
    "PlainCoordinates",
    "PowerLaw",
    "QuantileStart",
    "RamboMasses",
    "RelativeAzimuth",
    "SignedMixture",
    "ThreeJets",
    "Unweighted",
    "VariableParticles",
    "bootstrap_maximum",
    "check_events",
    "coordinates_of",
    "evaluate",
    "event_flow",
    "export_events",
    "from_pythia",
    "integrate",
    "measure_coordinates",
    "measure_objects",
    "plain_event_flow",
    "rambo",
    "rambo_volume",
    "read_events",
    "read_showers",
    "sample_events",
    "standard_observables",
    "training_facts",
    "unweight",
    "variable_event_flow",
    "write_events",
]
