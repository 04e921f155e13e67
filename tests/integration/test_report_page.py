"""The report in headless Chromium: what the first screen shows, and that filtering, sorting and comparing work.

The page is loaded from disk in a frame of the screen's size; a script in the page around it acts as a reader would.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.core import paths
from benchmark.core.files import write_text
from benchmark.report.site.site import site_of
from benchmark.report.site.views import front_page, pages
from benchmark.runs.records import read_records
from benchmark.runs.sample_files import real_path, samples_path, save_small_grid
from benchmark.training.measurements import Grid

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium is installed")

METHODS = ("biggan", "cgan", "acgan", "icgan", "selfcond", "dcgan", "sngan")
SCREENS = [(1280, 900), (390, 844)]
MOST_BYTES, MOST_NODES = 1_500_000, 3_000

AROUND = """<!DOCTYPE html><body style="margin:0">
<iframe id="f" width="{width}" height="{height}" style="border:0"></iframe>
<pre id="out"></pre><script>
const f = document.getElementById("f");
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
const until = async (what) => {{ for (let i = 0; i < 200 && !what(); i++) await pause(); }};
const change = (element, value, event) => {{
  element.value = value; element.dispatchEvent(new Event(event || "change", {{ bubbles: true }}));
}};
const starting = (element, text) => [...element.options].find((o) => o.text.startsWith(text)).value;
const choose = (element, text) => change(element, starting(element, text));
f.onload = async () => {{
  f.onload = null;
  let out;
  try {{ out = await (async (w, d) => {{ {steps} }})(f.contentWindow, f.contentDocument); }}
  catch (error) {{ out = {{ error: String(error) }}; }}
  document.getElementById("out").textContent = JSON.stringify(out);
}};
f.src = {url};
</script>"""

NAMES = 'const names = () => [...d.querySelectorAll("#board tbody tr[data-row] th a")].map((a) => a.textContent);'


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of some published records of two datasets, with made-up grids of samples."""
    results = tmp_path_factory.mktemp("site") / "results"
    (results / "records").mkdir(parents=True)
    for dataset in ("digits", "shapes_class"):
        for method in METHODS:
            for path in sorted((paths.REFERENCE / "records").glob(f"{dataset}-{method}-small-s*.json")):
                shutil.copy(path, results / "records")
    grid = Grid(torch.linspace(-1, 1, 16).expand(8, 4, 1, 16, 16), [""] * 8, [""] * 4)
    for record in read_records(results):
        save_small_grid(samples_path(results, record.run), grid)
        data = record.result_or_empty.data
        if data.sha256:
            save_small_grid(real_path(results, record.scored_on, data.sha256), grid)
    site = site_of(results, read_records(results), [], "../report.html", "report/")
    for name, text in pages(site).items():  # without the page of all tables, which takes longest
        write_text(results / "report" / name, text)
    write_text(results / "report.html", front_page(site))
    return results / "report.html"


def read(page: Path, steps: str, tmp_path: Path, width: int = 1280, height: int = 900, anchor: str = "") -> Any:
    """What a script that reads and acts in a page returns. Fails on any message of the browser's console."""
    around = tmp_path / "around.html"
    around.write_text(AROUND.format(width=width, height=height, steps=steps, url=json.dumps(page.as_uri() + anchor)))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--hide-scrollbars",
               "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000",
               f"--window-size={max(width, 500)},{height + 50}", "--dump-dom"]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *options, around.as_uri()], capture_output=True, text=True, timeout=180, check=True
    )
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert not said
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, "the page's script did not end"
    out = json.loads(html.unescape(found[1]) or "null")
    assert not (isinstance(out, dict) and out.get("error")), out
    return out


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_the_first_screen_has_the_leader_its_certainty_and_samples(
    width: int, height: int, front: Path, tmp_path: Path
) -> None:
    steps = """
      const inside = (b) => b.width > 0 && b.top >= 0 && b.bottom <= w.innerHeight && b.right <= w.innerWidth;
      const seen = (e) => inside(e.getBoundingClientRect());
      const images = [...d.querySelectorAll("#thumbs img")].filter(seen);
      return { who: d.getElementById("who").textContent, whoSeen: seen(d.getElementById("who")),
        sure: d.getElementById("sure").textContent, sureSeen: seen(d.getElementById("sure")),
        images: images.map((i) => i.alt), loaded: images.every((i) => i.complete && i.naturalWidth > 0),
        scrolls: d.documentElement.scrollWidth > w.innerWidth, nodes: d.querySelectorAll("*").length };"""
    out = read(front, steps, tmp_path, width, height)
    assert out["who"].startswith("BigGAN 0.85 ± 0.29")
    assert out["whoSeen"]
    assert out["sure"].startswith("Significantly better than 6 of 6")
    assert out["sureSeen"]
    assert out["images"][:2] == ["Real images of digits", "Samples of BigGAN"]
    assert out["loaded"]
    assert not out["scrolls"], "the page scrolls sideways"
    assert out["nodes"] < MOST_NODES
    assert front.stat().st_size < MOST_BYTES


