"""Model cards say what is recorded, nothing else, and nothing that a reader's browser would run."""

import re

import pytest

from bijecta.data import Column, Schema
from bijecta.persistence import model_card

SCHEMA = Schema((Column("mass", "positive"), Column("phi", "periodic", low=0.0, high=360.0)))
METRICS = {"test_nll": 1.23456789, "test_nll_error": 0.01, "test_rows": 100, "seed": 7, "is_bound": False, "gap": None}


def header(**metadata):
    recipe = {"name": "table", "arguments": {"schema": SCHEMA.to_json(), "recipe": "circular_nsf"}}
    return {"format": 1, "recipe": recipe, "metadata": metadata}


def cells(card):
    lines = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    return {line[0].replace("\\", ""): [cell.replace("\\", "") for cell in line[1:]] for line in lines}


def test_recorded_facts_are_in_the_card():
    card = model_card(
        header(
            data="events",
            data_sha256="abc123",
            schema=SCHEMA.to_json(),
            context=["energy"],
            metrics=METRICS,
            versions={"torch": "2.6.0"},
        ),
        name="owner/name",
    )
    table = cells(card)
    assert card.startswith("---\nlibrary_name: bijecta\n")
    assert "# circular\\_nsf of events" in card
    assert table["mass"] == ["positive", "(0, ∞)", "float64"]
    assert table["phi"][0] == "periodic"
    assert table["negative log-likelihood on test rows, nats per row"] == ["1.23457"]
    assert (table["seed"], table["torch"], table["SHA-256 of the data"]) == (["7"], ["2.6.0"], ["abc123"])
    assert "given: energy" in card
    assert 'from_pretrained("owner/name")' in card
    assert "lower bound" not in card


def test_a_bound_is_called_one():
    assert "lower bound" in model_card(header(metrics={"is_bound": True}))


def test_missing_facts_are_left_out():
    card = model_card({"format": 1, "recipe": None, "metadata": {}})
    for absent in ("None", "null", "nan", "## Columns", "## Measured", "## Made with", "seed"):
        assert absent not in card
    assert "gap" not in model_card(header(metrics=METRICS))


def test_the_example_of_the_card_is_python():
    card = model_card(header(), name='a"b\\')
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL).group(1)
    compile(code, "card", "exec")


def test_names_from_anywhere_stay_text():
    nasty = "<script>alert(1)</script> | a\n---\n# [x](javascript:1) `b`"
    card = model_card(header(data=nasty, schema=Schema((Column(nasty, "real"),)).to_json(), context=[nasty]))
    assert "<script" not in card
    assert not re.search(r"(?<!\\)\[x", card)
    assert sum(line.startswith("# ") for line in card.splitlines()) == 1
    assert card.count("\n---\n") == 1, "the front matter ends where it ended"
    (row,) = (line for line in card.splitlines() if "alert" in line and "real" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 5, "four cells, whatever the name"


@pytest.mark.parametrize("junk", [5, None, [], "text", {"metrics": 5, "versions": [1], "context": 3, "data": {}}])
def test_a_foreign_header_makes_no_fault(junk):
    card = model_card({"format": 1, "recipe": {"name": "nsf", "arguments": 3}, "metadata": junk})
    assert "## Use" in card
