"""The page Your data without a browser: the schema card, the fit, what comes out, and how it ends."""

import csv
import io
import time

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.conftest import wait_for, wait_until_final
from bijecta.app import table_runs
from bijecta.app.charts import marginal_chart, pair_chart
from bijecta.app.fitted import Fitted
from bijecta.app.messages import Message
from bijecta.app.registry import Tab
from bijecta.app.table_lesson import TableLesson, TableSettings, baseline_nll
from bijecta.app.table_runs import FitTrainer
from bijecta.app.table_worker import rows_from_wire, rows_to_wire
from bijecta.app.tables import Wishes, example_table, inspect, plain_words, read_upload, repaired
from bijecta.app.views import your_data
from bijecta.data import Column, Schema, Table
from bijecta.errors import InputError
from bijecta.persistence import load_table_model

SCRIPT = "from bijecta.app.views import your_data\nyour_data.page()"
MESSY = "x,y,copy,constant,name,gaps\n" + "".join(
    f"{np.sin(k):.6f},{np.cos(3 * k):.6f},{2 * np.sin(k):.6f},7,person{k},{'' if k % 5 == 0 else k * 0.37}\n"
    for k in range(60)
)


@pytest.fixture
def visit():
    pages = []

    def open_page(upload=None, **query):
        page = AppTest.from_string(SCRIPT, default_timeout=60)
        for name, value in query.items():
            page.query_params[name] = value
        page.run()
        if upload is not None:
            page.file_uploader(key="data.upload.0").set_value((*upload, "text/csv")).run()
        assert not page.exception
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        if your_data.FITTED in page.session_state:
            page.session_state[your_data.FITTED].trainer.close()


def inspected(text, **wishes):
    return inspect(read_upload("a.csv", text.encode()), Wishes(**wishes))


def texts(page):
    return "\n".join(each.value for kind in (page.markdown, page.error, page.warning, page.info) for each in kind)


# ---------------------------------------------------------------- tables


def test_the_example_has_columns_of_every_sort_and_can_be_fitted():
    inspection = inspect(example_table(), Wishes())
    kinds = {column.name: column.kind for column in inspection.schema.columns}
    assert {"category", "integer", "real"} <= set(kinds.values())
    assert inspection.usable
    assert np.array_equal(example_table().columns["age"], example_table().columns["age"])


def test_a_messy_table_names_what_is_wrong_and_repair_mends_it():
    inspection = inspected(MESSY)
    said = {name for finding in inspection.of("error") for name in finding.columns}
    assert {"copy", "constant", "name", "gaps"} <= said
    assert not inspection.usable
    table = read_upload("a.csv", MESSY.encode())
    wishes = repaired(table, Wishes())
    mended = inspect(table, wishes)
    assert mended.usable
    assert set(mended.schema.names) == {"x", "y", "gaps"}
    assert mended.table.n_rows == 48


def test_what_cannot_be_repaired_says_so():
    with pytest.raises(InputError, match="left out"):
        repaired(Table(("a", "b"), {"a": np.zeros(30), "b": np.ones(30)}), Wishes())


def test_a_column_without_any_value_is_named():
    with pytest.raises(InputError, match="empty"):
        inspected("x,empty\n" + "1.5,\n" * 30, complete=True)


def test_findings_are_said_without_python():
    for table in (read_upload("a.csv", MESSY.encode()), example_table()):
        for finding in inspect(table, Wishes()).findings:
            words = plain_words(finding.message)
            assert not any(mark in words for mark in ("drop=", "{", "['")), words


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b""), ("a.csv", b"\xff\xfe\x00"), ("a.parquet", b"PAR1"), ("a.csv", b"x,x\n1,2\n")],
)
def test_a_file_that_is_no_table_gives_a_card(visit, name, content):
    page = visit((name, content))
    assert len(page.error) == 1
    assert "upload." not in page.error[0].value


# ---------------------------------------------------------------- the fit


