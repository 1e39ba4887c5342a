"""Flows against other kinds of models, with what the benchmark has measured."""

import streamlit as st

from bijecta.app.charts import show_chart
from bijecta.app.learning.figures import cloud_figure, strip_figure
from bijecta.app.learning.results import Measured, ModelClasses, model_classes
from bijecta.app.views.learn_exercises import show_exercises

# Five columns have room on a telephone too.
NARROW = """<style>@media (max-width: 700px) {
.stMarkdown table :is(td, th) { padding: 0.2rem 0.25rem; font-size: 11.5px; }
}</style>"""
NAMES = {"SplineFlow": "Flow", "FlowMatching": "Flow matching", "VAE": "VAE", "GAN": "GAN"}
# What the table shows, and how: quantity of the benchmark, digits.
TABLE = {
    "nats above the entropy": ("gap", 3),
    "modes found, of 8": ("modes", 1),
    "rarest mode": ("rarest mode", 2),
    "stray samples": ("stray", 3),
    "energy distance": ("energy distance", 4),
    "passes per sample": ("passes per sample", 0),
    "training steps": ("steps", 0),
    "weights": ("weights", 0),
}


def other_models() -> None:
    """Compare a flow with flow matching, a VAE and a GAN."""
    measured = model_classes()
    st.markdown(
        "Four ways to turn noise into data. What each can *say* about a point x differs more than how its samples look."
    )
    st.latex(
        r"\begin{aligned} \text{flow:} & \quad \log p(x) = \log p_z(f(x)) + \log|\det J| \\ "
        r"\text{matching:} & \quad \dot x = v(x, t), \ \text{then the same} \\ "
        r"\text{VAE:} & \quad \log p(x) \ge \mathrm{ELBO}(x) \\ \text{GAN:} & \quad x = g(z) \end{aligned}"
    )
    st.markdown("**Guess first:** which of them leaves modes out, and which puts samples where no data are?")
    first, *_ = choices = list(TABLE)[:6]
    quantity = st.segmented_control("Show", choices, default=first, required=True, key="learn.quantity")
    shown = quantity if isinstance(quantity, str) else first
    named = [Measured(NAMES.get(each.model, each.model), each.rows) for each in measured.models]
    show_chart(strip_figure(named, TABLE[shown][0], shown), key="learn.strip")
    st.caption("One mark per seed; below, samples of the first seed.")
    _clouds(named)
    st.html(NARROW)
    st.markdown(_table(named))
    st.caption(_how(measured))
    show_exercises("bound")


def _clouds(models: list[Measured]) -> None:
    for column, model in zip(st.columns(len(models)), models, strict=True):
        with column:
            show_chart(cloud_figure(model.rows[0]["samples"], model.model), key=f"learn.cloud.{model.model}")


def _table(models: list[Measured]) -> str:
    """Write mean and standard deviation over the seeds as a Markdown table."""
    lines = [["", *(f"**{model.model}**" for model in models)]]
    lines.append(["likelihood", *(str(model.rows[0]["likelihood"]) for model in models)])
    for title, (quantity, digits) in TABLE.items():
        lines.append([title, *(model.text(quantity, digits) for model in models)])
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([rows[0], "|---" * len(lines[0]) + "|", *rows[1:]])


def _how(measured: ModelClasses) -> str:
    row = measured.models[0].rows[0]
    return (
        f"Eight Gaussians, {len(measured.models[0].rows)} seeds, {row['seconds']:g} s of processor time for each model "
        f"and seed, one thread of {measured.processor}; mean ± standard deviation over the seeds. Nats: of the test "
        "loss, for the VAE its importance-weighted bound with 100 draws. Rarest mode: its share of samples, over one "
        "eighth. Stray: share of samples where data are hardly ever. Passes: of the network, for one sample. "
        f"Measured {measured.date} by `{measured.command}`, which holds the "
        "settings. A budget of seconds on one small set says little about images."
    )
