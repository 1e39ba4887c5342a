"""The Lab page without a browser: controls from links, cards instead of tracebacks, runs behind it."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import bijecta.app
from app.conftest import open_page, runs_in_threads, wait_for, wait_until_final
from bijecta.app.settings import OPENING, RunSettings
from bijecta.app.views import lab

HOME = str(Path(bijecta.app.__file__).with_name("home.py"))


@pytest.fixture
def runs(monkeypatch):
    with runs_in_threads(monkeypatch, lab) as made:
        yield made


@pytest.fixture
def visit(runs):
    return lambda **query: open_page(AppTest.from_file(HOME, default_timeout=60), query)


def test_the_first_visit_shows_the_opening_run(visit, runs):
    page = visit()
    assert page.session_state[lab.SETTINGS] == OPENING
    assert dict(page.query_params) == {}
    assert runs.get(page.session_state[lab.SHOWN]).settings == OPENING
    assert not page.error
    assert page.number_input(key="lab.nsf.layers").value == 4


def test_a_link_fills_the_controls_and_comes_back(visit):
    query = {"recipe": "maf", "layers": "3", "data": "rings", "noise": "0.1", "learning_rate": "0.003", "seed": "7"}
    page = visit(**query)
    assert page.session_state[lab.SETTINGS].to_query() == query
    assert page.number_input(key="lab.maf.layers").value == 3
    assert page.select_slider(key="lab.training.learning_rate").value == 0.003
    assert dict(page.query_params) == query


def test_an_impossible_link_gives_a_card(visit):
    page = visit(recipe="nfs", layers="2")
    assert "no recipe 'nfs'" in page.error[0].value
    assert page.session_state[lab.SETTINGS] == OPENING


def test_changing_a_control_shows_another_run_and_ends_the_old_one(visit, runs):
    page = visit()
    before = page.session_state[lab.SHOWN]
    page.selectbox(key="lab.recipe").set_value("realnvp").run()
    after = page.session_state[lab.SHOWN]
    assert before not in runs.runs
    assert runs.get(after).settings == OPENING.with_recipe("realnvp")
    assert page.query_params["recipe"] == "realnvp"


def test_a_change_while_it_trains_waits_for_run(visit, runs):
    page = visit(recipe="realnvp", layers="1", rows="200", epochs="100000", patience="0")
    shown = page.session_state[lab.SHOWN]
    runs.start(shown)
    wait_for(lambda: runs.get(shown).trainer.state == "running")
    page.number_input(key="lab.realnvp.layers").set_value(2).run()
    pending = page.session_state[lab.PENDING]
    assert page.session_state[lab.SHOWN] == shown
    assert runs.get(shown).trainer.state == "running"
    runs.start(pending)
    page.run()
    assert page.session_state[lab.SHOWN] == pending
    assert shown not in runs.runs


def test_an_impossible_value_gives_a_card_and_the_run_stays(visit):
    page = visit(recipe="realnvp")
    shown = page.session_state[lab.SHOWN]
    page.text_input(key="lab.realnvp.hidden").set_value("wide").run()
    assert "hidden expects whole numbers" in page.error[0].value
    assert page.session_state[lab.SHOWN] == shown
    assert not page.exception


def test_two_visitors_do_not_share_runs(visit):
    first, second = visit(), visit()
    assert first.session_state[lab.SHOWN] != second.session_state[lab.SHOWN]


def test_the_same_link_gives_the_same_numbers(visit, runs):
    query = {"recipe": "realnvp", "layers": "2", "hidden": "8", "rows": "400", "epochs": "2"}
    best = []
    for _ in range(2):
        run = runs.get(visit(**query).session_state[lab.SHOWN])
        runs.start(run.key)
        wait_until_final(run.trainer)
        best.append(run.trainer.latest.header["best"])
    assert best[0] == best[1]
    assert RunSettings.from_query(query) == run.settings


@pytest.mark.parametrize("source", ["picture", "table"])
def test_data_of_ones_own_asks_for_it(visit, source):
    page = visit()
    page.selectbox(key="lab.data").set_value(source).run()
    assert not page.exception
    assert any(word in page.info[0].value for word in ("Draw something", "Upload a table"))
    assert page.selectbox(key="lab.recipe").value == OPENING.recipe, "the other controls stay"
