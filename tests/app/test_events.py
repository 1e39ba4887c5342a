"""The page Events without a browser: truth first, then a fit in a process, judged by the exact density."""

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.conftest import wait_until_final
from bijecta.app.collisions import COLLISIONS, collision
from bijecta.app.event_charts import asymmetry_chart, ratio_chart, ratios, truth_chart
from bijecta.app.event_fit import EventFit
from bijecta.app.event_lesson import EventLesson, EventSettings
from bijecta.app.messages import Message
from bijecta.app.views import events as view
from bijecta.app.views.event_results import panels
from bijecta.errors import InputError
from bijecta.hep import measure_coordinates, read_events
from bijecta.hep.evaluation_histograms import ratio_panel
from bijecta.persistence import load, read_header

SCRIPT = "from bijecta.app.views import events\nevents.page()"


@pytest.fixture
def visit():
    pages = []

    def open_page(**query):
        page = AppTest.from_string(SCRIPT, default_timeout=60)
        for name, value in query.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        if view.FIT in page.session_state:
            page.session_state[view.FIT].trainer.close()


@pytest.fixture(scope="module")
def taught():
    """A flow of muon pairs after a second or two."""
    messages: list[Message] = []
    lesson = EventLesson(EventSettings("muon-pairs", 10_000, 2.0), messages.append)
    lesson.pace.inbox.put({"ask": "judge", "energy": 80.0, "seed": 1, "id": 1})  # too early: answered with an error
    lesson.pace.closed = True
    lesson.run()
    return lesson, messages


# ---------------------------------------------------------------- processes


@pytest.mark.parametrize("name", COLLISIONS)
def test_training_events_stay_between_the_ends(name):
    chosen = COLLISIONS[name]
    energy = chosen.draw(500, 3).column("energy")
    assert chosen.energies[0] <= energy.min() < 1.3 * chosen.energies[0]
    assert chosen.energies[-1] / 1.3 < energy.max() <= chosen.energies[-1]
    assert sorted(chosen.energies) == list(chosen.energies)
    assert view.FIRST_ENERGY[name] in chosen.energies


def test_the_density_of_three_jets_is_that_of_the_coordinates_of_the_flow():
    """The Jacobian by autograd: energy fractions of momenta that are made of mass and angle."""
    chosen = COLLISIONS["three-jets"]
    events = chosen.generator.sample(6, 50.0, seed=0)
    coordinates = measure_coordinates(events)
    rows = coordinates.described(torch.as_tensor(events.momenta))
    context = coordinates.context_of({"energy": 50.0}, 1)
    moved = [coordinates.columns.index(f"{name}(antiquark+gluon)") for name in ("mass", "cos_theta")]
    for row, expected in zip(rows, chosen.log_prob(events), strict=True):

        def fractions(two, row=row):
            whole = row.clone()
            whole[moved] = two
            return 2.0 * coordinates.momenta(whole[None], context)[0, :2, 0] / 50.0

        matrix = torch.autograd.functional.jacobian(fractions, row[moved])
        density = chosen.generator.log_prob(fractions(row[moved])[None].numpy())[0]
        found = density + float(torch.linalg.slogdet(matrix).logabsdet) - np.log(8.0 * np.pi**2)
        assert found == pytest.approx(expected, abs=1e-9)


def test_an_unknown_process_is_named():
    with pytest.raises(InputError, match="muon-pairs, drell-yan"):
        collision("muons")


# ---------------------------------------------------------------- the fit


def test_a_lesson_learns_the_asymmetry_and_says_how_well(taught):
    lesson, messages = taught
    frames = [message.header for message in messages if message.header["kind"] == "frame"]
    assert frames[-1]["state"] == "done"
    assert frames[-1]["events"] == 10_000
    early = next(message.header for message in messages if message.header["kind"] == "answer")
    assert "no result yet" in early["error"]
    facts, arrays = lesson.answer({"ask": "judge", "energy": 80.0, "seed": 1})
    assert -4 * facts["kl_error"] < facts["kl"] < 0.2  # flat angles have 0.5
    assert 0.8 < facts["effective_fraction"] <= 1.0
    cosine = COLLISIONS["muon-pairs"].generator.coordinates(lesson._draw(10_000, 80.0, 1))[:, 0]
    asymmetry = lesson.answer({"ask": "asymmetry", "energies": [80.0, 105.0]})[1]["asymmetry"]
    assert np.sign(cosine).mean() == pytest.approx(asymmetry[0], abs=5 / 10_000**0.5), "by counting and by quadrature"
    assert asymmetry == pytest.approx([-0.7276, 0.7037], abs=0.25)
    assert np.allclose(arrays["momenta"].sum(1)[:, 0], 80.0)


def test_the_judge_knows_a_flow_that_has_learned_nothing(taught):
    """Flat angles against 3/8 (1 + c²) + A c: the divergence by quadrature."""
    lesson, _ = taught
    flat = EventLesson(lesson.settings, lambda _: None)
    flat.coordinates, flat._log_prob = lesson.coordinates, lambda events: np.full(len(events), -np.log(4 * np.pi))
    flat._draw = lesson._draw
    c = -1 + (2 * np.arange(4000) + 1) / 4000
    p = 0.375 * (1 + c**2) + float(COLLISIONS["muon-pairs"].generator.forward_backward_asymmetry(80.0)) * c
    facts, _ = flat.answer({"ask": "judge", "energy": 80.0, "seed": 4})
    assert facts["kl"] == pytest.approx((p * np.log(2 * p)).mean() * 2, abs=5 * facts["kl_error"])


