"""Several processes take the same steps as one: the same losses, the same weights, one hook, one checkpoint."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from bijecta.flows import realnvp
from bijecta.training.distributed import Team, _agree_on_a_word, join, launched
from bijecta.training.rows import read_rows

# Every case is run by one process here and by two in the child; 91 rows leave batches that cannot be halved.
CASES = """
import json, sys, torch
from bijecta.errors import BijectaError
from bijecta.flows import maf, realnvp
from bijecta.training import FitConfig, fit, reverse_kl

def rows(n=101):
    generator = torch.Generator().manual_seed(1)
    x = 5 + 3 * torch.randn(n, 2, generator=generator)
    weight = torch.rand(n, generator=generator) - 0.1
    return x, x[:, :1] + torch.randn(n, 1, generator=generator), weight

def plain():
    torch.manual_seed(0)
    return realnvp(2, layers=2, hidden=(8,)), dict(x=rows()[0]), {}

def weighted_with_context():
    x, context, weight = rows()
    torch.manual_seed(0)
    return maf(2, context=1, layers=2, hidden=(8,)), dict(x=x, context=context, weight=weight), {}

def fewer_rows_than_processes():
    torch.manual_seed(0)
    return realnvp(2, layers=1, hidden=(4,)), dict(x=rows(7)[0]), dict(batch_size=1)

def by_the_clock():
    torch.manual_seed(0)
    return realnvp(2, layers=1, hidden=(4,)), dict(x=rows()[0]), dict(epochs=10**6, max_seconds=1.0)

def run(case, **more):
    flow, data, settings = case()
    settings = dict(epochs=4, batch_size=30, learning_rate=0.01, patience=0) | settings
    result = fit(flow, config=FitConfig(**settings), **data, **more)
    losses = [[line.train_loss, line.validation_loss] for line in result.history]
    weights = torch.cat([p.detach().flatten() for p in flow.parameters()])
    return dict(losses=losses, weights=weights.tolist(), stopped=result.stopped)
"""

CHILD = (
    CASES
    + """
import os
rank, answers = int(os.environ["RANK"]), {}
for case in (plain, weighted_with_context, fewer_rows_than_processes, by_the_clock):
    answers[case.__name__] = run(case)
seen = []
run(plain, on_epoch=lambda progress: seen.append(progress.epoch) or len(seen) == 2, checkpoint="run.safetensors")
answers["epochs the hook saw"] = seen
answers["after the restart"] = run(plain, checkpoint="run.safetensors")
torch.manual_seed(rank)
flow = realnvp(2, layers=1, hidden=(4,))
fit(flow, None, loss=reverse_kl(lambda x: -x.square().sum(-1) / 2), config=FitConfig(epochs=1, steps_per_epoch=2))
answers["different starts, same end"] = [p.tolist() for p in flow.parameters()]
try:
    fit(flow, rows()[0] + rank)
except BijectaError as error:
    answers["other rows"] = type(error).__name__ + ": " + str(error)
with open(f"{rank}.json", "w") as file:
    json.dump(answers, file)
"""
)


def torchrun(folder, script, *arguments, processes=2, restarts=0):
    """Start processes as a user would, and wait."""
    (folder / "script.py").write_text(script)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*launch, f"--max-restarts={restarts}", "script.py", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    outcome = torchrun(folder, CHILD)
    assert outcome.returncode == 0, outcome.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    cases = {}
    exec(CASES, cases)  # noqa: S102
    return lambda name: cases["run"](cases[name])


@pytest.mark.parametrize("name", ["plain", "weighted_with_context", "fewer_rows_than_processes"])
def test_two_processes_are_one_run(answers, alone, name):
    expected = alone(name)
    for answer in answers:
        for two, one in zip(answer[name]["losses"], expected["losses"], strict=True):
            assert two == pytest.approx(one, abs=1e-5)
        assert answer[name]["weights"] == pytest.approx(expected["weights"], abs=1e-4)
    assert answers[0][name] == answers[1][name], "bit for bit: nothing drifts apart"


def test_a_time_limit_ends_all_processes_with_the_same_weights(answers):
    assert answers[0]["by_the_clock"] == answers[1]["by_the_clock"]
    assert answers[0]["by_the_clock"]["stopped"] == "time"


def test_the_hook_is_called_where_the_run_is_led_and_stops_all(answers):
    assert [answer["epochs the hook saw"] for answer in answers] == [[1, 2], []]


def test_all_go_on_from_the_checkpoint(answers):
    assert answers[0]["after the restart"] == answers[0]["plain"]
    assert answers[1]["after the restart"] == answers[1]["plain"]


def test_weights_that_began_differently_are_made_equal(answers):
    first, second = (answer["different starts, same end"] for answer in answers)
    assert first == second


def test_different_rows_are_refused(answers):
    assert all(answer["other rows"].startswith("InputError: The processes of this run have") for answer in answers)


def test_shares_make_up_the_batch():
    rows = read_rows(realnvp(2), torch.arange(14.0).reshape(7, 2), None, None, 1)
    shares = [Team(rank, 3).share(rows) for rank in range(3)]
    assert torch.cat([share.x for share, _ in shares]).equal(rows.x)
    assert sum(fraction for _, fraction in shares) == pytest.approx(1)
    one = rows.take(torch.tensor([4]))
    assert [Team(rank, 2).share(one)[1] for rank in range(2)] == [1.0, 0.0]
    assert len(Team(1, 2).share(one)[0]) == 1


def test_alone_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join(torch.device("cpu")) == Team()
    assert not launched()
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert not launched(), "one process needs no group"
    assert not torch.distributed.is_initialized()


def test_processes_that_are_started_again_do_not_meet_the_dead():
    """The store outlives them: what an earlier life has written must not be taken for the present one."""
    store, words = torch.distributed.HashStore(), []
    for _ in range(3):
        with ThreadPoolExecutor() as pool:
            others = [pool.submit(_agree_on_a_word, store, rank, 3) for rank in (1, 2)]
            time.sleep(0.1)  # the others are first, and find the word of the life before
            word = _agree_on_a_word(store, 0, 3)
            assert {other.result(timeout=10) for other in others} == {word}
        words.append(word)
    assert len(set(words)) == 3


def test_noise_differs_between_processes():
    assert len({Team(rank, 4).seed(7) for rank in range(4)}) == 4
    assert Team().seed(7) == 7
