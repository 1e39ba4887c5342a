"""The live connection: frames out, commands in, files beside it."""

import json

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.conftest import wait_for
from bijecta.app import registry, server
from bijecta.app.messages import Message
from bijecta.app.settings import RunSettings
from bijecta.app.trainer import ThreadTrainer

LONG = RunSettings("realnvp", {"layers": 2, "hidden": (8,)}, rows=400, training={"epochs": 10**6, "patience": 0})


class Runs(registry.Registry):
    def prepare(self):
        """No spare process in these tests."""


@pytest.fixture
def runs(monkeypatch):
    made = Runs(lambda settings, points: ThreadTrainer(settings, points=points))
    monkeypatch.setattr(server, "RUNS", made)
    yield made
    made.close_all()


@pytest.fixture
def run(runs):
    return runs.open(LONG, runs.enter())


@pytest.fixture
def connect(runs):
    client = TestClient(Starlette(routes=[WebSocketRoute("/live/{run_id}", server.live)]))
    return lambda key: client.websocket_connect(f"/live/{key}")


def until(socket, wanted):
    """Read messages until one is as wanted."""
    for _ in range(2000):
        received = socket.receive()
        assert received["type"] == "websocket.send", received
        if received.get("bytes") and wanted(message := Message.from_bytes(received["bytes"])):
            return message
        if received.get("text") and wanted(said := json.loads(received["text"])):
            return said
    raise AssertionError("not in 2000 messages")


def frame(state):
    return lambda message: isinstance(message, Message) and message.header.get("state") == state


def test_a_run_is_watched_and_steered(runs, run, connect):
    with connect(run.key) as socket:
        scene = until(socket, lambda _: True)
        assert scene.header["kind"] == "scene", "first of all, what all frames share"
        assert until(socket, frame("idle")).arrays["density"].shape == (64, 64)
        assert run.watchers == 1
        socket.send_json({"do": "run"})
        first = until(socket, frame("running"))
        assert until(socket, frame("running")).header["step"] > first.header["step"]
        socket.send_json({"do": "pause"})
        paused = until(socket, frame("paused")).header["step"]
        socket.send_json({"do": "step"})
        assert until(socket, lambda m: frame("paused")(m) and m.header["step"] > paused).header["step"] == paused + 1
        socket.send_json({"do": "probe", "x": [0.5, 0.5], "token": 3})
        answer = until(socket, lambda m: isinstance(m, Message) and m.header["kind"] == "answer").header
        assert answer["token"] == 3
        assert answer["sum"] == pytest.approx(answer["log_prob"], abs=1e-5)
        socket.send_json({"do": "scrub", "at": 0})
        past = until(socket, lambda m: isinstance(m, Message) and "past" in m.header).header
        assert past["step"] == past["kept"][0]
        socket.send_json({"do": "stop"})
        assert until(socket, frame("stopped")).header["verdict"]
    wait_for(lambda: run.watchers == 0)


def test_nonsense_is_ignored_and_closing_is_not_for_pages(run, connect):
    with connect(run.key) as socket:
        until(socket, frame("idle"))
        for text in (
            "{",
            "[]",
            "7",
            '{"do": "close"}',
            '{"do": ["run"]}',
            '{"do": "probe"}',
            '{"do": "probe", "x": "here"}',
        ):
            socket.send_text(text)
        socket.send_json({"do": "scrub", "at": "then"})
        assert "error" in until(socket, lambda message: isinstance(message, dict))
        socket.send_json({"do": "probe", "x": [0.0, 0.0]})
        assert until(socket, lambda m: isinstance(m, Message) and "sum" in m.header)


def test_an_unknown_run_gets_a_reason_and_is_closed(connect):
    with connect("nobody") as socket:
        assert "Reload the page" in socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == server.UNKNOWN_RUN
