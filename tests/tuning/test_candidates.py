"""Where the search looks: what is set stays, what is open varies, and every suggestion can be built."""

import optuna
import pytest

from bijecta.data import Column, Schema
from bijecta.errors import InputError
from bijecta.flows import table
from bijecta.training import FitConfig
from bijecta.tuning import Candidate
from bijecta.tuning.candidates import BATCH_SIZES, prepared, suggest

REAL = Schema(tuple(Column(name, "real") for name in "abc"))
CIRCLE = Schema((Column("a", "real"), Column("phi", "periodic", high=6.0)))


def suggestions(start, schema, rows=10_000, count=20):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(study.ask(), start, schema, rows) for _ in range(count)]


def test_suggestions_vary_and_can_be_built():
    found = suggestions(Candidate(), REAL)
    assert {each.recipe for each in found} == {"nsf", "nsf_autoregressive"}
    for name in ("layers", "bins"):
        assert len({each.arguments[name] for each in found}) > 2
    for name in ("learning_rate", "batch_size", "weight_decay"):
        assert len({getattr(each.config, name) for each in found}) > 2
    for each in found[:3]:
        table(REAL.to_json(), recipe=each.recipe, arguments=each.arguments)


def test_what_the_start_sets_is_not_searched():
    config = FitConfig(learning_rate=3e-3, batch_size=100, weight_decay=0.5, epochs=7)
    start = Candidate(arguments={"layers": 3, "hidden": [16], "bins": 5, "base": "student"}, config=config)
    for each in suggestions(start, REAL, count=5):
        assert each.arguments == start.arguments
        assert each.config == config


def test_few_rows_have_small_batches_and_angles_have_couplings():
    assert {each.config.batch_size for each in suggestions(Candidate(), REAL, rows=100)} == {BATCH_SIZES[0]}
    assert {each.config.batch_size for each in suggestions(Candidate(), REAL, rows=600)} <= {64, 128}
    assert {each.recipe for each in suggestions(Candidate(), CIRCLE)} == {"nsf"}


def test_the_start_comes_first_and_then_the_automatic_choice():
    assert [each.recipe for each in prepared(Candidate(), REAL, 5_000, 0)] == ["nsf", "nsf_autoregressive"]
    assert prepared(Candidate(), REAL, 100, 0) == [Candidate()]
    start = Candidate("nsf_autoregressive", {"layers": 2})
    assert prepared(start, REAL, 5_000, 0) == [start]
    assert prepared(start, REAL, 100, 0) == [start, Candidate("nsf", {"layers": 2})]


def test_candidates_survive_json():
    candidate = Candidate("nsf_autoregressive", {"hidden": [8]}, FitConfig(epochs=3), "dequantised")
    assert Candidate.from_json(candidate.to_json()) == candidate


@pytest.mark.parametrize(
    ("settings", "message"), [({"recipe": "maf"}, "nsf and"), ({"config": FitConfig(validation_fraction=0)}, "Use 0.1")]
)
def test_what_cannot_be_searched(settings, message):
    with pytest.raises(InputError, match=message):
        Candidate(**settings)
