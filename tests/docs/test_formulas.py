"""Every displayed formula of the explanations has a label, and a test that checks it in code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    path.stem: path.read_text(encoding="utf8") for path in sorted((ROOT / "docs" / "explanation").glob("[a-z]*.md"))
}
FORMULA = re.compile(r"^\$\$.*?\$\$([^\n]*)$", flags=re.DOTALL | re.MULTILINE)

ON_ITS_PAGE = "tests/docs/test_pages.py::test_python_runs"  # the code beside the formula checks it
CHAIN = "tests/bijections/test_maps.py::test_chain_sums_what_its_layers_contribute"
INTEGRAL = "tests/contract/test_flows.py::test_density_integrates_to_one_in_two_dimensions"
LADJ = "tests/contract/test_laws.py::test_ladj_is_the_determinant_of_the_autograd_jacobian"
IMAGES = "tests/distributions/test_dequantised_images.py"
LOOP = "tests/training/test_loop.py"
SPLINES = "tests/functional/test_rational_quadratic.py"

TESTS = {
    "coupling": {
        "change-of-variables": INTEGRAL,
        "layer": "tests/bijections/test_properties.py::test_hosts",
        "jacobian": "tests/reference/test_determinants.py::test_block_triangular",
        "ladj": LADJ,
        "inverse": "tests/contract/test_laws.py::test_round_trip_and_opposite_ladj",
        "composition": CHAIN,
    },
    "directions": {
        "forward": INTEGRAL,
        "inverse": "tests/contract/test_flows.py::test_sample_and_log_prob_agrees_with_log_prob",
    },
    "numerics": {
        "softmax-floor": "tests/functional/test_knots.py::test_knots_increase_and_are_pinned",
        "spline-slope": f"{SPLINES}::test_ladj_is_autograd_of_the_map_both_ways",
        "log-sum-exp": "tests/reference/test_densities.py::test_log_sum_exp",
        "soft-clip": "tests/functional/test_scalar.py::test_soft_clip_is_odd_with_slope_one_and_bounded",
        "inverse-derivative": "tests/functional/test_inversion.py::test_first_and_second_derivatives",
    },
    "topology": {
        "bridge": "tests/app/test_learning.py::test_the_bridge",
        "mixture": "tests/contract/test_distributions.py::test_agrees_with_the_numpy_reference",
    },
    "volume": {
        "additive": "tests/reference/test_coupling.py::test_additive_preserves_volume",
        "density": ON_ITS_PAGE,
        "square": ON_ITS_PAGE,
    },
    "expressiveness": {"knothe-rosenblatt": ON_ITS_PAGE, "spline-parameters": ON_ITS_PAGE},
    "dequantisation": {
        "cell": f"{IMAGES}::test_uniform_noise_gives_the_bound_and_the_bound_is_one",
        "uniform": "tests/distributions/test_distributions.py::test_dequantised_is_the_bound_it_claims_to_be",
        "variational": f"{IMAGES}::test_variational_noise_gives_its_bound",
        "exact": "tests/distributions/test_discrete.py::test_a_count_head_is_a_mixture_of_logistics_in_bins",
    },
    "bases": {
        "density": "tests/contract/test_flows.py::test_density_with_another_base_integrates_to_one",
        "student-t": "tests/contract/test_distributions.py::test_agrees_with_torch_distributions",
        "mixture": "tests/contract/test_distributions.py::test_agrees_with_the_numpy_reference",
    },
    "training": {
        "nll": f"{LOOP}::test_a_weight_of_two_counts_like_two_rows",
        "whitening": "tests/bijections/test_maps.py::test_uncorrelates_and_agrees_with_a_gaussian",
        "average": f"{LOOP}::test_average_of_constant_weights_is_constant_and_swap_is_its_own_inverse",
        "effective-sample-size": f"{LOOP}::test_effective_sample_size",
        "signed-weights": ON_ITS_PAGE,
    },
    "model_classes": {
        "flow": INTEGRAL,
        "continuous": (
            "tests/bijections/test_continuous.py::test_a_linear_field_is_the_matrix_exponential_and_its_ladj_the_trace"
        ),
        "elbo": ON_ITS_PAGE,  # that of docs/exercises/05_likelihood_and_elbo.md
    },
}


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if page != "index"])
def test_every_formula_is_labelled_and_in_the_table(page):
    labels = [label.strip() for label in FORMULA.findall(PAGES[page])]
    prefix = page.replace("_", "-")
    assert labels == [f"({prefix}-{name})" for name in TESTS[page]]


def test_every_page_is_listed_in_the_index():
    listed = re.search(r"```{toctree}\n:hidden:\n\n(.*?)```", PAGES["index"], flags=re.DOTALL)
    assert listed is not None
    assert set(listed[1].split()) == set(TESTS) == PAGES.keys() - {"index"}


@pytest.mark.parametrize("test", sorted({test for page in TESTS.values() for test in page.values()}))
def test_every_named_test_exists(test):
    path, name = test.split("::")
    assert re.search(rf"^ *def {name}\(", (ROOT / path).read_text(encoding="utf8"), flags=re.MULTILINE), test
