"""What the OpenAPI document says of each path: schemas made from the columns of the model."""

from typing import Any

from bijecta.persistence import TableModel
from bijecta.service.schemas import CSV, JSON, Content, request_schemas, response_schemas
from bijecta.service.settings import ServiceSettings

_REFUSALS = {
    400: "The body is not JSON.",
    408: "The body did not arrive in time.",
    413: "Too many bytes or rows.",
    415: "The body is of another type.",
    422: "The rows do not fit the model.",
    500: "A fault in bijecta.",
    503: "The service is full.",
}
_TEXT: Content = {"schema": {"type": "string"}}
_RETRY: Content = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def describe(model: TableModel, settings: ServiceSettings) -> dict[str, dict[str, Any]]:
    """Return for every path the arguments that document its route."""
    asked, told = request_schemas(model, settings), response_schemas(model)
    refusals: dict[int | str, Content] = {
        status: {"description": text, "content": {JSON: {"schema": told["error"]}}}
        for status, text in _REFUSALS.items()
    }
    refusals[503]["headers"] = _RETRY
    return {
        "/score": _post(asked["score"], told["score"], refusals, csv=True),
        "/sample": _post(asked["sample"], told["sample"], refusals, csv=False),
        "/info": {"responses": {200: _told(told["info"], csv=False)}},
        "/health": {"responses": {200: _told(told["health"], csv=False)}},
    }


def _post(asked: Content, told: Content, refusals: dict[int | str, Content], *, csv: bool) -> dict[str, Any]:
    body = {JSON: {"schema": asked}} | ({CSV: _TEXT} if csv else {})
    return {
        "responses": {200: _told(told, csv=True), **refusals},
        "openapi_extra": {"requestBody": {"required": True, "content": body}},
    }


def _told(schema: Content, *, csv: bool) -> Content:
    return {"description": "The answer.", "content": {JSON: {"schema": schema}} | ({CSV: _TEXT} if csv else {})}
