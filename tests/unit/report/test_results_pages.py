"""docs/results: the pages are what the records give, short, and linked; their cells are those of the tables."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kendalltau

from benchmark.core import paths
from benchmark.core.errors import ConfigError
from benchmark.report.results_pages import pages as pages_module
from benchmark.report.results_pages.layout import FOLDER, Front, Layout, PageOf, page_plan, read_layout
from benchmark.report.results_pages.leaderboard import group_letters
from benchmark.report.results_pages.pages import MADE, MOST_LINES, Files, build, looks, write
from benchmark.report.results_pages.pictures import REAL, sheet_webp
from benchmark.runs.records import Record, read_records
from benchmark.runs.sample_files import POINTS_SIDE, real_path, samples_path

HOW = "run `make results`"
TABLES = paths.REFERENCE / "tables"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(read_records(paths.REFERENCE))


@pytest.fixture(scope="module")
def layout() -> Layout:
    return read_layout()


@pytest.fixture(scope="module")
def made(records: list[Record], layout: Layout) -> Files:
    return build(paths.REFERENCE, records, layout)


def rows(text: str) -> list[list[str]]:
    """The cells of all lines of Markdown tables."""
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in text.splitlines() if line.startswith("| ")]


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


# ---- the committed pages --------------------------------------------------------------------------------------------


def test_a_complete_comparison_says_nothing_of_what_is_left(made: Files) -> None:
    assert "So far" not in made["digits.md"].decode() + made["stacked_digits.md"].decode()


def test_the_pages_are_what_the_records_give(made: Files) -> None:
    there = [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".yaml"]
    assert {path.relative_to(FOLDER).as_posix() for path in there} == set(made), HOW
    for path in there:
        content = made[path.relative_to(FOLDER).as_posix()]
        if path.suffix == ".webp":  # the encoder's bytes are those of its version; the image is not
            assert np.array_equal(pixels(path.read_bytes()), pixels(content)), f"{path.name}: {HOW}"
        else:
            assert path.read_bytes() == content, f"{path.name}: {HOW}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_is_short_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert links
    assert [link for link in links if not (FOLDER / link).exists()] == []


def test_every_dataset_with_records_is_on_one_page(records: list[Record], layout: Layout) -> None:
    datasets = sorted({record.scored_on for record in records})
    plan = page_plan(layout, datasets)
    shown = [name for page in plan for name in page.datasets if name in datasets]
    assert sorted(shown) == datasets
    assert {page.stem for page in PAGES} == {"index", *(page.name for page in plan)}
    index = (FOLDER / "index.md").read_text()
    assert [page.name for page in plan if f"]({page.name}.md)" not in index] == []


@pytest.mark.parametrize(("page", "table"), [("digits", "compare-small"), ("shapes_class", "compare-shapes")])
def test_a_leaderboard_has_the_cells_of_the_published_table(page: str, table: str) -> None:
    head, _, *published = rows((TABLES / f"{table}.md").read_text())
    values = {line[0].partition(", n =")[0]: dict(zip(head, line)) for line in published}
    section = (FOLDER / f"{page}.md").read_text().partition("| method |")
    shown_head, _, *lines = rows("".join(section[1:]).split("\n\n")[0])
    names = {"recall ↑": "Recall-judge ↑", "coverage ↑": "Coverage-judge ↑", "authenticity ↑": "Authenticity-judge ↑"}
    n = 0
    for line in lines:
        for name, cell in zip(shown_head, line):
            column = names.get(name, name)
            if column in head and cell:
                assert cell == values[line[0].strip("*")][column], (line[0], column)
                n += 1
    assert n >= 4 * 10
    at = shown_head.index("FD-judge ↓")
    distances = [float(re.sub(r"\*|±.*", "", line[at])) for line in lines if "±" in line[at]]
    assert len(distances) >= 10
    assert distances == sorted(distances)


def test_the_first_page_counts_the_claims_of_the_published_table() -> None:
    head, _, *lines = rows((TABLES / "claims.md").read_text())
    whose, outcome = head.index("Whose"), head.index("Outcome")
    index = (FOLDER / "index.md").read_text()
    claim = head.index("Claim")
    for name, words in (("the paper's", "claims of the papers[^:]*"), ("ours", "claims of our own")):
        mine = [line[outcome] for line in lines if line[whose] == name]
        (found,) = re.findall(rf"(\d+) are of (\d+) {words}: ([^.]+)\.", index)
        assert int(found[0]) == len(mine)
        assert int(found[1]) == len({line[claim] for line in lines if line[whose] == name})
        assert {part.partition(" ")[2]: int(part.partition(" ")[0]) for part in found[2].split(", ")} == {
            one: mine.count(one) for one in set(mine)
        }


# ---- remarks --------------------------------------------------------------------------------------------------------


def numbers(text: str) -> set[str]:
    """The numbers of a text as they are written: 2,000 and 0.2, not the 2 of GAN2 or the 4 of 4th."""
    text = re.sub(r"\]\([^)]*\)", "]", text)  # targets of links
    return set(re.findall(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?![\w]|,?\d)", text))


def test_each_number_of_a_caveat_is_in_a_table(layout: Layout) -> None:
    for method, paper in layout.papers.items():
        tables = [
            path.read_text() for path in TABLES.glob("*.md") if path.name.startswith((method, "compare-", "claims"))
        ]
        assert numbers(paper.caveat) - numbers("".join(tables)) == set(), method


def test_each_number_of_a_remark_is_in_a_table(layout: Layout) -> None:
    for name, remark in layout.remarks.items():
        assert (TABLES / f"{name}.md").exists(), name
        claims = "".join(line for line in (TABLES / "claims.md").read_text().splitlines() if f"| {name} |" in line)
        known = numbers((TABLES / f"{name}.md").read_text() + claims)
        assert numbers(remark) - known == set(), name


def test_what_samples_look_like_is_said_of_rows_in_the_order_of_the_ranking(layout: Layout) -> None:
    assert layout.front is not None
    shown = [*layout.looks.items(), (layout.front.board, layout.front.rows)]
    for name, said in shown:
        titles = {", ".join(line[:n]) for line in rows((TABLES / f"{name}.md").read_text()) for n in range(1, 5)}
        assert set(said) <= titles, name
    said = {"SNGAN": "strokes", "BigGAN": "digits", "none of these": "x"}
    text = looks(
        "compare-small",
        {name: name for name in ("BigGAN", "IC-GAN", "SNGAN")},
        replace(layout, looks={"compare-small": said}),
    )
    assert text == ["BigGAN: digits<br>SNGAN: strokes", ""]
    assert looks("other", {"BigGAN": "BigGAN"}, layout) == []


def test_numbers_are_found_whole() -> None:
    assert numbers("2,000 samples of GAN2 at 0.2, the 4th; [3 rows](x-77.md) and 865.") == {"2,000", "0.2", "3", "865"}


# ---- any records ----------------------------------------------------------------------------------------------------


def comparison(records: list[Record], methods: tuple[str, ...], seeds: tuple[int, ...]) -> list[Record]:
    """Records of the comparison on shapes."""
    return [
        record
        for record in records
        if record.scored_on == "shapes_class" and record.method in methods and record.seed in seeds
        if not {"stages", "ema_half_life_images"} & record.changes.keys()  # those of other suites
    ]


def test_the_index_compares_the_leaderboards_of_two_datasets(records: list[Record], layout: Layout) -> None:
    """Ranks are those of the pages, and tau is SciPy's of these ranks."""
    index, ranks = (FOLDER / "index.md").read_text(), {}
    section = index.partition("## Does the ranking carry over?")[2].partition("\n## ")[0]
    head, _, *lines = rows(section)
    for k, name in ((1, "digits"), (2, "fashion_mnist"), (3, "shapes_class")):
        board = [line for line in rows((FOLDER / f"{name}.md").read_text()) if len(line) == 12]
        shown = [line for line in board if line[2].startswith(("best", "worse", "not significant"))]
        assert head[k].endswith(f", of {len(shown)}")
        places = {line[0]: f"{i} {line[3]}" for i, line in enumerate(shown, 1)}
        assert {line[0]: line[k] for line in lines if line[k] != "–"} == places
        ranks[name] = {line[0]: i for i, line in enumerate(shown)}
    shared = sorted(ranks["digits"].keys() & ranks["shapes_class"].keys())
    tau = kendalltau(*([ranks[page][name] for name in shared] for page in ("digits", "shapes_class"))).statistic
    assert f"- Digits and Coloured shapes, five classes: {tau:.2f} [" in section
    assert f"], {len(shared)} methods." in section


