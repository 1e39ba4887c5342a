"""The service in-process: answers against the flow itself, refusals in sentences, limits that hold."""

import asyncio
import io
import json
import sys
import threading

import httpx
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from bijecta.data import Column, Schema, read_table
from bijecta.errors import InputError, MissingDependencyError
from bijecta.flows import realnvp, table
from bijecta.persistence import load_table_model, save_pretrained
from bijecta.service import ServiceSettings, app, create_app
from service.conftest import ROW

LIMITS = ServiceSettings(max_rows=50, max_body=20_000, queue=2, body_seconds=1)
JSON, CSV = {"content-type": "application/json"}, {"content-type": "text/csv"}


@pytest.fixture(scope="module")
def client(model):
    with TestClient(create_app(model, LIMITS), raise_server_exceptions=False) as client:
        yield client


def rows(count, seed=0):
    generator = np.random.default_rng(seed)
    columns = {
        "mass": generator.lognormal(size=count),
        "angle": generator.uniform(0, 360, count),
        "share": generator.uniform(0.1, 0.9, count),
        "energy": generator.normal(size=count),
    }
    return [dict(zip(columns, map(float, values), strict=True)) for values in zip(*columns.values(), strict=True)]


def expected(model, given):
    x = torch.tensor([[row[name] for name in model.schema.names] for row in given])
    with torch.no_grad():
        return model.flow.log_prob(x, torch.tensor([[row["energy"]] for row in given])).numpy()


def test_scores_are_those_of_the_flow(client, model):
    given = rows(20)
    by_row = client.post("/score", json={"rows": given})
    assert by_row.status_code == 200
    np.testing.assert_allclose(by_row.json()["log_prob"], expected(model, given), rtol=1e-5)
    columns = {name: [row[name] for row in given] for name in reversed(given[0])} | {"other": ["ignored"]}
    assert client.post("/score", json={"columns": columns}).json() == by_row.json()
    shifted = [row | {"angle": row["angle"] + 360, "other": "ignored"} for row in given]
    np.testing.assert_allclose(client.post("/score", json={"rows": shifted}).json()["log_prob"], expected(model, given))


