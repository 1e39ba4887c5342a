"""Small is measured: how long functions and files may be, how many arguments, how deep the classes."""

import statistics

import pytest
from torch import nn

from architecture.source import ROOT, TREES, count_arguments, exported, functions, length, without_docstrings

# "file:function" -> why it is longer or takes more. Empty is the goal.
LONG_FUNCTIONS: dict[str, str] = {}
MANY_ARGUMENTS: dict[str, str] = {
    "estimators/base.py:__init__": "scikit-learn reads, clones and searches settings by the names in the constructor",
    "estimators/classifier.py:__init__": "the same, with the priors",
}
LONG_FILES: dict[str, str] = {}

FLOORS_0_TO_5 = ("reference", "data", "functional", "nets", "bijections", "distributions", "flows")
KERNELS = "functional/kernels/"  # they compute nothing that is not defined elsewhere


def lines_of_code(path: str) -> int:
    return sum(1 for line in without_docstrings(TREES[path]).splitlines() if line.strip())


def lines(path: str) -> int:
    return len((ROOT / path).read_text(encoding="utf8").splitlines())


def test_functions_are_short():
    lengths = sorted(length(function) for _, function in functions())
    assert statistics.median(lengths) <= 8
    assert lengths[int(0.9 * len(lengths))] <= 25


def test_no_function_is_long():
    assert {name: length(f) for name, f in functions() if length(f) > 60 and name not in LONG_FUNCTIONS} == {}


def test_no_function_takes_many_arguments():
    many = {name: count_arguments(f) for name, f in functions() if count_arguments(f) > 8}
    assert {name: count for name, count in many.items() if name not in MANY_ARGUMENTS} == {}


def test_no_file_is_long():
    assert {path: lines(path) for path in TREES if lines(path) > 400 and path not in LONG_FILES} == {}
    assert statistics.median(lines(path) for path in TREES) <= 150


def test_the_lower_floors_stay_small():
    """Lines of code: documentation is not what makes a package hard to hold in mind."""
    floors = {path: lines_of_code(path) for path in TREES if path.startswith(FLOORS_0_TO_5)}
    kernels = sum(count for path, count in floors.items() if path.startswith(KERNELS))
    assert kernels <= 1800
    assert sum(floors.values()) - kernels <= 8500


@pytest.mark.parametrize("exceptions", [LONG_FUNCTIONS, MANY_ARGUMENTS])
def test_exceptions_are_still_needed(exceptions):
    assert set(exceptions) <= {name for name, _ in functions()}


def test_class_hierarchies_are_shallow():
    """At most two classes of ours between a module and nn.Module."""
    classes = {name: item for name, item in exported() if isinstance(item, type) and issubclass(item, nn.Module)}
    assert classes
    depth = {
        name: sum(base.__module__.startswith("bijecta") for base in item.__mro__) for name, item in classes.items()
    }
    assert {name: levels for name, levels in depth.items() if levels > 2} == {}
