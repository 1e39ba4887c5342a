"""The model card: what a model file says about itself, as a page for people. Nothing is added that is not recorded."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bijecta.data import Schema

_METRICS = {
    "test_nll": "negative log-likelihood on test rows, nats per row",
    "test_nll_error": "its standard error",
    "gaussian_nll": "the same of a full-covariance Gaussian",
    "gain_over_gaussian": "nats per row better than the Gaussian",
    "exact_entropy": "exact entropy, the best that any model can reach",
    "gap": "nats per row above the exact entropy",
    "gap_error": "its standard error",
    "test_rows": "test rows",
}
_TRAINING = {
    "train_rows": "training rows",
    "parameters": "parameters",
    "epochs": "epochs",
    "best_epoch": "best epoch",
    "stopped": "stopped",
    "seconds": "seconds",
    "threads": "threads",
    "seed": "seed",
}


def model_card(header: Mapping[str, Any], *, name: str | None = None) -> str:
    """Write the model card of a model file, in Markdown with the YAML front matter that model hubs read.

    The card says what the columns are, what was measured, how the model was made, how to load it, and where its
    limits are. A fact that the header does not record is left out.

    Args:
        header: what `read_header` returns.
        name: where the model is found, a folder or "owner/name", for the example of loading.

    Returns:
        The text of a README.md.

    References:
        M. Mitchell et al. (2019), Model cards for model reporting.

    Example:
        >>> from bijecta.persistence import model_card
        >>> card = model_card({"format": 1, "recipe": {"name": "nsf", "arguments": {}}, "metadata": {"data": "moons"}})
        >>> [line for line in card.splitlines() if line.startswith("#")]
        ['# nsf of moons', '## Made with', '## Use', '## Limits']
    """
    metadata = _mapping(header["metadata"])
    parts = [
        _FRONT_MATTER,
        _title(header, metadata),
        *_columns(metadata),
        *_measured(metadata),
        *_made(header, metadata),
    ]
    return "\n\n".join([*parts, _use(name), _limits(metadata)]) + "\n"


_FRONT_MATTER = "---\nlibrary_name: bijecta\ntags:\n- normalizing-flow\n- density-estimation\n---"


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and nothing for anything else: a header may come from anywhere."""
    return value if isinstance(value, Mapping) else {}


def _title(header: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    data = metadata.get("data")
    title = f"# {_plain(_recipe_name(header))}" + (f" of {_plain(data)}" if data else "")
    return f"{title}\n\nA normalizing flow: an exact density of rows, and exact samples from it."


def _recipe_name(header: Mapping[str, Any]) -> Any:
    """Return the recipe that people chose: that of a table is inside its arguments."""
    recipe = _mapping(header["recipe"])
    inner = _mapping(recipe.get("arguments")).get("recipe", "nsf")
    return inner if recipe.get("name") == "table" else recipe.get("name", "flow")


def _columns(metadata: Mapping[str, Any]) -> list[str]:
    if "schema" not in metadata:
        return []
    rows = [(c.name, c.kind, c.support(), c.dtype) for c in Schema.from_json(metadata["schema"]).columns]
    part = ["## Columns", _grid(("column", "kind", "support", "type"), rows)]
    if isinstance(given := metadata.get("context"), list) and given:
        part.append(f"The density is conditional, given: {', '.join(map(_plain, given))}.")
    return part


def _measured(metadata: Mapping[str, Any]) -> list[str]:
    rows = _facts(_mapping(metadata.get("metrics")), _METRICS)
    return ["## Measured", _grid(("quantity", "value"), rows)] if rows else []


def _made(header: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    arguments = _mapping(_mapping(header["recipe"]).get("arguments"))
    rows = [("data", metadata.get("data")), ("SHA-256 of the data", metadata.get("data_sha256"))]
    rows += [(key, value) for key, value in arguments.items() if key != "schema"]
    rows += _facts(_mapping(metadata.get("metrics")), _TRAINING)
    rows += _mapping(metadata.get("versions")).items()
    rows = [row for row in rows if row[1] not in (None, "", {})]
    return ["## Made with", _grid(("fact", "value"), rows)] if rows else []


def _use(name: str | None) -> str:
    where = json.dumps(name or "path/to/this/folder", ensure_ascii=False)
    return f"""## Use

```python
from bijecta.persistence import from_pretrained

flow = from_pretrained({where})
```

It scores rows that were drawn like the training data (`flow.log_prob`, in nats per row and per unit of the columns),
and draws new ones (`flow.sample`)."""


def _limits(metadata: Mapping[str, Any]) -> str:
    lines = [
        "The density is that of the training rows: of other data, and far from them, it says nothing certain.",
        "A high density is not a verdict: what is rare is not wrong, and what is usual is not right.",
        "Samples resemble the training rows, and the density can tell whether a row is like them. Publish the model "
        "only if you may publish the data.",
    ]
    if _mapping(metadata.get("metrics")).get("is_bound"):
        lines.append("Integers carry uniform noise: the density is a lower bound, on average over the noise.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _facts(values: Mapping[str, Any], wanted: Mapping[str, str]) -> list[tuple[str, Any]]:
    return [(label, values[key]) for key, label in wanted.items() if values.get(key) is not None]


def _grid(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(value: Any) -> str:
    """Return a value as text that Markdown and HTML leave as it is: names of columns may come from anywhere."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    text = " ".join((f"{value:.6g}" if isinstance(value, float) else str(value)).split())
    text = html.escape(text, quote=False)
    for mark in "\\`*_[]|#":
        text = text.replace(mark, "\\" + mark)
    return text
