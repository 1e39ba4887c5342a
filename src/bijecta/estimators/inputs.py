"""What a user passes to an estimator, checked as scikit-learn expects and brought into arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from bijecta.data import Schema, Table, infer_schema
from bijecta.data.table import FloatArray
from bijecta.errors import InputError, ShapeError
from bijecta.estimators.frames import as_frame, declared_categories, frame_table, numbered_names

SchemaLike = Schema | Mapping[str, Any] | str | None


def read_rows(estimator: Any, X: Any, *, reset: bool) -> Table:
    """Check rows and name their columns.

    Args:
        estimator: gets ``n_features_in_`` and ``feature_names_in_`` where ``reset``, is compared with them elsewhere.
        X: array of shape (N, D), or a data frame, whose columns may also hold text, booleans or categories.
        reset: True in fit.

    Returns:
        The columns; NaN and infinity are still among them.
    """
    frame = as_frame(X)
    if frame is None:
        matrix = validate_data(
            estimator, X, reset=reset, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=1 + reset
        )
        names = tuple(getattr(estimator, "feature_names_in_", numbered_names(matrix.shape[1])))
        return Table(names, dict(zip(names, matrix.T, strict=True)))
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if len(frame) < 1 + reset:
        raise InputError(f"Found a data frame with {len(frame)} row(s) while a minimum of {1 + reset} is required.")
    return frame_table(frame)


def read_schema(table: Table, X: Any, schema: SchemaLike) -> Schema:
    """Say what each column is: as given, else by its type in a data frame; the columns of an array are real."""
    if isinstance(schema, Schema):
        if set(schema.names) != set(table.names):
            raise InputError(f"Expected data with the columns {list(schema.names)} of schema, got {list(table.names)}.")
        return schema
    if schema == "infer":
        return infer_schema(table)[0]
    if isinstance(schema, str):
        raise InputError(f'Expected schema to be a Schema, kinds of columns by name, "infer" or None; got {schema!r}.')
    kinds = column_kinds(table, X, integers="real" if as_frame(X) is None else "integer")
    return infer_schema(table, {**kinds, **(schema or {})})[0]


def column_kinds(table: Table, X: Any, *, integers: str) -> dict[str, str]:
    """Tell the kind of each column by its type alone, so that it does not depend on the rows that happen to be there.

    Args:
        table: the columns.
        X: where they come from; a data frame may declare columns of numbers to be categories.
        integers: kind of the columns of integers.
    """
    frame = as_frame(X)
    declared = [] if frame is None else declared_categories(frame)
    by_type = {"f": "real", "i": integers, "u": integers}
    return {
        name: "category" if name in declared else by_type.get(values.dtype.kind, "category")
        for name, values in table.columns.items()
    }


def one_hot(schema: Schema, matrix: FloatArray) -> FloatArray:
    """Replace every category of a matrix (N, D) by one column per label."""
    parts = [
        np.eye(len(column.categories))[values.astype(int)] if column.categories else values[:, None]
        for column, values in zip(schema.columns, matrix.T, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def read_weights(sample_weight: Any, count: int) -> FloatArray | None:
    """Check weights of shape (N,); None where they are all the same, as then they say nothing."""
    if sample_weight is None:
        return None
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.shape != (count,):
        raise ShapeError(f"Expected sample_weight of shape ({count},), one for each row; got {weight.shape}.")
    if not weight.sum() > 0:
        raise InputError("Expected sample_weight with a positive sum; got weights that are zero, or negative, in sum.")
    return None if weight.min() == weight.max() else weight


def drop_unweighted(
    table: Table, weight: FloatArray | None
) -> tuple[Table, FloatArray | None, NDArray[np.bool_] | slice]:
    """Remove rows of weight zero, so that they leave no trace; return also which rows were kept."""
    if weight is None or weight.all():
        return table, weight, slice(None)
    kept = weight != 0
    remaining = Table(table.names, {name: column[kept] for name, column in table.columns.items()})
    return remaining, read_weights(weight[kept], int(kept.sum())), kept


def matrix_of(schema: Schema, table: Table, *, fitting: bool = False) -> FloatArray:
    """Return the schema's columns side by side, float64; for a fit they must vary.

    Raises:
        InputError: NaN, infinity, values outside the support, unknown labels; or a column with one value only.
    """
    schema.validate(table)
    matrix = schema.matrix(table)
    constant = [name for name, column in zip(schema.names, matrix.T, strict=True) if np.all(column == column[0])]
    if fitting and constant:
        raise InputError(
            f"Columns need at least two different values to have a density; {', '.join(constant)} "
            f"hold{'s' * (len(constant) == 1)} one value only in {len(matrix)} rows. Drop what does not vary."
        )
    return matrix


def start_rows(weight: FloatArray, most: int = 100_000) -> NDArray[np.intp]:
    """Repeat row numbers in proportion to their weight; whole multiples of the smallest weight exactly.

    What starts from data (standardising, whitening) takes no weights, but repeated rows. Negative weights count as 0.
    """
    share = np.cumsum(weight.clip(0))
    size = max(2, round(min(most, share[-1] / weight[weight > 0].min())))
    places = (np.arange(size) + 0.5) / size * share[-1]
    return np.searchsorted(share, places)
