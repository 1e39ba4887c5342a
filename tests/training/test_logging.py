"""Logs hold what the history of the run holds."""

import json
import math
import sys
from dataclasses import asdict, replace

import pytest
import torch

from bijecta.errors import MissingDependencyError
from bijecta.flows import realnvp
from bijecta.training import FitConfig, fit, hooks, to_jsonl, to_tensorboard


def run(on_epoch, **settings):
    torch.manual_seed(0)
    return fit(realnvp(2, layers=2), torch.randn(100, 2), config=FitConfig(epochs=3, **settings), on_epoch=on_epoch)


def test_lines_of_json_are_the_history_and_append(tmp_path):
    path = tmp_path / "log.jsonl"
    histories = [run(to_jsonl(path)).history, run(to_jsonl(path), validation_fraction=0).history]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [asdict(progress) for history in histories for progress in history]


def test_numbers_that_json_does_not_know(tmp_path):
    path = tmp_path / "log.jsonl"
    progress = replace(run(None).history[0], best_loss=math.inf, train_loss=math.nan)
    to_jsonl(path)(progress)
    line = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert line["best_loss"] is None
    assert line["train_loss"] is None
    assert line["epoch"] == 1


def test_tensorboard_reads_the_curves(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history = run(to_tensorboard(tmp_path)).history
    reader = events.EventAccumulator(str(tmp_path)).Reload()
    for name in ("train_loss", "validation_loss", "learning_rate"):
        scalars = reader.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2, 3]
        assert [scalar.value for scalar in scalars] == pytest.approx([getattr(p, name) for p in history])


def test_hooks_are_all_called_and_any_of_them_stops():
    seen = []
    result = run(hooks(lambda p: p.epoch == 2, None, lambda p: seen.append(p.epoch)))
    assert seen == [1, 2]
    assert result.stopped == "hook"
    assert run(hooks()).stopped == "epochs"


def test_a_missing_tensorboard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "bijecta\[track\]"'):
        to_tensorboard(tmp_path)