def test_a_suite_that_a_page_shows_has_a_section_with_its_samples_and_curves(made: Files, layout: Layout) -> None:
    (page,) = [page for page in layout.pages if page.shown]
    text = made[f"{page.name}.md"].decode()
    section = text.partition("## Control with and without labels")[2].partition("\n## ")[0]
    for suite in page.shown:
        for figure in (f"images/{suite}-samples.webp", f"images/{suite}-curves.svg"):
            assert figure in made
            assert f"]({figure})" in section
        assert f"/{suite}-cost.md" in text
    assert text.count("Control with and without labels") == 1


def test_collapsed_runs_are_counted_beside_the_seeds(made: Files) -> None:
    table = rows((TABLES / "selfcond-stacked-small.md").read_text())
    collapsed = {tuple(line[:2]) for line in table if "collapsed (1 of 3)" in line[-1]}
    shown = rows(made["stacked_digits.md"].decode())
    assert collapsed
    assert {tuple(line[:2]) for line in shown if len(line) == 6 and "[1 collapsed]" in line[-1]} == collapsed


def test_the_index_counts_the_runs_that_a_published_classifier_scored(records: list[Record]) -> None:
    shown = {cells[0]: cells[-1] for cells in rows((FOLDER / "index.md").read_text()) if len(cells) == 6}
    for page, datasets in (("Digits", ("digits", "digits_5to9")), ("Stacked digits", ("stacked_digits",))):
        distances = [record.values["fd_judge"] for record in records if record.scored_on in datasets]
        files = [value.protocol["extractor"]["weights"]["file"] for value in distances]
        assert 0 < files.count("digits-judge.safetensors") < len(files)
        assert shown[page] == f"{files.count('digits-judge.safetensors'):,}"
    assert shown["2-D mixtures: ring and grid"] == "–"  # points: no classifier


