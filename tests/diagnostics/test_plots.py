"""Pictures hold the right numbers, keep all text inside, and leave no trace in matplotlib's global state."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from bijecta.bijections import Affine
from bijecta.diagnostics import plots
from bijecta.distributions import Normal
from bijecta.errors import InputError, MissingDependencyError, ShapeError
from bijecta.flows import Flow, realnvp

HISTORY = [
    {"epoch": n, "train_nll": 2 + 500 / n**4, "validation_nll": None if n == 3 else 2.1 + 500 / n**4}
    for n in range(1, 50)
]
NAMES = ["transverse momentum of the lepton (GeV)", "pseudorapidity"]


@pytest.fixture
def flow() -> Flow:
    torch.manual_seed(0)
    flow = realnvp(2, layers=2, hidden=(8,))
    flow.initialise(torch.randn(100, 2) * torch.tensor([1.0, 2.0]) + 5)
    return flow


@pytest.fixture
def data() -> torch.Tensor:
    return torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0]) + 5


def every_picture(flow: Flow, data: torch.Tensor) -> dict[str, Figure]:
    wide = torch.cat([data, 1e4 * data[:, :1]], 1)
    names = [*NAMES, "mass (MeV)"]
    return {
        "training": plots.plot_training(HISTORY, reference=1.9, reference_label="exact entropy"),
        "density": plots.plot_density_2d(flow, data, names=NAMES, resolution=30),
        "samples": plots.plot_samples_2d(data, data, names=NAMES),
        "latent": plots.plot_latent_2d(flow, data),
        "warp": plots.plot_grid_warp(flow, names=NAMES),
        "layers": plots.plot_layers(flow, data),
        "marginals": plots.plot_marginals(wide, wide, names),
        "pairs": plots.plot_pairs(wide, wide, names),
    }


def test_all_text_stays_inside_the_picture(flow: Flow, data: torch.Tensor) -> None:
    for name, figure in every_picture(flow, data).items():
        figure.draw_without_rendering()
        whole = figure.bbox
        for text in figure.findobj(Text):
            box = text.get_window_extent()
            if text.get_visible() and text.get_text().strip() and box.width:
                inside = whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1 and whole.y0 - 1 <= box.y0 <= whole.y1
                tick_off_axis = text.get_text().lstrip("−").replace(".", "").isdigit()
                assert inside or tick_off_axis, (name, text.get_text(), box)


def test_nothing_global_changes(flow: Flow, data: torch.Tensor) -> None:
    before, state = dict(matplotlib.rcParams), torch.get_rng_state()
    every_picture(flow, data)
    assert dict(matplotlib.rcParams) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_importing_diagnostics_imports_no_matplotlib() -> None:
    code = "import sys, bijecta.diagnostics, bijecta.diagnostics.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"bijecta\[plots\]"):
        plots.plot_training(HISTORY)


def test_training_curves_skip_missing_epochs_and_cut_the_start() -> None:
    axes = plots.plot_training(HISTORY, reference=1.9).axes[0]
    training, validation, reference = axes.lines
    assert len(training.get_xdata()) == 49
    assert 3 not in validation.get_xdata()
    assert list(reference.get_ydata()) == [1.9, 1.9]
    low, high = axes.get_ylim()
    assert low < 1.9
    assert 2.1 < high < 100


def test_density_picture_is_the_density_and_integrates_to_one() -> None:
    flow = Flow(Affine(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.5])), Normal(2), event_shape=(2,))
    data = flow.sample(4000, generator=torch.Generator().manual_seed(0))
    axes = plots.plot_density_2d(flow, data, resolution=80).axes[1]
    mesh = axes.collections[0]
    corners = mesh.get_coordinates()
    cell = np.diff(corners[0, :2, 0])[0] * np.diff(corners[:2, 0, 1])[0]
    assert float(mesh.get_array().sum() * cell) == pytest.approx(1, abs=0.01)
    peak = np.unravel_index(mesh.get_array().argmax(), (80, 80))
    centre = (corners[peak[0], peak[1]] + corners[peak[0] + 1, peak[1] + 1]) / 2
    assert np.asarray(centre) == pytest.approx([1.0, 2.0], abs=0.1)


def test_square_panels_show_similar_columns_to_scale(data: torch.Tensor) -> None:
    similar = plots.plot_samples_2d(data, data).axes[0]
    assert np.ptp(similar.get_xlim()) == pytest.approx(np.ptp(similar.get_ylim()))
    different = plots.plot_samples_2d(data * torch.tensor([1.0, 1e3]), data).axes[0]
    assert np.ptp(different.get_ylim()) > 100 * np.ptp(different.get_xlim())


def test_the_grid_is_mapped_by_the_flow() -> None:
    flow = Flow(Affine(torch.tensor([10.0, 0.0]), torch.tensor([2.0, 1.0])), Normal(2), event_shape=(2,))
    figure = plots.plot_grid_warp(flow, extent=1.0, lines=3)
    before, after = (np.concatenate([line.get_xydata() for line in panel.lines]) for panel in figure.axes)
    assert after == pytest.approx(before * [2, 1] + [10, 0])


def test_layers_end_at_the_data(flow: Flow, data: torch.Tensor) -> None:
    z = torch.randn(50, 2)
    last = plots.plot_layers(flow, z, panels=2).axes[-1]
    assert np.asarray(last.collections[0].get_offsets()) == pytest.approx(flow.to_data(z).detach().numpy(), rel=1e-5)


def test_histograms_are_densities_and_their_ratio_is_one_for_equal_sets(data: torch.Tensor) -> None:
    top, bottom = plots.plot_marginals(data[:, :1], data[:, :1], bins=20).axes
    values, edges, _ = top.patches[0].get_data()
    assert (values * np.diff(edges)).sum() == pytest.approx(0.99, abs=0.01)
    assert bottom.lines[0].get_ydata() == pytest.approx(1)


def test_pairs_are_cut_to_the_largest_number_of_columns() -> None:
    assert len(plots.plot_pairs(np.zeros((9, 8)), np.zeros((9, 8)), max_columns=2).axes) == 4


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_are_saved(tmp_path, ending: str) -> None:
    plots.save_figure(plots.plot_training(HISTORY), tmp_path / f"training.{ending}")
    magic = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert (tmp_path / f"training.{ending}").read_bytes().startswith(magic)


def test_wrong_arguments_are_refused(flow: Flow, tmp_path) -> None:
    with pytest.raises(InputError, match="at least one epoch"):
        plots.plot_training([])
    with pytest.raises(ShapeError, match="two columns"):
        plots.plot_density_2d(flow, torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="same columns"):
        plots.plot_marginals(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(InputError, match=r"\.png"):
        plots.save_figure(plots.plot_training(HISTORY), tmp_path / "picture.jpg")
    with pytest.raises(InputError, match="Chain"):
        plots.plot_layers(Flow(Affine(torch.zeros(2), torch.ones(2)), Normal(2)), torch.zeros(5, 2))
