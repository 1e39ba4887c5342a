"""Folders for model hubs: bit-equal models, honest configs, hostile content refused; the Hub is played by a cache."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file

from bijecta.data import Column, Schema
from bijecta.errors import FileFormatError, InputError, MissingDependencyError
from bijecta.flows import Flow, nsf, realnvp, table
from bijecta.persistence import (
    from_pretrained,
    load,
    load_table_model,
    push_to_hub,
    read_header,
    save,
    save_pretrained,
)

hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

SCHEMA = Schema((Column("mass", "positive"), Column("count", "integer", low=0)))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def run(tmp_path):
    """A folder as `bijecta fit` leaves it."""
    folder = tmp_path / "runs" / "events-nsf"
    folder.mkdir(parents=True)
    metadata = {
        "data": "events",
        "schema": SCHEMA.to_json(),
        "context": ["energy"],
        "settings": {"data": "/home/somebody/secret/events.csv", "seed": 3},
        "metrics": {"test_nll": 1.5, "seed": 3},
        "versions": {"bijecta": "0.1.0"},
    }
    flow = table(SCHEMA.to_json(), context=1, arguments={"layers": 2, "hidden": [8]})
    save(flow, folder / "model.safetensors", metadata=metadata)
    return folder


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_run_becomes_a_folder_for_the_hub(run, tmp_path):
    target = tmp_path / "hub"
    save_pretrained(run, target, name="owner/name")
    assert sorted(each.name for each in target.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert same_weights(from_pretrained(target), load(run / "model.safetensors"))
    header, config = read_header(target / "model.safetensors"), json.loads((target / "config.json").read_text())
    assert config["library_name"] == "bijecta"
    assert config["recipe"] == header["recipe"]
    assert config["schema"] == SCHEMA.to_json()
    assert header["metadata"]["settings"] == {"data": "events.csv", "seed": 3}
    assert header["metadata"]["metrics"]["test_nll"] == 1.5
    model = load_table_model(target)
    assert (model.schema, model.context) == (SCHEMA, ("energy",))
    assert 'from_pretrained("owner/name")' in (target / "README.md").read_text()
    assert all(b"somebody" not in each.read_bytes() for each in target.iterdir()), "paths of the training machine"


def test_a_flow_becomes_a_folder_too(tmp_path):
    flow = nsf(2, layers=2, hidden=(8,))
    save_pretrained(flow, tmp_path / "new" / "folder", metadata={"data": "moons"})
    assert same_weights(from_pretrained(tmp_path / "new" / "folder"), flow)
    assert "nsf of moons" in (tmp_path / "new" / "folder" / "README.md").read_text()


def test_a_run_folder_loads_as_it_is(run):
    assert same_weights(from_pretrained(run), load(run / "model.safetensors"))


def test_what_cannot_be_saved_is_said(run, tmp_path):
    flow = realnvp(2)
    by_hand = Flow(flow.bijection, flow.base)
    with pytest.raises(InputError, match="a recipe built"):
        save_pretrained(by_hand, tmp_path / "x")
    with pytest.raises(InputError, match="its own metadata"):
        save_pretrained(run, tmp_path / "x", metadata={})
    with pytest.raises(InputError, match="no model file"):
        save_pretrained(tmp_path, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", [b"\x80\x04\x95pickle", b"", b"\xff" * 64])
def test_hostile_folders_are_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError):
        from_pretrained(tmp_path)


def test_weights_under_other_names_are_never_read(tmp_path):
    """A pickle that would give itself away, in the places where other libraries look."""

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    for name in ("pytorch_model.bin", "model.pt"):
        torch.save(Bomb(), tmp_path / name)
    with pytest.raises(InputError, match="no model file"):
        from_pretrained(tmp_path)
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(FileFormatError, match="not a model of bijecta"):
        from_pretrained(tmp_path)
    assert not (tmp_path / "exploded").exists()


def hub_cache(folder, run, files=("config.json", "model.safetensors")):
    """Lay out a cache of huggingface_hub as a download leaves it."""
    snapshot = folder / "models--owner--name" / "snapshots" / COMMIT
    save_pretrained(run, snapshot)
    for each in snapshot.iterdir():
        if each.name not in files:
            each.unlink()
    (folder / "models--owner--name" / "refs").mkdir()
    (folder / "models--owner--name" / "refs" / "main").write_text(COMMIT)
    return folder


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_name_on_the_hub_loads_from_the_cache(run, tmp_path, revision):
    cache = hub_cache(tmp_path / "cache", run)
    flow = from_pretrained("owner/name", revision=revision, cache_dir=cache, local_files_only=True)
    assert same_weights(flow, load(run / "model.safetensors"))


def test_hub_offline_is_heeded(run, tmp_path):
    """The environment variable of the Hub's own client, in a child that reads it."""
    cache = hub_cache(tmp_path / "cache", run)
    code = "from bijecta.persistence import from_pretrained; print(from_pretrained('owner/name').is_bound)"
    environment = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1", "PATH": ""}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout) == (0, "False\n"), child.stderr


