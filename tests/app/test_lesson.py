"""A watched run gives the numbers of a plain one, and obeys."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from app.conftest import wait_for, wait_until_final
from bijecta.app.lesson import build_flow
from bijecta.app.script import script_of
from bijecta.app.settings import RunSettings
from bijecta.app.trainer import ProcessTrainer, ThreadTrainer
from bijecta.data import toy
from bijecta.flows import build
from bijecta.training import FitConfig, fit


@pytest.fixture
def thread(tiny):
    trainer = ThreadTrainer(tiny)
    yield trainer
    trainer.close()


def plain(settings):
    """The run without the Lab."""
    torch.manual_seed(settings.seed)
    flow = build(settings.recipe, {"features": 2, **settings.arguments})
    result = fit(flow, toy(settings.data).sample(settings.rows, settings.seed), config=settings.config())
    return flow, result


def test_watching_changes_no_number(thread, tiny):
    wait_until_final(thread)
    flow, result = plain(tiny)
    assert thread.latest.header["best"] == result.best_loss
    assert [loss for _, loss in thread.latest.header["validation"]] == [
        pytest.approx(progress.validation_loss, abs=1e-5) for progress in result.history
    ]
    for ours, theirs in zip(thread.lesson.flow.parameters(), flow.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_pausing_stepping_and_probing_change_no_number(tiny):
    trainer = ThreadTrainer(tiny)
    trainer.pause()
    wait_for(lambda: trainer.state == "paused")
    before = trainer.latest.header["step"]
    trainer.step()
    wait_for(lambda: trainer.latest.header["step"] == before + 1 and trainer.state == "paused")
    assert trainer.ask("samples", count=3).result(30).arrays["samples"].shape == (3, 2)
    trainer.resume()
    wait_until_final(trainer)
    assert trainer.latest.header["best"] == plain(tiny)[1].best_loss
    trainer.close()


def test_a_frame_shows_the_flow(thread, tiny):
    wait_until_final(thread)
    frame, flow = thread.latest, thread.lesson.flow
    low, high = np.split(np.array(thread.scene.header["box"]), 2)
    corner = torch.tensor([[low[0] + (high[0] - low[0]) / 128, high[1] - (high[1] - low[1]) / 128]]).float()
    middle = torch.as_tensor((low + high) / 2 + (high - low) / 128 * [1, -1]).float()[None]
    with torch.no_grad():
        for point, pixel in ((corner, (0, 0)), (middle, (32, 32))):
            shade = 255 * np.sqrt(flow.log_prob(point).exp().item() / frame.header["scale"])
            assert frame.arrays["density"][pixel] == pytest.approx(min(255, shade), abs=1.1)
        latents = torch.tensor(frame.arrays["grid"][0])
        torch.testing.assert_close(torch.tensor(frame.arrays["grid"][-1]), flow.to_data(latents), atol=1e-4, rtol=1e-4)
        expected = flow.log_prob(flow.to_data(latents))
        inner = latents.abs().max(1).values < 2
        torch.testing.assert_close(
            torch.tensor(frame.arrays["grid_logp"][-1])[inner], expected[inner], atol=1e-3, rtol=1e-3
        )
    assert frame.header["round_trip"] < 1e-3
    assert thread.scene.header["entropy"] == pytest.approx(toy("moons").entropy)


def test_stopping_keeps_the_best_and_still_answers(tiny):
    trainer = ThreadTrainer(RunSettings("realnvp", tiny.arguments, training={"epochs": 10_000, "patience": 0}))
    wait_for(lambda: trainer.state == "running" and trainer.latest.header["epoch"] >= 1)
    trainer.stop()
    wait_for(lambda: trainer.state == "stopped")
    x = [0.5, 0.1]
    answer = trainer.ask("probe", x=x).result(30).header
    expected = trainer.lesson.flow.log_prob(torch.tensor([x])).item()
    assert answer["sum"] == pytest.approx(expected, abs=1e-5)
    assert "error" in trainer.ask("weather").result(30).header
    trainer.close()


def test_a_run_that_cannot_be_built_fails_with_its_sentence(tiny):
    trainer = ThreadTrainer(RunSettings("sylvester", {"rank": 7}))
    wait_until_final(trainer)
    assert trainer.state == "failed"
    assert "rank" in trainer.latest.header["message"]
    assert "no flow" in trainer.ask("model").result(30).header["error"]
    trainer.close()


def test_a_diverging_run_fails_with_cause_and_cure():
    trainer = ThreadTrainer(
        RunSettings("nice", {"layers": 2, "hidden": (8,)}, rows=400, training={"learning_rate": 1e18})
    )
    wait_until_final(trainer)
    assert trainer.state == "failed"
    assert "at step" in trainer.latest.header["message"]
    trainer.close()


def test_even_a_fault_in_the_lab_is_said(tiny, monkeypatch):
    monkeypatch.setattr("bijecta.app.lesson.make_scene", lambda *_: 1 / 0)
    trainer = ThreadTrainer(tiny)
    wait_until_final(trainer)
    assert "ZeroDivisionError" in trainer.latest.header["message"]
    trainer.close()


def run_script(text, tmp_path):
    path = tmp_path / "run.py"
    path.write_text(text, encoding="utf8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_the_process_and_its_script_agree_even_after_changes_of_the_rate(tiny, tmp_path):
    trainer = ProcessTrainer(tiny)
    trainer.set_rate(3.0)
    wait_until_final(trainer, 120)
    header = trainer.latest.header
    assert header["state"] == "done"
    assert header["factors"], "the change came before the end"
    assert run_script(script_of(tiny, header["factors"]), tmp_path) == pytest.approx(header["best"], abs=1e-6)
    assert header["best"] != plain(tiny)[1].best_loss
    trainer.close()
    assert trainer.process.poll() is not None
    assert len(trainer.history.items()) >= 2


def test_a_killed_worker_is_reported(tiny):
    trainer = ProcessTrainer(RunSettings("realnvp", training={"epochs": 10_000}))
    wait_for(lambda: trainer.state == "running", 120)
    question = trainer.ask("report")
    trainer.process.kill()
    wait_for(lambda: trainer.state == "failed")
    assert "has ended" in trainer.latest.header["message"]
    with pytest.raises(ValueError, match="has ended"):
        question.result(10)
    trainer.close()


def test_building_leaves_the_random_numbers_alone(tiny):
    before = torch.get_rng_state()
    build_flow(tiny)
    assert torch.equal(before, torch.get_rng_state())


def test_settings_reach_fit(tiny):
    assert tiny.config() == FitConfig(epochs=3, seed=0)
    assert json.loads(json.dumps(tiny.to_json()))["training"] == {"epochs": 3}
