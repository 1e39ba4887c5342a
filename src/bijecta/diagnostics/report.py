"""One self-contained HTML page about a fitted flow: data, model, mathematics, training, pictures, numbers, verdict."""

import base64
import io
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from torch import nn

from bijecta import __version__
from bijecta.bijections import Bijection, Chain, Indexed, Inverse, Multiscale
from bijecta.data.files import write_atomically
from bijecta.diagnostics.plots import plot_training
from bijecta.distributions import Discrete, Distribution, Mixed
from bijecta.flows import inner_flow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Metrics = Mapping[str, float | str | None]
History = Sequence[Mapping[str, float | None]]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="verdict">{verdict}</p>
{sections}
</main>
<footer>{footer}</footer>
</body>
</html>
"""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    flow: Distribution,
    schema_text: str = "",
    history: History = (),
    metrics: Metrics | None = None,
    figures: "Mapping[str, Figure | bytes] | None" = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    r"""Write one HTML file about a fitted flow that needs nothing else, in one step.

    It derives :math:`\log p(x) = \log p_Z(f(x)) + \sum_l \log|\det J_l|`, and judges the flow in one sentence, see
    `verdict`.

    Args:
        path: the file to write.
        title: of the page.
        flow: the fitted flow.
        schema_text: the columns and their kinds, as plain text.
        history: one entry per epoch, as `plot_training` takes it.
        metrics: numbers by name, in nats per row where they are log-likelihoods; None is left out.
        figures: a figure, or the bytes of a PNG file, by its caption.
        settings: seeds and options by name; versions are added.

    Raises:
        InputError: the folder of ``path`` does not exist.
        MissingDependencyError: there is a history to draw, and matplotlib is not installed.

    References:
        M. Mitchell et al. (2019), Model Cards for Model Reporting.

    Example:
        >>> import tempfile
        >>> from bijecta.diagnostics.report import write_report
        >>> from bijecta.flows import realnvp
        >>> write_report(tempfile.mkdtemp() + "/report.html", title="Moons", flow=realnvp(2))
    """
    metrics, figures = metrics or {}, dict(figures or {})
    sections = [
        ("The data", f"<pre>{escape(schema_text)}</pre>" if schema_text else ""),
        ("The model", _model(flow)),
        ("How it works", _template("derivation.html")),
        ("Training", _training(history, metrics)),
        ("Pictures", "".join(_picture(figure, caption) for caption, figure in figures.items())),
        ("Numbers", _table(("quantity", "value"), [(name, _shown(v)) for name, v in metrics.items() if v is not None])),
        ("Settings", _table(("setting", "value"), [(name, str(v)) for name, v in (settings or {}).items()])),
    ]
    page = PAGE.format(
        title=escape(title),
        style=_template("report.css"),
        verdict=escape(verdict(metrics)),
        sections="\n".join(f"<section>\n<h2>{name}</h2>\n{body}\n</section>" for name, body in sections if body),
        footer=escape(_versions()),
    )
    content = page.encode()
    write_atomically(path, lambda file: file.write(content))


def verdict(metrics: Metrics) -> str:
    r"""Say in one sentence how good a flow is: :math:`\mathrm{NLL} - H`, or its distance to a Gaussian.

    Args:
        metrics: "test_nll", and where known "exact_entropy", "gap" (measured row by row), "gaussian_nll", and the
            standard errors "test_nll_error" and "gap_error"; all in nats per row on the same held-out rows.

    Returns:
        The sentence.

    References:
        T. Cover, J. Thomas (2006), Elements of Information Theory, section 2.3: the distance to the entropy is the
        Kullback-Leibler divergence from the truth to the flow.

    Example:
        >>> from bijecta.diagnostics.report import verdict
        >>> verdict({"test_nll": 2.32, "exact_entropy": 2.30})
        'The flow is 0.020 nats per row above the exact entropy on held-out rows.'
    """
    nll, gaussian = metrics.get("test_nll"), metrics.get("gaussian_nll")
    if not isinstance(nll, float | int):
        return "The flow was not scored on held-out rows."
    parts = []
    if (gap := _gap(metrics)) is not None:
        side = "above" if gap >= 0 else "below"
        parts.append(f"{abs(gap):.3f} nats per row{_spread(metrics, 'gap_error')} {side} the exact entropy")
    if isinstance(gaussian, float | int):
        side = "better" if nll <= gaussian else "worse"
        parts.append(f"{abs(nll - gaussian):.3f} nats per row {side} than a full-covariance Gaussian")
    spread = _spread(metrics, "test_nll_error")
    if not parts:
        return f"The flow scores {nll:.3f} nats per row{spread} on held-out rows; there is nothing to compare it with."
    return f"The flow is {' and '.join(parts)} on held-out rows."


def _gap(metrics: Metrics) -> float | None:
    """Prefer a gap measured row by row, in which the noise of the test rows cancels, to a difference of means."""
    gap, nll, entropy = (metrics.get(name) for name in ("gap", "test_nll", "exact_entropy"))
    if isinstance(gap, float | int):
        return gap
    return nll - entropy if isinstance(nll, float | int) and isinstance(entropy, float | int) else None


def _spread(metrics: Metrics, name: str) -> str:
    error = metrics.get(name)
    return f" (± {error:.3f})" if isinstance(error, float | int) else ""


def _model(flow: Distribution) -> str:
    """Describe a flow: its layers by kind, its base, its parameters, its recipe."""
    inner = inner_flow(flow)
    weights = sum(weight.numel() for weight in flow.parameters())
    base = type(flow if inner is None else inner.base).__name__
    bound = " Integer columns get uniform noise, so its log-likelihood is a lower bound." if flow.is_bound else ""
    exact = " Discrete columns have exact probabilities." if isinstance(flow, Discrete | Mixed) else ""
    text = f"<p>{weights:,} trained parameters; the base distribution is {escape(base)}.{exact}{bound}</p>\n"
    if inner is not None:
        layers = [(_kind(layer), _size(layer)) for layer in _layers(inner.bijection)]
        count, sizes = Counter(kind for kind, _ in layers), Counter[str]()
        for kind, size in layers:
            sizes[kind] += size
        text += _table(("layer", "how many", "parameters"), [(k, str(n), f"{sizes[k]:,}") for k, n in count.items()])
    recipe = getattr(flow, "recipe", None)
    if recipe is not None:
        arguments = "\n".join(f"{name} = {value!r}" for name, value in recipe["arguments"].items())
        text += f"<p>Recipe <strong>{escape(recipe['name'])}</strong>:</p>\n<pre>{escape(arguments)}</pre>"
    return text


def _layers(bijection: Bijection) -> Iterator[Bijection]:
    """Walk over the layers of nested chains, in the order in which data pass through them."""
    if isinstance(bijection, Chain | Multiscale):
        for layer in bijection if isinstance(bijection, Chain) else bijection.levels:
            yield from _layers(layer)
    else:
        yield bijection


def _kind(layer: Bijection) -> str:
    """Name a layer by its class and what it is made of."""
    if isinstance(layer, Indexed | Inverse):
        return f"{type(layer).__name__} of {_kind(layer.bijection)}"
    univariate = getattr(layer, "univariate", None)
    return type(layer).__name__ + (f" of {type(univariate).__name__}" if univariate is not None else "")


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _training(history: History, metrics: Metrics) -> str:
    """Draw the losses, with the exact entropy or the Gaussian as a line, and say where the best epoch was."""
    if not history:
        return ""
    name, label = ("exact_entropy", "exact entropy")
    if metrics.get(name) is None:
        name, label = ("gaussian_nll", "full-covariance Gaussian")
    reference = metrics.get(name)
    line = float(reference) if isinstance(reference, float | int) else None
    figure = plot_training(history, reference=line, reference_label=label)
    scores = [
        (entry["validation_nll"], n) for n, entry in enumerate(history, 1) if entry.get("validation_nll") is not None
    ]
    text = f"{len(history)} epochs"
    if scores:
        best, epoch = min(scores)
        text += f"; the lowest validation loss, {best:.4f} nats per row, came in epoch {epoch}"
    seconds = sum(entry.get("seconds") or 0.0 for entry in history)
    text += f"; {seconds:.0f} seconds in all." if seconds else "."
    return f"<p>{text}</p>\n{_picture(figure, 'Negative log-likelihood against the epoch.')}"


def _picture(figure: "Figure | bytes", caption: str) -> str:
    if isinstance(figure, bytes):
        content = figure
    else:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160)
        content = buffer.getvalue()
    data, text = base64.b64encode(content).decode(), escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>\n'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table whose columns after the first are right-aligned."""
    if not rows:
        return ""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ["", *[' class="number"'] * (len(cells) - 1)]
        return "<tr>" + "".join(f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>\n"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table>\n<thead>{line(head, "th")}</thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def _shown(value: float | str | None) -> str:
    return value if isinstance(value, str) else f"{value:,.5g}"


def _versions() -> str:
    parts = [f"bijecta {__version__}", f"Python {platform.python_version()}"]
    for package in ("torch", "numpy"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return " · ".join(parts)


def _template(name: str) -> str:
    return (resources.files("bijecta.diagnostics") / "templates" / name).read_text(encoding="utf-8")
