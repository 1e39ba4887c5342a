"""The Compare page: several runs on the same data and seed, side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from bijecta.app.charts import curves_chart, density_chart, show_chart
from bijecta.app.comparing import DEFAULT, LEAST, MOST, Comparison, changes, name_of, start_next
from bijecta.app.contact_sheet import contact_sheet
from bijecta.app.controls import Control, recipe_controls, recipes_of_the_plane, title_of, training_controls
from bijecta.app.outcome import MEASURES, Outcome, best_of, measure, to_csv
from bijecta.app.registry import RUNS, Run
from bijecta.app.settings import LARGEST_ROWS, RunSettings
from bijecta.app.tabs import this_tab
from bijecta.app.trainer import FINAL
from bijecta.data import TOYS
from bijecta.errors import BijectaError

SETTINGS, KEYS, GOING, OUTCOMES = "compare.settings", "compare.runs", "compare.going", "compare.outcomes"
SECONDS_BETWEEN = 0.7
IN_SIGHT = ("learning_rate", "epochs")


def page() -> None:
    """Draw the page."""
    st.markdown("#### Compare flows  \n:gray[Same data, same seed: what differs is what you change.]")
    comparison = _of_link()
    with st.sidebar:
        comparison = _shared_form(comparison)
    columns = st.columns(len(comparison.runs))
    forms = [_run_form(comparison, index, column) for index, column in enumerate(columns)]
    comparison = Comparison(tuple(forms))
    for index, column in enumerate(columns[1:], start=1):
        column.markdown(_difference(comparison, index))
    st.session_state[SETTINGS] = comparison
    if st.query_params.to_dict() != comparison.to_query():
        st.query_params.from_dict(comparison.to_query())
    runs = _runs(comparison)
    _buttons(runs)
    going = bool(st.session_state.get(GOING))
    st.fragment(_watch, run_every=SECONDS_BETWEEN if going else None)(comparison, runs)


def _of_link() -> Comparison:
    """Take the comparison from the session; at first, from the link."""
    if SETTINGS in st.session_state:
        return st.session_state[SETTINGS]
    try:
        return Comparison.from_query(st.query_params.to_dict())
    except BijectaError as error:
        st.error(f"This link asks for something impossible. {error} Here is another comparison instead.")
        return DEFAULT


# ---------------------------------------------------------------- settings


def _shared_form(comparison: Comparison) -> Comparison:
    """Draw what all runs have in common."""
    first = comparison.runs[0]
    names = list(TOYS) if first.data in TOYS else [first.data, *TOYS]
    data = st.selectbox("Data", names, names.index(first.data), key="compare.data")
    count = st.number_input("Runs", LEAST, MOST, len(comparison.runs), key="compare.count")
    rows = st.number_input("Rows", 10, LARGEST_ROWS, first.rows, step=500, key="compare.rows")
    seed = st.number_input("Seed", 0, 2**31, first.seed, key="compare.seed")
    st.caption("All runs get the same rows, the same split and the same seed.")
    noise = first.noise if data == first.data else None
    changed = replace(first, data=data, noise=noise, rows=rows, seed=seed)
    return Comparison((changed, *comparison.runs[1:])).resized(count)


def _run_form(comparison: Comparison, index: int, column: Any) -> RunSettings:
    """Draw the settings of one run; where they are impossible, they stay as they were, beside a card."""
    settings = comparison.runs[index]
    with column.container(border=True):
        st.markdown(f"**Run {index + 1}**")
        try:
            return _settings_form(settings, f"compare.{index + 1}")
        except BijectaError as error:
            st.error(str(error), icon=":material/error:")
            return settings


def _settings_form(settings: RunSettings, key: str) -> RunSettings:
    names = recipes_of_the_plane()
    chosen = st.selectbox("Model", names, names.index(settings.recipe), format_func=title_of, key=f"{key}.recipe")
    settings = settings.with_recipe(chosen)
    recipe, training = recipe_controls(chosen), training_controls()
    controls = {**recipe, **training}
    in_sight = {**dict(list(recipe.items())[:1]), **{name: training[name] for name in IN_SIGHT}}
    given = {**settings.arguments, **settings.training}
    values = _values(in_sight, given, f"{key}.{chosen}")
    with st.expander("More"):
        hidden = {name: control for name, control in controls.items() if name not in in_sight}
        values |= _values(hidden, given, f"{key}.{chosen}")
    return replace(
        settings,
        arguments={name: values[name] for name in recipe},
        training={name: values[name] for name in training},
    )


def _values(controls: Mapping[str, Control], given: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {
        name: _widget(control, given.get(name, control.default), f"{key}.{name}") for name, control in controls.items()
    }


def _widget(control: Control, value: Any, key: str) -> Any:
    """Draw one setting: words to choose from, or a text that is read as it would be in a link."""
    label = control.name.replace("_", " ")
    if control.kind == "choice":
        return st.selectbox(label, control.options, control.options.index(value), help=control.help, key=key)
    if control.kind == "switch":
        return st.checkbox(label, value, help=control.help, key=key)
    return control.read(st.text_input(label, control.write(value), help=control.help, key=key))


def _difference(comparison: Comparison, index: int) -> str:
    """Highlight what is changed against the first run."""
    changed = changes(comparison.runs[0], comparison.runs[index])
    if not changed:
        return ":gray[The same as run 1: change one setting.]"
    badges = [f":orange-badge[{name.replace('_', ' ')}: {old} → {new}]" for name, (old, new) in changed.items()]
    several = "" if len(changed) == 1 else "  \n:gray[More than one change: which of them mattered stays open.]"
    return " ".join(badges) + several


# ---------------------------------------------------------------- runs


def _runs(comparison: Comparison) -> list[Run]:
    """Find the runs that there are already, make the others, and end those that nobody wants any more."""
    kept = [RUNS.runs[key] for key in st.session_state.get(KEYS, []) if key in RUNS.runs]
    runs = []
    for settings in comparison.runs:
        found = next((run for run in kept if run.settings == settings), None)
        if found is not None:
            kept.remove(found)
        runs.append(found or RUNS.open(settings, this_tab()))
    for run in kept:
        RUNS.close(run.key)
    for run in runs:
        run.tab = this_tab()  # after a lost connection it is another one
    st.session_state[KEYS] = [run.key for run in runs]
    return runs


def _buttons(runs: Sequence[Run]) -> None:
    left, right, _ = st.columns([1, 1, 4])
    going = bool(st.session_state.get(GOING))
    trained = all(run.training for run in runs)
    title = "Train again" if trained else "Train"
    left.button(title, type="primary", on_click=_go, args=(runs,), disabled=going, key="compare.go", width="stretch")
    right.button("Stop", on_click=_halt, args=(runs,), disabled=not going, key="compare.stop", width="stretch")


def _go(runs: Sequence[Run]) -> None:
    st.session_state[GOING] = True
    if all(run.training for run in runs):
        for run in runs:
            RUNS.close(run.key)


def _halt(runs: Sequence[Run]) -> None:
    st.session_state[GOING] = False
    for run in runs:
        if run.training and run.trainer.state not in FINAL:
            run.trainer.stop()


def _watch(comparison: Comparison, runs: Sequence[Run]) -> None:
    """Show the runs as they are, and start the next one when one has ended."""
    outcomes = [_outcome(run) for run in runs]
    if st.session_state.get(GOING):
        try:
            if not start_next(runs, RUNS):
                st.session_state[GOING] = False
                st.rerun()  # draws the buttons again, and ends the polling
        except BijectaError as error:
            st.session_state[GOING] = False
            st.error(str(error), icon=":material/error:")
    _pictures(comparison, runs)
    _curves(comparison, runs)
    if any(outcomes):
        st.markdown(_numbers(comparison, outcomes))
        st.caption(
            "NLL and gap on the same 5000 fresh rows for all; bold: the best. Seconds are those of this machine, "
            "with one run at a time."
        )
        _downloads(comparison, runs, outcomes)


def _outcome(run: Run) -> Outcome | None:
    """Measure a run once, when it has ended."""
    known: dict[str, Outcome | None] = st.session_state.setdefault(OUTCOMES, {})
    if run.key not in known and run.training and run.trainer.state in ("done", "stopped"):
        try:
            known[run.key] = measure(run)
        except (BijectaError, TimeoutError) as error:
            known[run.key] = None
            st.error(str(error), icon=":material/error:")
    return known.get(run.key)


# ---------------------------------------------------------------- what came out


def _pictures(comparison: Comparison, runs: Sequence[Run]) -> None:
    for index, (run, column) in enumerate(zip(runs, st.columns(len(runs)), strict=True)):
        trainer = run.trainer
        frame = trainer.latest
        with column:
            st.markdown(f"**{name_of(comparison, index)}**  \n:gray[{_state(run)}]")
            if frame is not None and trainer.state == "failed":
                st.error(str(frame.header["message"]), icon=":material/error:")
            elif frame is not None and trainer.scene is not None and "density" in frame.arrays:
                chart = density_chart(frame.arrays["density"], trainer.scene.header["box"])
                show_chart(chart, f"compare.picture.{index}")


def _state(run: Run) -> str:
    frame = run.trainer.latest
    if frame is None or not run.training:
        return "waits" if st.session_state.get(GOING) else "not trained yet"
    epoch, epochs = frame.header.get("epoch", 0), frame.header.get("epochs", 0)
    return f"{run.trainer.state}, epoch {epoch} of {epochs}"


def _curves(comparison: Comparison, runs: Sequence[Run]) -> None:
    """Draw the truth beside the losses."""
    scene = next((run.trainer.scene for run in runs if run.trainer.scene is not None), None)
    left, right = st.columns([1, 2])
    if scene is not None and "truth" in scene.arrays:
        with left:
            st.markdown("**The truth**  \n:gray[on the same axes]")
            show_chart(density_chart(scene.arrays["truth"], scene.header["box"]), "compare.truth")
    curves = [_curve(run) for run in runs]
    if any(curves):
        names = [name_of(comparison, index) for index in range(len(runs))]
        entropy = scene.header["entropy"] if scene is not None else None
        with right:
            show_chart(curves_chart(curves, names, entropy), "compare.curves")


def _curve(run: Run) -> list[tuple[int, float]]:
    frame = run.trainer.latest
    return [] if frame is None or not run.training else list(frame.header.get("validation") or [])


def _numbers(comparison: Comparison, outcomes: Sequence[Outcome | None]) -> str:
    """Write the table of results; the best number of each line is bold."""
    names = [name_of(comparison, index) for index in range(len(outcomes))]
    lines = [["", *names], ["---", *["---:"] * len(names)]]
    for name, (title, form) in MEASURES.items():
        best = best_of(name, outcomes)
        lines.append([title, *(_cell(each, name, form, best) for each in outcomes)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(outcome: Outcome | None, name: str, form: str, best: float) -> str:
    value = math.nan if outcome is None else getattr(outcome, name)
    if math.isnan(value):
        return "–"
    return f"**{form.format(value)}**" if value == best else form.format(value)


def _downloads(comparison: Comparison, runs: Sequence[Run], outcomes: Sequence[Outcome | None]) -> None:
    names = [name_of(comparison, index) for index in range(len(runs))]
    left, right, _ = st.columns([1, 1, 3])
    table = to_csv(names, outcomes)
    left.download_button("Table (CSV)", table, "bijecta-comparison.csv", "text/csv", key="compare.csv", width="stretch")
    drawn = [
        (run.trainer.latest.arrays["density"], name)
        for run, name in zip(runs, names, strict=True)
        if run.trainer.latest is not None and "density" in run.trainer.latest.arrays
    ]
    scene = runs[0].trainer.scene
    if drawn and scene is not None:
        picture = contact_sheet([density for density, _ in drawn], [name for _, name in drawn], scene.header["box"])
        right.download_button(
            "Picture (PNG)", picture, "bijecta-comparison.png", "image/png", key="compare.png", width="stretch"
        )
