"""What a fit of events gives: how near it is to the exact density, histograms, the asymmetry, files."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import streamlit as st

from bijecta.app.charts import show_chart
from bijecta.app.collisions import COLLISIONS
from bijecta.app.event_charts import asymmetry_chart, ratio_chart
from bijecta.app.event_fit import EventFit
from bijecta.app.messages import Array
from bijecta.errors import BijectaError, MissingDependencyError, require
from bijecta.hep import Events
from bijecta.hep.evaluation_histograms import RatioPanel, ratio_panel

REFERENCE_EVENTS = 20_000
FORMATS = {".npz": "NumPy (.npz)", ".lhe": "Les Houches events (.lhe)", ".parquet": "Parquet (.parquet)"}
STAYED_CLOSED = "The process of this fit has ended. Press Fit to start it again."


def results(fit: EventFit, energy: float) -> None:
    """Show a fit that has ended.

    Args:
        fit: the fit; it has a result.
        energy: of the collision, in GeV.
    """
    try:
        _numbers(fit, energy)
        names = ["Histograms", *(["Asymmetry"] if fit.collision.has_asymmetry else []), "Take home"]
        shown = dict(zip(names, st.tabs(names), strict=True))
        with shown["Histograms"]:
            _histograms(fit, energy)
        if "Asymmetry" in shown:
            with shown["Asymmetry"]:
                _asymmetry(fit, energy)
        with shown["Take home"]:
            _files(fit, energy)
    except (BijectaError, TimeoutError) as error:
        st.error(str(error) or STAYED_CLOSED, icon=":material/error:")


@st.cache_resource(max_entries=64, show_spinner=False)
def measured_truth(process: str, energy: float) -> dict[str, Array]:
    """Draw events of a generator at an energy in GeV, and measure what is shown of them: title -> (n,)."""
    chosen = COLLISIONS[process]
    return chosen.measure(chosen.generator.sample(REFERENCE_EVENTS, energy, seed=2))


def panels(process: str, energy: float, generated: Events | None) -> dict[str, RatioPanel]:
    """Fill the histograms of what is shown of a process.

    Args:
        process: a key of `COLLISIONS`.
        energy: of the collision, in GeV.
        generated: events of a flow; None to show the truth alone.

    Returns:
        title -> histograms.
    """
    truth = measured_truth(process, energy)
    found = truth if generated is None else COLLISIONS[process].measure(generated)
    return {name: ratio_panel(_unweighted(found[name]), _unweighted(truth[name])) for name in truth}


def show_pairs(found: Mapping[str, RatioPanel], draw: Callable[[str, RatioPanel], Any], key: str) -> None:
    """Show a chart of every observable, two beside each other; on a telephone they keep their order."""
    for first in range(0, len(found), 2):
        for number, column in enumerate(st.columns(2), first):
            title = list(found)[number]
            with column:
                show_chart(draw(title, found[title]), f"{key}.{number}")


def _unweighted(values: Array) -> tuple[Array, Array]:
    return values, np.ones(len(values))


def _numbers(fit: EventFit, energy: float) -> None:
    facts, events = fit.judge(energy)
    columns = st.columns(3)
    columns[0].metric("KL to the exact density (nats)", f"{facts['kl']:.4f} ± {facts['kl_error']:.4f}")
    columns[1].metric("effective sample fraction", f"{facts['effective_fraction']:.3f}")
    columns[2].metric("largest weight", f"{facts['largest_weight']:.2f}")
    st.caption(
        f"At {energy:g} GeV, from {len(events):,} fresh events of either. KL: how much less likely the flow calls true "
        "events, on average; 0 is perfect. Weights: the exact density over that of the flow; the effective sample "
        "fraction is what one event of the flow is worth in exact ones, at most 1. "
        f"{fit.facts['parameters']:,} parameters." + (" Stopped early." if fit.trainer.state == "stopped" else "")
    )


def _histograms(fit: EventFit, energy: float) -> None:
    show_pairs(panels(fit.settings.process, energy, fit.judge(energy)[1]), ratio_chart, "events.panel")
    st.caption(
        "Below: flow over exact. Bars are the statistical error of the flow's events, the band that of the "
        "exact ones, one standard deviation each."
    )


def _asymmetry(fit: EventFit, energy: float) -> None:
    energies, flow = fit.asymmetry
    formula = COLLISIONS["muon-pairs"].generator.forward_backward_asymmetry  # type: ignore[union-attr]
    show_chart(asymmetry_chart(energies, flow, formula(energies), energy), "events.asymmetry")
    gaps = np.abs(flow - formula(energies))
    st.caption(
        "(forward - backward) / all: how much more often the μ⁻ goes on in the direction of the electron. Photon and Z "
        f"interfere, so it swings across the Z. The flow is off by {gaps.mean():.3f} on average, by {gaps.max():.3f} "
        f"at most (at {energies[gaps.argmax()]:.0f} GeV)."
    )


def _files(fit: EventFit, energy: float) -> None:
    left, middle, right = st.columns(3)
    count = left.number_input("Events of the flow", 1, 100_000, 10_000, 1000, key="events.count")
    seed = middle.number_input("Seed of the events", 0, 2**31, 0, key="events.sample_seed")
    suffix = right.selectbox("Format", list(FORMATS), key="events.format", format_func=FORMATS.__getitem__)
    one, two = st.columns(2)
    two.download_button(
        "Model (safetensors)", lambda: fit.file, "bijecta-events-model.safetensors", "application/octet-stream",
        key="events.model", width="stretch",
    )  # fmt: skip
    try:
        if suffix == ".parquet":
            require("pyarrow", extra="data", purpose="Writing Parquet files")
        one.download_button(
            f"Events at {energy:g} GeV", lambda: fit.events_file(count, energy, seed, suffix),
            f"bijecta-events{suffix}", "application/octet-stream", key="events.file", width="stretch",
        )  # fmt: skip
    except MissingDependencyError as error:
        one.info(str(error))
    st.caption("The model file opens with `bijecta hep sample`, `hep evaluate` and `hep export`.")
