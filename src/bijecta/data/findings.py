"""What makes tables unfit for density estimation: one small check per trouble.

A continuous density has no finite optimum on data that lie on a point, a grid, a line or a plane: the likelihood grows
without bound while the model gets worse. These checks find such data before they cost a training run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bijecta.data.schema import Column, Schema, rows_and_values
from bijecta.data.table import AnyArray, FloatArray, Table, is_numeric

Severity = Literal["error", "warning", "note"]

_ATOM_SHARE = 0.05  # share of one value above which a real column is no longer continuous
_FEW_UNIQUE = 0.05  # ... or share of distinct values below which it is not
_OUTLIER_SIGMA = 12.0
_TAIL_RATIO = 10.0  # (99 % range) / (50 % range): 3.8 for a normal distribution, 7.6 for Student's t with 3 degrees
_SMALLEST_EIGENVALUE = 1e-6
_COPY = 1e-9  # 1 - |correlation| of columns that are copies of each other, up to float32 rounding
_DUPLICATE_ROWS = 0.05
MOST_LABELS = 100


@dataclass(frozen=True)
class Finding:
    """One thing about the data that matters for a fit: what was seen, why it matters, what to do.

    Errors stop the training, warnings are worth a look, notes explain what will happen.
    """

    severity: Severity
    columns: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}"


def column_findings(column: Column, values: AnyArray) -> list[Finding]:
    """Check one column by itself."""
    if column.kind == "category":
        return _category(column, values)
    if not is_numeric(values):
        return [_error(column, _not_numbers(column, values))]
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    findings = _missing(column, numbers)
    if not finite.size:
        return findings
    if finite.min() == finite.max():
        return [*findings, _error(column, _constant(column, f"{finite[0]:g}"))]
    for check in (_integers, _atoms, _heavy_tails, _outliers, _row_numbers):
        findings += check(column, finite, numbers)
    return findings


def table_findings(schema: Schema, table: Table) -> list[Finding]:
    """Check the columns together."""
    findings = _too_few_rows(schema, table)
    findings += _same_labels(schema, table)
    names = [c.name for c in schema.columns if c.kind != "category" and _varies(table.columns[c.name])]
    matrix = table.matrix(names) if names else np.empty((table.n_rows, 0))
    complete = np.isfinite(matrix).all(axis=1)
    matrix = matrix[complete]
    if len(matrix) < 3 or not names:
        return findings
    correlation = _correlation(matrix)
    copies = list(_copies(names, matrix, correlation))
    dependent = {finding.columns[1] for finding in copies}
    alone = [k for k, name in enumerate(names) if name not in dependent]
    findings += copies
    findings += _collinear([names[k] for k in alone], correlation[np.ix_(alone, alone)], len(matrix))
    if any(column.kind not in ("integer", "category") for column in schema.columns):
        labels = [_numbered(table.columns[c.name])[complete] for c in schema.columns if c.kind == "category"]
        findings += _duplicate_rows(schema, np.column_stack([matrix, *labels]))
    return findings


def _error(column: Column, message: str) -> Finding:
    return Finding("error", (column.name,), message)


# ---------------------------------------------------------------- one column


def _not_numbers(column: Column, values: AnyArray) -> str:
    shown = ", ".join(str(value) for value in np.unique(values[:1000])[:3])
    return (
        f"{column.name} holds text or dates, such as {shown}, not numbers. Call it a category, "
        f'{{"{column.name}": "category"}}, or drop it: drop=[\'{column.name}\'].'
    )


def _category(column: Column, values: AnyArray) -> list[Finding]:
    """Check labels: their number, missing ones."""
    missing = _missing(column, values.astype(np.float64)) if is_numeric(values) else []
    labels, counts = np.unique(values, return_counts=True)
    if len(labels) == 1:
        return missing or [_error(column, _constant(column, repr(labels[0].item())))]
    if len(labels) > MOST_LABELS or (len(values) >= 20 and len(labels) > len(values) / 2):
        return [*missing, _error(column, _too_many_labels(column, len(labels), len(values)))]
    if labels[0] != "" or column.dtype != "str":
        return missing
    message = f"{column.name} is empty in {counts[0]} of {len(values)} rows. Empty counts as a label of its own."
    return [Finding("note", (column.name,), message)]


def _too_many_labels(column: Column, labels: int, rows: int) -> str:
    return (
        f"{column.name} has {labels} different labels in {rows} rows, too many to learn how often each one occurs. "
        f"Merge rare labels into one, or drop the column: drop=['{column.name}']."
    )


def _constant(column: Column, value: str) -> str:
    return (
        f"{column.name} is constant ({value}). A density cannot live on a single value. "
        f"Drop it: drop=['{column.name}']."
    )


def _missing(column: Column, numbers: FloatArray) -> list[Finding]:
    bad = ~np.isfinite(numbers)
    if not bad.any():
        return []
    where = rows_and_values(numbers, bad)
    message = (
        f"{column.name} is NaN or infinite in {where}. The loss would be NaN. Remove or fill these rows, or drop the "
        f"column: drop=['{column.name}']."
    )
    return [_error(column, message)]


def _integers(column: Column, finite: FloatArray, _: FloatArray) -> list[Finding]:
    if column.kind != "integer":
        return []
    stored = "" if np.dtype(column.dtype).kind in "iu" else f", stored as {column.dtype}"
    message = (
        f"{column.name} holds {len(np.unique(finite))} distinct whole numbers{stored}. Each one gets a probability. "
        f'If it is a measurement and not a count, override it: {{"{column.name}": "real"}}.'
    )
    return [Finding("note", (column.name,), message)]


def _atoms(column: Column, finite: FloatArray, _: FloatArray) -> list[Finding]:
    """Find values that repeat too often for a continuous column."""
    if column.kind == "integer":
        return []
    unique, counts = np.unique(finite, return_counts=True)
    top = int(counts.max())
    frequent = top > _ATOM_SHARE * finite.size and top >= 5
    if not frequent and not (finite.size >= 100 and unique.size < _FEW_UNIQUE * finite.size):
        return []
    step = np.diff(unique).min()
    message = (
        f"{column.name} repeats itself: {unique.size} distinct values in {finite.size} rows, the most frequent one "
        f"({unique[counts.argmax()]:g}) in {top / finite.size:.1%}. The likelihood of a continuous model is unbounded "
        f"there. Add uniform noise of the rounding width (smallest step seen: {step:g}), or scale it to whole numbers."
    )
    return [Finding("warning", (column.name,), message)]


def _spread_scale(column: Column, numbers: FloatArray) -> FloatArray:
    """Return values as the model sees them: positive columns on a logarithmic scale."""
    if column.kind != "positive":
        return numbers
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(numbers - (column.low or 0.0))


def _heavy_tails(column: Column, finite: FloatArray, _: FloatArray) -> list[Finding]:
    scaled = _spread_scale(column, finite)
    scaled = scaled[np.isfinite(scaled)]
    if column.kind in ("interval", "periodic") or scaled.size < 200:
        return []
    low, q1, q3, high = np.quantile(scaled, [0.005, 0.25, 0.75, 0.995])
    if q3 <= q1 or high - low <= _TAIL_RATIO * (q3 - q1):
        return []
    message = (
        f"{column.name} has heavy tails: its middle 99 % span {(high - low) / (q3 - q1):.0f} times its middle half "
        f"(3.8 for a normal distribution). Flows with normal tails fit such data badly far out. Use a heavy-tailed "
        f"base, or the kind positive or a logarithm if the column allows it."
    )
    return [Finding("warning", (column.name,), message)]


def _outliers(column: Column, finite: FloatArray, numbers: FloatArray) -> list[Finding]:
    scaled = _spread_scale(column, numbers)
    valid = np.isfinite(scaled)
    a_few_levels = column.kind == "integer" and len(np.unique(finite)) <= 20
    if column.kind in ("interval", "periodic") or a_few_levels or not valid.any():
        return []
    q1, middle, q3 = np.quantile(scaled[valid], [0.25, 0.5, 0.75])
    sigma = (q3 - q1) / 1.349
    far = valid & (np.abs(np.where(valid, scaled, middle) - middle) > _OUTLIER_SIGMA * sigma)
    if sigma == 0 or not far.any():
        return []
    message = (
        f"{column.name} has values more than {_OUTLIER_SIGMA:g} robust standard deviations from its median in "
        f"{rows_and_values(numbers, far)}. They dominate the scale and the gradient. Check whether they are errors."
    )
    return [Finding("warning", (column.name,), message)]


def _row_numbers(column: Column, finite: FloatArray, numbers: FloatArray) -> list[Finding]:
    if column.kind != "integer" or numbers.size < 10 or finite.size < numbers.size or (np.diff(finite) != 1.0).any():
        return []
    message = (
        f"{column.name} counts the rows ({numbers[0]:g}, {numbers[1]:g}, ...). A model would learn the order of the "
        f"file. Drop it: drop=['{column.name}']."
    )
    return [Finding("warning", (column.name,), message)]


# ---------------------------------------------------------------- columns together


def _too_few_rows(schema: Schema, table: Table) -> list[Finding]:
    n, d = table.n_rows, len(schema.columns)
    if n >= 10 * d:
        return []
    message = (
        f"{n} rows for {d} columns are few: a flow will overfit below about {10 * d} rows. "
        f"Bring more rows or drop columns."
    )
    return [Finding("warning", schema.names, message)]


def _numbered(values: AnyArray) -> FloatArray:
    """Replace values by numbers 0, 1, ... in the order in which they first occur: renaming labels changes nothing."""
    _, first, where = np.unique(values, return_index=True, return_inverse=True)
    return np.asarray(first.argsort().argsort()[where], dtype=np.float64)


def _same_labels(schema: Schema, table: Table) -> list[Finding]:
    """Find categories that say the same as an earlier column of labels or whole numbers."""
    seen: dict[bytes, Column] = {}
    findings = []
    for column in schema.columns:
        if column.kind not in ("category", "integer"):
            continue
        earlier = seen.setdefault(_numbered(table.columns[column.name]).tobytes(), column)
        constant = len(np.unique(table.columns[column.name])) < 2
        if earlier is column or constant or "category" not in (earlier.kind, column.kind):
            continue
        message = (
            f"{earlier.name} and {column.name} say the same in other words: each determines the other. "
            f"Drop one: drop=['{column.name}']."
        )
        findings.append(Finding("warning", (earlier.name, column.name), message))
    return findings


def _varies(values: AnyArray) -> bool:
    if not is_numeric(values):
        return False
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() < finite.max())


def _correlation(matrix: FloatArray) -> FloatArray:
    matrix = matrix / np.maximum(np.abs(matrix).max(axis=0), 1e-300)  # sums and squares of huge values would overflow
    centred = matrix - matrix.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    centred = centred / np.where(norm > 0, norm, 1.0)
    return np.asarray(centred.T @ centred)


def _copies(names: list[str], matrix: FloatArray, correlation: FloatArray) -> Iterator[Finding]:
    """Yield one finding for each column that is a copy of an earlier one; the earlier one is named first."""
    pairs = np.argwhere(np.triu(np.abs(correlation) > 1.0 - _COPY, k=1))
    seen: set[int] = set()
    for first, second in pairs:
        if second in seen:
            continue
        seen.add(int(second))
        a, b = names[first], names[second]
        same = np.array_equal(matrix[:, first], matrix[:, second])
        how = (
            "identical"
            if same
            else f"the same up to scale and offset ({b} = {_affine(matrix[:, first], matrix[:, second], a)})"
        )
        message = (
            f"{a} and {b} are {how}. The density is degenerate: the likelihood has no maximum. Drop one: drop=['{b}']."
        )
        yield Finding("error", (a, b), message)


def _affine(x: FloatArray, y: FloatArray, name: str) -> str:
    slope = np.ptp(y) / np.ptp(x) * np.sign(np.dot(x - x.mean(), y - y.mean()))
    return f"{slope:.4g} {name} {y.mean() - slope * x.mean():+.4g}"


def _collinear(names: list[str], correlation: FloatArray, n_rows: int) -> list[Finding]:
    """Find columns that earlier ones determine linearly, by Cholesky elimination of the correlation matrix.

    After eliminating the columns kept so far, the diagonal of the remainder is the share of each column's variance
    that they leave unexplained. With fewer rows than columns everything is collinear, which `_too_few_rows` reports.
    """
    if len(names) < 2 or n_rows <= len(names) or np.linalg.eigvalsh(correlation)[0] >= _SMALLEST_EIGENVALUE:
        return []
    rest, kept, findings = correlation.copy(), [0], []
    for k in range(1, len(names)):
        pivot = kept[-1] if kept[-1] == k - 1 else None
        if pivot is not None:
            rest = rest - np.outer(rest[:, pivot], rest[pivot]) / rest[pivot, pivot]
        if rest[k, k] > _SMALLEST_EIGENVALUE * len(names):
            kept.append(k)
            continue
        weights = np.linalg.solve(correlation[np.ix_(kept, kept)], correlation[kept, k])
        findings.append(
            _collinear_set([names[j] for j, w in zip(kept, weights, strict=True) if abs(w) > 1e-2], names[k])
        )
    return findings or [_near_collinear(names, correlation)]


def _collinear_set(others: list[str], name: str) -> Finding:
    message = (
        f"{name} is (nearly) a linear combination of {', '.join(others)}. The data lie on a plane, where a density is "
        f"infinite. Drop one of them: drop=['{name}']."
    )
    return Finding("error", (*others, name), message)


def _near_collinear(names: list[str], correlation: FloatArray) -> Finding:
    """Name the columns of the smallest eigenvector, when no single column is determined by the ones before it."""
    direction = np.abs(np.linalg.eigh(correlation)[1][:, 0])
    involved = [name for name, size in zip(names, direction, strict=True) if size > 0.1 * direction.max()]
    return _collinear_set(involved[:-1], involved[-1])


def _duplicate_rows(schema: Schema, matrix: FloatArray) -> list[Finding]:
    n_distinct = len(np.unique(np.ascontiguousarray(matrix), axis=0))
    share = 1.0 - n_distinct / len(matrix)
    if share <= _DUPLICATE_ROWS:
        return []
    message = (
        f"{share:.1%} of the rows repeat another row. A flexible model puts spikes on them, and they leak from "
        f"training into validation. Remove duplicates unless they are meant."
    )
    return [Finding("warning", schema.names, message)]
