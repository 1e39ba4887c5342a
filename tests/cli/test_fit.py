"""`bijecta fit`: what lies in the run folder, and whether it is true."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from bijecta.cli.evaluation import weighted_mean
from bijecta.data import Schema, read_table, toy
from bijecta.persistence import load, read_header
from cli.conftest import TINY, events

PLANE = {"density.png", "samples.png", "latent.png", "warp.png", "layers.png", "training.png", "marginals.png"}
FILES = {"model.safetensors", "metrics.json", "run.json", "history.csv", "samples.csv", "latent.csv", "report.html"}


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_a_toy_run_folder_is_complete(toy_run):
    assert {each.name for each in toy_run.iterdir()} == FILES | PLANE
    assert all(each.read_bytes().startswith(b"\x89PNG") for each in toy_run.glob("*.png"))
    assert len(read_table(toy_run / "samples.csv").columns["x"]) == 5000
    with (toy_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["seconds"]) > 0 and np.isfinite(float(row["validation_nll"])) for row in rows)


def test_the_report_needs_nothing_else(toy_run):
    links = []
    parser = HTMLParser()
    parser.handle_starttag = lambda _, attributes: links.extend(v for k, v in attributes if k in ("src", "href"))
    parser.feed((toy_run / "report.html").read_text())
    assert len(links) == len(PLANE)
    assert all(link.startswith("data:image/png;base64,") for link in links)


def test_toy_metrics_are_those_of_the_model(toy_run):
    metrics, flow = metrics_of(toy_run), load(toy_run / "model.safetensors")
    moons = toy("moons")
    test = moons.sample(10_000, np.random.default_rng([0, 1]))
    with torch.no_grad():
        log_prob = flow.log_prob(torch.as_tensor(test, dtype=torch.float32)).double().numpy()
    assert metrics["test_nll"] == pytest.approx(-log_prob.mean(), abs=1e-5)
    assert metrics["test_nll_error"] == pytest.approx(log_prob.std(ddof=1) / 100, rel=1e-3)
    assert metrics["gap"] == pytest.approx((moons.log_prob(test) - log_prob).mean(), abs=1e-5)
    assert metrics["exact_entropy"] == moons.entropy
    train = moons.sample(600, 0)
    gaussian = multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    assert metrics["gaussian_nll"] == pytest.approx(-gaussian.logpdf(test).mean(), rel=1e-6)
    assert metrics["gain_over_gaussian"] == pytest.approx(metrics["gaussian_nll"] - metrics["test_nll"])
    assert (metrics["rows"], metrics["train_rows"], metrics["epochs"], metrics["seed"]) == (10_600, 540, 2, 0)
    assert metrics["parameters"] == sum(each.numel() for each in flow.parameters())
    assert metrics["stopped"] == "epochs"
    assert set(metrics["versions"]) == {"python", "torch", "bijecta"}


def test_a_table_keeps_units_types_and_support(table_run):
    samples, metadata = read_table(table_run / "samples.csv"), read_header(table_run / "model.safetensors")["metadata"]
    kinds = {column.name: column.kind for column in Schema.from_json(metadata["schema"]).columns}
    assert kinds == {"mass": "positive", "count": "integer", "angle": "periodic", "shift": "real"}
    assert metadata["context"] == ["energy"]
    assert samples.columns["count"].dtype.kind == "i"
    assert samples.columns["mass"].min() > 0
    assert samples.columns["angle"].min() >= 0
    assert samples.columns["angle"].max() < 360
    assert samples.columns["count"].mean() == pytest.approx(30, abs=2)
    metrics = metrics_of(table_run)
    assert metrics["is_bound"] is False
    assert metrics["effective_sample_size"] < metrics["train_rows"] == 324
    latent = read_table(table_run / "latent.csv")
    assert latent.names == ("z_mass", "z_angle", "z_shift")
    assert latent.n_rows == metrics["test_rows"] == 40
    assert len(metadata["data_sha256"]) == 64
    assert set(metadata["ranges"]) == set(kinds)
    assert 0 <= metadata["ranges"]["angle"][0] < metadata["ranges"]["angle"][1] < 360
    assert set(metadata["context_ranges"]) == {"energy"}


def test_the_baseline_of_a_conditional_model_is_conditional(bijecta, tmp_path):
    columns = events()
    np.savez("pair.npz", shift=columns["shift"], energy=columns["energy"])
    assert bijecta("fit", "pair.npz", "--context", "energy", "-q", *TINY).code == 0
    from bijecta.data import split_rows

    train, test = split_rows(400, 0.1, 0)
    slope, offset = np.polyfit(columns["energy"][train], columns["shift"][train], 1)
    left = columns["shift"] - slope * columns["energy"] - offset
    sigma = left[train].std()
    expected = 0.5 * np.log(2 * np.pi * sigma**2) + (left[test] ** 2).mean() / (2 * sigma**2)
    assert metrics_of(tmp_path / "runs" / "pair-nsf")["gaussian_nll"] == pytest.approx(expected, rel=1e-6)


def test_weighted_mean_against_repeated_rows():
    values, times = np.array([1.0, 2.0, 4.0]), np.array([1, 3, 2])
    assert weighted_mean(values, times.astype(float)).value == pytest.approx(np.repeat(values, times).mean())
    plain = weighted_mean(values, None)
    assert plain.error == pytest.approx(values.std(ddof=1) / np.sqrt(3))


def test_json_is_all_that_stdout_gets(bijecta):
    outcome = bijecta(
        "fit", "circles", "--rows", "200", "--json", "--recipe", "realnvp", "--set", "layers=2", "--epochs", "1"
    )
    assert outcome.code == 0
    assert outcome.json()["epochs"] == 1
    assert "epoch    1/1" in outcome.err


def test_the_schema_is_printed_before_training(bijecta, table_file):
    outcome = bijecta("fit", table_file, "--columns", "mass,count", "--epochs", "1", "--set", "layers=1")
    assert outcome.code == 0
    assert outcome.err.index("count  integer") < outcome.err.index("epoch    1/1")
    assert "Each one gets a probability" in outcome.err
    assert "than a full-covariance Gaussian" in outcome.words
    assert outcome.out == ""


def test_a_folder_is_not_overwritten(bijecta, tmp_path):
    options = ["fit", "moons", "--rows", "100", "-q", "--out", "run", *TINY]
    assert bijecta(*options).code == 0
    (tmp_path / "run" / "mine.txt").write_text("keep")
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    refused = bijecta(*options)
    assert refused.code == 1
    assert "--force" in refused.err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model
    finished = bijecta(*options, "--resume")
    assert finished.code == 0
    assert "nothing to resume" in finished.err
    other = bijecta(*options, "--resume", "--seed", "1")
    assert other.code == 1
    assert "seed (there 0, here 1)" in other.err
    assert bijecta(*options, "--force", "--seed", "1").code == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() != model
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"


def test_stdin(bijecta, tmp_path, monkeypatch):
    rows = "a,b\n" + "\n".join(f"{x},{y}" for x, y in np.random.default_rng(0).normal(size=(200, 2)))
    (tmp_path / "in.csv").write_text(rows)
    with (tmp_path / "in.csv").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert bijecta("fit", "-", "-q", "--columns", "a", *TINY).code == 0
    assert (tmp_path / "runs" / "stdin-nsf" / "model.safetensors").exists()


NORMAL = np.random.default_rng(0).normal(size=(100, 2))
BAD = {
    "nan": ([*NORMAL[:, 0][:-1], np.nan], "y is NaN or infinite in 1 of 100 rows", "--drop y"),
    "text": ([f"event {k}" for k in range(100)], "100 different labels", "--drop y"),
    "constant": ([1.5] * 100, "y is constant", "--drop y"),
    "duplicate": (list(NORMAL[:, 0]), "x and y are identical", "--drop y"),
}


@pytest.mark.parametrize("trouble", BAD)
def test_bad_columns_stop_before_training_and_the_cure_works(bijecta, tmp_path, trouble):
    values, said, cure = BAD[trouble]
    x = NORMAL[:, 0]
    lines = [
        f"{a!r},{'' if b != b else b},{c!r}" for a, b, c in zip(x.tolist(), values, NORMAL[:, 1].tolist(), strict=True)
    ]
    (tmp_path / "bad.csv").write_text("\n".join(["x,y,z", *lines]))
    outcome = bijecta("fit", "bad.csv", "-q", *TINY)
    assert outcome.code == 1
    assert said in outcome.words
    assert cure in outcome.words
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "runs").exists()
    if trouble == "nan":
        assert bijecta("fit", "bad.csv", "-q", *TINY, *cure.split()).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mons"], 1, "Did you mean moons?"),
        (["missing.csv"], 1, "There is no file"),
        (["empty.csv"], 1, "empty"),
        (["good.csv", "--drop", "xx"], 1, "There is no column 'xx'. Did you mean 'x'?"),
        (["good.csv", "--columns", "a"], 1, "There is no column 'a'"),
        (["good.csv", "--context", "c"], 1, "There is no column 'c'"),
        (["good.csv", "--weight", "w"], 1, "There is no column 'w'"),
        (["good.csv", "--schema", "x=circle"], 1, "unknown kind 'circle'"),
        (["good.csv", "--schema", "x=interval:0:1"], 1, "leaves its support"),
        (["good.csv", "--schema", "x"], 2, "expected name=value"),
        (["good.csv", "--test-fraction", "1.5"], 2, "between 0 and 1"),
        (["good.csv", "--recipe", "nfs"], 2, "Did you mean nsf?"),
        (["good.csv", "--set", "layers=a"], 2, "layers expects a whole number"),
        (["good.csv", "--set", "spline=quintic"], 1, "quintic"),
        (["good.csv", "--epochs", "many"], 2, "--epochs"),
        (["good.csv", "--learning-rate", "-1"], 2, "learning_rate"),
        (["good.csv", "--out", "good.csv/run"], 1, "good.csv"),
        ([], 2, "Missing argument"),
    ],
)
def test_errors(bijecta, tmp_path, arguments, code, said):
    (tmp_path / "good.csv").write_text("x,y\n" + "\n".join(f"{a!r},{b!r}" for a, b in NORMAL.tolist()))
    (tmp_path / "empty.csv").write_text("")
    outcome = bijecta("fit", *arguments)
    assert outcome.code == code, outcome.err
    assert said in outcome.words
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "runs").exists()


def test_a_diverging_run_says_why(bijecta):
    outcome = bijecta("fit", "moons", "--rows", "200", "--learning-rate", "1e30", "--epochs", "3")
    assert outcome.code == 1
    assert "became" in outcome.words
    assert "learning_rate" in outcome.words or "learning rate" in outcome.words