def test_what_the_hub_does_not_have_is_said(tmp_path):
    with pytest.raises(InputError, match=r"did not do it for owner/name.*\nCheck the name"):
        from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)


@pytest.mark.parametrize("name", ["moons", "a/b/c", "../x/y", "", "owner/na me"])
def test_a_name_that_is_none_is_refused_before_the_network(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "snapshot_download", Mock(side_effect=AssertionError("asked the network")))
    if name:
        with pytest.raises(InputError, match="Expected a folder"):
            from_pretrained(name)
    with pytest.raises(InputError, match="Expected a folder"):
        push_to_hub(realnvp(2), name)


def test_only_two_files_are_asked_for(run, monkeypatch):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return run

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    from_pretrained("owner/name", revision="v1", token="secret")  # noqa: S106
    assert asked["allow_patterns"] == ["config.json", "model.safetensors"]
    assert (asked["name"], asked["revision"], asked["token"]) == ("owner/name", "v1", "secret")


class Api:
    """The two calls of HfApi that a push makes, and what they were told."""

    calls: ClassVar[list[dict[str, object]]] = []

    def __init__(self, **options):
        self.calls[:] = [options]

    def create_repo(self, name, **options):
        self.calls.append({"name": name, **options})

    def upload_folder(self, *, folder_path, **options):
        flow = from_pretrained(folder_path)
        self.calls.append({"files": sorted(each.name for each in Path(folder_path).iterdir()), "flow": flow, **options})
        return SimpleNamespace(commit_url="https://example.org/commit/1")


def test_pushing_makes_a_repository_and_one_commit(run, monkeypatch):
    monkeypatch.setattr(hub, "HfApi", Api)
    assert push_to_hub(run, "owner/name", private=True, token="secret") == "https://example.org/commit/1"  # noqa: S106
    client, repository, upload = Api.calls
    assert client["token"] == "secret"  # noqa: S105
    assert repository == {"name": "owner/name", "private": True, "exist_ok": True}
    assert upload["files"] == ["README.md", "config.json", "model.safetensors"]
    assert (upload["repo_id"], upload["revision"]) == ("owner/name", None)
    assert same_weights(upload["flow"], load(run / "model.safetensors"))


def test_a_refusal_of_the_hub_is_one_sentence(run, monkeypatch):
    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(Api, "create_repo", Mock(side_effect=OSError("401 Client Error: Unauthorized")))
    with pytest.raises(InputError, match="401 Client Error"):
        push_to_hub(run, "owner/name")


def test_a_missing_package_names_its_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "bijecta\[hub\]"'):
        from_pretrained("owner/name")


def test_headers_that_name_other_columns_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    for metadata in ({"context": ["a"]}, {"schema": SCHEMA.to_json()}, {"context": 5}, {"schema": 5}):
        save(realnvp(3), path, metadata=metadata)
        with pytest.raises(FileFormatError):
            load_table_model(path)
