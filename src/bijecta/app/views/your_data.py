"""The page Your data: a table is judged, fitted, and looked at beside samples."""

import re
from collections.abc import Mapping
from typing import Any

import streamlit as st

from bijecta.app.charts import curves_chart, show_chart
from bijecta.app.controls import recipes_of_the_plane
from bijecta.app.fitted import Fitted
from bijecta.app.table_lesson import TableSettings
from bijecta.app.table_runs import FitTrainer
from bijecta.app.table_worker import rows_to_wire
from bijecta.app.tables import (
    FORMATS,
    LEAST_ROWS,
    Inspection,
    Wishes,
    example_table,
    inspect,
    plain_words,
    read_upload,
    repaired,
    value_range,
)
from bijecta.app.tabs import this_tab
from bijecta.app.trainer import FINAL
from bijecta.app.views.your_results import results
from bijecta.data import Table
from bijecta.data.schema import KINDS
from bijecta.errors import BijectaError
from bijecta.flows.automatic import AUTO

EXAMPLE, TURN, DROP, COMPLETE, FITTED = "data.example", "data.turn", "data.drop", "data.complete", "data.fitted"
SECONDS_BETWEEN = 0.5
BOUNDED = ("interval", "periodic")
CARDS = {
    "error": (st.error, ":material/error:", "Before a fit can begin"),
    "warning": (st.warning, ":material/warning:", "Worth a look"),
    "note": (st.info, ":material/info:", "Good to know"),
}


def page() -> None:
    """Draw the page."""
    st.markdown(
        "#### Your data  \n:gray[Upload a table: its density, new rows like it, and the rows that are unlike the rest.]"
    )
    table = _choose()
    if table is None:
        st.info("CSV or Parquet, one row per event. Nothing leaves the machine that runs this page.")
        return
    inspection = _card(table)
    if inspection is not None:
        _fit_form(inspection)
    fitted = st.session_state.get(FITTED)
    if fitted is not None:
        fitted.trainer.tab = this_tab()  # after a lost connection it is another one
        going = fitted.trainer.state not in FINAL
        st.fragment(_progress, run_every=SECONDS_BETWEEN if going else None)(fitted)
        if not going and fitted.has_result:
            results(fitted)


# ---------------------------------------------------------------- the table


def _choose() -> Table | None:
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    turn = st.session_state.setdefault(TURN, 0)
    upload = left.file_uploader("A table", list(FORMATS), key=f"data.upload.{turn}")
    right.button("Take the example: trees", on_click=_take_example, key="data.take", width="stretch")
    if upload is None and st.session_state.get(EXAMPLE):
        return example_table()
    if upload is None:
        return None
    try:
        table = read_upload(upload.name, upload.getvalue())
    except BijectaError as error:
        st.error(_quoted(str(error)), icon=":material/error:")
        return None
    if st.session_state.get("data.id") != upload.file_id:  # what was wished for belonged to another table
        st.session_state["data.id"] = upload.file_id
        _forget()
    return table


def _take_example() -> None:
    st.session_state[EXAMPLE] = True
    st.session_state[TURN] += 1  # another key makes another uploader, an empty one
    _forget()


def _forget() -> None:
    st.session_state[DROP], st.session_state[COMPLETE], st.session_state["data.override"] = [], False, []


def _card(table: Table) -> Inspection | None:
    """Show what the columns are, what is wrong with them, and the widgets that mend it."""
    place = st.container(border=True)
    with st.expander("Columns: leave out, or change their kind", expanded=False):
        wishes = _wishes(table)
    with place:
        try:
            inspection = inspect(table, wishes)
        except BijectaError as error:
            st.error(_quoted(plain_words(str(error))), icon=":material/error:")
            _offer_repair(table, wishes)
            return None
        st.markdown(_headline(inspection))
        st.markdown(_schema_table(inspection))
        for severity in CARDS:
            _findings(inspection, severity)
        if inspection.of("error"):
            _offer_repair(table, wishes)
        elif not inspection.usable:
            st.error(f"A fit needs at least {LEAST_ROWS} rows; there are {inspection.table.n_rows}. Bring more.")
    return inspection


def _wishes(table: Table) -> Wishes:
    names = list(table.names)
    drop = st.multiselect("Leave out", names, key=DROP, format_func=_short)
    complete = st.checkbox("Leave out rows with missing values", key=COMPLETE)
    chosen = st.multiselect("I know the kind of", [name for name in names if name not in drop], key="data.override")
    kinds = {name: _kind(name, table.columns[name]) for name in chosen}
    return Wishes(kinds, tuple(drop), complete)


def _kind(name: str, values: Any) -> Mapping[str, Any]:
    """Draw the widgets for the kind of one column, with its ends where the kind has two."""
    columns = st.columns(3)
    kind = columns[0].selectbox(_short(name), KINDS, key=f"data.kind.{name}")
    if kind not in BOUNDED:
        return {"kind": kind}
    numeric = values.dtype.kind in "iuf"
    ends = (0.0, 360.0) if kind == "periodic" or not numeric else (float(values.min()) - 1, float(values.max()) + 1)
    low, high = (
        column.number_input(f"{word} end", value=end, format="%g", key=f"data.{word}.{name}")
        for column, word, end in zip(columns[1:], ("lower", "upper"), ends, strict=True)
    )
    return {"kind": kind, "low": low, "high": high}


