"""The report: what is on the page, that it needs nothing but itself, and how it stands in a browser."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

import glmheads as gh
from glmheads import report

DATE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ALL = gh.BinaryClassHead(thresholds=[0.1, 0.5], extra_metrics="all")
HOSTILE = [
    "<script>alert(1)</script>",
    "</svg></table><img src=x onerror=alert(2)>",
    "\"'`{{ 7 * 7 }}{% raw %}&amp;",
    "$\\frac{a}{$_^",
    "日本語 العربية 👍🏽",
    "long " * 400,
    "x" * 3000,
    "",
]


def evaluation(n: int = 3000, head: gh.Head = ALL, names=("a", "b", "c"), shift: float = 0.0) -> gh.Evaluation:
    rng = np.random.default_rng(n)
    logits = rng.normal(shift, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(float)
    data = {"logits": logits, "labels": labels, "site": [names[i % len(names)] for i in range(n)]}
    return gh.evaluate(head, data, by="site")


class Page(HTMLParser):
    """Texts of the cells of each table, attributes and texts by tag, and the SVG as it is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tables: list[list[list[str]]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._cell = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self._cell = tag in ("td", "th")
        self.texts.setdefault(tag, []).append("")
        self._open.append(tag)

    def handle_data(self, data):
        tag = self._open[-1] if self._open else ""
        if tag:
            self.texts[tag][-1] += data
        if self._cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self._cell = False
        while tag in self._open and self._open.pop() != tag:
            pass

    @property
    def svgs(self) -> list[str]:
        return re.findall(r"<svg.*?</svg>", self.source, re.DOTALL)

    def table(self, first: str) -> list[list[str]]:
        """The rows, header first, of the table whose first heading is this; without the space around its cells."""
        found = [[[cell.strip() for cell in row] for row in table] for table in self.tables]
        return next(table for table in found if table[0][0] == first)


def page_of(found: gh.Evaluation, **options) -> Page:
    return Page(report.render(found, date=DATE, **options))


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "").replace("∞", "inf"))


class TestNumbers:
    def test_metrics_are_those_of_the_head_and_bounds_hold_them(self):
        found = evaluation(100_000)
        header, *rows = page_of(found).table("metric")
        assert header[:4] == ["metric", "value", "at least", "at most"]
        plain = {key: value for key, value in found.results.items() if "threshold" not in key}
        assert [row[0] for row in rows] == list(plain)
        for key, value, least, most, about in rows:
            assert number(value) == pytest.approx(plain[key], rel=1e-5)
            assert about
            if key in found.bounds:
                low, high = found.bounds[key]
                assert Decimal(least) <= Decimal(low) <= Decimal(high) <= Decimal(most)
                assert number(most) - number(least) < 2 * (high - low) + 1e-5
            else:
                assert least == most == ""

    def test_thresholds_have_a_table(self):
        found = evaluation()
        header, *rows = page_of(found).table("threshold")
        for threshold, *values in rows:
            for name, value in zip(header[1:], values, strict=True):
                assert number(value) == pytest.approx(found.results[f"{name}/positive_threshold_{threshold}"], rel=1e-5)
        assert [row[0] for row in rows] == ["0.1", "0.5"]

    def test_slices_are_those_of_the_evaluation(self):
        found = replace(evaluation(names="abbc"), min_count=1000)
        header, *rows = page_of(found).table("site")
        assert [row[0] for row in rows] == ["b", "(other: 2 slices)"]
        for row, part in zip(rows, [found.slices["b",], found.other], strict=True):
            assert number(row[1]) == part.count
            assert sorted(header[2:]) == sorted(part.results)
            for key, value in zip(header[2:], row[2:], strict=True):
                assert number(value) == pytest.approx(part.results[key], rel=1e-4)

    def test_a_head_with_a_name(self):
        found = evaluation(head=gh.BinaryClassHead(name="clicks", thresholds=[0.3]))
        page = page_of(found)
        rows = {row[0]: row for row in page.table("metric")[1:]}
        assert number(rows["auc/clicks"][1]) == pytest.approx(found.results["auc/clicks"], rel=1e-5)
        assert page.table("threshold")[1][0] == "0.3"

    def test_what_data_it_is_of(self):
        head = gh.BinaryClassHead(weight_column="w")
        data = {"logits": [1.0, 0.0], "labels": [1, 0], "w": [2.0, 0.5]}
        found = replace(gh.evaluate(head, data), sources=("monday.csv", "<tuesday>.csv"))
        page = page_of(found)
        for part in ("monday.csv", "<tuesday>.csv", "w", "2.5", repr(head), f" by glmheads {gh.__version__}"):
            assert part in page.texts["dd"]
        assert page.texts["time"] == ["2026-01-02 03:04 UTC"]


