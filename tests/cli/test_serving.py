"""Commands that pass a model on: serve, card."""

import os
import signal

import httpx
import pytest

from cli.conftest import finish, spawn

RUN = "import sys; from bijecta.cli import main; sys.exit(main(sys.argv[1:]))"


def test_card_goes_beside_the_model_once(bijecta, toy_run, tmp_path):
    shown = bijecta("card", toy_run, "--name", "owner/moons", "-o", "-")
    assert shown.code == 0
    assert "# nsf of moons" in shown.out
    assert 'from_pretrained("owner/moons")' in shown.out
    assert "exact entropy" in shown.out
    (tmp_path / "model.safetensors").write_bytes((toy_run / "model.safetensors").read_bytes())
    assert bijecta("card", tmp_path).code == 0
    assert (tmp_path / "README.md").read_text().startswith("---\nlibrary_name: bijecta")
    again = bijecta("card", tmp_path)
    assert (again.code, "may be more than a card" in again.words) == (1, True)
    assert bijecta("card", tmp_path, "--out", tmp_path / "README.md").code == 0


def test_serve_says_what_is_wrong_before_it_starts(bijecta, tmp_path):
    assert "no model file" in bijecta("serve", tmp_path / "none.safetensors").words
    assert bijecta("serve", tmp_path, "--queue", "0").code == 2


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is a signal of POSIX systems")
def test_serve_answers_until_ctrl_c(toy_run, tmp_path):
    child = spawn(RUN, tmp_path, "serve", toy_run, "--port", "0", "--log")
    address = child.stderr.readline().split(" on ")[1].split()[0]
    answer = httpx.post(f"{address}/score", json={"rows": [{"x": 0.0, "y": 0.5}]}, timeout=60)
    assert answer.status_code == 200
    assert httpx.get(f"{address}/info", timeout=60).json()["recipe"]["name"] == "nsf"
    child.send_signal(signal.SIGINT)
    outcome = finish(child)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert '"path": "/score"' in outcome.out
