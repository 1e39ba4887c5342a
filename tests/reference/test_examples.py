"""The examples in the docstrings give what they print."""

import doctest
import importlib

import pytest

import bijecta.reference

MODULES = [
    "arrays",
    "autoregressive",
    "coupling",
    "densities",
    "determinants",
    "linear",
    "realnvp",
    "realnvp_gradients",
    "realnvp_training",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(f"bijecta.reference.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_exported_names_exist_once():
    names = bijecta.reference.__all__
    assert all(hasattr(bijecta.reference, name) for name in names)
    assert len(set(names)) == len(names)