def test_one_leaderboard_is_compared_with_none(records: list[Record], layout: Layout) -> None:
    files = build(paths.REFERENCE, comparison(records, ("biggan", "sngan"), (0, 1)), layout)
    assert "carry over" not in files["index.md"].decode()


def test_two_methods_in_common_are_too_few_to_compare_rankings(records: list[Record], layout: Layout) -> None:
    both = [record for record in records if record.method in ("biggan", "sngan") and record.seed in (0, 1)]
    text = build(paths.REFERENCE, both, layout)["index.md"].decode()
    assert "Digits and Coloured shapes, five classes have 2 methods in common, too few to compare rankings." in text


def test_one_seed_gives_a_page_without_tests(records: list[Record], layout: Layout) -> None:
    files = build(paths.REFERENCE, comparison(records, ("biggan", "sngan", "dcgan"), (0,)), layout)
    page = files["shapes_class.md"].decode()
    assert "No difference was tested" in page
    assert "So far 3 of 45 planned runs are finished; none of InfoSCC-GAN, CGAN, ACGAN," in page
    assert "and 4 more." in page
    assert "one seed" in page
    assert "samples.webp" not in page
    assert {name for name in files if name.endswith(".md")} == {"index.md", "shapes_class.md"}


def test_the_best_row_of_one_seed_is_named_beside_the_best_of_those_tested(
    records: list[Record], layout: Layout
) -> None:
    """A row of one seed cannot be tested: it neither leads nor goes unmentioned."""
    some = comparison(records, ("biggan", "sngan", "pacgan"), (0, 1, 2))
    page = build(
        paths.REFERENCE, [one for one in some if one.method != "biggan" or one.seed == 0], layout
    )["shapes_class.md"].decode()  # fmt: skip
    assert "**SNGAN** has the lowest FD-judge of the rows with two seeds or more: " in page
    assert "BigGAN, " in page
    assert "(one seed), is not tested." in page
    assert "It is significantly better than the only other row that can be tested." in page
    assert "on the scale on which rows are compared" not in page