def test_the_script_draws_what_the_page_shows_without_it(front: Path, tmp_path: Path) -> None:
    steps = """
      const text = (id) => d.getElementById(id).innerText.replace(/\\s+/g, " ").trim();
      const texts = () => ["answer", "board", "samples", "thumbs"].map(text);
      const before = texts();
      const metric = d.getElementById("f-metric");
      const chosen = metric.value;
      change(metric, "2");
      const between = texts();
      change(metric, chosen);
      return { before, between, after: texts() };"""
    out = read(front, steps, tmp_path)
    assert out["after"] == out["before"]
    assert out["between"] != out["before"]


def test_filters_leave_the_rows_they_name_and_rank_them_again(front: Path, tmp_path: Path) -> None:
    steps = (
        NAMES
        + """
      const all = names();
      choose(d.getElementById("f-cond"), "none");
      const ranks = [...d.querySelectorAll("#board td.rank")].map((c) => c.textContent).filter(Boolean);
      const none = names(), sure = d.getElementById("sure").textContent;
      const kicker = d.querySelector(".kicker").textContent;
      choose(d.getElementById("f-cond"), "all");
      change(d.getElementById("f-search"), "sngan", "input");
      const sought = names();
      change(d.getElementById("f-search"), "", "input");
      choose(d.getElementById("f-dataset"), "shapes_class");
      const boards = [...d.getElementById("f-board").options].map((o) => o.text);
      const dataset = d.querySelector(".kicker").textContent;
      return { all, none, ranks, sure, kicker, sought, back: names(), boards, dataset };"""
    )
    out = read(front, steps, tmp_path)
    assert out["all"] == ["BigGAN", "CGAN", "IC-GAN", "Self-Conditioned GAN", "ACGAN", "DCGAN", "SNGAN"]
    assert out["none"] == ["DCGAN", "SNGAN"]
    assert out["ranks"] == ["1", "2"]
    assert "of 1" in out["sure"]
    assert "among the rows shown" in out["kicker"]
    assert out["sought"] == ["SNGAN"]
    assert sorted(out["back"]) == sorted(out["all"])
    assert out["boards"][0].startswith("64,000 images each")
    assert "shapes_class" in out["dataset"]


def test_a_head_sorts_the_rows_and_sorts_back(front: Path, tmp_path: Path) -> None:
    steps = (
        NAMES
        + """
      const first = names();
      const links = [];
      w.HTMLAnchorElement.prototype.click = function () { links.push(decodeURIComponent(this.href)); };
      d.getElementById("csv").click();
      const press = (key) => d.querySelector(`#board button[data-key="${key}"]`).click();
      const head = (key) => d.querySelector(`#board button[data-key="${key}"]`).parentElement.getAttribute("aria-sort");
      press("recall");
      const lines = [...d.querySelectorAll("#board tr[data-row]")];
      const recall = lines.map((r) => Number(r.cells[5].textContent.replace("recall", "")));
      const said = head("recall"), focus = d.activeElement.dataset.key;
      press("cost");
      const cost = names(), low = head("cost");
      press("cost");
      const dear = names(), high = head("cost");
      press("value");
      return { first, recall, said, focus, cost, low, dear, high, last: names(), csv: links[0] };"""
    )
    out = read(front, steps, tmp_path)
    lines = out["csv"].partition(",")[2].splitlines()
    assert [line.split('","')[1] for line in lines] == ["method", *out["first"]]
    assert out["recall"] == sorted(out["recall"], reverse=True)
    assert (out["said"], out["focus"]) == ("descending", "recall")
    assert out["cost"] == out["dear"][::-1]
    assert (out["low"], out["high"]) == ("ascending", "descending")
    assert out["last"] == out["first"]


