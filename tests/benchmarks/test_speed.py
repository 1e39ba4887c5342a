"""The parent of the speed benchmark, and what it makes of the figures."""

from dataclasses import replace

import pytest

import speed
import speed_report
import step_profile
from bijecta.functional.kernels import status
from bijecta.functional.kernels.chain import Program
from speed_rows import LIBRARIES, ROWS, why_not

GOOD = {"parameters": 35344, "finite": True}


def compared(work="train", size=256):
    answers = {"bijecta": GOOD, "zuko": GOOD, "nflows": {**GOOD, "finite": False}}
    answers |= {"normflows": {**GOOD, "parameters": 20_000}, "freia": {"error": "not installed"}}
    rounds = {"bijecta": [1.0, 2.0, 9.0], "zuko": [5.0, 6.0, 7.0], "nflows": [0.1] * 3, "normflows": [0.2] * 3}
    return speed_report.compare(ROWS["realnvp2"], work, size, answers, rounds, {"floor": 0.5})


def test_only_what_computes_the_same_is_counted():
    result = compared()
    assert result["fastest_peer"] == "zuko"
    assert result["times_faster"] == 3.0
    assert result["times_floor"] == 4.0
    assert "not finite" in result["not_counted"]["nflows"]
    assert "20000 parameters" in result["not_counted"]["normflows"]
    assert result["missing"] == {"freia": "not installed"}


def test_a_peer_that_failed_while_it_was_timed_is_not_the_fastest():
    answers, rounds = dict.fromkeys(("bijecta", "zuko", "nflows"), GOOD), {"bijecta": [1.0], "nflows": [2.0]}
    result = speed_report.compare(ROWS["realnvp2"], "train", 256, answers, rounds | {"zuko": [float("nan")]}, None)
    assert result["fastest_peer"] == "nflows"
    assert "failed" in result["not_counted"]["zuko"]


def test_without_a_peer_there_is_no_ratio():
    result = speed_report.compare(ROWS["nsf2"], "train", 256, {"bijecta": GOOD}, {"bijecta": [1.0]}, None)
    assert result["times_faster"] is None
    assert result["quartiles"] == {"bijecta": [1.0, 1.0]}


def test_the_table_has_a_line_for_each_result_and_the_overhead_of_fit(capsys):
    fit = speed_report.compare(ROWS["realnvp2"], "fit", 256, {"bijecta": GOOD}, {"bijecta": [2.2]}, None)
    lines = speed_report.table([compared(), fit, {"versions": {}}]).splitlines()
    assert lines[2] == "| realnvp2 | training step | 2 | 6 zuko | 3.00 | 4.00 |"
    assert lines[3] == "| realnvp2 | step inside `fit` | 2.2 | +10 % on the bare step | - | - |"
    assert len(lines) == 4
    speed_report.print_row(compared())
    assert "normflows is not counted: computes something else" in capsys.readouterr().out


def test_the_plot_is_a_picture(tmp_path):
    works = [compared(), compared("log_prob", 10_000), compared("first")]
    speed_report.plot([*works, {"versions": {}}], tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_options_name_rows_that_exist(capsys):
    options = speed.read_options(["--rows", "nsf2,maf43", "--quick"])
    assert options.rows == ["nsf2", "maf43"]
    assert options.rounds == 1
    assert not options.keep
    assert speed.read_options([]).keep
    with pytest.raises(SystemExit):
        speed.read_options(["--rows", "nsf3"])
    assert "there are realnvp2" in capsys.readouterr().err


def test_every_row_has_a_peer_for_everything_but_fit():
    for name, row in ROWS.items():
        for work, _ in row.works():
            others = [library for library in LIBRARIES[1:] if not why_not(library, name, work)]
            assert (others == []) == (work == "fit")


def test_one_row_from_end_to_end(monkeypatch, capsys):
    """One work with bijecta alone, in a real child."""
    options = speed.read_options(["--libraries", "bijecta", "--threads", "1", "--quick"])
    monkeypatch.setattr(speed.floor, "floor", lambda *_: {"floor": 1.0})
    with speed._children(options.libraries, options.threads) as children:
        result = speed.measure(ROWS["realnvp2"], "log_prob", 64, children, options)
    assert result["facts"]["bijecta"]["finite"]
    assert result["times_floor"] == result["milliseconds"]["bijecta"] > 0


def test_the_matrix_has_a_line_per_model_and_leaves_small_batches_out():
    works = [compared(), compared("log_prob", 10_000), compared("log_prob", 1), compared("sample", 1000)]
    works[2]["times_faster"] = 999.0
    _, _, line = speed_report.matrix([*works, {"versions": {}}]).splitlines()
    ratio = f"{works[0]['times_faster']:.2f} ({works[0]['fastest_peer']})"
    assert line == f"| affine coupling, 2 features, 8 layers of 2 x 64 | {ratio} | {ratio} | {ratio} |"


@pytest.mark.skipif(not status().startswith("native"), reason=f"native kernels are {status()}")
def test_the_parts_of_a_step_are_timed_and_the_call_is_put_back():
    native = Program.call
    row = step_profile.profile(replace(ROWS["nsf2"], batch=8), steps=20)
    assert Program.call is native
    assert set(row) == {"row", "native", "around it", "update"}
    assert all(value > 0 for name, value in row.items() if name != "row")
