"""The report: complete in itself, escaped, accessible, of records alone, the same bytes for the same records."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.core.config import content_hash
from benchmark.core.errors import DataError, UserError
from benchmark.evaluation.value import MetricValue
from benchmark.report import page as report_page
from benchmark.report.published import PUBLISHED_FIELDS, find_published
from benchmark.report.report import tables_page, write_report
from benchmark.report.tables import dataset_table
from benchmark.runs import records as records_module
from benchmark.runs.records import read_records, write_record
from benchmark.runs.suites.suite import cells, changes_of, find_suite

EVIL = "</td><script>alert(1)</script><img src=http://evil.example/x.png onerror=alert(2)>"
VOID = {"meta", "img", "link", "br", "hr", "input", "wbr"}
WEIGHTS = "c0ffee" * 10


@pytest.fixture(autouse=True, scope="module")
def _fixed_environment() -> Iterator[None]:
    """Asking git and every package for its version takes most of these tests' time."""
    known = {"python": "3.11", "libraries": {"torch": "2.15.0", "scipy": "1.17.1"}, "commit": "0073935b65a7"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_module, "environment", lambda: known)
        yield


def write(
    results: Path,
    method: str,
    fd: float | None,
    seed: int = 0,
    *,
    dataset: str = "digits",
    recipe: str = "small",
    changes: dict[str, Any] | None = None,
    reason: str = "",
    extra: dict[str, float] | None = None,
    controls: dict[str, float] | None = None,
    curve: dict[int, float] | None = None,
) -> str:
    """Write a record as a run does; fd None: the run failed. Returns the run's name."""
    changes = changes or {}
    config = {"method": method, "recipe": recipe, "data": {"name": dataset, "title": "Digits"}, "config": changes}
    digest = content_hash(config)
    run = f"{dataset}-{method}-{recipe}-s{seed}-{digest[:8]}"
    identity = {"extractor": "judge", "resize": "none", "weights": {"file": "judge", "sha256": WEIGHTS}}
    protocol = {"reference": "train", "n_reference": 1198, "n_fake": 2000, "eval_seed": 0, "extractor": identity}
    details = {"controls": controls} if controls else {}
    values = [MetricValue("fd_judge", "FD-judge", fd, "lower", protocol, details=details).to_dict()]
    values += [MetricValue(name, name, v, "higher", protocol).to_dict() for name, v in (extra or {}).items()]
    if curve:
        lines = [{"step": step, "fd": value} for step, value in curve.items()]
        few, name = protocol | {"n_fake": 500}, "FD-judge, last 3 snapshots"
        values.append(MetricValue("fd_late_judge", name, 1.0, "lower", few, details={"curve": lines}).to_dict())
    write_record(
        results,
        run,
        status="failed" if fd is None else "done",
        reason=reason,
        identity={
            "method": method,
            "dataset": dataset,
            "recipe": recipe,
            "seed": seed,
            "changes": changes,
            "config_hash": digest,
            "config": config,
        },
        result=None if fd is None else {"values": values, "steps": 100, "images_seen": 3200},
        time={"training_s": 10.0 + seed, "evaluation_s": 2.0},
        device={"device": "cpu"},
    )
    return run


def write_cell(results: Path, suite: str, row: int, fd: float) -> None:
    """Write the record of a suite's row at size small, whatever the suite asks for today."""
    spec = cells(find_suite(suite), "small", [0])[row].spec
    write(results, spec.method, fd, dataset=spec.dataset, recipe=spec.recipe or "small", changes=spec.changes)


def draw(results: Path, run: str, size: tuple[int, int] = (60, 40)) -> None:
    """A run folder with a grid of noise and a log."""
    (made,) = [made for made in read_records(results) if made.run == run]
    folder = made.folder_in(results)
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    for name in ("samples", "real", "latent_tsne"):
        Image.fromarray(noise).save(folder / f"{name}.png")
    (folder / "log.jsonl").write_text('{"step": 1, "images": 32, "D": 1.0}\n{"step": 2, "images": 64, "D": 0.5}\n')