class TestContent:
    headings = staticmethod(lambda page: [text.strip() for text in page.texts["h2"]])

    def test_all_of_it(self):
        page = page_of(evaluation(), title="Monday")
        assert self.headings(page) == ["Metrics", "Curves", "Probabilities", "Slices by site", "Data"]
        assert page.texts["h1"] == ["Monday"]
        assert len(page.svgs) == 5

    def test_without_calibration_it_says_what_adds_it(self):
        page = page_of(evaluation(head=gh.BinaryClassHead()))
        assert len(page.svgs) == 3
        assert any('extra_metrics="all"' in text for text in page.texts["code"])

    def test_calibration_without_curves(self):
        page = page_of(evaluation(head=gh.LogisticRegressionHead(extra_metrics="all")))
        assert self.headings(page) == ["Metrics", "Probabilities", "Slices by site", "Data"]

    @pytest.mark.parametrize("head", [gh.RegressionHead(), gh.PoissonRegressionHead()], ids=repr)
    def test_regression_has_metrics_and_slices(self, head):
        page = page_of(evaluation(head=head))
        assert self.headings(page) == ["Metrics", "Slices by site", "Data"]
        assert "extra_metrics" not in page.source

    def test_regularization_is_of_the_whole(self):
        found = gh.evaluate(gh.BinaryClassHead(), [([1, 0], [[0.0], [1.0]], {"g": ["a", "b"]}, [0.5])], by="g")
        page = page_of(found)
        assert {row[0]: row[1] for row in page.table("metric")}["regularization_loss"] == "0.5"
        header, *rows = page.table("g")
        assert [row[header.index("regularization_loss")] for row in rows] == ["", ""]

    def test_a_head_of_ones_own_with_curves_and_no_areas(self):
        class CurvesHead(gh.BinaryClassHead):
            def __init__(self):
                super().__init__()
                vars(self)["metric_specs"] = tuple(spec for spec in self.metric_specs if "auc" not in spec.key)

        page = page_of(evaluation(head=CurvesHead()))
        assert len(page.svgs) == 3
        assert page.texts["figcaption"][0] == ""

    def test_without_data(self):
        page = page_of(gh.Evaluation(ALL, ALL.empty(), 0))
        assert "No data:" in page.texts["strong"]
        assert page.source.count("no data") == 4

    @pytest.mark.parametrize("label", [0, 1])
    def test_one_class(self, label):
        page = page_of(gh.evaluate(ALL, {"logits": [1.0, 2.0], "labels": [label, label]}))
        assert "One class only:" in page.texts["strong"]
        assert page.source.count(f"no {'negatives' if label else 'positives'}") == 2

    def test_nan_logits_are_named_and_nothing_is_drawn_of_them(self):
        data = {"logits": [1.0, np.nan, 0.0], "labels": [1, 0, 0], "site": ["a", "a", "b"]}
        page = page_of(gh.evaluate(ALL, data, by="site"))
        assert "Not all values could be used:" in page.texts["strong"]
        assert page.source.count("1 bad logits") == 5
        assert {row[0]: row[1] for row in page.table("metric")}["auc"] == "NaN"

    def test_bad_labels_that_were_counted_are_refused(self):
        jax = pytest.importorskip("jax")
        seen = jax.jit(ALL.statistics)(jax.numpy.asarray([2.0, 1.0]), jax.numpy.asarray([[1.0], [0.0]]))
        file = io.StringIO()
        with pytest.raises(ValueError, match="1 bad labels"):
            report.write(gh.Evaluation(ALL, seen, 2), file)
        assert not file.getvalue()

    def test_infinite_values(self):
        data = {"logits": [1e308, -1e308, np.inf], "labels": [0.0, 1.0, 1.0]}
        rows = {row[0]: row[1] for row in page_of(gh.evaluate(ALL, data)).table("metric")}
        assert number(rows["average_loss"]) > 1e307

    def test_many_slices_stay_small_and_the_largest_are_kept(self):
        rng = np.random.default_rng(0)
        n = 60_000
        site = np.concatenate([np.arange(1000), rng.integers(0, 1000, n - 1000)])
        data = {"logits": rng.normal(size=n), "labels": rng.integers(0, 2, n), "site": site}
        whole = page_of(gh.evaluate(gh.BinaryClassHead(), data, by="site"))
        assert len(whole.table("site")) == 1001
        assert len(whole.source.encode()) < 500_000
        found = gh.evaluate(ALL, data, by="site")
        page = page_of(found)
        rows = page.table("site")[1:]
        assert 100 < len(rows) < 1000
        assert len(page.source.encode()) < 500_000
        assert f"The {len(rows)} largest of 1,000 rows" in page.source
        counts = sorted((part.count for part in found.slices.values()), reverse=True)
        assert sorted((number(row[1]) for row in rows), reverse=True) == counts[: len(rows)]


