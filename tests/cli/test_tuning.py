"""`bijecta tune` and `bijecta fit --recipe auto`, from a CSV file to the folder."""

import csv
import json
import shlex

import pytest

from bijecta.data import write_table
from bijecta.persistence import load_table_model, read_header
from cli.conftest import events

RUN = {"model.safetensors", "metrics.json", "run.json", "history.csv", "samples.csv", "report.html", "training.png"}


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory):
    columns = {name: events(300)[name] for name in ("mass", "count", "shift", "energy")}
    path = tmp_path_factory.mktemp("rows") / "events.csv"
    write_table(path, list(columns), columns)
    return path


def test_a_search_ends_as_a_run_that_its_command_repeats(bijecta, rows_file, tmp_path):
    words = ["tune", rows_file, "--minutes", "0.1", "--epochs", "2", "--context", "energy", "--set", "layers=1"]
    searched = bijecta(*words, "--out", "best")
    assert searched.code == 0, searched.err
    best = tmp_path / "best"
    assert RUN | {"trials.csv", "study.db", "command.txt"} <= {path.name for path in best.iterdir()}
    with (best / "trials.csv").open() as file:
        trials = list(csv.DictReader(file))
    losses = [float(trial["validation_nll"]) for trial in trials if trial["state"] == "complete"]
    metrics = json.loads((best / "metrics.json").read_text())
    assert metrics["validation_nll"] == pytest.approx(min(losses), abs=1e-12)
    assert min(losses) <= float(trials[0]["validation_nll"])
    assert load_table_model(best).schema.names == ("mass", "count", "shift")
    command = (best / "command.txt").read_text().strip()
    assert command in searched.err
    repeated = bijecta(*shlex.split(command)[1:], "--out", "again", "-q", "--json")
    assert repeated.code == 0, repeated.err
    assert repeated.json()["validation_nll"] == metrics["validation_nll"]
    assert repeated.json()["test_nll"] == pytest.approx(metrics["test_nll"], abs=1e-9)

    refused = bijecta(*words, "--out", "best")
    assert refused.code == 1
    assert "--resume" in refused.words
    longer = bijecta(*words, "--out", "best", "--resume")
    assert longer.code == 0, longer.err
    with (best / "trials.csv").open() as file:
        more = list(csv.DictReader(file))
    assert more[: len(trials)] == trials
    assert len(more) > len(trials)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "--minutes"),
        (["--minutes", "0"], 2, "--minutes"),
        (["--minutes", "1", "--recipe", "maf"], 1, "nsf and nsf_autoregressive"),
        (["--minutes", "1", "--validation", "0"], 1, "Use 0.1"),
        (["--minutes", "1", "--context", "nothing"], 1, "nothing"),
    ],
)
def test_what_cannot_be_tuned(bijecta, rows_file, tmp_path, words, code, message):
    outcome = bijecta("tune", rows_file, "--out", "run", *words)
    assert (outcome.code, "Traceback" in outcome.err) == (code, False)
    assert message in outcome.words
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_finished_run_is_not_replaced_by_a_search(bijecta, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    outcome = bijecta("tune", "moons", "--minutes", "1", "--out", "run")
    assert outcome.code == 1
    assert "holds a run" in outcome.words


def test_fit_with_recipe_auto_says_why_and_records_the_choice(bijecta, tmp_path):
    words = ["fit", "moons", "--rows", "200", "--epochs", "1", "--recipe", "auto", "--set", "layers=1", "--out", "run"]
    outcome = bijecta(*words)
    assert outcome.code == 0, outcome.err
    assert "auto chose nsf. Couplings, because two columns" in outcome.words
    recipe = read_header(tmp_path / "run" / "model.safetensors")["recipe"]
    assert recipe["name"] == "nsf"
    assert recipe["arguments"]["layers"] == 1