def test_csv_goes_in_and_out(client):
    given = rows(5)
    text = "\n".join([",".join(ROW), *(",".join(str(row[name]) for name in ROW) for row in given)])
    answer = client.post("/score", content=text, headers={**CSV, "accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    head, *values = answer.text.split()
    assert head == "log_prob"
    assert list(map(float, values)) == client.post("/score", json={"rows": given}).json()["log_prob"]
    drawn = client.post("/sample", json={"contexts": [{"energy": 1}], "n": 3}, headers={"accept": "text/csv"})
    assert np.loadtxt(io.StringIO(drawn.text), delimiter=",", skiprows=1).shape == (3, 4)


def test_samples_are_those_of_the_flow_and_repeatable(client, model):
    body = {"contexts": [{"energy": -1}, {"energy": 2.0}], "n": 2, "seed": 7}
    answer = client.post("/sample", json=body)
    assert answer.status_code == 200
    drawn = answer.json()["rows"]
    assert [row["energy"] for row in drawn] == [-1, -1, 2, 2]
    with torch.no_grad():
        context = torch.tensor([[-1.0], [-1.0], [2.0], [2.0]])
        samples = model.flow.sample((), context, generator=torch.Generator().manual_seed(7)).numpy()
    np.testing.assert_allclose([[row[name] for name in model.schema.names] for row in drawn], samples, rtol=1e-6)
    assert client.post("/sample", json=body).content == answer.content
    assert client.post("/sample", json=body | {"seed": 8}).content != answer.content
    assert client.post("/score", json={"rows": drawn}).status_code == 200


def test_a_model_without_contexts_draws_without(tmp_path):
    save_pretrained(realnvp(2), tmp_path)
    with TestClient(create_app(load_table_model(tmp_path))) as plain:
        assert len(plain.post("/sample", json={"n": 3}).json()["rows"]) == 3
        assert plain.post("/sample", json={}).json()["rows"][0].keys() == {"x0", "x1"}
        assert "contexts" in plain.post("/sample", json={"contexts": [{"a": 1}]}).json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 15_000, 400, "not JSON"),
        (b"9" * 5_000, 400, "not JSON"),
        (json.dumps({"rows": [ROW | {"mass": float("nan")}]}), 400, "NaN is not a number of JSON"),
        (json.dumps({"rows": [ROW | {"mass": float("-inf")}]}), 400, "-Infinity"),
        (json.dumps({"rows": [ROW]}).replace("1.5", "1e999"), 422, "mass is NaN or infinite"),
        (json.dumps({"rows": [ROW]}).replace("1.5", "1" * 400), 422, "mass holds a number beyond"),
        ("[]", 422, "must be a JSON object, got a list"),
        ("{}", 422, 'either "rows"'),
        ({"rows": [ROW], "columns": {}}, 422, 'either "rows"'),
        ({"rows": [ROW], "sed": 1}, 422, "unknown key 'sed'"),
        ({"rows": []}, 422, "no rows"),
        ({"rows": 5}, 422, "must be a list"),
        ({"rows": [ROW, 5]}, 422, "Row 1"),
        ({"rows": [{"mas": 1.0, "angle": 1, "share": 0.5, "energy": 1}]}, 422, "Did you mean 'mas'"),
        ({"rows": [{"\ud800": 1}]}, 422, "no column 'mass'"),
        ({"rows": [ROW], "\ud800": 1}, 422, "unknown key"),
        ({"rows": [ROW | {"mass": "heavy"}]}, 422, "mass is text in row 0, expected a number"),
        ({"rows": [ROW | {"mass": True}]}, 422, "mass is a truth value"),
        ({"rows": [ROW | {"mass": [1]}]}, 422, "mass is a list"),
        ({"rows": [ROW | {"mass": None}]}, 422, "mass is NaN"),
        ({"rows": [ROW, ROW | {"mass": -1}]}, 422, "row 1 = -1"),
        ({"rows": [ROW | {"share": 1}]}, 422, "share leaves its support (0, 1)"),
        ({"rows": [ROW | {"energy": None}]}, 422, "energy is NaN"),
        ({"columns": ROW}, 422, "mass must be a list"),
        ({"columns": {name: [1] for name in ROW} | {"share": [0.5, 0.5]}}, 422, "same number of rows"),
        ({"columns": [ROW]}, 422, "object of lists"),
        ({"rows": [ROW], "seed": -1}, 422, "seed must be a whole number"),
        ({"rows": [ROW], "seed": True}, 422, "seed must be a whole number"),
        ({"rows": [ROW], "seed": 2**53}, 422, "seed must be a whole number"),
        ({"rows": [ROW] * 51}, 413, "may have 50 rows, got 51"),
        (json.dumps({"rows": [ROW]}) + " " * 20_000, 413, "20000 bytes"),
    ],
)
def test_what_cannot_be_scored_is_said(client, body, status, said):
    content = json.dumps(body) if isinstance(body, dict) else body
    answer = client.post("/score", content=content, headers=JSON)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "contexts must be a list of objects with energy"),
        ({"contexts": []}, 422, "no rows"),
        ({"contexts": [{}]}, 422, "no column 'energy'"),
        ({"contexts": [{"energy": "x"}]}, 422, "energy is text"),
        ({"contexts": [{"energy": 1}], "n": 0}, 422, "n must be a whole number from 1 on, got 0"),
        ({"contexts": [{"energy": 1}], "n": 1.5}, 422, "n must be"),
        ({"contexts": [{"energy": 1}] * 2, "n": 26}, 413, "50 rows, got 52"),
        ({"contexts": [{"energy": 1}], "n": 10**15}, 413, "50 rows"),
        ({"context": {"energy": 1}}, 422, "unknown key 'context'"),
    ],
)
def test_what_cannot_be_drawn_is_said(client, body, status, said):
    answer = client.post("/sample", json=body)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize("text", ["", "mass\n", "a,b\n1\n", "mass,mass\n1,2\n", "x" * 19_000, '"' * 101, "\x00,\x00\n"])
def test_csv_that_is_none_is_refused(client, text):
    answer = client.post("/score", content=text, headers=CSV)
    assert answer.status_code == 422
    assert answer.json()["error"]


@given(
    st.binary(max_size=200), st.sampled_from(["/score", "/sample"]), st.sampled_from(["application/json", "text/csv"])
)
@settings(max_examples=150)
def test_no_bytes_make_a_fault(client, body, path, media):
    assert 400 <= client.post(path, content=body, headers={"content-type": media}).status_code < 500


