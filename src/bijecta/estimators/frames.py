"""Data frames of pandas, polars and pyarrow: in as a table, out with the same columns and types."""

from collections.abc import Mapping
from typing import Any

import narwhals as nw

from bijecta.data import Table
from bijecta.data.table import AnyArray


def as_frame(source: Any) -> "nw.DataFrame[Any] | None":
    """Wrap a data frame of any library; None for what is no data frame."""
    frame = nw.from_native(source, eager_only=True, pass_through=True)
    return frame if isinstance(frame, nw.DataFrame) else None


def frame_table(frame: "nw.DataFrame[Any]") -> Table:
    """Take the columns of a frame; names that are no text become x0, x1, ..., as for arrays."""
    names = column_names(frame.columns)
    columns = (series.to_numpy() for series in frame.iter_columns())
    return Table(names, dict(zip(names, columns, strict=True)))


def column_names(names: Any) -> tuple[str, ...]:
    """Return names that are all text as they are, else x0, x1, ..."""
    return tuple(names) if all(isinstance(name, str) for name in names) else numbered_names(len(names))


def numbered_names(count: int) -> tuple[str, ...]:
    """Return the names x0, x1, ... of columns without names."""
    return tuple(f"x{number}" for number in range(count))


def declared_categories(frame: "nw.DataFrame[Any]") -> list[str]:
    """List the columns whose type says that they hold categories, whatever their values look like."""
    types = frame.schema.values()
    names = zip(column_names(frame.columns), types, strict=True)
    return [name for name, dtype in names if isinstance(dtype, nw.Categorical | nw.Enum)]


def like_frame(template: Any, columns: Mapping[str, AnyArray]) -> Any:
    """Make a frame of the library, the column names and the types of a template without rows."""
    frame = nw.from_native(template, eager_only=True)
    ordered = {name: columns[name] for name in column_names(frame.columns)}
    made = nw.from_dict(ordered, backend=nw.get_native_namespace(frame)).to_native()
    if frame.implementation.is_pandas_like():
        return made.set_axis(template.columns, axis=1).astype(template.dtypes)
    return _cast_arrow(made, template.schema) if frame.implementation.is_pyarrow() else made.cast(template.schema)


def _cast_arrow(made: Any, schema: Any) -> Any:
    """Cast column by column: pyarrow makes a dictionary of numbers only by encoding them."""
    columns = (
        column.dictionary_encode() if hasattr(field.type, "index_type") else column
        for column, field in zip(made.columns, schema, strict=True)
    )
    arrays = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
    return type(made).from_arrays(arrays, schema=schema)
