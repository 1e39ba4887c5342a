"""Commands that use a model: sample, score, check, info, report."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bijecta.data import read_table, toy, write_table
from bijecta.flows import Flow, nsf, realnvp
from bijecta.persistence import load, save
from cli.conftest import events, finish, spawn


def numbers(text):
    return np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1, ndmin=2)


def test_samples_on_stdout_are_repeatable(bijecta, toy_run):
    first, again, other = (bijecta("sample", toy_run, "-n", "50", "--seed", seed) for seed in (1, 1, 2))
    assert first.code == 0
    assert first.out.splitlines()[0] == "x,y"
    assert numbers(first.out).shape == (50, 2)
    assert first.out == again.out != other.out


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npz", ".h5"])
def test_samples_in_files_are_the_same(bijecta, toy_run, suffix):
    assert bijecta("sample", toy_run / "model.safetensors", "-n", "20", "-o", "out" + suffix).code == 0
    table = read_table("out" + suffix)
    assert table.names == ("x", "y")
    np.testing.assert_allclose(table.matrix(), numbers(bijecta("sample", toy_run, "-n", "20").out))


def test_samples_are_those_of_the_flow(bijecta, toy_run):
    flow = load(toy_run / "model.safetensors")
    with torch.no_grad():
        expected = flow.sample(7, generator=torch.Generator().manual_seed(3)).numpy()
    np.testing.assert_allclose(numbers(bijecta("sample", toy_run, "-n", "7", "--seed", "3").out), expected, rtol=1e-6)


def test_conditional_samples(bijecta, table_run, tmp_path):
    assert bijecta("sample", table_run, "-n", "2000", "--context", "1.5", "-o", "one.npz").code == 0
    table = read_table("one.npz")
    assert table.names == ("mass", "count", "angle", "shift", "energy")
    assert (table.columns["energy"] == 1.5).all()
    assert table.columns["count"].dtype == np.int64
    (tmp_path / "contexts.csv").write_text("run,energy\n1,-1\n2,2\n")
    rows = bijecta("sample", table_run, "--context-file", "contexts.csv", "-n", "3").out.splitlines()
    assert [line.split(",")[-1] for line in rows[1:]] == ["-1"] * 3 + ["2"] * 3
    assert len(bijecta("sample", table_run, "--context-file", "contexts.csv").out.splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 1, "This model is conditional: give energy as --context 1.0"),
        (["--context", "1,2"], 2, "expected 1 finite number(s) for energy"),
        (["--context", "hot"], 2, "expected numbers such as 1.0"),
        (["--context", "nan"], 2, "finite"),
        (["--context-file", "missing.csv"], 1, "There is no file"),
        (["-n", "0"], 2, "-n"),
    ],
)
def test_wrong_contexts(bijecta, table_run, options, code, said):
    outcome = bijecta("sample", table_run, *options)
    assert outcome.code == code
    assert said in outcome.words


def test_scores_are_those_of_the_flow_whatever_the_order_of_columns(bijecta, toy_run):
    points = toy("moons").sample(30, seed=5)
    write_table("points.csv", ["y", "extra", "x"], {"y": points[:, 1], "extra": points[:, 0], "x": points[:, 0]})
    outcome = bijecta("score", toy_run, "points.csv")
    assert outcome.code == 0
    assert "ignored: extra" in outcome.err
    with torch.no_grad():
        expected = load(toy_run / "model.safetensors").log_prob(torch.as_tensor(points, dtype=torch.float32))
    np.testing.assert_allclose(numbers(outcome.out)[:, 0], expected.numpy(), rtol=1e-5, atol=1e-5)
    assert bijecta("score", toy_run, "points.csv", "-o", "scores.parquet").code == 0
    assert read_table("scores.parquet").names == ("log_prob",)


def test_scores_of_a_conditional_table(bijecta, table_run, table_file):
    first, again = bijecta("score", table_run, table_file), bijecta("score", table_run, table_file)
    assert "ignored: weight" in first.err
    assert first.out == again.out
    assert np.isfinite(numbers(first.out)).all()


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("shift", None, "There is no column 'shift'"),
        ("energy", None, "There is no column 'energy'"),
        ("mass", -1.0, "mass leaves its support (0, ∞) in 1 of 9 rows (row 4 = -1)"),
        ("shift", np.nan, "shift is NaN or infinite in 1 of 9 rows (row 4 = nan)"),
        ("energy", np.inf, "energy is NaN or infinite"),
    ],
)
def test_rows_that_do_not_fit(bijecta, table_run, column, change, said):
    columns = events(rows=9)
    if change is None:
        del columns[column]
    else:
        columns[column][4] = change
    write_table("rows.npz", list(columns), columns)
    outcome = bijecta("score", table_run, "rows.npz")
    assert outcome.code == 1
    assert said in outcome.words


def test_pipes(toy_run, tmp_path):
    """Sample to a pipe, score from it, and stop reading early: silent."""
    code = "import sys; from bijecta.cli import main; sys.exit(main(sys.argv[1:]))"
    with spawn(code, tmp_path, "sample", toy_run, "-n", "40") as source:
        scores = finish(spawn(code, tmp_path, "score", toy_run, "-", stdin=source.stdout))
    assert scores.code == 0
    assert len(scores.out.splitlines()) == 41
    with spawn(code, tmp_path, "sample", toy_run, "-n", "200000") as source:
        source.stdout.readline()
        source.stdout.close()
        said = source.stderr.read()
    assert said == ""
    assert source.returncode != 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_message(tmp_path):
    code = "import sys; from bijecta.cli import main; sys.exit(main(sys.argv[1:]))"
    with Path("/dev/full").open("w") as full:
        outcome = finish(spawn(code, tmp_path, "toys", "moons", "-n", "5", stdout=full))
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        "Error: No space left on device. What was written is kept. Check permissions and free space."
    ]


def test_check_passes_a_sound_model(bijecta, toy_run, table_run, table_file):
    outcome = bijecta("check", toy_run, "moons", "--rows", "200")
    assert outcome.code == 0, outcome.out
    assert "the check passed" in outcome.out
    outcome = bijecta("check", table_run, table_file, "--rows", "100", "--json")
    assert outcome.code == 0, outcome.out
    assert outcome.json()["passed"] is True


def test_check_fails_a_broken_model(bijecta, toy_run, monkeypatch):
    sound = Flow.log_prob
    monkeypatch.setattr(Flow, "log_prob", lambda flow, x, context=None: sound(flow, x, context) + 0.1)
    outcome = bijecta("check", toy_run, "--rows", "200", "--json")
    assert outcome.code == 1
    assert outcome.json()["passed"] is False


def test_info(bijecta, table_run):
    outcome = bijecta("info", table_run)
    assert outcome.code == 0
    assert "given: energy" in outcome.out
    assert "angle  periodic  [0, 360) circle" in outcome.out
    header = bijecta("info", table_run, "--json").json()
    assert header["metadata"]["metrics"]["is_bound"] is False
    assert header["metadata"]["settings"]["context"] == ["energy"]


def test_report_can_be_made_again(bijecta, toy_run, tmp_path):
    shutil.copytree(toy_run, tmp_path / "copy")
    before = (tmp_path / "copy" / "report.html").read_text()
    (tmp_path / "copy" / "report.html").unlink()
    assert bijecta("report", "copy").code == 0
    assert len((tmp_path / "copy" / "report.html").read_text()) == pytest.approx(len(before), rel=0.01)
    outcome = bijecta("report", tmp_path)
    assert outcome.code == 1
    assert "There is no metrics.json" in outcome.words


def test_damaged_and_foreign_files(bijecta, toy_run, tmp_path):
    whole = (toy_run / "model.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "metrics.json").write_text("{")
    for command in ("sample", "info", "check"):
        for name in ("short.safetensors", "text.safetensors", "missing.safetensors"):
            outcome = bijecta(command, name)
            assert outcome.code == 1
            assert name in outcome.words
    assert "is not JSON" in bijecta("report", ".").words


def test_models_that_python_saved(bijecta):
    save(realnvp(3, layers=2), "plain.safetensors")
    assert bijecta("sample", "plain.safetensors", "-n", "2").out.splitlines()[0] == "x0,x1,x2"
    save(nsf(1, layers=1, context=2), "given.safetensors")
    outcome = bijecta("sample", "given.safetensors", "-n", "2", "--context", "0,1")
    assert outcome.out.splitlines()[0] == "x0,context0,context1"
    assert json.loads(bijecta("info", "given.safetensors", "--json").out)["metadata"] == {}
    assert bijecta("info", "given.safetensors").code == 0
    assert "no context" in bijecta("sample", "plain.safetensors", "--context", "1").words
