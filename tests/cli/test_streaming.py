"""Files are streamed on request or when they are large; scores and samples pass in pieces."""

import numpy as np
import pytest

from bijecta.cli import streaming
from bijecta.cli.options import FitOptions
from bijecta.data import read_table, write_table
from cli.conftest import TINY, events

OPTIONS = ["--columns", "shift,count", "--context", "energy", "--weight", "weight", "--epochs", "3"]


@pytest.fixture
def big(tmp_path):
    """A folder of three files of 200 events."""
    folder = tmp_path / "big"
    folder.mkdir()
    for number in range(3):
        columns = events(200, seed=number)
        write_table(folder / f"events-{number}.parquet", list(columns), columns)
    return folder


def test_a_streamed_run_is_a_run(bijecta, big, tmp_path):
    done = bijecta("fit", "big/events-*.parquet", "--stream", *OPTIONS, *TINY, "--json")
    assert done.code == 0, done.err
    metrics = done.json()
    assert (metrics["rows"], metrics["test_rows"], metrics["train_rows"]) == (600, 60, 486)
    assert "540 rows, 60 test rows" in done.words
    folder = tmp_path / "runs" / "events-nsf"
    assert {"model.safetensors", "metrics.json", "samples.csv", "report.html"} <= {p.name for p in folder.iterdir()}
    memory = bijecta("fit", "big/events-*.parquet", *OPTIONS, *TINY, "--json", "--out", "memory").json()
    assert metrics["test_nll"] == pytest.approx(memory["test_nll"], abs=0.5)
    assert memory["rows"] == 600, "several files are one table"
    assert bijecta("fit", "big", "--stream", *OPTIONS, *TINY, "-q", "--out", "again").code == 0


def test_large_files_are_streamed_without_being_asked(big, monkeypatch):
    size = sum(path.stat().st_size for path in big.iterdir())
    for share, expected in ((1.01, True), (0.99, False)):
        monkeypatch.setattr(streaming, "memory", lambda share=share: size / share * 8)
        assert streaming.is_streamed(FitOptions(str(big))) is expected
        assert streaming.is_streamed(FitOptions(str(big / "*.parquet"))) is expected
        assert not streaming.is_streamed(FitOptions("moons"))
        assert not streaming.is_streamed(FitOptions("-"))
        assert not streaming.is_streamed(FitOptions("nowhere.parquet"))
    monkeypatch.undo()
    assert 2**28 < streaming.memory() < 2**60


def test_gaps_in_a_stream_are_counted(bijecta, big):
    columns = events(100, seed=9)
    columns["shift"][[3, 4, 5]] = np.nan
    write_table(big / "events-9.parquet", list(columns), columns)
    command = ["fit", "big", "--stream", *OPTIONS, *TINY, "--json"]
    refused = bijecta(*command)
    assert refused.code == 1
    assert "shift is NaN or infinite" in refused.words
    dropped = bijecta(*command, "--missing", "drop")
    assert dropped.code == 0, dropped.err
    assert "dropped 3 of 700 rows with missing values" in dropped.words


def test_what_cannot_be_streamed_is_said(bijecta, tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    assert "cannot be read in blocks" in bijecta("fit", "a.csv", "--stream", *TINY).words
    assert "only files can be streamed" in bijecta("fit", "moons", "--stream", *TINY).words
    assert "No file is called" in bijecta("fit", "nothing-*.parquet", *TINY).words


@pytest.mark.parametrize(
    ("data", "name"),
    [("big/*.parquet", "big"), ("a/events-*.h5", "events"), ("big/", "big"), ("my.csv", "my"), ("*.npy", "data")],
)
def test_runs_are_named_after_their_files(data, name):
    assert FitOptions(data).name == name
    assert FitOptions(data, stream=True).command().endswith(" --stream --resume")


def test_scores_of_many_files_are_one_file(bijecta, table_run, tmp_path, monkeypatch):
    columns = events(300, seed=5)
    (tmp_path / "parts").mkdir()
    write_table(tmp_path / "all.parquet", list(columns), columns)
    for number, rows in enumerate(np.split(np.arange(300), [100, 120])):
        part = {name: column[rows] for name, column in columns.items()}
        write_table(tmp_path / "parts" / f"{number}.parquet", list(part), part)
    for data, out in (("all.parquet", "one.npy"), ("parts", "many.parquet"), ("parts/*.parquet", "many.csv")):
        assert bijecta("score", table_run, data, "--out", out).code == 0
    one, many, text = (read_table(tmp_path / each).matrix() for each in ("one.npy", "many.parquet", "many.csv"))
    assert one.shape == many.shape == (300, 1)
    assert np.allclose(one[:100], many[:100], atol=1e-6)
    assert np.allclose(many, text)
    printed = bijecta("score", table_run, "parts").out.splitlines()
    assert printed[0] == "log_prob"
    assert len(printed) == 301
    broken = {**columns, "energy": np.full(300, np.inf)}
    write_table(tmp_path / "parts" / "9.parquet", list(broken), broken)
    assert "Rows count from row 300" in bijecta("score", table_run, "parts", "--out", "bad.csv").words
    assert not (tmp_path / "bad.csv").exists()


def test_samples_in_pieces_are_the_samples(bijecta, table_run, tmp_path, monkeypatch):
    whole = bijecta("sample", table_run, "-n", "30", "--context", "0.5", "--out", "whole.parquet")
    assert whole.code == 0, whole.err
    contexts = {"energy": np.array([0.5, 1.5])}
    write_table(tmp_path / "contexts.csv", ["energy"], contexts)
    assert bijecta("sample", table_run, "-n", "3", "--context-file", "contexts.csv", "--out", "given.csv").code == 0
    assert read_table(tmp_path / "given.csv").columns["energy"].tolist() == [0.5] * 3 + [1.5] * 3
    monkeypatch.setattr("bijecta.persistence.tabular.CHUNK", 7)
    monkeypatch.setattr("bijecta.cli.using.CHUNK", 7)
    assert bijecta("sample", table_run, "-n", "30", "--context", "0.5", "--out", "pieces.parquet").code == 0
    first, second = (read_table(tmp_path / f"{name}.parquet") for name in ("whole", "pieces"))
    assert second.n_rows == 30
    assert {name: c.dtype for name, c in first.columns.items()} == {n: c.dtype for n, c in second.columns.items()}
