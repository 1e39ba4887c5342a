"""Normalizing flows: exact densities and exact samples from an invertible map.

The names that most people need are here; each is loaded when it is first used, so that ``import bijecta`` is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bijecta.data import infer_schema, read_table, toy
    from bijecta.diagnostics import check
    from bijecta.estimators import FlowAnomalyDetector, FlowClassifier, FlowDensity, FlowRegressor
    from bijecta.flows import (
        RECIPES,
        Flow,
        bernstein,
        bnaf,
        build,
        circular_nsf,
        cnf,
        glow,
        glow_image,
        iaf,
        made,
        maf,
        naf,
        nice,
        nsf,
        nsf_autoregressive,
        planar,
        radial,
        realnvp,
        residual_flow,
        sos,
        sylvester,
        table,
        unaf,
    )
    from bijecta.persistence import export, load, save
    from bijecta.training import FitConfig, fit, flow_matching, nll, reverse_kl

__version__ = "0.1.0"

__all__ = [
    "RECIPES",
    "FitConfig",
    "Flow",
    "FlowAnomalyDetector",
    "FlowClassifier",
    "FlowDensity",
    "FlowRegressor",
    "bernstein",
    "bnaf",
    "build",
    "check",
    "circular_nsf",
    "cnf",
    "export",
    "fit",
    "flow_matching",
    "glow",
    "glow_image",
    "iaf",
    "infer_schema",
    "load",
    "made",
    "maf",
    "naf",
    "nice",
    "nll",
    "nsf",
    "nsf_autoregressive",
    "planar",
    "radial",
    "read_table",
    "realnvp",
    "residual_flow",
    "reverse_kl",
    "save",
    "sos",
    "sylvester",
    "table",
    "toy",
    "unaf",
]

_HOMES = {
    "bijecta.data": ("infer_schema", "read_table", "toy"),
    "bijecta.diagnostics": ("check",),
    "bijecta.estimators": ("FlowAnomalyDetector", "FlowClassifier", "FlowDensity", "FlowRegressor"),
    "bijecta.persistence": ("export", "load", "save"),
    "bijecta.training": ("FitConfig", "fit", "flow_matching", "nll", "reverse_kl"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bijecta' has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "bijecta.flows")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
