"""Model files: bit-equal round trips, old fixtures still load, and hostile files only ever give a clear error."""

import contextlib
import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bijecta.bijections import LULinear
from bijecta.data import Column, Schema
from bijecta.distributions import Distribution, Normal
from bijecta.errors import FileFormatError, InputError
from bijecta.flows import RECIPES, Flow, build, realnvp, table
from bijecta.persistence import load, load_into, read_header, save

FIXTURES = Path(__file__).parent / "fixtures"

ARGUMENTS: dict[str, dict[str, object]] = {name: {"features": 3, "hidden": [8]} for name in RECIPES}
ARGUMENTS["realnvp"] |= {"masks": "random", "networks": "separate", "context": 2}
ARGUMENTS["nsf"] |= {"spline": "cubic", "base": "student", "layers": 2}
ARGUMENTS["circular_nsf"] |= {"circular": [True, False, True], "layers": 2}
ARGUMENTS["glow_image"] = {"shape": [1, 4, 4], "levels": 2, "steps": 1, "hidden": 4}
ARGUMENTS["table"] = {
    "schema": Schema(
        (Column("a", "positive"), Column("b", "integer"), Column("phi", "periodic", low=0.0, high=360.0))
    ).to_json(),
    "arguments": {"layers": 2, "hidden": [8]},
}


def made(name: str, seed: int = 0) -> Distribution:
    torch.manual_seed(seed)
    flow = build(name, ARGUMENTS[name])
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return flow


