"""The report's front page and the pages it links to: rankings, verdicts, protocols, hostile records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
from made_records import write

from benchmark.report import compare
from benchmark.report.published import PublishedValue
from benchmark.report.report import write_report
from benchmark.report.site.boards import Board, all_boards
from benchmark.report.site.data import as_script
from benchmark.report.site.fields import meanings
from benchmark.report.site.leaderboard import Track, leaderboard
from benchmark.report.site.numbers import brief, duration, seeds_text
from benchmark.report.site.pictures import Pictures
from benchmark.report.site.plots import front_of
from benchmark.report.site.site import site_of
from benchmark.report.site.svg import Axis, Point, Series, lines, scatter
from benchmark.runs import records as records_module
from benchmark.runs.records import Record, find_records, read_records
from benchmark.runs.sample_files import samples_path, save_small_grid
from benchmark.training.measurements import Grid

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
NONE: list[PublishedValue] = []


@pytest.fixture(autouse=True)
def _quick(quick_environment: None) -> None:
    """No table needs the versions of this machine."""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three methods of three seeds, well apart, and a fourth with one seed."""
    for method, values in {"biggan": (1.0, 1.1, 1.2), "cgan": (2.0, 2.1, 2.3), "dcgan": (9.0, 10.0, 9.4)}.items():
        for seed, fd in enumerate(values):
            write(
                tmp_path,
                {"fd_judge": fd, "score_judge": 10 - fd / 2},
                method=method,
                seed=seed,
            )
    write(tmp_path, {"fd_judge": 0.5}, method="sngan")
    return tmp_path


def ranked_boards(records: list[Record]) -> list[Board]:
    """The boards that a metric ranks."""
    return [board for board in all_boards(records) if board.columns]


def board_of(results: Path) -> Board:
    (board,) = ranked_boards(read_records(results))
    return board


def column_of(board: Board, id: str = "fd_judge") -> Any:
    return next(column for column in board.columns if column.id == id)


def data_of(page: str) -> Any:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]


# ---- ranking --------------------------------------------------------------------------------------------------------


def test_rows_are_ranked_by_their_mean_in_the_metrics_direction(results: Path) -> None:
    board = board_of(results)
    names = [place.entry.name for place in board.ranking(column_of(board)).places]
    assert names == ["sngan", "biggan", "cgan", "dcgan"]
    names = [place.entry.name for place in board.ranking(column_of(board, "score_judge")).places]
    assert names == ["biggan", "cgan", "dcgan"]


def test_verdicts_are_those_of_the_tables(results: Path) -> None:
    board = board_of(results)
    column = column_of(board)
    tests = {board.table.rows[one.a].labels[0]: one for one in board.table.comparisons(column)}
    ranking = board.ranking(column)
    assert {place.entry.method: place.test for place in ranking.places if place.test} == tests
    assert ranking.leader is not None
    assert ranking.leader.entry.method == "biggan", "sngan has one seed and cannot be tested"
    assert (ranking.n_better, ranking.n_tested) == (2, 2)
    standing = compare.standings(board.table.comparisons(column))
    best = [board.table.rows[place].labels[0] for place, how in standing.items() if how == "best"]
    assert best == ["biggan"]


def test_all_pairs_are_one_family(results: Path) -> None:
    board = board_of(results)
    column = column_of(board)
    rows = compare.column_rows([entry.row.by_seed(column) for entry in board.entries], column)
    assert rows is not None
    pairs = list(board.pairs(column))
    assert len(pairs) == 3
    (expected,) = compare.fixed_comparisons([(rows, pairs)])
    numbers = [replace(test, a=0, b=0) for test in expected]
    assert [replace(test, a=0, b=0) for test in board.pairs(column).values()] == numbers


def test_protocols_never_share_a_ranking(results: Path) -> None:
    for seed in range(2):
        write(results, {"fd_judge": 0.1}, method="acgan", seed=seed, n_fake=500)
    board = board_of(results)
    found = [column for column in board.table.columns if column.id == "fd_judge"]
    assert len({column.key for column in found}) == 2
    rankings = [{place.entry.method for place in board.ranking(column).places} for column in found]
    assert sorted(map(sorted, rankings)) == [["acgan"], ["biggan", "cgan", "dcgan", "sngan"]]
    assert board.main_column is not None
    assert len(board.ranking(board.main_column).places) == 4


