"""The report is one well-formed, self-contained page whose numbers and mathematics are right."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from bijecta.data.schema import Column, Schema
from bijecta.diagnostics.report import verdict, write_report
from bijecta.errors import InputError
from bijecta.flows import glow_image, nsf, realnvp, table

HOSTILE = '<script>alert("x")</script> & </pre><img src="http://example.org/x.png">'
HISTORY = [
    {"epoch": n, "train_nll": 2 + 1 / n, "validation_nll": 2.1 + abs(n - 5), "seconds": 2.0} for n in range(1, 9)
]


class Page(HTMLParser):
    """Collects tags, and fails where they are not nested properly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(tmp_path: Path) -> tuple[str, Page]:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    write_report(
        tmp_path / "report.html",
        title=HOSTILE,
        flow=nsf(2, layers=2, hidden=(8,)),
        schema_text=HOSTILE,
        history=HISTORY,
        metrics={"test_nll": 2.3456789, "exact_entropy": 2.3, "note": HOSTILE, "nothing": None},
        figures={"The density.": figure, HOSTILE: b"\x89PNG bytes"},
        settings={"seed": 7, HOSTILE: HOSTILE},
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_is_well_formed_and_asks_for_nothing_from_outside(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert not parsed.all("script")
    assert not parsed.all("link")
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in parsed.all("img"))
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in str(parsed.all("meta"))


def test_text_of_the_user_is_escaped(page: tuple[str, Page]) -> None:
    text, parsed = page
    assert "<script" not in text
    assert parsed.text.count('alert("x")') >= 5
    assert len(parsed.all("img")) == 3


def test_pictures_arrive_byte_for_byte(page: tuple[str, Page]) -> None:
    _, parsed = page
    contents = [base64.b64decode((image["src"] or "").partition(",")[2]) for image in parsed.all("img")]
    assert contents[2] == b"\x89PNG bytes"
    assert all(content.startswith(b"\x89PNG") for content in contents)
    assert all(image["alt"] for image in parsed.all("img"))


def test_the_numbers_are_there(page: tuple[str, Page]) -> None:
    _, parsed = page
    for expected in (
        "2.3457",
        "0.046 nats per row above the exact entropy",
        "8 epochs",
        "came in epoch 5",
        "16 seconds",
    ):
        assert expected in parsed.text
    assert "RationalQuadraticSpline" in parsed.text
    assert "Recipe nsf" in parsed.text
    assert "nothing" not in parsed.text
    assert torch.__version__.partition("+")[0] in parsed.text


def test_the_number_of_parameters_is_that_of_the_flow(tmp_path: Path) -> None:
    flow = realnvp(3, layers=2, hidden=(8,))
    write_report(tmp_path / "r.html", title="t", flow=flow)
    total = sum(p.numel() for p in flow.parameters())
    text = (tmp_path / "r.html").read_text()
    assert f"{total:,} trained parameters" in text
    layers = re.findall(
        r'<td>(\w+(?: of \w+)*)</td><td class="number">(\d+)</td><td class="number">([\d,]+)</td>', text
    )
    assert [(kind, count) for kind, count, _ in layers] == [
        ("Standardise", "1"),
        ("Whiten", "1"),
        ("Coupling of AffineUnivariate", "2"),
    ]
    assert sum(int(size.replace(",", "")) for _, _, size in layers) == total


def test_every_kind_of_flow_can_be_reported(tmp_path: Path) -> None:
    counts = Schema((Column("a", "positive"), Column("n", "integer")))
    image, tables = glow_image([1, 4, 4], levels=2, steps=1, hidden=4), counts.to_json()
    only_counts = table({"columns": tables["columns"][1:]})
    for flow, said in (
        (image, "Normal"),
        (table(tables), "exact probabilities"),
        (table(tables, integers="dequantised"), "lower bound"),
        (only_counts, "exact probabilities"),
    ):
        write_report(tmp_path / "r.html", title="t", flow=flow)
        Page((tmp_path / "r.html").read_text())
        assert said in (tmp_path / "r.html").read_text()


def test_every_formula_is_well_formed_mathml_with_known_elements(page: tuple[str, Page]) -> None:
    text, _ = page
    formulas = re.findall(r"<math.*?</math>", text, flags=re.DOTALL)
    assert len(formulas) > 20
    known = {"math", "mrow", "mi", "mo", "mn", "msub", "msup", "mfrac", "mtable", "mtr", "mtd", "mtext", "mspace"}
    children = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "munderover": 3}
    for formula in formulas:
        for element in ElementTree.fromstring(formula).iter():  # noqa: S314 (our own template)
            assert element.tag in known | set(children), element.tag
            assert element.tag not in children or len(element) == children[element.tag]


def test_the_page_adapts_to_dark_mode_small_screens_and_paper(page: tuple[str, Page]) -> None:
    text, parsed = page
    for query in ("prefers-color-scheme: dark", "@media print", "@page"):
        assert query in text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.all("meta")


def test_an_existing_report_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(AttributeError):
        write_report(path, title="t", flow=realnvp(2), figures={"broken": object()})
    assert path.read_text() == "old"
    with pytest.raises(InputError, match="does not exist"):
        write_report(tmp_path / "nowhere" / "report.html", title="t", flow=realnvp(2))


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        ({}, "The flow was not scored on held-out rows."),
        (
            {"test_nll": 2.0},
            "The flow scores 2.000 nats per row on held-out rows; there is nothing to compare it with.",
        ),
        (
            {"test_nll": 2.0, "test_nll_error": 0.01},
            "The flow scores 2.000 nats per row (± 0.010) on held-out rows; there is nothing to compare it with.",
        ),
        (
            {"test_nll": 2.0, "exact_entropy": 1.9, "gap": 0.07, "gap_error": 0.002, "test_nll_error": 0.01},
            "The flow is 0.070 nats per row (± 0.002) above the exact entropy on held-out rows.",
        ),
        (
            {"test_nll": 2.0, "exact_entropy": 2.1, "gaussian_nll": 1.9},
            "The flow is 0.100 nats per row below the exact entropy and 0.100 nats per row worse than a "
            "full-covariance Gaussian on held-out rows.",
        ),
    ],
)
def test_the_verdict_is_one_sentence(metrics: dict[str, float], sentence: str) -> None:
    assert verdict(metrics) == sentence
