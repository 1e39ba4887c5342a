"""What each column is: its kind, its support and its type. Nothing here makes tensors."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.data.table import AnyArray, FloatArray, Table, as_labels, check_names, is_numeric, unknown_column
from bijecta.errors import FileFormatError, InputError, ShapeError

KINDS = ("real", "positive", "interval", "periodic", "integer", "category")
_SHORTHAND = "kind, kind:low or kind:low:high, such as 'positive', 'interval:0:1' or 'periodic:0:360'"


@dataclass(frozen=True)
class Column:
    """The kind, support and type of one column.

    The support is ℝ for real, (low, ∞) for positive, (low, high) for interval, [low, low + period) with its ends
    glued together for periodic, {low, ..., high} for integer, where either bound may be missing, and the labels
    ``categories`` for category, which stand in a matrix as their position 0, 1, ...

    Args:
        name: name of the column.
        kind: one of real, positive, interval, periodic, integer, category.
        low: lower end of the support, in the column's unit; 0 if left out for positive and periodic.
        high: upper end; for periodic, low + period.
        period: length of the circle, for periodic only; high - low if left out.
        dtype: NumPy type that samples are returned in, such as float32; "str" for text.
        categories: labels in order, for category only; `infer_schema` fills them in from the data.

    Raises:
        InputError: an unknown kind or type, labels that are no distinct texts, bounds that are missing, not finite,
            or do not fit the kind.

    Reference:
        Stevens (1946), "On the theory of scales of measurement".

    Example:
        >>> Column("phi", "periodic", high=360.0).period
        360.0
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    period: float | None = None
    dtype: str = "float64"
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"Column {self.name}: unknown kind {self.kind!r}. Expected one of {', '.join(KINDS)}.")
        if self.kind in ("positive", "periodic") and self.low is None:
            object.__setattr__(self, "low", 0.0)
        if self.kind == "periodic":
            self._complete_period()
        self._check_numbers()
        self._check_bounds()
        self._check_categories()

    def __str__(self) -> str:
        return f"{self.name}: {self.kind} {self.support()}".rstrip()

    def support(self) -> str:
        """Return the support in interval notation, or the first labels of a category."""
        if self.kind == "category":
            return _first_labels(self.categories or (), 4)
        low = "-∞" if self.low is None else f"{self.low:g}"
        high = "∞" if self.high is None else f"{self.high:g}"
        forms = {"periodic": f"[{low}, {high}) circle", "integer": f"{{{low} ... {high}}}"}
        return forms.get(self.kind, f"({low}, {high})")

    def outside(self, values: FloatArray) -> NDArray[np.bool_]:
        """Mark finite numbers outside the support; what is not finite, or a label, is another matter."""
        bad = np.zeros(values.shape, dtype=bool)
        if self.kind in ("positive", "interval"):
            bad = (values <= _or(self.low, -np.inf)) | (values >= _or(self.high, np.inf))
        if self.kind == "integer":
            bad = (values < _or(self.low, -np.inf)) | (values > _or(self.high, np.inf)) | (values != np.round(values))
        return bad & np.isfinite(values)

    def codes(self, values: AnyArray) -> FloatArray:
        """Return the position of every value among the categories, -1 for a label that is not among them."""
        position = {label: code for code, label in enumerate(self.categories or ())}
        labels, where = np.unique(as_labels(values, np.dtype(self.dtype)), return_inverse=True)
        return np.array([position.get(str(label), -1) for label in labels], dtype=np.float64)[where]

    def restore(self, values: FloatArray) -> AnyArray:
        """Return values in the column's own type and inside its support; codes as labels."""
        target = np.dtype(self.dtype)
        if self.kind == "category":
            return _restore_labels(values, target, self.categories or ("",))
        if self.kind == "integer":
            return _restore_integers(np.round(values), target, self.low, self.high)
        if self.kind == "periodic":
            values = wrap(values, _or(self.low, 0.0), _or(self.period, 1.0))
        if not np.issubdtype(target, np.floating):
            target = np.dtype(np.float64)
        return _restore_floats(values.astype(target), self)

    def _complete_period(self) -> None:
        if self.period is None and self.high is not None:
            object.__setattr__(self, "period", self.high - _or(self.low, 0.0))
        if self.high is None and self.period is not None:
            object.__setattr__(self, "high", _or(self.low, 0.0) + self.period)

    def _check_numbers(self) -> None:
        for label in ("low", "high", "period"):
            value = getattr(self, label)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise InputError(f"Column {self.name}: {label} must be a number; got {value!r}.")
            if value is not None and not np.isfinite(value):
                raise InputError(f"Column {self.name}: {label} must be finite; got {value}. Leave it out instead.")
        try:
            np.dtype(self.dtype)
        except TypeError as error:
            raise InputError(f"Column {self.name}: unknown type {self.dtype!r}. Try 'float64'.") from error

    def _check_bounds(self) -> None:
        allowed = {"positive": {"low"}, "interval": {"low", "high"}, "integer": {"low", "high"}}
        allowed["periodic"] = {"low", "high", "period"}
        given = {label for label in ("low", "high", "period") if getattr(self, label) is not None}
        if surplus := given - allowed.get(self.kind, set()):
            raise InputError(f"Column {self.name}: kind {self.kind} takes no {' or '.join(sorted(surplus))}; drop it.")
        if self.kind in ("interval", "periodic") and not {"low", "high"} <= given:
            raise InputError(f"Column {self.name}: kind {self.kind} needs low and high. Write it as {_SHORTHAND}.")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"Column {self.name}: low must be below high; got {self.low} and {self.high}.")
        if self.kind == "periodic" and not np.isclose(_or(self.high, 0.0) - _or(self.low, 0.0), _or(self.period, 0.0)):
            raise InputError(f"Column {self.name}: high must be low + period; got {asdict(self)}. Leave one out.")

    def _check_categories(self) -> None:
        if self.categories is None:
            return
        labels = () if isinstance(self.categories, str) else tuple(self.categories)  # type: ignore[unreachable]
        if self.kind != "category":
            raise InputError(f"Column {self.name}: kind {self.kind} takes no categories; drop them.")
        if not labels or not all(isinstance(label, str) for label in labels):
            raise InputError(f"Column {self.name}: categories must be a list of texts; got {self.categories!r}.")
        if len(set(labels)) < len(labels):
            raise InputError(f"Column {self.name}: every category must be there once; got {list(labels)}.")
        object.__setattr__(self, "categories", labels)