class TestHostile:
    page = page_of(
        replace(evaluation(800, names=HOSTILE), sources=tuple(HOSTILE)), title=f"{HOSTILE[0]}\0\x1b\ud800 {HOSTILE[1]}"
    )

    def test_names_are_text(self):
        tags = [tag for tag, _ in self.page.attributes]
        assert tags.count("script") == 1
        assert "img" not in tags
        assert {row[0] for row in self.page.tables[-1][1:]} == set(HOSTILE)
        assert "49" not in "".join(self.page.texts["dd"])

    def test_no_attribute_is_an_event(self):
        assert not [name for _, found in self.page.attributes for name in found if name.startswith("on")]

    def test_characters_that_html_has_not_are_replaced(self):
        assert self.page.texts["h1"][0].startswith(f"{HOSTILE[0]}\ufffd\ufffd\ufffd ")
        assert not re.search(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", self.page.source)

    def test_a_name_of_a_column(self):
        data = {"logits": [1.0, 0.0], "labels": [1, 0], HOSTILE[0]: ["a", "b"], HOSTILE[1]: [1.5, None]}
        page = page_of(gh.evaluate(ALL, data, by=HOSTILE[:2]))
        assert page.table(HOSTILE[0])[0][:2] == HOSTILE[:2]
        assert [tag for tag, _ in page.attributes].count("script") == 1


class TestByItself:
    """The page needs no other file, and is right as HTML."""

    page = page_of(evaluation(60_000))

    def test_nothing_is_fetched(self):
        assert not re.search(r"https?:|//\w+\.|@import|\bsrc\s*=|url\((?!#)", self.page.source)
        links = {found[name] for _, found in self.page.attributes for name in ("href", "xlink:href") if name in found}
        assert {link for link in links if not link.startswith("#")} == {"data:,"}

    def test_a_policy_allows_the_one_script_alone(self):
        policy = next(found["content"] for _, found in self.page.attributes if "http-equiv" in found)
        digest = base64.b64encode(hashlib.sha256(self.page.texts["script"][0].encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in policy
        assert policy.startswith("default-src 'none'")

    def test_ids_are_unique_and_what_refers_to_them_finds_them(self):
        ids = [found["id"] for _, found in self.page.attributes if "id" in found]
        assert len(ids) == len(set(ids))
        wanted = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', self.page.source))
        wanted = {name for pair in wanted for name in pair if name}
        for _, found in self.page.attributes:
            wanted |= set((found.get("aria-labelledby") or "").split())
        assert wanted <= set(ids)

    def test_figures_are_well_formed_named_and_themed(self):
        assert len(self.page.svgs) == 5
        for svg in self.page.svgs:
            tree = ElementTree.fromstring(svg)
            assert tree.get("role") == "img"
            assert tree.find("title").text
            assert tree.find("desc").text
            assert tree.findall(".//text"), "text is text"
            assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff", "#000000"}
            assert "var(--first)" in svg

    def test_a_page_is_small(self):
        assert len(self.page.source.encode()) < 200_000

    def test_headings_of_tables_have_a_scope(self):
        assert all("scope" in found for tag, found in self.page.attributes if tag == "th")

    def test_the_same_on_every_run_whatever_the_settings(self):
        with mpl.rc_context({"font.size": 20, "axes.grid": True, "lines.linewidth": 5}):
            assert report.render(evaluation(60_000), date=DATE) == self.page.source

    def test_contrast(self):
        """WCAG 2.2, 1.4.3: 4.5 to 1; lines of plots, 1.4.11: 3 to 1."""
        style = files("glmheads.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
        schemes = [dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block)) for block in style.split(":root {")[1:]]
        assert len(schemes) == 3

        def luminance(color: str) -> float:
            shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
            return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

        for scheme in schemes:
            for ink in ("--ink", "--muted", "--first", "--second"):
                for paper in ("--paper", "--tint", "--warn"):
                    light, dark = sorted((luminance(scheme[ink]), luminance(scheme[paper])), reverse=True)
                    if ink in ("--ink", "--muted") or paper == "--paper":
                        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper, scheme)


class TestWrite:
    def test_to_a_path_or_a_file(self, tmp_path):
        file = io.StringIO()
        report.write(evaluation(), file, date=DATE, title="é")
        report.write(evaluation(), tmp_path / "report.html", date=DATE, title="é")
        report.write(evaluation(), str(tmp_path / "again.html"), date=DATE, title="é")
        for name in ("report.html", "again.html"):
            assert (tmp_path / name).read_text(encoding="utf-8") == file.getvalue()
        assert file.getvalue().startswith("<!DOCTYPE html>")

    def test_other_things_are_refused(self, tmp_path):
        with pytest.raises(TypeError, match="must be an Evaluation"):
            report.write(ALL.empty(), tmp_path / "report.html")
        assert not list(tmp_path.iterdir())

    def test_without_jinja_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "jinja2", None)
        with pytest.raises(ImportError, match=r"pip install 'glmheads\[report\]'"):
            report.render(evaluation())


