"""What the README says is run: its Python as it stands, its commands as the parser sees them."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf8")


def test_python_blocks_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 (our own file)
    assert (tmp_path / "moons.safetensors").exists()
    # The last expression of the second block promises this shape.
    assert names["flow"].sample(5, context=torch.tensor([[200.0], [800.0]])).shape == (5, 2, 2)


def test_the_promise_about_moons(tmp_path: Path) -> None:
    import bijecta

    torch.manual_seed(0)
    target = bijecta.toy("moons")
    flow = bijecta.nsf(features=2)
    bijecta.fit(flow, target.sample(5_000, 0), config=bijecta.FitConfig(epochs=20))
    test = target.sample(20_000, 1)
    with torch.no_grad():
        gap = target.log_prob(test).mean() - flow.log_prob(torch.as_tensor(test).float()).mean().item()
    assert gap < 0.1


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    for target in re.findall(r"make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