def _offer_repair(table: Table, wishes: Wishes) -> None:
    st.button("Leave out what cannot be fitted", on_click=_repair, args=(table, wishes), key="data.repair")


def _repair(table: Table, wishes: Wishes) -> None:
    try:
        better = repaired(table, wishes)
    except BijectaError as error:
        st.error(_quoted(plain_words(str(error))), icon=":material/error:")
        return
    st.session_state[DROP], st.session_state[COMPLETE] = list(better.drop), better.complete


def _headline(inspection: Inspection) -> str:
    rows, left = inspection.table.n_rows, inspection.rows - inspection.table.n_rows
    gone = f", {left:,} with missing values left out" if left else ""
    return f"**{rows:,} rows{gone}, {len(inspection.schema.columns)} columns**"


def _schema_table(inspection: Inspection) -> str:
    """Write one line for each column; three of them fit on a telephone."""
    lines = ["| column | kind | values |", "|---|---|---|"]
    for column in inspection.schema.columns:
        support = f" {column.support()}" if column.kind in BOUNDED else ""
        missing = inspection.gaps.get(column.name, 0)
        gaps = f"; {missing:,} missing" if missing else ""
        values = value_range(inspection.table.columns[column.name]) + gaps
        cells = (_short(column.name), column.kind + support, values)
        lines.append(f"| {' | '.join(_quoted(cell) for cell in cells)} |")
    return "\n".join(lines)


def _findings(inspection: Inspection, severity: str) -> None:
    found = inspection.of(severity)
    if found:
        card, icon, title = CARDS[severity]
        points = "\n".join(f"- {_quoted(plain_words(finding.message))}" for finding in found)
        card(f"**{title}**\n{points}", icon=icon)


# ---------------------------------------------------------------- the fit


def _fit_form(inspection: Inspection) -> None:
    query = st.query_params
    names = [AUTO, *recipes_of_the_plane()]
    given = query.get("recipe", AUTO)
    columns = st.columns([2, 1, 1, 1, 1], vertical_alignment="bottom")
    recipe = columns[0].selectbox(
        "Model", names, names.index(given) if given in names else 0, key="data.recipe",
        help="auto chooses by the kinds of the columns and the number of rows, and says why.",
    )  # fmt: skip
    epochs = columns[1].number_input("Epochs", 1, 2000, _count(query.get("epochs"), 60, 1, 2000), key="data.epochs")
    seed = columns[2].number_input("Seed", 0, 2**31, _count(query.get("seed"), 0, 0, 2**31), key="data.seed")
    st.query_params.from_dict({"recipe": recipe, "epochs": str(epochs), "seed": str(seed)})
    fitted = st.session_state.get(FITTED)
    going = fitted is not None and fitted.trainer.state not in FINAL
    settings = TableSettings(inspection.schema.to_json(), recipe, epochs, seed)
    columns[3].button(
        "Fit", type="primary", on_click=_fit, args=(inspection, settings), key="data.fit", width="stretch",
        disabled=going or not inspection.usable,
    )  # fmt: skip
    columns[4].button("Stop", on_click=_stop, disabled=not going, key="data.stop", width="stretch")
    if fitted is not None and not going and fitted.settings != settings:
        st.caption("Columns or settings have changed: what is below belongs to the fit before.")


def _count(text: str | None, default: int, least: int, most: int) -> int:
    """Read a whole number of a link; a link may say anything."""
    return min(max(int(text), least), most) if text is not None and text.isascii() and text.isdigit() else default


def _fit(inspection: Inspection, settings: TableSettings) -> None:
    if FITTED in st.session_state:
        st.session_state.pop(FITTED).trainer.close()
    try:
        rows = rows_to_wire(inspection.schema.matrix(inspection.table))
        trainer = FitTrainer("table_worker", {"settings": settings.to_json(), **rows}, this_tab())
        st.session_state[FITTED] = Fitted(settings, inspection, trainer)
    except BijectaError as error:
        st.error(_quoted(str(error)), icon=":material/error:")


def _stop() -> None:
    st.session_state[FITTED].trainer.stop()


def _progress(fitted: Fitted) -> None:
    """Show how far a fit is; draw the whole page again when it has ended."""
    trainer = fitted.trainer
    if trainer.latest is None:
        st.progress(0.0, "The process that fits is starting.")
        return
    facts = trainer.latest.header
    if trainer.state == "failed":
        st.error(_quoted(str(facts["message"])), icon=":material/error:")
    else:
        done = facts["step"] / facts["steps"] if facts.get("steps") else 0.0
        st.progress(1.0 if trainer.state in FINAL else min(done, 1.0), _progress_text(facts))
        if facts.get("validation"):
            show_chart(curves_chart([facts["validation"]], [facts["recipe"]], None), "data.curve")
    if trainer.state in FINAL and not fitted.seen:
        fitted.seen = True
        st.rerun()


def _progress_text(facts: Mapping[str, Any]) -> str:
    state = f"{facts['state']}, epoch {facts['epoch']} of {facts['epochs'] or '…'}"
    best = f", best validation NLL {facts['best']:.4f}" if facts.get("best") is not None else ""
    left = f", about {facts['eta']:.0f} s left" if facts.get("eta") and facts["state"] == "running" else ""
    return f"{state}{best}{left}"


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"


def _quoted(text: str) -> str:
    """Take its meaning as markup from a text: names and labels come from files of others."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~:])", r"\\\1", text).replace("\n", " ")