def lesson_of(table, epochs=3, **wishes):
    inspection = inspect(table, Wishes(**wishes))
    messages: list[Message] = []
    settings = TableSettings(inspection.schema.to_json(), "realnvp", epochs)
    lesson = TableLesson(settings, inspection.schema.matrix(inspection.table), messages.append)
    lesson.pace.inbox.put({"ask": "samples", "count": 5, "id": 1})  # too early: answered with an error
    lesson.pace.closed = True
    lesson.run()
    return lesson, messages


def test_a_lesson_trains_and_measures_against_a_gaussian():
    lesson, messages = lesson_of(example_table(400))
    last = messages[-1].header
    assert last["state"] == "done"
    assert last["epoch"] == 3
    assert last["test_rows"] == 60
    assert np.isfinite([last["test_nll"], last["baseline_nll"]]).all()
    answers = [message for message in messages if message.header["kind"] == "answer"]
    assert "no result yet" in answers[0].header["error"]
    lesson._reply({"ask": "nonsense", "id": 2})
    assert "samples, scores and model" in messages[-1].header["error"]


def test_the_baseline_is_that_of_scipy_and_of_counting():
    stats = pytest.importorskip("scipy.stats")
    schema = Schema((Column("x", "real"), Column("y", "real"), Column("d", "category", categories=("a", "b"))))
    random = np.random.default_rng(0)
    rows = np.column_stack([random.normal(size=(500, 2)) @ [[1, 0.5], [0, 2]], random.random(500) < 0.3])
    train, test = rows[:400], rows[400:]
    normal = stats.multivariate_normal(train[:, :2].mean(0), np.cov(train[:, :2].T, bias=True))
    share = (train[:, 2].sum() + 0.5) / 401
    expected = -normal.logpdf(test[:, :2]).mean() - np.log(np.where(test[:, 2] == 1, share, 1 - share)).mean()
    assert baseline_nll(schema, train, test, 0) == pytest.approx(expected, abs=1e-9)


def test_a_broken_setting_becomes_a_message():
    inspection = inspect(example_table(100), Wishes())
    messages: list[Message] = []
    lesson = TableLesson(TableSettings(inspection.schema.to_json(), "nonsense"), np.zeros((30, 6)), messages.append)
    lesson.pace.closed = True
    lesson.run()
    assert messages[-1].header["state"] == "failed"
    assert "nonsense" in messages[-1].header["message"]


def test_rows_survive_the_wire():
    rows = np.random.default_rng(0).normal(size=(7, 3))
    assert np.array_equal(rows_from_wire(rows_to_wire(rows)), rows)


def test_a_process_ends_with_its_tab_and_many_are_refused(monkeypatch):
    monkeypatch.setattr(table_runs, "GRACE_SECONDS", 0.1)
    inspection = inspect(example_table(20_000), Wishes())  # more than fits into a pipe
    settings = TableSettings(inspection.schema.to_json(), epochs=10_000)
    record, tab = {"settings": settings.to_json(), **rows_to_wire(inspection.schema.matrix(inspection.table))}, Tab()
    trainer = FitTrainer("table_worker", record, tab)
    monkeypatch.setattr(table_runs, "MOST_AT_ONCE", 1)
    with pytest.raises(InputError, match="open on this server"):
        FitTrainer("table_worker", record, Tab())
    tab.departed = time.monotonic()
    wait_for(lambda: trainer.process.poll() is not None)
    wait_until_final(trainer)  # made to end, or ended by itself in time


# ---------------------------------------------------------------- the page


def test_the_page_invites_and_shows_the_card_of_a_messy_table(visit):
    assert "CSV or Parquet" in visit().info[0].value
    page = visit(("messy.csv", MESSY.encode()))
    assert "constant is constant" in page.error[0].value
    assert "drop=" not in texts(page)
    assert page.button(key="data.fit").disabled
    page.button(key="data.repair").click().run()
    assert not page.exception
    assert not page.error
    assert set(page.multiselect(key=your_data.DROP).value) == {"copy", "constant", "name"}
    assert not page.button(key="data.fit").disabled


