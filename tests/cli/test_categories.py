"""Tables with text and booleans, from the file to samples with labels."""

import json

import numpy as np
import pytest
import torch

from bijecta.data import read_table
from bijecta.persistence import load
from cli.conftest import TINY


@pytest.fixture
def table(tmp_path):
    """Write a table with text, booleans, levels, counts and two continuous columns."""
    rng = np.random.default_rng(0)
    colour, flag = rng.choice(["red", "green", "deep blue"], 300, p=[0.5, 0.3, 0.2]), rng.random(300) < 0.3
    columns = [colour, flag, rng.normal(size=300) + 2 * flag, rng.normal(size=300), rng.poisson(30, 300)]
    columns.append(rng.integers(1, 6, 300))
    rows = [
        ",".join(map(str, row)).replace("True", "true").replace("False", "false") for row in zip(*columns, strict=True)
    ]
    (tmp_path / "mixed.csv").write_text("\n".join(["colour,flag,x,y,count,level", *rows]))
    return "mixed.csv"


def test_a_mixed_table(bijecta, table, tmp_path):
    outcome = bijecta("fit", table, "--out", "run", *TINY)
    assert outcome.code == 0, outcome.err
    assert "colour  category  {deep blue, green, red}  str" in outcome.err
    assert "level   integer   {1 ... 5}" in outcome.err
    assert "not compared with a Gaussian" in outcome.words
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["is_bound"], metrics["gaussian_nll"], metrics["categories"]) == (False, None, 2)
    samples = read_table(tmp_path / "run" / "samples.csv")
    assert set(samples.columns["colour"]) == {"red", "green", "deep blue"}
    assert samples.columns["flag"].dtype == bool
    assert set(samples.columns["level"]) == set(range(1, 6))
    assert samples.columns["flag"].mean() == pytest.approx(0.3, abs=0.1)
    assert read_table(tmp_path / "run" / "latent.csv").names == ("z_x", "z_y")
    pictures = {"training.png", "marginals.png", "frequencies.png", "pairs.png"}
    assert {each.name for each in (tmp_path / "run").glob("*.png")} == pictures
    assert "How often each label occurs" in (tmp_path / "run" / "report.html").read_text()


def test_a_mixed_model_is_used(bijecta, table, tmp_path):
    assert bijecta("fit", table, "--out", "run", "-q", *TINY).code == 0
    scores = bijecta("score", "run", table)
    assert scores.code == 0
    flow, rows = load(tmp_path / "run" / "model.safetensors"), read_table(table)
    code = {"deep blue": 0.0, "green": 1.0, "red": 2.0}
    first = [code[rows.columns["colour"][0]], *(float(rows.columns[name][0]) for name in rows.names[1:])]
    with torch.no_grad():
        expected = float(flow.log_prob(torch.tensor([first])))
    assert float(scores.out.splitlines()[1]) == pytest.approx(expected, abs=1e-5)
    assert bijecta("sample", "run", "-n", "3", "-o", "three.csv").code == 0
    assert read_table("three.csv").columns["colour"].dtype.kind == "U"
    assert bijecta("check", "run", table).code == 0
    assert bijecta("report", "run").code == 0
    (tmp_path / "other.csv").write_text((tmp_path / "mixed.csv").read_text().replace("red", "violet"))
    refused = bijecta("score", "run", "other.csv")
    assert refused.code == 1
    assert "colour has unknown labels" in refused.words
    assert "Known: {deep blue, green, red}" in refused.words


def test_only_labels(bijecta, table, tmp_path):
    assert bijecta("fit", table, "--columns", "colour,flag", "--out", "run", "-q", *TINY).code == 0
    assert {each.name for each in (tmp_path / "run").glob("*.png")} == {"training.png", "frequencies.png"}
    assert not (tmp_path / "run" / "latent.csv").exists()
    assert set(read_table(tmp_path / "run" / "samples.csv").columns["colour"]) == {"red", "green", "deep blue"}
    assert bijecta("score", "run", table).code == 0
    refused = bijecta("check", "run", table)
    assert refused.code == 1
    assert "continuous columns" in refused.words


def test_noise_on_integers_is_a_choice(bijecta, table, tmp_path):
    options = ["--context", "x", "--drop", "flag", "--integers", "dequantised", "--out", "run", "-q"]
    assert bijecta("fit", table, *options, *TINY).code == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["is_bound"] is True
    assert read_table(tmp_path / "run" / "latent.csv").names == ("z_y", "z_count", "z_level")
    wrong = bijecta("fit", table, "--integers", "noisy", "-q")
    assert wrong.code == 1
    assert "one of exact, dequantised; got 'noisy'" in wrong.words