@dataclass(frozen=True)
class Schema:
    """The columns that a model is about, in order.

    Args:
        columns: one `Column` per feature.

    Raises:
        InputError: no columns, or a name that occurs twice.

    Reference:
        Codd (1970), "A relational model of data for large shared data banks".

    Example:
        >>> schema = Schema((Column("x", "real"), Column("phi", "real")))
        >>> print(schema.override({"phi": "periodic:0:360"}))
        name  kind      support          type
        x     real      (-∞, ∞)          float64
        phi   periodic  [0, 360) circle  float64
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        check_names(self.names)

    def __str__(self) -> str:
        rows = [("name", "kind", "support", "type")]
        rows += [(column.name, column.kind, column.support(), column.dtype) for column in self.columns]
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    def override(self, changes: Mapping[str, str | Mapping[str, Any]]) -> "Schema":
        """Return a schema in which some columns have another kind.

        Args:
            changes: for each name ``kind``, ``kind:low`` or ``kind:low:high``, or a mapping with kind, low, high,
                period, dtype, categories.

        Returns:
            The new schema; types stay as they were unless given.

        Raises:
            InputError: a column does not exist, or a change makes no sense.
        """
        for name in changes:
            if name not in self.names:
                raise InputError(unknown_column(name, self.names))
        return Schema(tuple(_changed(column, changes.get(column.name)) for column in self.columns))

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a dictionary that ``json.dumps`` takes; what is not set is left out."""
        rows = [{key: value for key, value in asdict(column).items() if value is not None} for column in self.columns]
        return {"columns": [{k: list(v) if isinstance(v, tuple) else v for k, v in row.items()} for row in rows]}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Schema":
        """Return the schema that `to_json` wrote; anything else raises FileFormatError."""
        try:
            return Schema(tuple(Column(**row) for row in content["columns"]))
        except (InputError, TypeError, KeyError, AttributeError) as error:
            raise FileFormatError(f"This is not a schema ({error}). Expected what Schema.to_json gives.") from error

    def validate(self, table: Table) -> None:
        """Check new data against the schema.

        Args:
            table: the data; columns that the schema does not know are ignored.

        Raises:
            InputError: columns are missing or hold text where numbers are expected, values are NaN, infinite or
                outside the support, or labels are unknown. All problems are listed, with row numbers that start at 0.
        """
        problems = [problem for column in self.columns if (problem := find_problem(column, table))]
        if problems:
            raise InputError("The table does not fit the schema:\n" + "\n".join(f"- {each}" for each in problems))

    def matrix(self, table: Table) -> FloatArray:
        """Return the schema's columns side by side, shape (n, d), float64, periodic ones wrapped, labels as codes.

        Raises InputError if a column is missing or does not hold numbers, or a label is unknown; `validate` checks
        the other values.
        """
        chosen = table.select(self.names)
        coded = {column.name: _codes(column, chosen) for column in self.columns if column.kind == "category"}
        matrix = Table(self.names, {**chosen.columns, **coded}).matrix()
        for k, column in enumerate(self.columns):
            if column.kind == "periodic":
                matrix[:, k] = wrap(matrix[:, k], _or(column.low, 0.0), _or(column.period, 1.0))
        return matrix

    def columns_from_matrix(self, matrix: FloatArray) -> dict[str, AnyArray]:
        """Give every column of a matrix its own type and support back.

        Args:
            matrix: shape (n, d), in the order of the schema.

        Returns:
            For each name an array (n,): integers rounded, periodic values wrapped, bounded values kept inside,
            codes replaced by their labels.

        Raises:
            ShapeError: the matrix does not have one column for each column of the schema.
        """
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.columns):
            raise ShapeError(f"Expected a matrix of shape (n, {len(self.columns)}); got {matrix.shape}.")
        return {column.name: column.restore(matrix[:, k]) for k, column in enumerate(self.columns)}


