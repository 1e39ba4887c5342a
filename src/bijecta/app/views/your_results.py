"""What a fit of a table gives: how good it is, data beside samples, unusual rows, files."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import streamlit as st

from bijecta.app.charts import marginal_chart, pair_chart, show_chart
from bijecta.app.fitted import Fitted
from bijecta.app.messages import Array
from bijecta.errors import BijectaError

UNUSUAL, MOST_MARGINALS, MOST_PAIRED = 20, 24, 4
STAYED_CLOSED = "The process of this fit has ended. Press Fit to start it again."


def results(fitted: Fitted) -> None:
    """Show a fit that has ended.

    Args:
        fitted: the fit; it has a result.
    """
    try:
        _numbers(fitted.facts, [column.kind for column in fitted.inspection.schema.columns])
        marginals, pairs, unusual, files = st.tabs(["Columns", "Pairs", "Unusual rows", "Take home"])
        with marginals:
            _marginals(fitted)
        with pairs:
            _pairs(fitted)
        with unusual:
            _unusual(fitted)
        with files:
            _files(fitted)
    except (BijectaError, TimeoutError) as error:
        st.error(str(error) or STAYED_CLOSED, icon=":material/error:")


def _numbers(facts: Mapping[str, Any], kinds: Sequence[str]) -> None:
    """Hold the flow against a Gaussian, on rows that the training never saw."""
    nll, baseline = facts["test_nll"], facts["baseline_nll"]
    left, middle, right = st.columns(3)
    left.metric("held-out NLL (nats per row)", f"{nll:.3f} ± {facts['test_error']:.3f}")
    if baseline is not None:
        other = "Gaussian with label frequencies" if "category" in kinds else "Gaussian"
        middle.metric(f"{other} (nats per row)", f"{baseline:.3f}")
        right.metric("better by (nats per row)", f"{baseline - nll:.3f}")
    st.caption(_sentence(facts))


def _sentence(facts: Mapping[str, Any]) -> str:
    words = [f"On {facts['test_rows']:,} rows that the training never saw. Lower is better, and below 0 is no fault."]
    baseline = facts["baseline_nll"]
    if baseline is not None and baseline - facts["test_nll"] < 2 * facts["test_error"]:
        words.append("The flow is no clear gain over a Gaussian: train longer, or bring more rows.")
    if facts["state"] == "stopped":
        words.append("The fit was stopped; the best weights so far are kept.")
    return " ".join([*words, f"Model {facts['recipe']}, {facts['parameters']:,} parameters.", *facts["reasons"]])


def _marginals(fitted: Fitted) -> None:
    names = fitted.inspection.schema.names
    if len(names) > MOST_MARGINALS:
        st.caption(f"The first {MOST_MARGINALS} of {len(names)} columns.")
    columns = st.columns(3)
    for number, name in enumerate(names[:MOST_MARGINALS]):
        with columns[number % 3]:
            data = fitted.inspection.table.columns[name]
            show_chart(marginal_chart(name, data, fitted.samples[name]), f"data.marginal.{number}")


def _pairs(fitted: Fitted) -> None:
    schema = fitted.inspection.schema
    numbers = [column.name for column in schema.columns if column.kind != "category"]
    if len(numbers) < 2:
        st.info("A pair plot needs two columns of numbers.")
        return
    chosen = st.multiselect("Columns", numbers, numbers[:3], max_selections=MOST_PAIRED, key="data.pairs")
    if len(chosen) < 2:
        st.info("Choose two to four columns.")
        return
    data = fitted.inspection.table.matrix(chosen)
    samples = np.stack([fitted.samples[name].astype(float) for name in chosen], axis=1)
    order = np.random.default_rng(0).permutation(len(data))  # tables are often sorted; a part of them is none of all
    columns = st.columns(3)
    for number, pair in enumerate(combinations(range(len(chosen)), 2)):
        with columns[number % 3]:
            names, both = [chosen[k] for k in pair], list(pair)
            show_chart(pair_chart(names, data[order][:, both], samples[:, both]), f"data.pair.{number}")


def _unusual(fitted: Fitted) -> None:
    scores = fitted.scores
    order = np.argsort(scores)[:UNUSUAL]
    st.markdown(
        f"The {len(order)} rows with the lowest log-density, of {len(scores):,}. They are rare, not necessarily wrong: "
        f"half of all rows lie above {np.median(scores):.2f} nats."
    )
    table = fitted.inspection.table
    columns: dict[str, Array] = {name: table.columns[name][order] for name in fitted.inspection.schema.names}
    shown = {"row (from 0)": order, "log-density (nats)": scores[order].round(3), **columns}
    st.dataframe(shown, hide_index=True, width="stretch", key="data.unusual")


def _files(fitted: Fitted) -> None:
    left, right = st.columns(2)
    count = left.number_input("Synthetic rows", 1, 100_000, 1000, step=1000, key="data.count")
    seed = right.number_input("Seed of the rows", 0, 2**31, 0, key="data.sample_seed")
    one, two, three = st.columns(3)
    for column, title, make, name, kind in (
        (one, "Synthetic rows (CSV)", lambda: fitted.samples_csv(count, seed), "synthetic.csv", "text/csv"),
        (two, "Scores of your rows (CSV)", fitted.scores_csv, "scores.csv", "text/csv"),
        (three, "Model (safetensors)", lambda: fitted.file, "model.safetensors", "application/octet-stream"),
    ):
        column.download_button(title, make, f"bijecta-{name}", kind, key=f"data.{name}", width="stretch")
    st.caption(
        "Synthetic rows are not anonymous by themselves: a flow can remember rare rows. The model file opens with "
        "`bijecta sample` and `bijecta score`."
    )