def test_the_same_weights_are_ranked_once(results: Path) -> None:
    folder = results / "records"
    for path in sorted(folder.glob("*-biggan-*.json")):
        plain = json.loads(path.read_text())
        plain["result"]["weights_sha256"] = f"weights of seed {plain['seed']}"
        path.write_text(json.dumps(plain))
        mark = plain["config_hash"][:8]
        plain |= {key: plain[key].replace(mark, "00000000") for key in ("config_hash", "run")}
        plain["result"]["samples_sha256"] = "others"
        plain["changes"] = {}
        (folder / f"{plain['run']}.json").write_text(json.dumps(plain))
    board = board_of(results)
    assert sum(entry.method == "biggan" for entry in board.entries) == 2
    places = board.ranking(column_of(board)).places
    assert sum(place.entry.method == "biggan" for place in places) == 1


def test_a_row_that_trained_against_the_extractor_has_no_rank(results: Path) -> None:
    against = [{"name": "judge", "hashes": ["c0ffee" * 10]}]
    for seed in range(2):
        write(results, {"fd_judge": 0.01}, method="acgan", seed=seed, trained_against=against)
    board = board_of(results)
    places = board.ranking(column_of(board)).places
    assert [place.rank for place in places if place.entry.method == "acgan"] == [None]
    assert places[0].entry.method == "sngan"
    assert places[-1].entry.method == "acgan"


def test_a_suites_rows_are_a_board_of_their_own(reference_boards: list[Board]) -> None:
    first = reference_boards[0]
    assert (first.suite, first.dataset) == ("compare", "digits")
    assert first.budget == "64,000 images each"
    assert not first.is_ablation
    assert sum(len(board.claims) for board in reference_boards) > 5
    keys = [(board.suite, board.id) for board in reference_boards]
    assert len(keys) == len(set(keys))
    for board in reference_boards:
        rows = [entry.row.config_hash for entry in board.entries]
        assert len(rows) == len(set(rows)), board.id


@pytest.fixture(scope="module")
def reference_boards() -> list[Board]:
    """Boards of the published records of one suite's dataset."""
    from benchmark.core import paths

    records = [
        r
        for r in read_records(paths.REFERENCE)
        if r.dataset == "digits" and r.method in ("biggan", "cgan", "dcgan", "icgan")
    ]
    return ranked_boards(records)


# ---- what is drawn --------------------------------------------------------------------------------------------------


def test_the_row_of_real_images_stands_where_its_value_ranks(results: Path) -> None:
    for path in (results / "records").glob("*.json"):
        plain = json.loads(path.read_text())
        for value in plain["result"]["values"]:
            if value["id"] == "fd_judge":
                value["details"] = {"controls": {"real, half against half": 1.7}}
        path.write_text(json.dumps(plain))
    board = board_of(results)
    shown = leaderboard(board, column_of(board), Pictures(results, 0), "")
    assert shown.ranking.real == ("real, half against half", 1.7)
    assert shown.real_before == 2, "below sngan and biggan"


def test_intervals_lie_on_the_track(results: Path) -> None:
    board = board_of(results)
    ranking = board.ranking(column_of(board))
    track = Track.of(ranking)
    assert track.log
    at = [track.at(place.summary.mean) for place in ranking.places]
    assert at == sorted(at)
    assert 0 <= at[0] < at[-1] <= 100
    assert (track.at(-5.0), track.at(1e9)) == (0.0, 100.0)


@pytest.mark.parametrize(("better", "front"), [("lower", {0, 1}), ("higher", {0, 2})])
def test_the_front_has_the_points_that_no_other_beats(better: str, front: set[int]) -> None:
    assert front_of([(1.0, 5.0), (2.0, 1.0), (3.0, 9.0)], better) == front


def test_a_plot_names_the_front_only_and_escapes_every_name() -> None:
    points = [Point(EVIL, 1, 2, "class", True), Point("other", 3, 4, "none", False)]
    drawn = scatter(points, "x", "y", EVIL)
    assert "<script" not in drawn
    assert drawn.count('class="name"') == 1
    assert scatter(points[:1], "x", "y", "") == ""


def test_a_name_that_would_leave_the_plot_is_left_of_its_point() -> None:
    points = [Point("near", 1, 2, "", True), Point("a long name at the right end", 9, 4, "", True)]
    drawn = scatter(points, "x", "y", "t")
    anchors = dict(re.findall(r'text-anchor="(\w+)">(near|a long)', drawn))
    assert anchors == {"start": "near", "end": "a long"}