def find_problem(column: Column, table: Table) -> str:
    """Say why a table's column does not fit the schema; empty if it does."""
    if column.name not in table.columns:
        return unknown_column(column.name, table.names)
    values = table.columns[column.name]
    if column.kind == "category":
        return _label_problem(column, values)
    if not is_numeric(values):
        return f"{column.name} holds {values.dtype}, not numbers. Encode it as numbers or drop it."
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        return f"{column.name} is NaN or infinite in {rows_and_values(numbers, ~np.isfinite(numbers))}. Remove them."
    if (bad := column.outside(numbers)).any():
        where = rows_and_values(numbers, bad)
        return f"{column.name} leaves its support {column.support()} in {where}. Widen the support or remove the rows."
    return ""


def _label_problem(column: Column, values: AnyArray) -> str:
    if column.categories is None:
        return f"{column.name} is a category without labels. List them as its categories; infer_schema does so."
    unknown = column.codes(values) < 0
    if not unknown.any():
        return ""
    known = _first_labels(column.categories, 20)
    where = rows_and_values(values, unknown)
    return f"{column.name} has unknown labels in {where}. Known: {known}. Rename them or remove the rows."


def _codes(column: Column, table: Table) -> FloatArray:
    if problem := find_problem(column, table):
        raise InputError(problem)
    return column.codes(table.columns[column.name])