def test_samples_of_one_seed_make_a_sheet(records: list[Record], layout: Layout, tmp_path: Path) -> None:
    """The seed that most rows have samples of, real images first; the text says how many rows are shown."""
    mine = comparison(records, ("biggan", "sngan"), (0, 1))
    colours = {}
    for i, record in enumerate(sorted(mine, key=lambda one: (one.seed, one.method))):
        if (record.seed, record.method) != (0, "biggan"):
            path = samples_path(tmp_path, record.run)
            path.parent.mkdir(parents=True, exist_ok=True)
            colours[record.seed, record.method] = (40 * (i + 1), 0, 90)
            Image.new("RGB", (64, 128), (40 * (i + 1), 0, 90)).save(path, "WEBP", lossless=True)
    data = mine[0].result_or_empty.data
    real = real_path(tmp_path, "shapes_class", data.sha256)
    real.parent.mkdir(parents=True)
    Image.new("RGB", (64, 128), (255, 0, 0)).save(real, "WEBP", lossless=True)
    files = build(tmp_path, mine, replace(layout, front=Front(board="compare-shapes", rows=("SNGAN",))))
    front = {tuple(map(int, colour)) for colour in pixels(files["images/front-samples.webp"]).reshape(-1, 3)}
    assert {(255, 0, 0), colours[0, "sngan"]} <= front
    assert not front & {colours[1, "biggan"], colours[1, "sngan"]}
    (name,) = [name for name in files if name.endswith("shapes-samples.webp")]
    assert f"]({name})" in files["shapes_class.md"].decode()
    assert "Uncurated samples of every row, seed 1" in files["shapes_class.md"].decode()
    sheet = pixels(files[name])
    seen = {tuple(map(int, colour)) for colour in sheet.reshape(-1, 3)}
    assert {(255, 0, 0), colours[1, "biggan"], colours[1, "sngan"]} <= seen
    assert colours[0, "sngan"] not in seen


def test_an_unknown_dataset_has_a_page_of_its_own(layout: Layout) -> None:
    assert page_plan(layout, ["digits", "new"])[-1] == PageOf(name="new", title="new", datasets=("new",))


def test_the_first_screen_is_about_the_suite_that_the_layout_names(records: list[Record], layout: Layout) -> None:
    plane = [record for record in records if record.scored_on in ("ring2d", "grid2d")]
    (plan,) = [page for page in layout.pages if page.name == "plane"]
    for board, other in (("selfcond-2d-small-ring2d", "grid2d"), ("selfcond-2d-small-grid2d", "ring2d")):
        changed = replace(layout, pages=(replace(plan, first=board),))
        text = build(paths.REFERENCE, plane, changed, only="plane")["plane.md"].decode()
        first, *more = text.split("\n## ")[1:]
        assert f": {other}. " not in first
        assert other in more[1], "below"