def test_what_cannot_be_answered_is_said(taught):
    lesson, messages = taught
    for question in ({"ask": "nonsense", "id": 2}, {"ask": "judge", "energy": "high", "seed": 0, "id": 3}):
        lesson._reply(question)
        assert messages[-1].header["error"]
    broken: list[Message] = []
    lesson = EventLesson(EventSettings("muons"), broken.append)
    lesson.pace.closed = True
    lesson.run()
    assert broken[-1].header["state"] == "failed"
    assert "no process 'muons'" in broken[-1].header["message"]


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("name", COLLISIONS)
def test_the_first_visit_shows_the_truth_and_says_what_will_happen(visit, name):
    page = visit(process=name)
    assert page.selectbox(key="process").value == name
    assert f"truth at {view.FIRST_ENERGY[name]:g} GeV" in page.info[0].value
    assert len(page.get("plotly_chart")) == 4
    page.select_slider(key=f"energy.{name}").set_value(COLLISIONS[name].energies[0]).run()
    assert not page.exception
    assert f"truth at {COLLISIONS[name].energies[0]:g} GeV" in page.info[0].value


@pytest.mark.parametrize(
    "query", [{"process": "nonsense"}, {"events": "-5"}, {"seconds": "long"}, {"energy.muon-pairs": "80.5"}]
)
def test_an_impossible_link_does_no_harm(visit, query):
    page = visit(**query)
    assert not page.error
    assert "truth at 80 GeV" in page.info[0].value


def test_events_are_fitted_shown_and_taken_home(visit, tmp_path):
    page = visit(events="3000", seconds="1")
    page.button(key="events.start").click().run()
    fit = page.session_state[view.FIT]
    wait_until_final(fit.trainer)
    page.run()
    assert not page.exception
    assert not page.error
    assert page.metric[0].label.startswith("KL to the exact density")
    assert [tab.label for tab in page.tabs] == ["Histograms", "Asymmetry", "Take home"]
    page.select_slider(key="energy.muon-pairs").set_value(105.0).run()
    assert "At 105 GeV" in " ".join(caption.value for caption in page.caption)
    _check_files(fit, tmp_path)
    page.selectbox(key="process").set_value("three-jets").run()
    assert "truth at 91.2 GeV" in page.info[0].value
    fit.trainer.close()
    page.selectbox(key="process").set_value("muon-pairs").run()
    page.select_slider(key="energy.muon-pairs").set_value(60.0).run()
    assert not page.exception
    assert "Press Fit" in page.error[0].value


def _check_files(fit: EventFit, tmp_path):
    for suffix in (".npz", ".lhe"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(fit.events_file(20, 91.2, 5, suffix))
        events = read_events(path)
        assert np.allclose(events.momenta.sum(1), [91.2, 0, 0, 0])
        assert list(events.metadata["beams"]) == [11, -11]
    path = tmp_path / "model.safetensors"
    path.write_bytes(fit.file)
    facts = read_header(path)["metadata"]
    assert facts["settings"]["process"] == "muon-pairs"
    assert facts["condition_ranges"]["energy"][1] <= 200.0
    assert load(path).recipe["name"] == "bijecta.hep:event_flow"


def test_too_many_fits_are_answered_in_words(visit, monkeypatch):
    monkeypatch.setattr("bijecta.app.table_runs.MOST_AT_ONCE", 0)
    page = visit()
    page.button(key="events.start").click().run()
    assert not page.exception
    assert "open on this server" in page.error[0].value


# ---------------------------------------------------------------- charts


def test_ratios_are_one_for_truth_against_itself():
    panel = panels("muon-pairs", 80.0, None)["cos θ of the μ⁻"]
    ratio, error, band = ratios(panel)
    assert np.allclose(ratio, 1.0)
    assert np.allclose(error, band)
    counts = panel.reference * np.diff(panel.edges) * 20_000
    assert np.allclose(band, counts**-0.5)


def test_an_empty_bin_has_no_ratio_and_the_chart_stands():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-5, 0.1, 500), random.normal(5, 0.1, 500)])
    panel = ratio_panel((random.normal(size=100), np.ones(100)), (values, np.ones(1000)))
    assert np.isnan(ratios(panel)[0]).any()
    figure = ratio_chart("x", panel)
    assert len(figure.data) == 5
    low, high = figure.layout.yaxis2.range
    assert low < 1.0 < high
    assert len(truth_chart("x", panel).data) == 1


def test_the_asymmetry_is_drawn_on_its_formula():
    figure = asymmetry_chart(np.array([80.0, 90.0]), np.array([-0.7, 0.0]), np.array([-0.72, -0.08]), 91.2)
    assert figure.data[0].mode == "lines"
    assert figure.data[1].marker.symbol.endswith("open")
