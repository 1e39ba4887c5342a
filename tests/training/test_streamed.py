"""Fitting to a stream is fitting to its rows."""

import dataclasses

import numpy as np
import pytest
import torch

from bijecta.data import Stream, write_table
from bijecta.errors import InputError, TrainingDivergedError
from bijecta.flows import maf, realnvp
from bijecta.training import FitConfig, fit
from bijecta.training.streamed import read_stream

ROWS = 300
CONFIG = FitConfig(epochs=3, batch_size=40, learning_rate=0.01, patience=0)


@pytest.fixture(scope="module")
def columns():
    generator = np.random.default_rng(0)
    context = generator.normal(size=ROWS)
    x = generator.normal(size=(2, ROWS)) + context
    return {"x": 5 + x[0], "y": x[1] ** 3, "c": context, "w": generator.uniform(-0.1, 2.0, ROWS)}


@pytest.fixture(scope="module")
def folder(columns, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    for number, rows in enumerate(np.array_split(np.arange(ROWS), 4)):
        part = {name: column[rows] for name, column in columns.items()}
        write_table(folder / f"{number}.parquet", list(part), part)
    return folder


def stream_of(folder, **options):
    return Stream(folder, **({"columns": ["x", "y"], "context": ["c"], "weight": "w", "buffer_rows": 64} | options))


def flow():
    torch.manual_seed(0)
    return maf(2, context=1, layers=2, hidden=(8,))


def test_with_one_batch_for_all_rows_memory_and_stream_give_the_same_losses(folder, columns):
    config = dataclasses.replace(CONFIG, batch_size=ROWS, validation_fraction=0.0, epochs=5)
    x = np.stack([columns["x"], columns["y"]], axis=1)
    memory = fit(flow(), x, context=columns["c"][:, None], weight=columns["w"], config=config)
    stream = fit(flow(), stream_of(folder), config=config)
    losses = [[line.train_loss for line in result.history] for result in (memory, stream)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert stream.rows == ROWS
    assert stream.effective_sample_size == pytest.approx(memory.effective_sample_size, rel=1e-6)


def test_an_epoch_has_every_training_row_once_and_no_validation_row(folder):
    rows = read_stream(flow(), stream_of(folder), None, None)
    train, validation = rows.split(0.2, seed=1)
    assert (len(train), len(validation)) == (240, 60)
    batches = list(train.shuffled(32, 0, 1))
    assert {len(batch) for batch in batches} == {30}
    seen = torch.cat([batch.number for batch in batches]).tolist()
    assert sorted(seen + validation.number.tolist()) == list(range(ROWS))
    assert seen != sorted(seen)
    weights = torch.cat([batch.weight for batch in [*batches, validation]])
    assert weights.mean().item() == pytest.approx(1, abs=1e-5), "the weights of all rows have mean 1"
    assert train.start.x.dtype == torch.float32
    assert len(train.start) == 240


def test_a_run_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    straight, resumed = flow(), flow()
    fit(straight, stream_of(folder), config=CONFIG)
    fit(resumed, stream_of(folder), config=CONFIG, on_epoch=lambda p: p.epoch == 2, checkpoint=tmp_path / "c")
    again = flow()
    result = fit(again, stream_of(folder), config=CONFIG, checkpoint=tmp_path / "c")
    assert [line.epoch for line in result.history] == [1, 2, 3]
    for one, other in zip(straight.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(InputError, match="belongs to another run"):
        fit(flow(), stream_of(folder, missing="drop"), config=CONFIG, checkpoint=tmp_path / "c")


def test_learns_what_the_rows_are_like(folder, columns):
    torch.manual_seed(0)
    model = realnvp(1, layers=1, hidden=(4,))
    fit(model, stream_of(folder, columns=["x"], context=[], weight=None), config=CONFIG)
    samples = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert samples.mean().item() == pytest.approx(columns["x"].mean(), abs=0.2)
    assert samples.std().item() == pytest.approx(columns["x"].std(), abs=0.2)


def test_double_precision_reaches_the_flow(folder):
    rows = read_stream(flow().double(), stream_of(folder), None, None)
    train, _ = rows.split(0.1, 0)
    assert next(train.shuffled(10, 0, 0)).x.dtype == torch.float64


def test_errors_name_the_rows(folder):
    def broken(model, batch):
        return model.log_prob(batch.x, batch.context).mean() * float("nan")

    with pytest.raises(TrainingDivergedError, match="at step 1"):
        fit(flow(), stream_of(folder), config=CONFIG, loss=broken)
    with pytest.raises(InputError, match="names its own context and weight"):
        fit(flow(), stream_of(folder), weight=np.ones(ROWS))


def test_weights_need_a_positive_sum(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([np.arange(40.0), -np.ones(40)], axis=1))
    with pytest.raises(InputError, match="positive sum, got the mean -1"):
        fit(realnvp(1), Stream(tmp_path, weight="x1"), config=CONFIG)
