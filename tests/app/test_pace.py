"""Commands and what they do to the pace of a run."""

import threading

import pytest

from bijecta.app.pace import Pace


def after(*commands):
    pace = Pace()
    for command in commands:
        pace.inbox.put({"do": command} if isinstance(command, str) else command)
    pace.listen(step=7)
    return pace


def test_pause_resume_and_single_steps():
    assert after().may_step()
    assert not after("pause").may_step()
    assert after("pause", "resume").may_step()
    stepping = after("step", "step")
    assert [stepping.may_step() for _ in range(3)] == [True, True, False]


def test_slow_and_stop():
    assert after("slow").slow
    assert not after("slow", {"do": "slow", "on": False}).slow
    assert after("stop").stopped
    assert not after("stop").closed
    assert after("close").stopped


@pytest.mark.parametrize("factor", [0.1, 10])
def test_a_change_of_the_rate_is_remembered_with_its_step(factor):
    assert after({"do": "rate", "factor": factor}).factors == [(7, factor)]


@pytest.mark.parametrize("factor", [0, -1, 1e9, float("nan"), "fast", None, 1.0])
def test_an_impossible_rate_is_ignored(factor):
    pace = after({"do": "rate", "factor": factor})
    assert (pace.factor, pace.factors) == (1.0, [])


def test_anything_else_is_a_question():
    assert after({"ask": "probe"}).questions == [{"ask": "probe"}]


def test_waiting_ends_with_a_command_and_is_counted():
    pace = Pace()
    threading.Timer(0.1, pace.inbox.put, [{"do": "pause"}]).start()
    pace.listen(0, seconds=30)
    assert pace.paused
    assert 0.05 < pace.seconds_waited < 25
