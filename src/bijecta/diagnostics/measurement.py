"""What a check returns: measurements, and the report that collects them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERDICTS = {True: "pass", False: "FAIL", None: "-"}


@dataclass(frozen=True)
class Measurement:
    """Hold one measured property of a flow.

    Args:
        name: what was measured.
        values: the measured numbers by name; the first one is what the limit applies to.
        limit: the largest value that passes (for a p-value: the smallest).
        passed: the verdict; None where this flow does not allow the measurement, and the note says why.
        note: units, conditions and reasons, in a few words.

    Example:
        >>> from bijecta.diagnostics import Measurement
        >>> Measurement("round trip", {"99.9 %": 1e-12}, limit=1e-8, passed=True).verdict
        'pass'
    """

    name: str
    values: Mapping[str, float]
    limit: float
    passed: bool | None
    note: str = ""

    @property
    def verdict(self) -> str:
        """The verdict as a word: pass, FAIL, or - where nothing could be measured."""
        return VERDICTS[self.passed]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; infinities and NaN, which JSON does not know, become strings."""
        return {
            "name": self.name,
            "values": {key: _json_number(value) for key, value in self.values.items()},
            "limit": _json_number(self.limit),
            "passed": self.passed,
            "note": self.note,
        }


@dataclass(frozen=True)
class CheckReport:
    """Collect the measurements of one flow.

    Args:
        measurements: all of them, in the order in which they were made.
        settings: what was checked and how: dimensions, rows, seed, dtype.

    Example:
        >>> from bijecta.diagnostics import CheckReport, Measurement
        >>> report = CheckReport((Measurement("drift", {"99 %": 0.5}, limit=0.01, passed=False, note="nats"),), {})
        >>> report.passed
        False
        >>> print(report)
        measurement  verdict  limit  measured
        drift        FAIL      0.01  99 % 0.5 (nats)
        the check FAILED: drift
    """

    measurements: tuple[Measurement, ...]
    settings: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """True unless a measurement failed."""
        return not self.failed

    @property
    def failed(self) -> list[str]:
        """The names of the measurements that failed."""
        return [measurement.name for measurement in self.measurements if measurement.passed is False]

    def __getitem__(self, name: str) -> Measurement:
        """Return the measurement of that name."""
        return {measurement.name: measurement for measurement in self.measurements}[name]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that `json.dumps` accepts."""
        return {
            "passed": self.passed,
            "settings": dict(self.settings),
            "measurements": [measurement.to_json() for measurement in self.measurements],
        }

    def __str__(self) -> str:
        rows = [("measurement", "verdict", "limit", "measured"), *(_row(m) for m in self.measurements)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
        verdict = f"the check FAILED: {', '.join(self.failed)}" if self.failed else "the check passed"
        return "\n".join([*lines, verdict])


def _row(measurement: Measurement) -> tuple[str, str, str, str]:
    numbers = ", ".join(f"{key} {value:.3g}" for key, value in measurement.values.items())
    note = f" ({measurement.note})" if numbers and measurement.note else measurement.note
    limit = "" if math.isnan(measurement.limit) else f"{measurement.limit:.3g}"
    return measurement.name, measurement.verdict, limit, numbers + note


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
