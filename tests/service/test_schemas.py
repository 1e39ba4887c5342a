"""The OpenAPI document says what the service does: each kind of column, and a fuzzer that reads it."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from bijecta.data import Column
from bijecta.service import ServiceSettings, create_app
from bijecta.service.schemas import column_schema


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column("a", "real"), {"type": "number"}),
        (Column("a", "positive", low=2.0), {"type": "number", "exclusiveMinimum": 2.0}),
        (
            Column("a", "interval", low=-1.0, high=1.0),
            {"type": "number", "exclusiveMinimum": -1.0, "exclusiveMaximum": 1.0},
        ),
        (Column("a", "periodic", high=360.0), {"type": "number"}),
        (Column("a", "integer", low=0, dtype="int64"), {"type": "integer", "minimum": 0}),
        (Column("a", "integer", low=0, high=1, dtype="bool"), {"type": ["integer", "boolean"]}),
        (Column("a", "category", dtype="str", categories=("x", "y")), {"enum": ["x", "y"]}),
        (Column("a", "category", dtype="int64", categories=("3", "12")), {"enum": [3, 12]}),
        (Column("a", "category", dtype="bool", categories=("False", "True")), {"enum": [False, True]}),
    ],
)
def test_a_column_is_described_in_the_words_of_json_schema(column, expected):
    found = column_schema(column)
    assert {key: found[key] for key in expected} == expected
    json.dumps(found)


@pytest.fixture(scope="module")
def document(model):
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(model, ServiceSettings(max_rows=20)))


POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE])
@pytest.mark.parametrize("path", ["/score", "/sample", "/info", "/health"])
def test_the_service_keeps_to_its_document(document, path, mode):
    """No 5xx, no status, type or content that the document does not promise; what it forbids is refused."""
    if mode is NEGATIVE and path in ("/info", "/health"):
        return  # nothing is sent that could be wrong

    @given(document[path]["POST" if path in ("/score", "/sample") else "GET"].as_strategy(generation_mode=mode))
    @settings(max_examples=30, suppress_health_check=list(HealthCheck))
    def keeps_to_it(case):
        answer = case.call()
        case.validate_response(answer, excluded_checks=beyond_a_schema(case, answer.status_code))

    keeps_to_it()


def beyond_a_schema(case, status):
    """Name the checks that do not apply, because JSON Schema cannot say what is wrong with a request."""
    if status == 413:  # too many rows for each context, times the contexts
        return [positive_data_acceptance, negative_data_rejection]
    is_csv = case.media_type == "text/csv"
    has_columns = isinstance(case.body, dict) and "columns" in case.body  # of different length, perhaps
    return [positive_data_acceptance] if is_csv or has_columns else []
