"""How well do generated events agree with a reference? One call, and truth against truth beside every number."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bijecta.data.files import write_atomically
from bijecta.errors import InputError
from bijecta.hep.classifier import ClassifierScore, classify
from bijecta.hep.evaluation_constraints import Constraint, constant_columns, event_constraints, is_constant
from bijecta.hep.evaluation_distances import Number, compare_column, effective_size
from bijecta.hep.evaluation_frechet import frechet_number
from bijecta.hep.evaluation_histograms import RatioPanel, WeightHistogram, ratio_panel, weight_histogram
from bijecta.hep.evaluation_leptons import lepton_numbers
from bijecta.hep.events import Events
from bijecta.hep.observables import Columns, FloatArray, Observable, Sample, columns_of, feature_matrix

LEVEL = 0.05  # probability of any false alarm in one evaluation
# What a useful model keeps, whatever the size of the samples: a large sample detects differences that do not matter.
ACCEPT = {"wasserstein": 0.08, "ks": 0.04, "separation": 0.01, "chi2": 2.0, "AUC": 0.56}
BAD_AUC = 0.9
_CLASSIFIER_ROWS = 20_000  # of each sample
_LEAST_ROWS = 160


@dataclass(frozen=True)
class Evaluation:
    """Hold the comparison of generated events with a reference.

    Args:
        observables: the distances of each observable by name: "wasserstein", "ks", "separation", "chi2", "outside".
        whole: numbers about all observables together: "AUC", "Frechet", the mean "<w>" of the classifier weights,
            their "tails" (fraction outside 0.1 to 10) and "ESS" (fraction), the effective fractions of the event
            weights, and what `lepton_numbers` finds in pairs of leptons.
        constraints: what every event must fulfil.
        panels: histograms of each observable by name.
        classifier_weights: histograms of the classifier weights; None without a classifier.
        settings: sizes, seed, replicas.

    Reference:
        Das et al. (2023), "How to understand limitations of generative networks".

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(2, 500))
        >>> evaluate({"x": rows[0] + 1.0}, {"x": rows[1]}, classifier=False).alarms
        ('x: ks', 'x: chi2', 'x: outside')
    """

    observables: Mapping[str, Mapping[str, Number]]
    whole: Mapping[str, Number]
    constraints: tuple[Constraint, ...]
    panels: Mapping[str, RatioPanel]
    classifier_weights: WeightHistogram | None
    settings: Mapping[str, Any]

    def _tests(self) -> Iterator[tuple[str, float]]:
        for name, numbers in self.observables.items():
            yield from ((f"{name}: {kind}", n.p_value) for kind, n in numbers.items() if n.p_value is not None)
        yield from ((kind, n.p_value) for kind, n in self.whole.items() if n.p_value is not None)

    @property
    def tests(self) -> int:
        """How many tests were made: the number that Bonferroni's correction divides by."""
        return sum(1 for _ in self._tests())

    @property
    def alarms(self) -> tuple[str, ...]:
        """The tests whose p-value is below 0.05 over their number, and the constraints that are violated."""
        limit = LEVEL / max(self.tests, 1)
        found = [name for name, p_value in self._tests() if p_value < limit]
        return (*found, *(constraint.name for constraint in self.constraints if not constraint.passed))

    @property
    def beyond(self) -> tuple[str, ...]:
        """What is beyond the accept lines *and* more than truth against truth gives."""
        found = [
            f"{name}: {kind}"
            for name, numbers in self.observables.items()
            for kind, number in numbers.items()
            if _is_beyond(kind, number)
        ]
        return (*found, *(kind for kind, number in self.whole.items() if _is_beyond(kind, number)))

    @property
    def grade(self) -> str:
        """Say "good", "fair" (differs, within the accept lines), "poor" or "bad" (a classifier or a law sees it)."""
        auc = self.whole.get("AUC")
        if (auc is not None and auc.value >= BAD_AUC) or any(not constraint.passed for constraint in self.constraints):
            return "bad"
        if not self.alarms:
            return "good"
        return "poor" if self.beyond else "fair"

    @property
    def verdict(self) -> str:
        """The grade and its reason in one sentence."""
        counted = f"{self.tests} tests at a common level of {LEVEL:.0%}"
        if not self.alarms:
            return f"Good: no difference from the reference was found in {counted}."
        broken = [constraint.name for constraint in self.constraints if not constraint.passed]
        reasons = [f"{len(self.alarms) - len(broken)} of {counted} are below the limit of Bonferroni"]
        reasons += [f"violated: {', '.join(broken)}"] if broken else []
        if (auc := self.whole.get("AUC")) is not None:
            truth = "" if auc.null is None else f" (truth against truth {auc.null:.3f})"
            reasons.append(f"a classifier tells the samples apart with an AUC of {auc.value:.3f}{truth}")
        reasons.append("beyond the accept lines: " + (_few(self.beyond) if self.beyond else "nothing"))
        return f"{self.grade.capitalize()}: {'; '.join(reasons)}."

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that ``json.dumps`` accepts."""
        return {
            "verdict": self.verdict,
            "grade": self.grade,
            "alarms": list(self.alarms),
            "tests": self.tests,
            "level": LEVEL,
            "accept": ACCEPT,
            "settings": dict(self.settings),
            "whole": {kind: number.to_json() for kind, number in self.whole.items()},
            "observables": {
                name: {kind: number.to_json() for kind, number in numbers.items()}
                for name, numbers in self.observables.items()
            },
            "constraints": [constraint.to_json() for constraint in self.constraints],
            "panels": {name: panel.to_json() for name, panel in self.panels.items()},
            "classifier_weights": None if self.classifier_weights is None else self.classifier_weights.to_json(),
        }

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write report.json and the self-contained report.html into a folder, which is made if it is not there."""
        from bijecta.hep.report import report_page

        Path(folder).mkdir(parents=True, exist_ok=True)
        content = json.dumps(self.to_json(), indent=1, allow_nan=False).encode()
        write_atomically(Path(folder) / "report.json", lambda file: file.write(content))
        page = report_page(self).encode()
        write_atomically(Path(folder) / "report.html", lambda file: file.write(page))