def test_a_kind_can_be_overridden_and_nonsense_gives_a_card(visit):
    page = visit()
    page.button(key="data.take").click().run()
    page.multiselect(key="data.override").set_value(["moss_deg"]).run()
    page.selectbox(key="data.kind.moss_deg").set_value("periodic").run()
    assert r"| periodic \[0, 360) circle |" in texts(page)
    page.number_input(key="data.upper.moss_deg").set_value(-5.0).run()
    assert not page.exception
    assert "low must be below high" in texts(page)


def test_names_of_others_are_no_markup(visit):
    page = visit(("a.csv", b":red[x],a|b\n" + b"".join(b"%d.5,%d.25\n" % (k, k * k % 17) for k in range(40))))
    row = next(text.value for text in page.markdown if "| column |" in text.value)
    assert r"\:red\[x\]" in row
    assert r"a\|b" in row


def test_a_table_is_fitted_shown_and_taken_home(visit, tmp_path):
    page = visit(recipe="realnvp", epochs="2")
    page.button(key="data.take").click().run()
    page.button(key="data.fit").click().run()
    fitted = page.session_state[your_data.FITTED]
    wait_until_final(fitted.trainer)
    page.run()
    assert not page.exception
    assert not page.error
    labels = [metric.label for metric in page.metric]
    assert labels[0].startswith("held-out NLL")
    assert "Gaussian" in labels[1]
    _check_files(fitted, tmp_path)
    page.button(key="data.fit").click().run()
    assert fitted.trainer.process.poll() is not None, "a new fit ends the process of the old one"
    page.button(key="data.stop").click().run()
    wait_until_final(page.session_state[your_data.FITTED].trainer)


def _check_files(fitted: Fitted, tmp_path):
    rows = list(csv.DictReader(io.StringIO(fitted.samples_csv(50, seed=1).decode())))
    assert len(rows) == 50
    assert {row["species"] for row in rows} <= {"oak", "pine", "birch"}
    assert all(row["age"].isdigit() for row in rows)
    scores = list(csv.DictReader(io.StringIO(fitted.scores_csv().decode())))
    values = [float(row["log_density"]) for row in scores]
    assert values == sorted(values)
    path = tmp_path / "model.safetensors"
    path.write_bytes(fitted.file)
    model = load_table_model(path)
    x = model.schema.matrix(fitted.inspection.table)
    with torch.no_grad():
        again = model.flow.log_prob(torch.as_tensor(x, dtype=torch.float32)).numpy()
    assert np.allclose(again, fitted.scores, atol=1e-4)
    assert scores[0]["row"] == str(int(again.argmin()))


# ---------------------------------------------------------------- charts


def test_histograms_integrate_to_one_and_share_their_bins():
    random = np.random.default_rng(0)
    data, samples = marginal_chart("x", random.normal(size=3000), random.normal(1, 2, 3000)).data
    for line in (data, samples):
        x, y = np.asarray(line.x), np.asarray(line.y)
        assert (np.diff(x) * y[:-1]).sum() == pytest.approx(1, abs=0.02)
    assert np.array_equal(data.x, samples.x)
    assert data.line.dash != samples.line.dash


def test_labels_become_bars_with_their_shares():
    bars = marginal_chart("d", np.array(["a", "a", "b", "<i>"]), np.array(["a", "b", "b", "b"])).data
    assert dict(zip(bars[0].x, bars[0].y, strict=True)) == {"a": 0.5, "b": 0.25, "&lt;i>": 0.25}
    assert dict(zip(bars[1].x, bars[1].y, strict=True))["b"] == 0.75


def test_a_pair_shows_data_and_samples_in_two_marks():
    data, samples = pair_chart(["a", "<b>"], np.zeros((5, 2)), np.ones((5, 2))).data
    assert set(data.x) == {0.0}
    assert set(samples.y) == {1.0}
    assert data.marker.symbol != samples.marker.symbol
