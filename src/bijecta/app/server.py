"""The server: Streamlit's pages, a live connection for every run, and its files.

``python -m bijecta.app`` starts it. The page asks for nothing from anywhere else.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bijecta.app.cards import show_error
from bijecta.app.exports import export
from bijecta.app.messages import Message
from bijecta.app.registry import RUNS, Run, Tab
from bijecta.app.settings import OPENING
from bijecta.app.trainer import Trainer
from bijecta.errors import BijectaError

HOME = Path(__file__).with_name("home.py")
UNKNOWN_RUN = 4404
GLANCE_SECONDS = 0.015
STEERING = ("pause", "resume", "step", "slow", "rate", "stop")


async def live(socket: WebSocket) -> None:
    """Push the frames of a run to a page, and take its commands."""
    await socket.accept()
    key = socket.path_params["run_id"]
    try:
        run = RUNS.watch(key)
    except BijectaError as error:
        await socket.send_json({"error": str(error)})
        await socket.close(UNKNOWN_RUN)
        return
    RUNS.prepare()
    pushing = asyncio.create_task(_push(socket, run))
    try:
        while True:
            await _obey(socket, run, await socket.receive_text())
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        pushing.cancel()
        RUNS.leave(key)
        RUNS.sweep()


async def _push(socket: WebSocket, run: Run) -> None:
    """Send what is new, and nothing else; a slow page gets fewer frames, not older ones."""
    trainer: Trainer | None = None
    sent: dict[str, Message | None] = {}
    try:
        while True:
            if run.trainer is not trainer:
                trainer, sent = run.trainer, {}
            if trainer is not None:
                await _send_new(socket, trainer, sent)
            await asyncio.sleep(GLANCE_SECONDS)
    except (WebSocketDisconnect, RuntimeError):
        return


async def _send_new(socket: WebSocket, trainer: Trainer, sent: dict[str, Message | None]) -> None:
    for name, message in (("scene", trainer.scene), ("frame", trainer.latest)):
        if message is not None and message is not sent.get(name) and (name == "scene" or trainer.scene is not None):
            sent[name] = message
            header = {**message.header, "kept": len(trainer.history.items())}
            await socket.send_bytes(Message(header, message.arrays).to_bytes())
    if trainer.scene is None and trainer.latest is not None and sent.get("frame") is not trainer.latest:
        sent["frame"] = trainer.latest  # a run that failed before it had anything to show
        await socket.send_bytes(trainer.latest.to_bytes())


async def _obey(socket: WebSocket, run: Run, text: str) -> None:
    try:
        command = json.loads(text)
        what = command.get("do")
    except (ValueError, AttributeError):
        return
    try:
        if what == "run":
            RUNS.start(run.key)
        elif what == "probe":
            asyncio.get_running_loop().create_task(_probe(socket, run, command))
        elif what == "scrub":
            await _send_past(socket, run, int(command["at"]))
        elif what in STEERING:
            run.trainer.command(command)
    except (BijectaError, KeyError, ValueError, TypeError) as error:
        await socket.send_json({"error": str(error)})


async def _probe(socket: WebSocket, run: Run, command: dict[str, Any]) -> None:
    try:
        answer = await asyncio.wrap_future(run.trainer.ask("probe", x=command["x"]))
        await socket.send_bytes(Message({**answer.header, "token": command.get("token")}).to_bytes())
    except (BijectaError, KeyError, RuntimeError, WebSocketDisconnect):
        return  # the run or the page has gone


async def _send_past(socket: WebSocket, run: Run, at: int) -> None:
    """Send a frame of the past: where in the history, and how long that is, stands in its header."""
    frames = run.trainer.history.items()
    if frames:
        frame = frames[max(0, min(at, len(frames) - 1))]
        header = {**frame.header, "past": at, "kept": [each.header["step"] for each in frames]}
        await socket.send_bytes(Message(header, frame.arrays).to_bytes())


def download(request: Request) -> Response:
    """Answer with a file of a run; Starlette calls this beside the event loop."""
    name = request.path_params["name"]
    try:
        content, kind = export(RUNS.get(request.path_params["run_id"]), name)
    except (BijectaError, TimeoutError) as error:
        return PlainTextResponse(str(error), status_code=409)
    disposition = {"Content-Disposition": f'attachment; filename="bijecta-{name}"'}
    return Response(content, media_type=kind, headers=disposition)


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    """Draw the opening run once, so that the first visitor does not wait, and leave no process behind."""
    RUNS.close(RUNS.open(OPENING, Tab()).key)
    yield {}
    await asyncio.to_thread(RUNS.close_all)


app = st.App(
    HOME,
    routes=[WebSocketRoute("/live/{run_id}", live), Route("/export/{run_id}/{name}", download)],
    lifespan=lifespan,
    on_script_error=show_error,
)