def evaluate(
    generated: Sample,
    reference: Sample,
    *,
    observables: Mapping[str, Observable] | Sequence[str] | None = None,
    seed: int = 0,
    bootstrap: int = 100,
    null: bool = True,
    classifier: bool = True,
) -> Evaluation:
    r"""Compare generated events with a reference: each observable, all of them together, and the laws of physics.

    .. math:: \text{alarm} \iff p_k < 0.05 / K, \qquad k = 1 \dots K

    The tests are Kolmogorov-Smirnov, chi2 and the range of each observable, and the AUC of a classifier that sees all
    observables, masses of pairs and triples among them: resonances smeared by a model are invisible in the momenta of
    single particles. Where leptons have partners of opposite charge, their forward-backward asymmetry and the fitted
    mass of the Z are tests too. Beside every number stands what two samples of the reference give at the same effective
    sizes; for the classifier the reference is split, and the generated events compete with one half as the other does.

    Args:
        generated: events of a model, or arrays (n,) by name, their weights under "weight".
        reference: the truth, of the same kind and schema.
        observables: functions from events to (n,) numbers, or some of the names of `standard_observables`, or, for
            arrays, some of their names; None for all.
        seed: of replicas, folds and networks.
        bootstrap: replicas for errors and for the null; 0 for neither.
        null: whether to compute truth against truth.
        classifier: whether to train one; it takes most of the time.

    Returns:
        The evaluation, with a verdict, JSON and an HTML report.

    Raises:
        InputError: different schemas or observables, fewer than 160 events, or values that are not finite.

    References:
        Kansal et al. (2023), "Evaluating generative models in high energy physics".
        Lopez-Paz, Oquab (2017), "Revisiting classifier two-sample tests".

    Example:
        >>> from bijecta.hep import MuonPairs
        >>> generator = MuonPairs()
        >>> found = evaluate(generator.sample(500, energy=91.0, seed=1), generator.sample(500, energy=91.0, seed=2))
        >>> found.grade
        'good'
    """
    columns = [columns_of(s, observables, name) for s, name in ((generated, "generated"), (reference, "reference"))]
    _check_pair(generated, reference, columns)
    generator = np.random.default_rng(seed)
    constraints, leptons = [*constant_columns(*columns)], {}
    if isinstance(generated, Events) and isinstance(reference, Events):
        constraints = [*event_constraints(generated, reference), *constraints]
        leptons = lepton_numbers(generated, reference)
    own, truth = _varying(columns[0], columns[1]), _varying(columns[1], columns[1])
    pairs = {name: (_present(own, name), _present(truth, name)) for name in truth.values}
    numbers = {
        name: compare_column(*pair, replicas=bootstrap, null=null and bootstrap > 0, generator=generator)
        for name, pair in pairs.items()
        if min(len(pair[0][0]), len(pair[1][0])) >= _LEAST_ROWS // 2
    }
    scores = _scores(own, truth, null=null, seed=seed) if classifier and truth.values else None
    weights = None if scores is None else weight_histogram(scores[0].weight, None if not null else scores[1].weight)
    return Evaluation(
        numbers,
        _whole(own, truth, scores, replicas=bootstrap, null=null, generator=generator) | leptons,
        tuple(constraints),
        {name: ratio_panel(*pairs[name]) for name in numbers},
        weights,
        {
            "generated": len(own),
            "reference": len(truth),
            "bootstrap": bootstrap,
            "seed": seed,
            "null": null,
            "too rare to compare": [name for name in pairs if name not in numbers],
        },
    )


