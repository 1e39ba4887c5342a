"""Flows, and the recipes that build them."""

from bijecta.flows.automatic import Choice, choose_recipe
from bijecta.flows.conditional import ConditionalSamples, conditional_sample
from bijecta.flows.conditioned import ConditionedFlow
from bijecta.flows.continuous import cnf, solver_error
from bijecta.flows.flow import Flow
from bijecta.flows.gaussianization import gaussianization
from bijecta.flows.mixtures import FlowMixture, mixture_of_flows
from bijecta.flows.monotone import bernstein, bnaf, naf, sos, unaf
from bijecta.flows.recipes import glow, iaf, made, maf, nice, nsf, nsf_autoregressive, realnvp
from bijecta.flows.registry import RECIPES, build
from bijecta.flows.residual import planar, radial, residual_flow, sylvester
from bijecta.flows.sets import set_flow
from bijecta.flows.special import circular_nsf, glow_image
from bijecta.flows.spherical import sphere
from bijecta.flows.stochastic import Langevin, Metropolis, StochasticFlow, StochasticStep, interpolate
from bijecta.flows.tabular import inner_flow, inner_rows, table
from bijecta.flows.transformer import transformer_flow

__all__ = [
    "RECIPES",
    "Choice",
    "ConditionalSamples",
    "ConditionedFlow",
    "Flow",
    "FlowMixture",
    "Langevin",
    "Metropolis",
    "StochasticFlow",
    "StochasticStep",
    "bernstein",
    "bnaf",
    "build",
    "choose_recipe",
    "circular_nsf",
    "cnf",
    "conditional_sample",
    "gaussianization",
    "glow",
    "glow_image",
    "iaf",
    "inner_flow",
    "inner_rows",
    "interpolate",
    "made",
    "maf",
    "mixture_of_flows",
    "naf",
    "nice",
    "nsf",
    "nsf_autoregressive",
    "planar",
    "radial",
    "realnvp",
    "residual_flow",
    "set_flow",
    "solver_error",
    "sos",
    "sphere",
    "sylvester",
    "table",
    "transformer_flow",
    "unaf",
]
