"""Data of one's own: a drawing, an image, a table."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from bijecta.app.datasets import decode_picture, encode_picture
from bijecta.app.registry import RUNS
from bijecta.data import read_table
from bijecta.errors import InputError, require

HERE = Path(__file__).parent
LARGEST_SIDE = 4096


def choose_picture(current: str) -> str:
    """Let a density be drawn, or taken from an image.

    Args:
        current: the picture so far, as `encode_picture` writes it; "" for none.

    Returns:
        The picture, as `encode_picture` writes it.

    Raises:
        InputError: there is no picture yet, or the image cannot be read.
    """
    st.caption("Draw the density with mouse or finger.")
    pixels = decode_picture(current).reshape(-1).tolist() if current else []
    drawn = _drawing_pad()(key="lab.pad", data={"pixels": pixels}, on_drawn_change=lambda: None).get("drawn")
    upload = st.file_uploader("or upload an image", ["png", "jpg", "jpeg"], key="lab.image")
    if upload is not None and st.session_state.get("lab.image.id") != upload.file_id:
        st.session_state["lab.image.id"] = upload.file_id
        return encode_picture(_brightness(upload))
    if drawn:
        return encode_picture(np.array(drawn, dtype=float).reshape(48, 48))
    if not current:
        raise InputError("Draw something above, or upload an image: it becomes the density to learn.")
    return current


def choose_table(current: str) -> str:
    """Let two columns of a table be chosen.

    Args:
        current: fingerprint of the points so far; "" for none.

    Returns:
        Fingerprint of the points, which the registry keeps.

    Raises:
        InputError: there is no table yet, or it has not two columns of numbers.
    """
    upload = st.file_uploader("A table", ["csv", "tsv", "parquet", "npz"], key="lab.table")
    if upload is None:
        if current in RUNS.uploads:
            return current
        raise InputError("Upload a table above, and choose two of its columns.")
    columns = _numbers(upload)
    names = list(columns)
    left, right = st.columns(2)
    x = left.selectbox("x", names, key="lab.table.x")
    y = right.selectbox("y", names, index=1, key="lab.table.y")
    if x == y:
        raise InputError(f"Choose two different columns; x and y are both {x}.")
    points = np.stack([columns[x], columns[y]], axis=1)
    return RUNS.upload(points[np.isfinite(points).all(axis=1)])


def _numbers(upload: Any) -> dict[str, Any]:
    """Read the columns of an upload that hold numbers, and more than one."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(upload.name).suffix.lower()}"
        path.write_bytes(upload.getvalue())
        table = read_table(path)
    columns = {}
    for name, column in table.columns.items():
        values = np.asarray(column)
        if values.dtype.kind in "iufb" and np.nanstd(values.astype(float)) > 0:
            columns[name] = values.astype(float)
    if len(columns) < 2:
        raise InputError(
            f"{upload.name} needs two columns of numbers that vary; usable: {', '.join(columns) or 'none'}."
        )
    return columns


def _brightness(upload: Any) -> Any:
    images = require("PIL.Image", extra="app", purpose="Reading an image")
    try:
        picture = images.open(upload)
        if max(picture.size) > LARGEST_SIDE:
            raise InputError(
                f"The image is {picture.size[0]} x {picture.size[1]}; at most {LARGEST_SIDE} a side, please."
            )
        grey = picture.convert("L")
    except (OSError, ValueError, images.DecompressionBombError) as error:
        raise InputError(f"{upload.name} is no image that can be read ({error}). Save it as PNG or JPEG.") from error
    grey.thumbnail((48, 48))
    values = np.asarray(grey, dtype=float)
    # Dark lines on white paper are what is meant by a drawing: the rarer shade is the density.
    return 255 - values if np.median(values) > 127 else values


@cache
def _drawing_pad() -> Any:
    return st.components.v2.component("bijecta_pad", js=(HERE / "pad.js").read_text(encoding="utf8"))