class Element:
    """An element of a parsed page."""

    def __init__(self, tag: str, attributes: dict[str, str | None], parent: Element | None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Element | str] = []

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, *tags: str) -> list[Element]:
        mine = [child for child in self.children if isinstance(child, Element)]
        return [found for child in mine for found in ([child] if child.tag in tags else []) + child.all(*tags)]

    def every(self) -> list[Element]:
        mine = [child for child in self.children if isinstance(child, Element)]
        return [found for child in mine for found in [child, *child.every()]]

    def by_id(self, id: str) -> Element:
        (found,) = [element for element in self.every() if element["id"] == id]
        return found


class Parser(HTMLParser):
    """Reads a page into elements; a tag that is closed out of turn is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Element("", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), self.at)
        self.at.children.append(element)
        if tag not in VOID:
            self.at = element

    def handle_endtag(self, tag: str) -> None:
        assert self.at.tag == tag, f"</{tag}> closes <{self.at.tag}>"
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.children.append(data)


def parse(html: str) -> Element:
    parser = Parser()
    parser.feed(html)
    parser.close()
    assert parser.at is parser.root, f"<{parser.at.tag}> is not closed"
    return parser.root


def page_of(results: Path) -> Element:
    """The page of all tables; test_site.py is about the others."""
    return parse(tables_page(write_report(results)).read_text(encoding="utf-8"))


def cells_of(table: Element) -> list[list[str]]:
    return [[" ".join(cell.text.split()) for cell in row.all("th", "td")] for row in table.all("tbody")[0].all("tr")]


def requests_of(page: Element) -> list[str]:
    """Everything a browser would fetch by itself; links that a reader follows are none."""
    wanted = []
    for element in page.every():
        for name in ("src", "srcset", "data", "poster", "action", "background", "href", "xlink:href"):
            address = element[name]
            follows = (
                element.tag == "a" and name == "href" and address.startswith(("#", "../", "https://arxiv.org/abs/"))
            )
            if address and not follows and not address.startswith("data:image/png;base64,"):
                wanted.append(f"{element.tag} {name}={address}")
        if element.tag == "style" and re.search(r"@import|url\(", element.text):
            wanted.append("style")
        if element.tag == "script" and re.search(r"fetch\(|XMLHttpRequest|import\(|https?:", element.text):
            wanted.append("script")
    return wanted


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods with three seeds, one of them with pictures, one failed run, and control rows; not to be changed."""
    results = tmp_path_factory.mktemp("results")
    for seed in range(3):
        write(results, "icgan", 2.0 + 0.1 * seed, seed, controls={"noise 5": 0.25})
        write(results, "sngan", 25.0 + seed, seed, controls={"noise 5": 0.25})
    write(results, "ltgan", None, reason="the loss of D is nan at step 7")
    draw(results, read_records(results)[0].run)
    return results


@pytest.fixture(scope="module")
def page(untouched: Path, tmp_path_factory: pytest.TempPathFactory) -> Element:
    """Their report."""
    front = write_report(untouched, tmp_path_factory.mktemp("page") / "a.html")
    return parse(tables_page(front).read_text(encoding="utf-8"))


@pytest.fixture
def three(untouched: Path, tmp_path: Path) -> Path:
    """The same records and folders, to be changed."""
    shutil.copytree(untouched, tmp_path, dirs_exist_ok=True)
    return tmp_path


# ---- complete in itself ---------------------------------------------------------------------------------------------