def test_a_row_too_far_out_for_arithmetic_has_no_number(client):
    assert client.post("/score", json={"rows": [ROW | {"mass": 1e308}]}).json()["log_prob"] == [None]


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "text/plain"}, JSON | {"content-encoding": "gzip"}, {"content-type": "multipart/form-data"}],
)
def test_only_declared_types_are_read(client, headers):
    """A page from elsewhere may send plain text without asking; JSON it may not, and no answer invites it."""
    answer = client.post("/score", content=json.dumps({"rows": [ROW]}), headers={"origin": "https://e.org", **headers})
    assert answer.status_code == 415
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_other_paths_and_methods_are_named(client):
    assert client.get("/nothing").status_code == 404
    assert "POST /score" in client.get("/").json()["error"]
    refused = client.get("/score")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert client.options("/score").status_code == 405


def test_info_has_the_facts_and_no_path(client, model):
    facts = client.get("/info").json()
    assert facts["schema"] == model.schema.to_json()
    assert (facts["data"], facts["context"], facts["metrics"]) == ("events", ["energy"], {"test_nll": 1.5})
    assert facts["limits"]["max_rows"] == 50
    assert "somebody" not in json.dumps(facts)


def test_a_body_without_a_length_is_measured_too(client):
    answer = client.post("/score", content=(b" " * 1000 for _ in range(30)), headers=JSON)
    assert answer.status_code == 413


def test_a_body_that_never_ends_is_given_up(model):
    async def trickle():
        yield b"{"
        await asyncio.sleep(20)

    async def ask():
        transport = httpx.ASGITransport(app=create_app(model, LIMITS))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/score", content=trickle(), headers=JSON)

    assert asyncio.run(ask()).status_code == 408


def test_a_full_service_asks_to_come_back(client, monkeypatch):
    begun, go = threading.Semaphore(0), threading.Event()
    plain = app.score

    def slow(*arguments):
        begun.release()
        go.wait(10)
        return plain(*arguments)

    monkeypatch.setattr(app, "score", slow)
    answers = []
    crowd = [
        threading.Thread(target=lambda: answers.append(client.post("/score", json={"rows": [ROW]}))) for _ in range(2)
    ]
    for each in crowd:
        each.start()
    assert begun.acquire(timeout=10)
    while client.get("/health").json()["waiting"] < 2:
        pass
    refused = client.post("/sample", json={"contexts": [{"energy": 1}]})
    assert client.get("/health").json() == {"live": True, "ready": False, "waiting": 2}
    go.set()
    for each in crowd:
        each.join(10)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert client.get("/health").json() == {"live": True, "ready": True, "waiting": 0}


def test_a_fault_of_ours_shows_no_traceback(client, monkeypatch, capsys):
    def broken(*_):
        raise KeyError("a secret")

    monkeypatch.setattr(app, "score", broken)
    answer = client.post("/score", json={"rows": [ROW]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert "Traceback" not in said
    assert client.get("/health").json()["waiting"] == 0


def test_a_missing_package_names_its_pip_line(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "bijecta\[serve\]"'):
        create_app(model)


def test_limits_are_checked():
    with pytest.raises(InputError, match="queue must be at least 1"):
        ServiceSettings(queue=0)


def test_labels_and_counts_go_out_and_in_as_their_own_types(tmp_path):
    """What is drawn can be scored: labels of text, numbers and truth values keep their types in JSON."""
    columns = Schema(
        (
            Column("mass", "positive"),
            Column("sort", "category", dtype="str", categories=("up", "down", "ö")),
            Column("level", "category", dtype="int64", categories=("3", "12")),
            Column("flag", "category", dtype="bool", categories=("False", "True")),
            Column("count", "integer", low=0, dtype="int64"),
        )
    )
    flow = table(columns.to_json(), arguments={"layers": 1, "hidden": [8]})
    save_pretrained(flow, tmp_path, metadata={"schema": columns.to_json()})
    with TestClient(create_app(load_table_model(tmp_path))) as client:
        drawn = client.post("/sample", json={"n": 40}).json()["rows"]
        assert {type(row[name]) for row in drawn for name in ("level", "count")} == {int}
        assert {row["sort"] for row in drawn} <= {"up", "down", "ö"}
        assert {row["flag"] for row in drawn} == {True, False}
        scores = client.post("/score", json={"rows": drawn}).json()
        x = torch.tensor(columns.matrix(read_table({name: [row[name] for row in drawn] for name in columns.names})))
        with torch.no_grad():
            np.testing.assert_allclose(scores["log_prob"], flow.log_prob(x.float()).numpy(), rtol=1e-5)
        for wrong in ({"sort": "sideways"}, {"level": 4}, {"flag": 1}, {"sort": None}, {"sort": 1}):
            assert client.post("/score", json={"rows": [drawn[0] | wrong]}).status_code == 422