def rows_and_values(values: AnyArray, chosen: NDArray[np.bool_], limit: int = 5) -> str:
    """Describe chosen entries: how many rows, and the first few with their values."""
    rows = np.flatnonzero(chosen)
    form = "{:g}".format if is_numeric(values) else repr
    shown = ", ".join(f"row {row} = {form(values[row].item())}" for row in rows[:limit])
    return f"{len(rows)} of {len(values)} rows ({shown}{', ...' if len(rows) > limit else ''})"


def wrap(values: FloatArray, low: float, period: float) -> FloatArray:
    """Return values modulo the period, in [low, low + period)."""
    wrapped = low + np.mod(values - low, period)
    return np.where(wrapped >= low + period, low, wrapped)  # rounding can land on the far end


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _changed(column: Column, change: str | Mapping[str, Any] | None) -> Column:
    if change is None:
        return column
    options = _parse(column.name, change) if isinstance(change, str) else dict(change)
    known = {field.name for field in fields(Column)} - {"name"}
    if unknown := set(options) - known:
        raise InputError(f"Column {column.name}: unknown option {sorted(unknown)}. Known: {', '.join(sorted(known))}.")
    if "kind" in options:  # the old bounds belonged to the old kind
        column = Column(column.name, "real", dtype=column.dtype)
    return replace(column, **options)


def _parse(name: str, text: str) -> dict[str, Any]:
    kind, *bounds = text.split(":")
    try:
        numbers = [float(bound) for bound in bounds]
    except ValueError as error:
        raise InputError(f"Column {name}: cannot read {text!r}. Write {_SHORTHAND}.") from error
    if len(numbers) > 2:
        raise InputError(f"Column {name}: too many numbers in {text!r}. Write {_SHORTHAND}.")
    return {"kind": kind.strip(), **dict(zip(("low", "high"), numbers, strict=False))}


def _first_labels(labels: tuple[str, ...], limit: int) -> str:
    rest = [f"... {len(labels)} labels"] if len(labels) > limit else []
    return f"{{{', '.join([*(label or repr(label) for label in labels[:limit]), *rest])}}}" if labels else ""


def _restore_labels(codes: FloatArray, target: np.dtype[Any], categories: tuple[str, ...]) -> AnyArray:
    labels = np.array(categories)[np.clip(np.round(codes), 0, len(categories) - 1).astype(np.intp)]
    if target.kind == "b":
        return np.asarray(labels == "True")
    return labels.astype(target) if target.kind in "iuf" else labels


def _restore_integers(values: FloatArray, target: np.dtype[Any], low: float | None, high: float | None) -> AnyArray:
    if target.kind == "b":
        return np.clip(values, 0, 1).astype(bool)
    if target.kind in "iu":  # a cast beyond the type's own range would wrap around
        limits = np.iinfo(target)
        # float64 cannot hold 2⁶³ - 1; the next smaller float can be cast back
        top = float(limits.max) if limits.bits < 64 else float(np.nextafter(float(limits.max), 0.0))
        low, high = max(_or(low, -np.inf), float(limits.min)), min(_or(high, np.inf), top)
    return np.clip(values, _or(low, -np.inf), _or(high, np.inf)).astype(target)


def _restore_floats(values: AnyArray, column: Column) -> AnyArray:
    """Keep bounded values inside their support after rounding to the column's type."""
    kind = values.dtype.type
    if column.kind in ("positive", "interval"):
        values = np.maximum(values, np.nextafter(kind(_or(column.low, 0.0)), kind(np.inf)))
    if column.kind == "interval":
        values = np.minimum(values, np.nextafter(kind(_or(column.high, 0.0)), kind(-np.inf)))
    if column.kind == "periodic":
        values = np.where(values >= kind(_or(column.high, 0.0)), kind(_or(column.low, 0.0)), values)
    return values
