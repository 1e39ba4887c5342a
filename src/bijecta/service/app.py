"""The HTTP service of one model: who is let in, who answers, and how errors are said."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from bijecta import __version__
from bijecta.errors import BijectaError, require
from bijecta.persistence import TableModel
from bijecta.service.answers import UNIT, Answer, Question, info, sample, score
from bijecta.service.bodies import to_json
from bijecta.service.openapi import describe
from bijecta.service.refusal import RefusedError
from bijecta.service.schemas import CSV, JSON
from bijecta.service.settings import ServiceSettings

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

Work = Callable[[TableModel, ServiceSettings, Question], Answer]


class Desk:
    """Where requests are taken in and computed, one at a time, by one thread.

    One thread, because torch has one global random state, and because two computations at once would only share the
    same cores. The event loop stays free to take requests, to refuse them, and to say that the service lives.
    """

    def __init__(self, model: TableModel, settings: ServiceSettings) -> None:
        self.model, self.settings, self.waiting = model, settings, 0
        self._worker = self._hire()

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Let a request in, or refuse it with 503 while the house is full; runs on the event loop only."""
        if self.waiting >= self.settings.queue:
            raise RefusedError(503, f"All {self.settings.queue} places are taken. Come back after Retry-After seconds.")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def compute(self, work: Work, question: Question) -> Answer:
        """Compute an answer on the worker's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, work, self.model, self.settings, question)

    def close(self) -> None:
        """Finish what was accepted; an application may be started again later."""
        worker, self._worker = self._worker, self._hire()
        worker.shutdown(wait=True)

    def _hire(self) -> ThreadPoolExecutor:
        """Return the worker; its thread begins with its first task."""
        return ThreadPoolExecutor(1, "inference", torch.set_num_threads, (self.settings.threads,))


def create_app(model: TableModel, settings: ServiceSettings | None = None) -> "FastAPI":
    """Make the HTTP service of a model: POST /score, POST /sample, GET /info, GET /health, GET /openapi.json.

    Args:
        model: what `load_table_model` returns.
        settings: the limits.

    Returns:
        A FastAPI application, for uvicorn or any other ASGI server; one process, one event loop.

    Raises:
        MissingDependencyError: the package fastapi is not installed.
        FileFormatError: the header of the model records numbers that are not finite.

    Example:
        >>> from fastapi.testclient import TestClient
        >>> from bijecta.flows import realnvp
        >>> from bijecta.persistence import load_table_model, save
        >>> from bijecta.service import create_app
        >>> save(realnvp(2), "model.safetensors")
        >>> with TestClient(create_app(load_table_model("model.safetensors"))) as client:
        ...     client.post("/score", json={"rows": [{"x0": 0.0, "x1": 0.0}]}).json()
        {'log_prob': [-1.837...], 'is_bound': False}
    """
    require("fastapi", extra="serve", purpose="The HTTP service")
    from fastapi import FastAPI, Request, Response
    from starlette.exceptions import HTTPException

    limits = settings or ServiceSettings()
    desk, facts, says = Desk(model, limits), info(model, limits), describe(model, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="bijecta",
        version=__version__,
        description=f"Log-densities in {UNIT}, and samples, of one model.",
        lifespan=lifespan,
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
    )

    async def post_score(request: Request) -> Response:
        """Compute the log-density of rows."""
        return await _answered(desk, score, request, (JSON, CSV))

    async def post_sample(request: Request) -> Response:
        """Draw rows."""
        return await _answered(desk, sample, request, (JSON,))

    async def get_info() -> Response:
        """Say what the model is."""
        return _response(facts)

    async def get_health() -> Response:
        """Say whether the service lives, and whether it has room."""
        ready = desk.waiting < limits.queue
        return _response(Answer(to_json({"live": True, "ready": ready, "waiting": desk.waiting})))

    for path, endpoint in (("/score", post_score), ("/sample", post_sample)):
        app.add_api_route(path, endpoint, methods=["POST"], response_class=Response, **says[path])
    for path, reader in (("/info", get_info), ("/health", get_health)):
        app.add_api_route(path, reader, methods=["GET"], response_class=Response, **says[path])
    app.add_exception_handler(HTTPException, _unknown_path)
    return app


async def _answered(desk: Desk, work: Work, request: "Request", formats: tuple[str, ...]) -> "Response":
    """Answer a request; what was wrong with it becomes a sentence, and a fault of ours one too."""
    try:
        with desk.admission():
            question = await _question(request, desk.settings, formats)
            return _response(await desk.compute(work, question))
    except BijectaError as error:
        status = error.status if isinstance(error, RefusedError) else 422
        return _refused(status, str(error), {"Retry-After": str(desk.settings.retry_seconds)} if status == 503 else {})
    except Exception as error:
        sys.stderr.write(f"Unexpected {type(error).__name__} in {request.url.path}: {error}\n")
        return _refused(500, "This is a fault in bijecta; its log has the reason.", {})


async def _question(request: "Request", settings: ServiceSettings, formats: tuple[str, ...]) -> Question:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A browser sends other types across sites without asking, so that a foreign page could use the service.
    if media not in formats or request.headers.get("content-encoding", "identity") != "identity":
        raise RefusedError(415, f"Send the body as {' or '.join(formats)}, not compressed; got {media or 'no type'}.")
    body = await _body(request, settings)
    return Question(body, is_csv=media == CSV, wants_csv=CSV in request.headers.get("accept", ""))


async def _body(request: "Request", settings: ServiceSettings) -> bytes:
    """Read a body that may announce a wrong length, or none, or never end."""
    announced, body = request.headers.get("content-length", "0"), bytearray()
    if announced.isdigit() and int(announced) > settings.max_body:
        raise _too_large(settings)
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body:
                    raise _too_large(settings)
    except TimeoutError as error:
        raise RefusedError(408, f"The body did not arrive within {settings.body_seconds} seconds.") from error
    return bytes(body)


def _too_large(settings: ServiceSettings) -> RefusedError:
    return RefusedError(413, f"A body may have {settings.max_body} bytes. Send the rows in several requests.")


def _response(answer: Answer, status: int = 200, headers: dict[str, str] | None = None) -> "Response":
    from fastapi import Response

    return Response(answer.body, status, headers, answer.media)


def _refused(status: int, message: str, headers: dict[str, str]) -> "Response":
    return _response(Answer(to_json({"error": message})), status, headers)


def _unknown_path(request: "Request", error: Any) -> "Response":
    known = "POST /score, POST /sample, GET /info, GET /health, GET /openapi.json"
    message = f"There is no {request.method} {request.url.path} here. Known: {known}."
    return _refused(error.status_code, message, dict(error.headers or {}))
