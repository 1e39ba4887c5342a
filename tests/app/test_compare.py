"""The Compare page without a browser: what differs, the link, the queue, the numbers."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.conftest import TINY, open_page, runs_in_threads, wait_until_final
from bijecta.app.charts import curves_chart, density_chart
from bijecta.app.comparing import DEFAULT, Comparison, changes, name_of, start_next
from bijecta.app.contact_sheet import contact_sheet
from bijecta.app.outcome import MEASURES, Outcome, best_of, to_csv
from bijecta.app.settings import OPENING, RunSettings
from bijecta.app.views import compare
from bijecta.data import toy
from bijecta.errors import InputError

SCRIPT = "from bijecta.app.views import compare\ncompare.page()"
OTHER = replace(TINY, arguments={"layers": 1, "hidden": (8,)})
PAIR = Comparison((TINY, OTHER))


@pytest.fixture
def runs(monkeypatch):
    with runs_in_threads(monkeypatch, compare) as made:
        yield made


@pytest.fixture
def visit(runs):
    return lambda **query: open_page(AppTest.from_string(SCRIPT, default_timeout=60), query)


@pytest.mark.parametrize(
    "comparison",
    [
        DEFAULT,
        PAIR,
        PAIR.resized(4),
        Comparison((OPENING, OPENING)),
        Comparison((replace(TINY, data="rings", noise=0.1, seed=3), RunSettings("maf", training={"epochs": 7}))),
        Comparison((replace(OPENING, data="rings", seed=3), OPENING)),
    ],
)
def test_a_link_gives_the_same_comparison(comparison):
    assert Comparison.from_query(comparison.to_query()) == comparison


def test_all_runs_have_the_data_and_seed_of_the_first():
    runs = Comparison((replace(TINY, data="rings", seed=5, rows=300), OPENING)).runs
    assert {(run.data, run.seed, run.rows) for run in runs} == {("rings", 5, 300)}


@pytest.mark.parametrize("query", [{"runs": "9"}, {"runs": "many"}, {"runs": "2", "2.recipe": "nfs"}])
def test_an_impossible_link_is_refused_and_gives_a_card(query, visit):
    with pytest.raises(InputError):
        Comparison.from_query(query)
    page = visit(**query)
    assert "impossible" in page.error[0].value
    assert page.session_state[compare.SETTINGS] == DEFAULT


def test_only_what_is_changed_is_named():
    assert changes(TINY, OTHER) == {"layers": ("2", "1")}
    assert changes(TINY, TINY) == {}
    maf = RunSettings("maf", {"layers": 2, "hidden": (8,)}, rows=400, training={"epochs": 3})
    assert changes(TINY, maf)["model"] == ("realnvp", "maf")
    assert name_of(PAIR, 1) == "2: layers 1"


def test_runs_train_one_after_another(runs):
    both = [runs.open(settings, runs.enter()) for settings in PAIR.runs]
    assert start_next(both, runs)
    assert [run.training for run in both] == [True, False]
    wait_until_final(both[0].trainer)
    assert start_next(both, runs)
    wait_until_final(both[1].trainer)
    assert not start_next(both, runs)


def trained(page, runs):
    page.button(key="compare.go").click().run()
    for key in page.session_state[compare.KEYS]:
        if not runs.get(key).training:
            page.run()
        wait_until_final(runs.get(key).trainer)
        page.run()
    return page.run()


def test_the_page_trains_and_shows_numbers_that_are_those_of_the_flow(visit, runs):
    page = trained(visit(**PAIR.to_query()), runs)
    assert not page.exception
    assert not page.error
    outcomes = [page.session_state[compare.OUTCOMES][key] for key in page.session_state[compare.KEYS]]
    run = runs.get(page.session_state[compare.KEYS][0])
    flow, truth = run.trainer.lesson.flow, toy("moons")
    x = truth.sample(5000, TINY.seed + 10_007)
    with torch.no_grad():
        nll = -float(flow.log_prob(torch.as_tensor(x).float()).mean())
    assert outcomes[0].nll == pytest.approx(nll, abs=1e-4)
    assert outcomes[0].gap == pytest.approx(nll + truth.log_prob(x).mean(), abs=1e-4)
    assert outcomes[0].parameters == sum(p.numel() for p in flow.parameters()) > outcomes[1].parameters
    assert all(each.sampling > 0 and each.round_trip < 1e-3 for each in outcomes)
    table = next(text.value for text in page.markdown if "NLL (nats per row)" in text.value)
    assert f"{outcomes[0].nll:.4f}" in table
    assert table.count("**") >= 2 * len(MEASURES)
    assert any("layers: 2 → 1" in text.value for text in page.markdown)


def test_a_change_replaces_one_run_and_goes_into_the_link(visit, runs):
    page = visit(**PAIR.to_query())
    first, second = page.session_state[compare.KEYS]
    page.text_input(key="compare.2.realnvp.layers").set_value("3").run()
    keys = page.session_state[compare.KEYS]
    assert keys[0] == first
    assert second not in runs.runs
    assert runs.get(keys[1]).settings.arguments["layers"] == 3
    assert page.query_params["2.layers"] in ("3", ["3"])


def test_an_impossible_value_gives_a_card_and_the_run_stays(visit):
    page = visit(**PAIR.to_query())
    page.text_input(key="compare.2.realnvp.hidden").set_value("wide").run()
    assert "hidden expects whole numbers" in page.error[0].value
    assert page.session_state[compare.SETTINGS] == PAIR
    assert not page.exception


def test_the_table_can_be_taken_home():
    outcomes = [Outcome(2.5, 0.1, 10, 1.0, 2.0, 1e-6), None]
    rows = list(csv.DictReader(io.StringIO(to_csv(["1: nsf", "2: layers 4, wide"], outcomes).decode())))
    assert [row["run"] for row in rows] == ["1: nsf", "2: layers 4, wide"]
    assert float(rows[0]["nll"]) == 2.5
    assert math.isnan(float(rows[1]["nll"] or "nan"))
    assert best_of("nll", outcomes) == 2.5
    assert math.isnan(best_of("nll", [None]))


def test_the_picture_has_all_densities_side_by_side():
    shades = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)
    picture = Image.open(io.BytesIO(contact_sheet(shades, ["dark", "bright"], (-1, -1, 1, 1))))
    width = picture.size[0]
    dark, bright = (picture.getpixel((at, 150)) for at in (width // 4, 3 * width // 4))
    assert dark == (68, 1, 84)
    assert bright == (253, 231, 37)


def test_a_density_stands_upright_on_its_axes():
    shades = np.zeros((4, 4), np.uint8)
    shades[0, 3] = 255  # top row, right
    heat = density_chart(shades, (-2, -2, 2, 2)).data[0]
    row, column = np.argwhere(np.asarray(heat.z) == 255)[0]
    assert (heat.x[column], heat.y[row]) == (1.5, 1.5)


def test_curves_show_the_floor_and_differ_without_colour():
    chart = curves_chart([[(1, 3.0), (2, 2.0)], [(1, 4.0)]], ["a", "b"], 1.5)
    assert len({line.line.dash for line in chart.data}) == 2
    assert chart.layout.shapes[0].y0 == 1.5
    assert chart.layout.yaxis.range[0] < 1.5