def test_a_name_beside_another_point_goes_to_the_free_side_or_has_a_line_to_its_own() -> None:
    """A name must not stand nearer to another point than to its own without a word."""
    near = [Point("crowded", 5.0, 5.0, "", True), Point("", 5.3, 5.0), Point("", 1.0, 1.0), Point("", 9.0, 9.0)]
    drawn = scatter(near, "x", "y", "t")
    assert 'text-anchor="end">crowded' in drawn, "the left side is free"
    assert "<polyline" not in drawn
    between = [*near, Point("", 4.7, 5.0)]
    assert scatter(between, "x", "y", "t").count("<polyline") == 1


def test_curves_name_coloured_lines_only() -> None:
    drawn = lines([Series("a", [1, 2], [3.0, 1.0], colour=0), Series("b", [1, 2], [3.0, 2.0])], "images", "FD", "t")
    assert drawn.count('class="name"') == 1
    assert drawn.count("<polyline") == 3, "two curves, and what leads from one to its name"
    assert lines([], "x", "y", "t") == ""


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0], [-3.0, 5.0], [1e-6, 1e6], [0.3, 0.9]])
def test_an_axis_has_ticks_inside(values: list[float]) -> None:
    axis = Axis.of(values, 0, 100)
    assert axis.ticks()
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())
    assert all(-1e-6 <= axis.at(value) <= 100 for value in values)


def test_numbers_for_readers() -> None:
    assert [brief(v) for v in (64000, 1_250_000, 0.05, 1010, 3)] == ["64k", "1.25M", "0.05", "1,010", "3"]
    assert [duration(v) for v in (48.2, 162, 11000, None)] == ["48 s", "2.7 min", "3.1 h", "–"]
    assert [seeds_text(s) for s in ([0, 1, 2, 3], [0, 2], [])] == ["0–3", "0, 2", "–"]


def test_fields_have_the_comments_of_the_source() -> None:
    docs = meanings("sngan")
    assert docs["z_dim"] == "of the latent [P]"
    assert docs["n_dis"] == "discriminator updates a step"
    assert meanings("no_such_method")["n_dis"] == "discriminator updates a step"


# ---- pages ----------------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Links, ids, scripts and handlers of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.n = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.n += 1
        given = dict(attrs)
        if tag == "a":
            self.links.append(given.get("href") or "")
        if tag == "script":
            self.scripts.append(given)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.handlers += [name for name, _ in attrs if name in ("onerror", "onload", "onclick")]


def parsed(path: Path) -> Links:
    page = Links()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def pages_of(front: Path) -> Iterator[Path]:
    yield front
    yield from sorted(front.with_suffix("").glob("*.html"))


def test_every_link_between_pages_has_its_target(results: Path) -> None:
    front = write_report(results)
    paths = list(pages_of(front))
    expected = {"report.html", "tables.html", "data-digits.html", "compare-digits.html", "method-biggan.html"}
    assert {path.name for path in paths} >= expected
    for path in paths:
        for link in parsed(path).links:
            if link.startswith("https://arxiv.org/"):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / unquote(file)).resolve() if file else path
            assert target.is_file(), (path.name, link)
            assert not anchor or unquote(anchor) in parsed(target).ids, (path.name, link)


def test_the_first_answer_is_in_the_page_without_script(results: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", write_report(results).read_text(encoding="utf-8"), flags=re.DOTALL)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    assert "Best on digits" in words
    assert "Significantly better than 2 of 2" in words
    assert "measured from biggan" in words
    assert len(re.findall(r'<tr role="row" data-row="', text)) == 4


def test_no_page_makes_a_request(results: Path) -> None:
    for page in pages_of(write_report(results)):
        text = page.read_text(encoding="utf-8")
        assert "default-src 'none'; img-src data:" in text, page.name
        assert not re.search(r"<link|<iframe|@import|url\(|fetch\(|XMLHttpRequest|import\(", text), page.name
        assert all(source.startswith("data:image/") for source in re.findall(r'\ssrc="([^"]*)"', text)), page.name


def test_what_records_say_cannot_leave_their_place(results: Path) -> None:
    path = next((results / "records").glob("*-cgan-*s0*.json"))
    plain = json.loads(path.read_text())
    plain["config"]["data"]["title"] = plain["config"]["config"]["loss"] = plain["reason"] = EVIL
    plain["result"]["conditions"] = {"conditioning": EVIL}
    plain["environment"]["commit"] = plain["time"]["utc"] = EVIL
    for value in plain["result"]["values"]:
        value["name"] = value["protocol"]["reference"] = EVIL
    path.write_text(json.dumps(plain))
    found = find_records(results)
    assert not found.left_out
    for page in pages_of(write_report(results)):
        seen = parsed(page)
        assert not seen.handlers, page.name
        assert all(set(script) <= {"type", "id"} for script in seen.scripts), page.name
        assert len(seen.scripts) in (0, 1, 2), page.name
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text, page.name
        assert "<img src=x" not in text, page.name


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "]]>&amp;", "\u2028", "a\x1b[2J", "\ud800"])
def test_data_in_a_script_is_text_for_json_alone(text: str) -> None:
    written = as_script({"a": text})
    assert not set("<>&") & set(written)
    assert written.isascii()
    assert json.loads(written) == {"a": text}


