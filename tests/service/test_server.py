"""The service as a process: a crowd of requests, the end by SIGTERM, addresses that are taken, the log."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bijecta.errors import InputError
from bijecta.service.server import listen
from service.conftest import ROW

CHILD = """
import sys
from bijecta.persistence import load_table_model
from bijecta.service import ServiceSettings, create_app
from bijecta.service.server import listen, serve
settings = ServiceSettings(max_rows=2_000_000, queue=16)
app = create_app(load_table_model(sys.argv[1]), settings)
with listen("127.0.0.1", 0) as listener:
    print(listener.getsockname()[1], flush=True)
    serve(app, listener, settings, sys.stdout)
"""
CONTEXT = {"energy": 1.0}


@contextmanager
def service(model_file):
    """Run a service in a child process; give the process and its address."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(model_file)], env=environment, **pipes)
    try:
        yield child, f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.kill()
        child.communicate()


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is a signal of POSIX systems")
def test_sigterm_finishes_what_was_accepted(model_file):
    answers = []
    with service(model_file) as (child, address):

        def ask():
            body = {"n": 200_000, "contexts": [CONTEXT]}
            answers.append(httpx.post(f"{address}/sample", json=body, headers={"accept": "text/csv"}, timeout=60))

        asking = threading.Thread(target=ask)
        asking.start()
        while not httpx.get(f"{address}/health", timeout=60).json()["waiting"]:
            pass
        child.send_signal(signal.SIGTERM)
        asking.join(60)
        out, err = child.communicate(timeout=60)
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].text.count("\n") == 200_001
    assert child.returncode in (0, -signal.SIGTERM)
    assert err == ""
    log = [json.loads(line) for line in out.splitlines()]
    assert {(line["method"], line["path"], line["status"]) for line in log} == {
        ("GET", "/health", 200),
        ("POST", "/sample", 200),
    }
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")


def resident(process):
    """Return the memory of a process in MB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_thousand_requests_at_once_are_all_answered(model_file):
    """A full service turns requests away, who come back when they are asked to; none is lost, none differs."""
    refusals = []

    async def ask(client, room, number):
        body = {"rows": [ROW | {"energy": number / 1000}] * 20}
        while True:
            async with room:
                answer = await client.post("/score", json=body)
            if answer.status_code == 200:
                return number, answer.json()["log_prob"]
            assert answer.status_code == 503, answer.text
            refusals.append(number)
            await asyncio.sleep(float(answer.headers["retry-after"]))

    async def crowd(address):
        # A thousand wait at once, in as many connections as every system allows a process.
        room, limits = asyncio.Semaphore(250), httpx.Limits(max_connections=250)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=120) as client:
            return await asyncio.gather(*(ask(client, room, number) for number in range(1000)))

    with service(model_file) as (child, address):
        # Echoing the log would fill the pipe.
        threading.Thread(target=child.stdout.read, daemon=True).start()
        alone = httpx.post(f"{address}/score", json={"rows": [ROW | {"energy": 0.5}]}, timeout=60).json()["log_prob"]
        before = resident(child)
        # In a thread of its own: a browser test before this one may have left a running loop in the main thread.
        with ThreadPoolExecutor(1) as pool:
            answers = dict(pool.submit(asyncio.run, crowd(address)).result())
        growth = resident(child) - before
        assert httpx.get(f"{address}/health", timeout=60).json() == {"live": True, "ready": True, "waiting": 0}
    assert sorted(answers) == list(range(1000))
    assert all(len(scores) == 20 and len(set(scores)) == 1 for scores in answers.values())
    assert answers[500][0] == pytest.approx(alone[0], rel=1e-5)
    assert len({scores[0] for scores in answers.values()}) > 900, "every request got its own answer"
    assert refusals, "the queue was never full: this test measured nothing"
    assert growth < 200
    sys.stdout.write(f"refusals {len(refusals)}, growth {growth:.0f} MB\n")


def test_a_taken_port_is_an_error_in_words():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="another --host or --port"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(InputError, match="Cannot listen"):
        listen("192.0.2.1", 0)
