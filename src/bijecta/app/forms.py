"""Widgets for settings: five in sight, the rest under "More"."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from bijecta.app.controls import Control, recipe_controls, recipes_of_the_plane, title_of, training_controls
from bijecta.app.settings import LARGEST_ROWS, PICTURE, TABLE, RunSettings
from bijecta.app.sources import choose_picture, choose_table
from bijecta.data import TOYS
from bijecta.errors import BijectaError

RATES = (None, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 1.0, 10.0)
IN_SIGHT = ("learning_rate", "epochs")
OTHER_SOURCES = {PICTURE: "Your picture: draw or upload", TABLE: "Your table: two columns"}


def settings_form(settings: RunSettings) -> RunSettings:
    """Draw the widgets of a run.

    Args:
        settings: what they start from.

    Returns:
        What they say; where that is impossible, the settings as they were, beside a card.
    """
    try:
        settings = _own_data_or(settings)
        settings = settings.with_recipe(_recipe(settings))
        recipe, training = recipe_controls(settings.recipe), training_controls()
        first = dict(list(recipe.items())[:1])
        seen = _values(first, settings.arguments, settings.recipe)
        trained = _values({name: training[name] for name in IN_SIGHT}, settings.training, "training")
        with st.expander("More"):
            extra = _extra(settings)
            seen |= _values({k: c for k, c in recipe.items() if k not in first}, settings.arguments, settings.recipe)
            trained |= _values({k: c for k, c in training.items() if k not in IN_SIGHT}, settings.training, "training")
        return replace(settings, arguments=seen, training=trained, **extra)
    except BijectaError as error:
        st.error(str(error), icon=":material/error:")
        return settings


def _own_data_or(settings: RunSettings) -> RunSettings:
    """Take the chosen data; where nothing has been drawn or uploaded yet, say so and stay with the old ones."""
    try:
        return _data(settings)
    except BijectaError as error:
        st.info(str(error), icon=":material/draw:")
        return settings


def _data(settings: RunSettings) -> RunSettings:
    names = [*TOYS, *OTHER_SOURCES]
    chosen = st.selectbox(
        "Data",
        names,
        index=names.index(settings.data),
        format_func=lambda name: OTHER_SOURCES.get(name) or f"{name}: {TOYS[name].title.lower()}",
        key="lab.data",
    )
    if chosen == PICTURE:
        return replace(settings, data=PICTURE, noise=None, picture=choose_picture(settings.picture))
    if chosen == TABLE:
        return replace(settings, data=TABLE, noise=None, table=choose_table(settings.table))
    return settings if chosen == settings.data else replace(settings, data=chosen, noise=None, picture="", table="")


def _recipe(settings: RunSettings) -> str:
    names = recipes_of_the_plane()
    return st.selectbox("Model", names, index=names.index(settings.recipe), format_func=title_of, key="lab.recipe")


def _extra(settings: RunSettings) -> dict[str, Any]:
    """Draw what belongs to the whole run: noise, rows, seed."""
    extra: dict[str, Any] = {}
    toy = TOYS.get(settings.data)
    if toy is not None and toy.noise_meaning:
        noise = toy.noise if settings.noise is None else settings.noise
        extra["noise"] = _number("noise", noise, toy.noise_meaning, f"lab.noise.{settings.data}")
    extra["rows"] = st.number_input("rows", 10, LARGEST_ROWS, settings.rows, step=500, key="lab.rows")
    seed_help = "Of weights, rows, split and order: the same seed gives the same numbers."
    extra["seed"] = st.number_input("seed", 0, 2**31, settings.seed, key="lab.seed", help=seed_help)
    return extra


def _values(controls: Mapping[str, Control], given: Mapping[str, Any], group: str) -> dict[str, Any]:
    return {
        name: _widget(control, given.get(name, control.default), f"lab.{group}.{name}")
        for name, control in controls.items()
    }


def _widget(control: Control, value: Any, key: str) -> Any:
    """Draw the widget of one control."""
    label = control.name.replace("_", " ")
    if control.name == "learning_rate":
        return _rate(label, control, value, key)
    if control.kind == "choice":
        return st.selectbox(label, control.options, index=control.options.index(value), help=control.help, key=key)
    if control.kind == "switch":
        return st.checkbox(label, value, help=control.help, key=key)
    if control.kind == "count":
        least = 0 if control.default == 0 or control.name == "patience" else 1
        return st.number_input(label, least, value=value, step=1, placeholder="auto", help=control.help, key=key)
    if control.kind == "number":
        return _number(label, value, control.help, key)
    return control.read(st.text_input(label, control.write(value), help=control.help, key=key))


def _rate(label: str, control: Control, value: Any, key: str) -> Any:
    known = sorted({*RATES, value} - {None})
    options = [None, *known]
    return st.select_slider(label, options, value, format_func=control.write, help=control.help, key=key)


def _number(label: str, value: Any, text: str, key: str) -> Any:
    return st.number_input(label, value=value, format="%g", step=None, placeholder="auto", help=text, key=key)