def test_the_rows_shown_are_a_latex_table(front: Path, tmp_path: Path) -> None:
    steps = (
        NAMES
        + """
      const links = [], files = [];
      w.HTMLAnchorElement.prototype.click = function () {
        links.push(decodeURIComponent(this.href)); files.push(this.download);
      };
      const [tex, csv] = ["latex", "csv"].map((id) => d.getElementById(id));
      tex.click();
      const all = names();
      choose(d.getElementById("f-cond"), "none");
      d.querySelector('#board button[data-key="name"]').click();
      tex.click(); csv.click();
      const few = names();
      change(d.getElementById("f-search"), "dcgan", "input");
      tex.click(); csv.click();
      return { all, few, links, files };"""
    )
    out = read(front, steps, tmp_path)
    whole, few, few_csv, one, one_csv = (link.partition(",")[2] for link in out["links"])
    assert [name.rpartition(".")[2] for name in out["files"]] == ["tex", "tex", "csv", "tex", "csv"]
    lines = whole.splitlines()
    assert r"\begin{tabular}{rllrrrlll}" in lines
    assert lines[-1] == r"\end{tabular}"
    assert sum(line.startswith(("\\toprule", "\\midrule", "\\bottomrule")) for line in lines) == 4
    rows = [line for line in lines if line.endswith(r" \\")]
    assert {line.count("&") for line in rows} == {8}
    assert rows[0].startswith(r"\# & Method & Conditioning & FD-judge $\downarrow$ & Recall")
    assert rows[1].startswith(r"1 & BigGAN & class & \textbf{0.85 $\pm$ 0.29} & 0.72")
    assert rows[-1].startswith(" & real, half against half, ")
    assert [row.split(" & ")[1] for row in rows[1:-1]] == out["all"]
    assert whole.count("textbf") == 1
    for text, table, names in ((few, few_csv, out["few"]), (one, one_csv, ["DCGAN"])):
        shown = [line.split(" & ")[1] for line in text.splitlines() if line.endswith(r" \\")][1:-1]
        assert shown == names, "filtered, sorted and searched as on the page"
        assert [line.split('","')[1] for line in table.splitlines()[1:]] == names


def test_two_rows_are_compared_on_a_page_of_their_own(front: Path, tmp_path: Path) -> None:
    steps = """
      const boxes = [...d.querySelectorAll("#board input[type=checkbox]")], button = d.getElementById("compare");
      const before = button.disabled;
      boxes[0].click(); boxes[1].click();
      const two = button.disabled;
      boxes[2].click();
      const checked = boxes.filter((b) => b.checked).length;
      boxes[2].click(); boxes[0].click();
      const ready = button.disabled;
      button.click();
      const there = () => f.contentDocument && f.contentDocument.getElementById("verdict");
      await until(there);
      const page = f.contentDocument;
      return { before, two, checked, ready, verdict: there().textContent,
        effect: page.getElementById("effect").textContent,
        heads: [...page.querySelectorAll("h2")].map((h) => h.textContent.split(":")[0]),
        dots: page.querySelectorAll("circle.seed").length,
        images: [...page.querySelectorAll(".side img")].map((i) => i.alt),
        rows: page.querySelectorAll("tbody tr").length };"""
    out = read(front, steps, tmp_path)
    assert (out["before"], out["two"], out["checked"], out["ready"]) == (True, False, 2, False)
    assert out["verdict"] == "BigGAN is significantly better than CGAN"
    assert re.fullmatch(r"× 0\.\d+ \[0\.\d+, 0\.\d+\]", out["effect"])
    assert out["dots"] == 10
    assert out["images"] == ["Samples of BigGAN", "Real images of digits", "Samples of CGAN"]
    assert out["heads"][2:] == ["Every seed", "During training", "Configuration", "Environment"]
    assert out["rows"] > 5


def test_the_order_of_two_rows_does_not_change_what_is_found(front: Path, tmp_path: Path) -> None:
    steps = """
      const read = () => [d.getElementById("verdict").textContent, d.getElementById("effect").textContent];
      const [a, b] = [d.getElementById("c-a"), d.getElementById("c-b")];
      const first = read(), [x, y] = [a.value, b.value];
      change(a, y); change(b, x);
      const turned = read();
      change(b, a.value);
      return { first, turned, same: d.getElementById("compared").textContent };"""
    out = read(front.with_suffix("") / "compare-digits.html", steps, tmp_path)
    assert out["first"] == out["turned"]
    assert "Choose two different rows" in out["same"]


@pytest.mark.parametrize("name", ["data-digits.html", "method-icgan.html", "compare-digits.html", "report.html"])
def test_no_page_scrolls_sideways_on_a_phone(name: str, front: Path, tmp_path: Path) -> None:
    page = front if name == front.name else front.with_suffix("") / name
    out = read(page, "return [d.documentElement.scrollWidth, w.innerWidth];", tmp_path, 390, 844)
    assert out[0] <= out[1]