def _check_pair(generated: Sample, reference: Sample, columns: Sequence[Columns]) -> None:
    events = [isinstance(sample, Events) for sample in (generated, reference)]
    names = [set(found.values) for found in columns]
    if events[0] != events[1] or names[0] != names[1]:
        raise InputError(
            "evaluate expects two samples of the same kind with the same observables; only one of them has "
            f"{', '.join(sorted(names[0] ^ names[1])) or 'momenta'}."
        )
    if min(map(len, columns)) < _LEAST_ROWS:
        raise InputError(f"evaluate needs {_LEAST_ROWS} events or more; got {len(columns[0])} and {len(columns[1])}.")


def _varying(columns: Columns, reference: Columns) -> Columns:
    kept = {name: values for name, values in columns.values.items() if not is_constant(reference.values[name])}
    return Columns(kept, columns.weight)


def _present(columns: Columns, name: str) -> tuple[FloatArray, FloatArray]:
    there = ~np.isnan(columns.values[name])
    return columns.values[name][there], columns.weight[there]


def _scores(own: Columns, truth: Columns, *, null: bool, seed: int) -> tuple[ClassifierScore, ClassifierScore]:
    """Let generated events, and then a part of the reference, compete with another part of the reference."""
    generator = np.random.default_rng(seed)
    rows = min(len(own), len(truth) // 2 if null else len(truth), _CLASSIFIER_ROWS)
    order = generator.permutation(len(truth))
    first, second = truth.take(order[:rows]), truth.take(order[rows : 2 * rows])
    found = own.take(generator.permutation(len(own))[:rows])
    score = _score(found, first, truth, seed)
    return score, _score(second, first, truth, seed + 1) if null else score


def _score(own: Columns, other: Columns, truth: Columns, seed: int) -> ClassifierScore:
    features = feature_matrix(own, truth), feature_matrix(other, truth)
    return classify(*features, weights=(own.weight, other.weight), seed=seed)


def _whole(
    own: Columns,
    truth: Columns,
    scores: tuple[ClassifierScore, ClassifierScore] | None,
    *,
    replicas: int,
    null: bool,
    generator: np.random.Generator,
) -> dict[str, Number]:
    found: dict[str, Number] = {}
    if scores is not None:
        score, other = scores
        found["AUC"] = Number(
            score.auc,
            score.error,
            other.auc if null else None,
            0.5 + 1.645 * score.error if null else None,
            score.p_value,
        )
        for name, measure in _WEIGHTS.items():
            found[name] = Number(measure(score.weight), null=measure(other.weight) if null else None)
    if truth.values:
        features = feature_matrix(own, truth), feature_matrix(truth, truth)
        weights = own.weight, truth.weight
        found["Frechet"] = frechet_number(
            features, weights, replicas=replicas, null=null and replicas > 0, generator=generator
        )
    sizes = [effective_size(columns.weight) / len(columns) for columns in (own, truth)]
    return found | {"ESS of the event weights": Number(sizes[0], null=sizes[1])}


_WEIGHTS = {
    "<w>": lambda w: float(w.mean()),
    "tails of w": lambda w: float(((w < 0.1) | (w > 10.0)).mean()),
    "ESS of w": lambda w: effective_size(w) / len(w),
}


def _is_beyond(kind: str, number: Number) -> bool:
    above = number.is_above_null or number.null_high is None
    return kind in ACCEPT and number.value > ACCEPT[kind] and above


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
