"""The Python of the page on other packages runs, one block after the other."""

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "interoperability.md"


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("arviz", "pyro", "sbi", "tensorboard"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf8"), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102 (our own file)
    assert names["rows"].shape == (1000, 3)
    assert names["samples"].shape == (500, 2)
    assert (tmp_path / "run.jsonl").exists()
