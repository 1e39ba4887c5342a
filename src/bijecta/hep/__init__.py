"""Collision events: four-momenta with a schema, their kinematics, generators with exact densities, and files.

Natural units throughout: energies, momenta and masses in GeV, angles in radians. Importing needs NumPy and
PyTorch alone.
"""

from bijecta.hep.events import Events, check_events
from bijecta.hep.schema import Condition, EventSchema, Particle, VariableParticles

__all__ = [
    "Condition",
    "EventSchema",
    "Events",
    "Particle",
    "VariableParticles",
    "check_events",
]