# ---------------------------------------------------------------------------------------------------------------------
# In a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

MEASURE = """
<iframe id="frame" style="border: 0; width: {width}px; height: 900px" srcdoc="{page}"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("frame").addEventListener("load", () => {{
  const view = document.getElementById("frame").contentWindow, page = view.document;
  const cells = () => [...page.querySelectorAll("table.sortable tbody tr")].map((row) => row.cells[1].textContent);
  const found = {{
    width: view.innerWidth,
    overflow: page.documentElement.scrollWidth - view.innerWidth,
    paper: view.getComputedStyle(page.documentElement).backgroundColor,
    text: view.getComputedStyle(page.querySelector("svg text")).fill,
    before: cells(),
  }};
  page.querySelectorAll("table.sortable button")[1].click();
  found.after = cells();
  document.getElementById("found").textContent = "FOUND" + JSON.stringify(found) + "END";
}});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_chromium(width, scheme, tmp_path):
    found = evaluation(800, names=[*HOSTILE[:6], *HOSTILE[5:]])
    page = report.render(replace(found, sources=tuple(HOSTILE)), date=DATE, title=HOSTILE[6])
    file = tmp_path / "measure.html"
    file.write_text("<!DOCTYPE html><meta charset=utf-8>" + MEASURE.format(width=width, page=escape(page)), "utf-8")
    command = [
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=5000"),
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        *("--enable-logging=stderr", "--dump-dom", file.as_uri()),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert "CONSOLE" not in done.stderr
    seen = json.loads(re.search(r"FOUND(.*?)END</pre>", done.stdout)[1])
    assert seen["width"] == width
    assert seen["overflow"] <= 0
    is_light = sum(map(int, re.findall(r"\d+", seen["paper"])[:3])) > 600
    assert is_light == (scheme == "light")
    assert (sum(map(int, re.findall(r"\d+", seen["text"])[:3])) > 400) == (scheme == "dark")
    assert seen["after"] == sorted(seen["before"], key=int, reverse=True)
