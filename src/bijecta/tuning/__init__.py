"""Searching for better settings than the defaults, within a given time."""

from bijecta.tuning.candidates import Candidate
from bijecta.tuning.records import Trial
from bijecta.tuning.search import Tuned, tune

__all__ = ["Candidate", "Trial", "Tuned", "tune"]