def test_the_page_makes_no_request(page: Element) -> None:
    assert requests_of(page) == []
    (policy,) = [meta["content"] for meta in page.all("meta") if meta["http-equiv"] == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize(
    "added",
    [
        '<img src="https://x.org/a.png">',
        '<link rel="stylesheet" href="a.css">',
        '<script src="a.js"></script>',
        "<style>@import 'a.css';</style>",
        '<a href="https://x.org">x</a>',
    ],
)
def test_a_page_that_made_one_would_be_seen(added: str) -> None:
    assert len(requests_of(parse(f"<body>{added}</body>"))) == 1


def test_the_same_records_give_the_same_bytes(three: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("copy")
    shutil.copytree(three, other, dirs_exist_ok=True)
    front, elsewhere = write_report(three), write_report(other, other / "elsewhere" / "report.html")
    assert front.read_bytes() == elsewhere.read_bytes()
    names = sorted(path.name for path in front.with_suffix("").iterdir())
    assert "tables.html" in names
    for name in names:
        here, there = ((page.with_suffix("") / name).read_bytes() for page in (front, elsewhere))
        assert here == there, name
        assert str(three).encode() not in here, name


def test_what_records_say_is_text_and_never_markup(tmp_path: Path) -> None:
    write(tmp_path, "infoscc", 2.0, changes={"note": EVIL})
    write(tmp_path, "infoscc", None, 1, changes={"note": EVIL}, reason=EVIL)
    page = page_of(tmp_path)
    assert requests_of(page) == []
    assert [element.tag for element in page.every() if element["onerror"]] == []
    assert len(page.all("script")) == 1
    assert page.text.count(EVIL) >= 3  # in the table, the failed runs, the configuration


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_cells_bold_and_order_are_the_tables(page: Element, untouched: Path) -> None:
    table = page.by_id("table-digits")
    expected = dataset_table("digits", read_records(untouched))
    (column,) = expected.columns
    assert [row[1] for row in cells_of(table)] == [row.text(column) for row in expected.rows]
    bold = [bool(row.all("td")[0].all("strong")) for row in table.all("tbody")[0].all("tr")]
    assert bold == [expected.bold(row, column) for row in expected.rows]
    assert sum(bold) == 1


def test_a_column_is_sorted_by_full_precision_in_a_known_direction(page: Element) -> None:
    table = page.by_id("table-digits")
    head = table.all("thead")[0].all("th")[1]
    assert head["data-better"] == "lower"
    assert len(head.all("button")) == 1  # reached by the keyboard
    rows = table.all("tbody")[0].all("tr")
    keys = [row.all("td")[0]["data-sort"] for row in rows]
    assert keys == [repr((2.0 + 2.1 + 2.2) / 3), "", repr(26.0)]


def test_real_images_stand_apart_and_are_not_sorted(page: Element) -> None:
    results, controls = page.by_id("table-digits").all("tbody")
    assert controls["class"] == "controls"
    assert "noise 5" in controls.text
    assert "noise 5" not in results.text


def test_a_failed_run_is_shown_with_its_reason(page: Element) -> None:
    assert "7 runs on 1 dataset, 1 failed" in page.text
    assert "the loss of D is nan at step 7" in page.by_id("overview").text
    assert "failed (1 of 1)" in page.by_id("table-digits").text


def test_every_column_leads_to_its_protocol(page: Element) -> None:
    (link,) = [link for link in page.by_id("table-digits").all("a") if link["class"] == "behind"]
    card = page.by_id(link["href"].removeprefix("#"))
    assert card.tag == "details"
    facts = {row.all("dt")[0].text: row.all("dd")[0].text for row in card.all("div")}
    assert facts["Weights, sha256"] == WEIGHTS
    assert (facts["Generated images"], facts["Reference images"], facts["Reference split"]) == ("2000", "1198", "train")
    assert (facts["Resize"], facts["Libraries"]) == ("none", "scipy 1.17.1; torch 2.15.0")
    assert facts["icgan"] == "seeds 0, 1, 2"
    assert "ltgan" not in facts  # no value, no part in the column
    runs = cells_of(page.by_id("table-runs-digits"))
    assert {row[7] for row in runs} == {"0073935b65a7"}
    assert len(runs) == 7


def test_every_link_in_the_page_has_its_target(three: Path) -> None:
    write_cell(three, "infoscc-ablation", 1, 3.0)
    page = page_of(three)
    ids = [element["id"] for element in page.every() if element["id"]]
    assert len(ids) == len(set(ids))
    targets = {link["href"].removeprefix("#") for link in page.all("a") if link["href"].startswith("#")}
    assert targets <= set(ids)
    assert "suites" in targets


def test_what_is_drawn_has_words_and_what_is_a_table_has_heads(page: Element) -> None:
    assert [image for image in page.all("img") if not image["alt"]] == []
    for table in page.all("table"):
        assert table.all("caption")[0].text
        assert {head["scope"] for head in table.all("thead")[0].all("th")} == {"col"}
        assert all(row.all("th")[0]["scope"] == "row" for body in table.all("tbody") for row in body.all("tr"))
        assert table.parent is not None
        assert table.parent["tabindex"] == "0"  # scrolled by the keyboard, in a box of its own
    assert all(element.children and element.all("summary") for element in page.all("details"))
    assert page.all("html")[0]["lang"] == "en"
    assert "width=device-width" in next(meta["content"] for meta in page.all("meta") if meta["name"] == "viewport")


def test_style_knows_dark_phone_and_print(page: Element) -> None:
    style = page.all("style")[0].text
    for rule in ("prefers-color-scheme: dark", "@media print", "@media (max-width", "overflow-x: auto"):
        assert rule in style


# ---- published values -----------------------------------------------------------------------------------------------


def published(results: Path, **changes: str) -> None:
    line = {
        "paper": "Paper",
        "year": "2020",
        "table": "1",
        "method": "Theirs",
        "dataset": "digits",
        "resolution": "32",
        "metric": "FD-judge",
        "value": "1.50",
        "protocol": "best of 3 runs",
        "certainty": "read",
        "source": "arXiv 2006.10728, table 1",
    } | changes
    lines = [",".join(PUBLISHED_FIELDS), ",".join(f'"{line.get(name, "")}"' for name in PUBLISHED_FIELDS)]
    (results / "published.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("certainty", "mark"), [("read", "†"), ("quoted", "†‡")])
def test_a_published_value_stands_beside_ours_with_marks(three: Path, certainty: str, mark: str) -> None:
    published(three, certainty=certainty)
    page = page_of(three)
    rows = cells_of(page.by_id("table-digits-published"))
    assert ["here", "icgan, small", "2.10 ± 0.25"] in rows
    assert ["Paper", "Theirs", f"1.50{mark}"] in rows
    assert "best of 3 runs" in page.by_id("data-digits").text
    assert "https://arxiv.org/abs/2006.10728" in [link["href"] for link in page.all("a")]


def test_a_value_of_another_dataset_is_not_beside_ours(three: Path) -> None:
    published(three, dataset="mnist")
    page = page_of(three)
    assert [table["id"] for table in page.all("table") if table["id"] == "table-digits-published"] == []
    assert "1.50" in page.by_id("published").text


def test_a_suites_published_columns_are_marked(tmp_path: Path) -> None:
    suite = find_suite("infoscc-ablation")
    changes = changes_of(suite, "paper", suite.rows[1], "afhq")  # global, hinge
    write(
        tmp_path, "infoscc", 14.0, dataset="afhq", recipe="paper", changes=changes, extra={"control_accuracy_judge": 1}
    )
    table = page_of(tmp_path).by_id("table-infoscc-ablation-paper")
    heads = [" ".join(head.text.split()) for head in table.all("thead")[0].all("th")]
    (row,) = [row for row in cells_of(table) if "13.08†" in row]
    assert row[heads.index("FID (published)")] == "13.08†"
    assert row[heads.index("Chamfer (published)")] == "4030†"


def test_published_values_lie_beside_the_records_first(tmp_path: Path) -> None:
    assert find_published(tmp_path) != tmp_path / "published.csv"
    (tmp_path / "published.csv").write_text("x\n")
    assert find_published(tmp_path) == tmp_path / "published.csv"
    write(tmp_path, "sngan", 1.0)
    with pytest.raises(DataError, match="columns"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_are_in_the_page_and_their_absence_is_said(three: Path) -> None:
    page = page_of(three)
    sources = {image["alt"]: image["src"] for image in page.all("img")}
    data = base64.b64decode(sources["Samples of icgan on digits"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(data)).size == (60, 40)
    assert {"Real images of digits", "latent tsne of icgan", "Training curves of the methods on digits"} <= set(sources)
    assert "6 of 7 run folders are not on this machine" in page.text
    shutil.rmtree(three / "runs")
    page = page_of(three)
    assert "7 of 7 run folders are not on this machine" in page.text
    assert [image["alt"] for image in page.all("img")] == ["Quality against seconds of training on digits"]


def test_scores_during_training_are_shown_from_records_alone(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path, "sngan", 2.0, seed, curve={50: 9.0, 100: 3.0 + seed})
    page = page_of(tmp_path)
    assert "FD-judge during training on digits" in [image["alt"] for image in page.all("img")]
    (caption,) = [text.text for text in page.all("figcaption") if "snapshot" in text.text]
    assert caption.startswith("FD-judge of 500 generated images at each snapshot")
    assert "fewer images is higher" in caption
    assert (tmp_path / "figures" / "digits-snapshots.png").is_file()


def test_points_during_training_are_shown_while_their_folder_is_there(tmp_path: Path) -> None:
    run = write(tmp_path, "dcgan", 2.0, dataset="ring2d")
    path = tmp_path / "records" / f"{run}.json"
    plain = json.loads(path.read_text())
    modes = MetricValue("modes_late", "Modes, last 3 snapshots", 4.0, "higher", {"n_fake": 2500, "n_modes": 8,
                  "quantisation": "none"}, details={"curve": [{"step": 100, "modes": 4}]})  # fmt: skip
    plain["result"]["values"].append(modes.to_dict())
    path.write_text(json.dumps(plain))
    folder = read_records(tmp_path)[0].folder_in(tmp_path) / "snapshots"
    folder.mkdir(parents=True)
    for name in ("real", "100"):
        np.save(folder / f"{name}.npy", np.ones((9, 2), np.float32))
    alt = "Generated points during training on ring2d"
    page = page_of(tmp_path)
    assert alt in [image["alt"] for image in page.all("img")]
    assert "Modes of 2,500 generated points at each snapshot" in page.text
    shutil.rmtree(tmp_path / "runs")
    assert alt not in [image["alt"] for image in page_of(tmp_path).all("img")]


def test_a_suite_shows_what_it_cost(three: Path) -> None:
    write_cell(three, "infoscc-ablation", 1, 3.0)
    page = page_of(three)
    table = page.by_id("table-infoscc-ablation-small-cost")
    heads = [" ".join(head.text.split()) for head in table.all("thead")[0].all("th")]
    rows = [dict(zip(heads, row)) for row in cells_of(table)]
    found = [(row["Generator steps"], row["Images seen by D"], row["Training s"]) for row in rows]
    assert [cells for cells in found if cells != ("–", "–", "–")] == [("100", "3,200", "10")]
    assert len(found) > 1
    assert "s a step" in heads
    box = table.parent and table.parent.parent
    assert box is not None
    assert box.tag == "details"


def test_a_transfer_stands_with_the_dataset_it_is_scored_on(tmp_path: Path) -> None:
    run = write(tmp_path, "icgan", 2.0)
    path = tmp_path / "records" / f"{run}.json"
    plain = json.loads(path.read_text())
    plain["config"]["transfer"] = {"name": "shapes", "title": "Coloured shapes"}
    path.write_text(json.dumps(plain))
    page = page_of(tmp_path)
    assert cells_of(page.by_id("table-overview"))[0][:3] == ["shapes", "Coloured shapes", "icgan"]
    assert page.by_id("table-shapes")


def test_a_suites_only_label_stands_there_once(three: Path) -> None:
    write_cell(three, "icgan-instances", 0, 3.0)
    rows = cells_of(page_of(three).by_id("table-icgan-instances-small"))
    assert [row[0] for row in rows] == ["10", "1000 or a twentieth of the images", "all training images"]


def test_a_large_picture_becomes_smaller(three: Path) -> None:
    run = write(three, "biggan", 1.0)
    draw(three, run, size=(1500, 300))
    (image,) = [image for image in page_of(three).all("img") if image["alt"] == "Samples of biggan on digits"]
    assert (image["width"], image["height"]) == ("720", "144")


def test_the_page_has_a_limit_and_says_what_it_costs(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tables_page(write_report(three)).stat().st_size
    monkeypatch.setattr(report_page, "MOST_PICTURE_BYTES", 25_000)
    page = tables_page(write_report(three))
    uris = re.findall(r'src="(data:[^"]*)"', page.read_text(encoding="utf-8"))
    assert 0 < sum(map(len, uris)) <= 25_000
    assert page.stat().st_size < whole
    assert re.search(r"\d images? (is|are) left out", page.read_text(encoding="utf-8"))


def test_a_broken_picture_is_left_out(three: Path) -> None:
    path = next((three / "runs").rglob("latent_tsne.png"))
    path.write_bytes(b"not a picture")
    assert "latent tsne of icgan" not in [image["alt"] for image in page_of(three).all("img")]


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_without_records_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records"):
        write_report(tmp_path)


def test_a_folder_is_no_place_for_the_page(three: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        write_report(three, three)
