"""The file of the opening run is what its settings say."""

import pytest
import torch

from bijecta.app.datasets import make_dataset
from bijecta.app.pretrained import FILE, load_pretrained, train_opening
from bijecta.app.settings import OPENING
from bijecta.persistence import read_header


def test_the_file_belongs_to_the_settings_and_is_small():
    header = read_header(FILE)
    assert header["metadata"]["lab"] == OPENING.to_json()
    assert header["recipe"]["arguments"] | dict(OPENING.to_json()["arguments"]) == header["recipe"]["arguments"]
    assert FILE.stat().st_size < 100_000
    truth = make_dataset(OPENING).truth
    fresh = truth.sample(4000, 1)
    with torch.no_grad():
        nll = -load_pretrained().flow.log_prob(torch.as_tensor(fresh).float()).mean().item()
    assert nll + truth.log_prob(fresh).mean() < 0.03, "gap in nats"


@pytest.mark.slow
def test_training_again_gives_the_file():
    again = train_opening()
    assert again.facts["best"] == pytest.approx(load_pretrained().facts["best"], abs=5e-3)
