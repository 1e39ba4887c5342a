"""Flows inside other packages of probabilistic inference: Pyro, sbi, ArviZ."""

from bijecta.adapters.arviz import to_inference_data
from bijecta.adapters.pyro import pyro_distribution
from bijecta.adapters.sbi import sbi_estimator

__all__ = ["pyro_distribution", "sbi_estimator", "to_inference_data"]