def test_a_page_takes_the_longest_form_that_fits(
    records: list[Record], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = [record for record in records if record.scored_on in ("ring2d", "grid2d")]
    full = build(paths.REFERENCE, plane, layout, only="plane")["plane.md"].decode()
    assert full.count("| claim |") == 2
    n = len(full.splitlines())
    monkeypatch.setattr(pages_module, "MOST_LINES", n - 1)
    claims = build(paths.REFERENCE, plane, layout, only="plane")["plane.md"].decode()
    assert len(claims.splitlines()) < n
    assert claims.count("| claim |") == 1
    assert claims.count("supported") == full.count("supported")
    monkeypatch.setattr(pages_module, "MOST_LINES", len(claims.splitlines()) - 1)
    counts = build(paths.REFERENCE, plane, layout, only="plane")["plane.md"].decode()
    assert "2 supported, 3 inconclusive" in counts
    monkeypatch.setattr(pages_module, "MOST_LINES", 10)
    with pytest.raises(ConfigError, match="at most 10"):
        build(paths.REFERENCE, plane, layout, only="plane")


def test_writing_removes_what_is_no_longer_made(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("old.md", "images/old-curves.svg", "remarks.yaml"):
        (tmp_path / name).write_text(f"{MADE}\n")
    write(tmp_path, {"new.md": b"page", "images/new.svg": b"<svg/>"})
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"new.md", "images/new.svg", "remarks.yaml"}


def test_writing_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    own = {"notes.md", "images/photo.png", "images/drawing.svg"}
    for name in own:
        (tmp_path / name).write_text("mine")
    write(tmp_path, {"new.md": b"page"})
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == own | {"new.md"}


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_letters_of_a_chain() -> None:
    assert group_letters([4, 7, 9], {frozenset((4, 9))}) == ["a", "ab", "b"]
    assert group_letters([], set()) == []


@pytest.mark.parametrize("seed", range(20))
def test_rows_share_a_letter_exactly_where_they_are_not_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = [int(place) for place in rng.permutation(30)[: rng.integers(1, 12)]]
    apart = {frozenset(pair) for pair in combinations(places, 2) if rng.random() < rng.choice([0.1, 0.5, 0.9])}
    letters = dict(zip(places, group_letters(places, apart)))
    assert all(letters.values())
    for a, b in combinations(places, 2):
        shared = set(re.findall(r"[a-z]\d*", letters[a])) & set(re.findall(r"[a-z]\d*", letters[b]))
        assert bool(shared) == (frozenset((a, b)) not in apart)


def test_plots_are_svg_files_with_size_and_colours(made: Files) -> None:
    plots = {name: content for name, content in made.items() if name.endswith(".svg")}
    assert plots
    for content in plots.values():
        root = ElementTree.fromstring(content)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("width")
        assert "var(" not in content.decode()


def test_a_sheet_magnifies_pixels_by_a_whole_number_and_keeps_images_apart(tmp_path: Path) -> None:
    """5 x 4 images of 12 px, 3 px for each of theirs, 2 px of white between them."""
    small = np.random.default_rng(0).integers(0, 200, (60, 48, 3), dtype=np.uint8)
    path = tmp_path / "grid.webp"
    Image.fromarray(small).save(path, "WEBP", lossless=True)
    sheet = pixels(sheet_webp([(REAL, path)]))
    expected = np.full((5 * 38 - 2, 4 * 38 - 2, 3), 255, np.uint8)
    for row, column in np.ndindex(5, 4):
        image = small[12 * row : 12 * (row + 1), 12 * column : 12 * (column + 1)]
        expected[38 * row : 38 * row + 36, 38 * column : 38 * column + 36] = image.repeat(3, axis=0).repeat(3, axis=1)
    bottom = sheet.shape[0] - 24  # the gap below
    assert np.array_equal(sheet[bottom - expected.shape[0] : bottom, 24 : 24 + expected.shape[1]], expected)


def test_a_scatter_of_points_is_not_cut(tmp_path: Path) -> None:
    points = np.random.default_rng(0).integers(0, 200, (POINTS_SIDE, POINTS_SIDE, 3), dtype=np.uint8)
    path = tmp_path / "points.webp"
    Image.fromarray(points).save(path, "WEBP", lossless=True)
    sheet = pixels(sheet_webp([(REAL, path)]))
    bottom = sheet.shape[0] - 24
    assert np.array_equal(sheet[bottom - POINTS_SIDE : bottom, 24 : 24 + POINTS_SIDE], points)
