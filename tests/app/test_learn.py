"""The Learn page without a browser: every idea draws itself, and its numbers are those of other ways to get them."""

import math
import re

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bijecta.app.learning.exercises import EXERCISES
from bijecta.app.learning.gallery import GALLERY
from bijecta.app.views.learn import IDEAS


def script():
    from bijecta.app.views import learn

    learn.page()


@pytest.fixture
def visit():
    def open_page(idea=None):
        page = AppTest.from_function(script, default_timeout=60)
        if idea:
            page.query_params["idea"] = idea
        page.run()
        assert not page.exception
        return page

    return open_page


@pytest.fixture(scope="module")
def shown():
    """Collect the exercises that some idea shows."""
    return set()


@pytest.mark.parametrize("idea", IDEAS)
def test_every_idea_has_a_formula_or_links_and_an_exercise(visit, idea, shown):
    page = visit(idea)
    assert page.get("latex") or page.get("link_button")
    assert page.get("number_input"), "nothing to check oneself with"
    shown.update(box.key.removeprefix("learn.exercise.") for box in page.number_input)
    if idea == list(IDEAS)[-1]:
        assert shown == set(EXERCISES), "an exercise is shown nowhere"


def test_the_buttons_lead_through_all_ideas(visit):
    page, seen = visit(), []
    for _ in IDEAS:
        seen.append(page.session_state["idea"])
        onwards = [button for button in page.button if button.label.endswith("→")]
        if onwards:
            onwards[0].click().run()
    assert seen == list(IDEAS)
    assert dict(page.query_params)["idea"] in (["Other models"], "Other models")


def test_the_jacobian_on_the_page_agrees_with_the_layers(visit):
    page = visit("Couplings")
    page.slider(key="learn.layers").set_value(3).run()
    page.slider(key="learn.x1").set_value(-1.3).run()
    formulas = [item.value for item in page.get("latex")]
    matrix = next(text for text in formulas if "pmatrix" in text and re.search(r"\d\.\d{4}", text))
    numbers = np.array(re.findall(r"-?\d+\.\d{4}", matrix), dtype=float).reshape(2, 2)
    ends = [re.search(r"= (-?\d+\.\d{4})[\s$]*$", text) for text in formulas]
    stated = [float(end[1]) for end in ends if end]
    assert len(stated) == 2
    assert stated[0] == stated[1]
    assert stated[0] == pytest.approx(math.log(abs(np.linalg.det(numbers))), abs=1e-3)


def test_a_fold_is_counted_and_named(visit):
    page = visit("Invertibility")
    page.slider(key="learn.c").set_value(1.8).run()
    assert any("z = 0.3 comes from **3** x" in text.value and "folds" in text.value for text in page.markdown)
    page.slider(key="learn.c").set_value(0.5).run()
    assert any("comes from **1** x" in text.value and "has an inverse" in text.value for text in page.markdown)


def test_the_bridge_is_never_below_its_bound(visit):
    page = visit("No tearing")
    page.select_slider(key="learn.limit").set_value(2).run()
    flow, bound, truth, _ = (float(item.value.strip("%").replace(",", "")) for item in page.metric)
    assert truth < bound <= flow


def test_the_gallery_links_to_both_sides_of_every_failure(visit):
    page = visit("What breaks")
    assert len(page.get("link_button")) == 2 * len(GALLERY)


def test_answers_are_checked_and_counted(visit):
    page = visit("Change of variables")
    page.number_input(key="learn.exercise.straight").set_value(0.242).run()
    assert "Too small" in page.warning[0].value
    page.number_input(key="learn.exercise.straight").set_value(0.484).run()
    assert not page.warning
    assert "1 of 8 exercises solved" in page.markdown[0].value
    page.segmented_control(key="idea").set_value("Couplings").run()
    assert "1 of 8 exercises solved" in page.markdown[0].value


def test_an_unknown_idea_in_a_link_opens_the_first(visit):
    assert visit("Alchemy").session_state["idea"] == "Change of variables"
