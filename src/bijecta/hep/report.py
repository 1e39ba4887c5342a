"""One self-contained HTML page about an evaluation: verdict, tables with truth against truth, ratio panels."""

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from bijecta import __version__
from bijecta.hep.evaluation import ACCEPT, LEVEL, Evaluation
from bijecta.hep.evaluation_distances import Number
from bijecta.hep.evaluation_leptons import MEANINGS
from bijecta.hep.report_figures import plot_ratio, plot_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADS = {
    "wasserstein": "W1 / σ",
    "ks": "Kolmogorov-Smirnov",
    "separation": "separation",
    "chi2": "χ² / ndf",
    "outside": "out of range",
}
_MEANINGS = {
    "AUC": "AUC of a classifier that sees all observables",
    "<w>": "mean weight C / (1 - C) of generated events; 1 for the truth",
    "tails of w": "fraction of these weights outside 0.1 to 10",
    "ESS of w": "effective fraction of these weights",
    "Frechet": "Fréchet distance of all observables",
    "ESS of the event weights": "effective fraction of the event weights; after the bar: the reference",
}


def _meaning(kind: str) -> str:
    return _MEANINGS.get(kind) or next((text for part, text in MEANINGS.items() if part in kind), "")


def report_page(evaluation: Evaluation) -> str:
    """Return the page as HTML that loads nothing from elsewhere.

    Args:
        evaluation: what `evaluate` returned.

    Returns:
        The page.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    Reference:
        Mitchell et al. (2019), "Model cards for model reporting".

    Example:
        >>> from bijecta.hep import evaluate
        >>> found = evaluate({"x": range(200)}, {"x": range(200)}, classifier=False, bootstrap=20)
        >>> report_page(found).startswith("<!doctype html>")
        True
    """
    settings = evaluation.settings
    sections = [
        ("Alarms", _list(evaluation.alarms)),
        ("All observables together", _whole(evaluation)),
        ("Each observable", _observables(evaluation)),
        ("Laws of physics", _constraints(evaluation)),
        ("Classifier weights", _weights(evaluation)),
        ("Ratio panels", _panels(evaluation)),
    ]
    own, package = resources.files("bijecta.hep"), resources.files("bijecta.diagnostics")
    return (
        (own / "templates" / "evaluation.html")
        .read_text(encoding="utf-8")
        .format(
            style=(package / "templates" / "report.css").read_text(encoding="utf-8"),
            verdict=escape(evaluation.verdict),
            sizes=f"{settings['generated']:,} generated and {settings['reference']:,} reference events.",
            limit=f"{LEVEL / max(evaluation.tests, 1):.2g}",
            level=f"{LEVEL:.0%}",
            tests=evaluation.tests,
            sections="\n".join(f"<section>\n<h2>{name}</h2>\n{body}\n</section>" for name, body in sections if body),
            footer=f"bijecta {__version__} · seed {settings['seed']} · {settings['bootstrap']} bootstrap replicas",
        )
    )


def _list(names: Sequence[str]) -> str:
    if not names:
        return "<p>None.</p>"
    return "<ul>\n" + "".join(f"<li>{escape(name)}</li>\n" for name in names) + "</ul>"


def _whole(evaluation: Evaluation) -> str:
    rows = [
        [escape(kind), escape(_meaning(kind)), _shown(number), _probability(number), _accept(kind)]
        for kind, number in evaluation.whole.items()
    ]
    return _table(("number", "what it is", "generated | truth", "p", "accept"), rows)


def _observables(evaluation: Evaluation) -> str:
    rows = []
    for name, numbers in evaluation.observables.items():
        tests = [number.p_value for number in numbers.values() if number.p_value is not None]
        shown = [_shown(numbers[kind]) for kind in _HEADS]
        rows.append([escape(name), *shown, f"{min(tests):.2g}" if tests else ""])
    rare = evaluation.settings["too rare to compare"]
    note = f"<p>Too rare to compare: {escape(', '.join(rare))}.</p>" if rare else ""
    if not rows:
        return note
    accept = ["accept", *(_accept(kind) for kind in _HEADS), ""]
    return _table(("observable", *_HEADS.values(), "smallest p"), [*rows, accept]) + note


def _constraints(evaluation: Evaluation) -> str:
    rows = [
        [
            escape(constraint.name),
            f"{constraint.generated:.2g}" if constraint.passed else _marked(f"{constraint.generated:.2g}"),
            f"{constraint.reference:.2g}",
            f"{constraint.limit:.2g}",
        ]
        for constraint in evaluation.constraints
    ]
    return _table(("largest violation, relative", "generated", "truth", "limit"), rows) if rows else ""


def _weights(evaluation: Evaluation) -> str:
    if evaluation.classifier_weights is None:
        return ""
    return _picture(plot_weights(evaluation.classifier_weights), "Weights of generated events by the classifier.")


def _panels(evaluation: Evaluation) -> str:
    """Draw the panels, those with the smallest p-values first."""

    def smallest(name: str) -> float:
        return min((n.p_value for n in evaluation.observables[name].values() if n.p_value is not None), default=1.0)

    names = sorted(evaluation.panels, key=smallest)
    pictures = [_picture(plot_ratio(evaluation.panels[name], name), name) for name in names]
    return f'<div class="panels">\n{"".join(pictures)}</div>' if pictures else ""


def _picture(figure: "Figure", caption: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    data, text = base64.b64encode(buffer.getvalue()).decode(), escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>\n'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table of cells that are HTML already."""
    lines = [("th", [escape(cell) for cell in head]), *(("td", list(row)) for row in rows)]
    body = "".join("<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>\n" for tag, cells in lines)
    return f'<div class="wide"><table>\n{body}</table></div>'


def _shown(number: Number) -> str:
    text = f"{number.value:.3g}" + ("" if number.error is None else f" ± {number.error:.1g}")
    truth = "" if number.null is None else f" | {number.null:.3g}"
    return (_marked(text) if number.is_above_null else text) + truth


def _marked(text: str) -> str:
    return f'<span class="above">{text}</span>'


def _probability(number: Number) -> str:
    return "" if number.p_value is None else f"{number.p_value:.2g}"


def _accept(kind: str) -> str:
    return f"≤ {ACCEPT[kind]:g}" if kind in ACCEPT else ""