def inputs(name: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    x = torch.rand(5, *((1, 4, 4) if name == "glow_image" else (3,)), generator=torch.Generator().manual_seed(0))
    return x, torch.ones(5, 2) if name == "realnvp" else None


@pytest.mark.parametrize("name", RECIPES)
def test_round_trip_is_bit_equal(name: str, tmp_path: Path) -> None:
    flow = made(name)
    x, context = inputs(name)
    flow.initialise(x + torch.arange(5.0).reshape(-1, *[1] * (x.ndim - 1)), context)
    save(flow, tmp_path / "model.safetensors")
    torch.manual_seed(1)  # other initial permutations and masks than the saved ones
    state = torch.get_rng_state()
    loaded = load(tmp_path / "model.safetensors")
    assert torch.equal(state, torch.get_rng_state())
    assert not loaded.training
    torch.manual_seed(2)
    first = flow.eval().log_prob(x, context)
    torch.manual_seed(2)
    assert torch.equal(first, loaded.log_prob(x, context))
    # It can be saved again, and says the same of itself.
    save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_float64_stays_float64(tmp_path: Path) -> None:
    flow = made("realnvp").double()
    save(flow, tmp_path / "model")
    assert {p.dtype for p in load(tmp_path / "model").parameters()} == {torch.float64}


def test_metadata_and_header(tmp_path: Path) -> None:
    save(made("maf"), tmp_path / "model", metadata={"history": [1.5, None], "names": ["x", "µ"]})
    header = read_header(tmp_path / "model")
    assert header["metadata"] == {"history": [1.5, None], "names": ["x", "µ"]}
    assert header["recipe"]["name"] == "maf"
    assert header["recipe"]["arguments"]["features"] == 3
    assert header["recipe"]["arguments"]["layers"] == 5  # a default, written out: it must not change with the code
    assert header["n_values"] == sum(t.numel() for t in made("maf").state_dict().values())


@pytest.mark.parametrize("metadata", [{"f": len}, {"nan": float("nan")}])
def test_metadata_must_be_json(tmp_path: Path, metadata: dict) -> None:
    with pytest.raises(InputError, match="JSON"):
        save(made("maf"), tmp_path / "model", metadata=metadata)
    assert not (tmp_path / "model").exists()


def test_a_flow_built_by_hand(tmp_path: Path) -> None:
    flow = Flow(LULinear(2), Normal(2))
    with torch.no_grad():
        flow.bijection.lower.fill_(0.5)
    save(flow, tmp_path / "model")
    with pytest.raises(InputError, match="load_into"):
        load(tmp_path / "model")
    loaded = load_into(Flow(LULinear(2), Normal(2)), tmp_path / "model")
    assert torch.equal(loaded.log_prob(torch.ones(2)), flow.log_prob(torch.ones(2)))
    with pytest.raises(FileFormatError, match=r"bias is \(2,\) in the file, \(3,\) expected"):
        load_into(Flow(LULinear(3), Normal(3)), tmp_path / "model")


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.safetensors")), ids=lambda p: p.stem)
def test_files_written_by_earlier_versions_are_read(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    flow = load(path)
    x = torch.tensor(expected["x"])
    context = torch.tensor(expected["context"]) if expected["context"] else None
    torch.manual_seed(0)
    assert flow.log_prob(x, context).tolist() == pytest.approx(expected["log_prob"], rel=1e-5, abs=1e-5)


def test_every_recipe_has_a_fixture() -> None:
    assert {path.stem.removeprefix("v1-") for path in FIXTURES.glob("v1-*.safetensors")} == set(RECIPES)


class TestHostileFiles:
    def write(self, path: Path, header: object, tensors: dict[str, torch.Tensor] | None = None) -> Path:
        text = header if isinstance(header, str) else json.dumps(header)
        save_file(tensors or {"a": torch.zeros(2)}, path, {"bijecta": text})
        return path

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no model file"):
            load(tmp_path / "nothing")

    @given(cut=st.floats(0, 0.999))
    @settings(max_examples=25, deadline=None)
    def test_truncated(self, cut: float, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.mktemp("cut") / "model"
        save(made("made"), path)
        data = path.read_bytes()
        path.write_bytes(data[: int(cut * len(data))])
        with pytest.raises(FileFormatError, match="not a complete"):
            load(path)

    @given(place=st.integers(0, 10**6), value=st.integers(0, 255))
    @settings(max_examples=60, deadline=None)
    def test_a_flipped_byte_is_an_error_or_another_number(
        self, place: int, value: int, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("flip") / "model"
        save(made("made"), path)
        data = bytearray(path.read_bytes())
        data[place % len(data)] = value
        path.write_bytes(data)
        with contextlib.suppress(FileFormatError):
            load(path)  # any other exception fails the test

    def test_pickle_and_other_formats(self, tmp_path: Path) -> None:
        path = tmp_path / "model"
        torch.save({"a": torch.zeros(2)}, path)
        with pytest.raises(FileFormatError, match="not a complete safetensors file"):
            load(path)

    def test_huge_header_length(self, tmp_path: Path) -> None:
        path = tmp_path / "model"
        path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
        with pytest.raises(FileFormatError):
            load(path)

    def test_foreign_safetensors(self, tmp_path: Path) -> None:
        save_file({"a": torch.zeros(2)}, tmp_path / "model")
        with pytest.raises(FileFormatError, match="not a model of bijecta"):
            load(tmp_path / "model")

    @pytest.mark.parametrize(
        "header",
        [
            "not json",
            "[" * 100_000,
            [],
            {"format": 1},
            {"format": "1", "recipe": {}},
            {"format": 99, "recipe": {}},
            {"format": 1, "recipe": "nsf"},
            {"format": 1, "recipe": {"name": "nsf", "arguments": []}},
            {"format": 1, "recipe": {"name": "os.system", "arguments": {"command": "true"}}},
            {"format": 1, "recipe": {"name": "nsf", "arguments": {"features": 10**9}}},
            {"format": 1, "recipe": {"name": "nsf", "arguments": {"features": 2, "layers": 10**8}}},
            {"format": 1, "recipe": {"name": "nsf", "arguments": {"features": 2, "hidden": [10**5, 10**5]}}},
            {"format": 1, "recipe": {"name": "nsf", "arguments": {"features": -3}}},
            {"format": 1, "recipe": {"name": "nsf", "arguments": {"features": "two"}}},
            {"format": 1, "recipe": {"name": "nsf", "arguments": {"features": 2, "hidden": None}}},
            {"format": 1, "recipe": {"name": "table", "arguments": {"schema": {"columns": 7}}}},
            {"format": 1, "recipe": {"name": "glow_image", "arguments": {"shape": [1, 0, 0]}}},
        ],
    )
    def test_headers(self, tmp_path: Path, header: object) -> None:
        with pytest.raises(FileFormatError, match="model"):
            load(self.write(tmp_path / "model", header))

    def test_indices_that_point_nowhere(self, tmp_path: Path) -> None:
        path = tmp_path / "model"
        save(made("glow"), path)
        header = json.dumps({"format": 1, "recipe": read_header(path)["recipe"]})
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if tensor.dtype == torch.int64:
                tensors[name] = tensor + 1000
        save_file(tensors, path, {"bijecta": header})
        with pytest.raises(FileFormatError, match="make no flow"):
            load(path)

    def test_a_missing_tensor_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "model"
        save(realnvp(2), path)
        tensors = load_file(path)
        recipe = read_header(path)["recipe"]
        name = next(iter(tensors))
        del tensors[name]
        save_file(tensors, path, {"bijecta": json.dumps({"format": 1, "recipe": recipe})})
        with pytest.raises(FileFormatError, match=name):
            load(path)


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    save(made("made"), path)
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(made("made", seed=1), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_table_schema_survives(tmp_path: Path) -> None:
    flow = table(ARGUMENTS["table"]["schema"], arguments={"layers": 1})
    save(flow, tmp_path / "model")
    assert Schema.from_json(load(tmp_path / "model").recipe["arguments"]["schema"]).names == ("a", "b", "phi")