def test_the_scripts_data_are_the_rankings(results: Path) -> None:
    (board,) = data_of(write_report(results).read_text(encoding="utf-8"))["boards"]
    column = board["columns"][board["main"]]
    assert [board["rows"][value[0]]["name"] for value in column["values"]] == ["sngan", "biggan", "cgan", "dcgan"]
    assert board["rows"][column["leader"]]["name"] == "biggan"
    assert [value[8] and value[8][0] for value in column["values"]] == [None, None, "worse", "worse"]


def test_samples_are_those_kept_with_the_records(results: Path) -> None:
    runs = [record.run for record in read_records(results) if record.method == "cgan"]
    save_small_grid(samples_path(results, runs[1]), Grid(torch.zeros(8, 4, 1, 8, 8), [""] * 8, [""] * 4))
    text = write_report(results).read_text(encoding="utf-8")
    assert "cgan, seed 1" in text
    assert text.count('<img class="grid"') == 2, "in the answer and below the table"
    samples_path(results, runs[1]).write_bytes(b"GIF89a not a picture")
    assert '<img class="grid"' not in write_report(results).read_text(encoding="utf-8")


def test_a_page_has_room_for_so_many_samples(results: Path) -> None:
    for record in read_records(results):
        save_small_grid(samples_path(results, record.run), Grid(torch.zeros(8, 4, 1, 8, 8), [""] * 8, [""] * 4))
    site = site_of(results, read_records(results), NONE, "../report.html", "report/")
    pictures = Pictures(results, 100)
    shown = [pictures.of_entry(entry) for entry in site.boards[0].entries]
    assert any(shown)
    assert not all(shown)
    assert pictures.n_left_out


def test_names_that_are_paths_stay_in_the_folder(results: Path) -> None:
    plain = json.loads(next((results / "records").glob("*-sngan-*.json")).read_text())
    plain |= {"dataset": "../../x", "method": "../y", "config": {}}
    plain["run"] = f"../../x-../y-small-s0-{plain['config_hash'][:8]}"
    site = site_of(results, [type(read_records(results)[0]).model_validate(plain)], NONE, "../report.html", "report/")
    from benchmark.report.site.views import pages

    assert all("/" not in name and not name.startswith(".") for name in pages(site))


def test_only_failed_runs_leave_a_page_that_says_so(tmp_path: Path) -> None:
    write(tmp_path, None, reason="the loss is not finite")
    assert "No finished run has a metric that ranks it" in write_report(tmp_path).read_text(encoding="utf-8")


def test_the_date_and_the_commit_are_the_newest_records(results: Path) -> None:
    assert records_module.SCHEMA == 1
    write(results, {"fd_judge": 4.0}, method="pacgan", utc="2999-01-02T03:04:05+00:00")
    assert "newest 2999-01-02" in write_report(results).read_text(encoding="utf-8")


def test_all_points_are_named_where_that_is_asked_for_and_there_is_room() -> None:
    front = [Point("first", 1.0, 2.0, "", True), Point("second", 2.0, 2.5)]
    drawn = scatter(front, "x", "y", "t", name_all=True)
    assert [drawn.count(f">{name}</text>") for name in ("first", "second")] == [1, 1]
    heap = [Point(f"row {i}", 5.0 + i / 1000, 5.0) for i in range(30)]
    crowded = scatter([Point("front", 5.0, 4.0, "", True), *heap], "x", "y", "t", name_all=True)
    assert ">front</text>" in crowded
    assert 0 < crowded.count('class="name other"') < 30, "a name that would cover another is left out"
