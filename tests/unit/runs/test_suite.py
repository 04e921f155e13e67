"""Suites: every shipped one resolves, its rows, budgets and tables are what they say, a bad file is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from made_records import write
from made_suites import SUITE

from benchmark.core.errors import ConfigError
from benchmark.core.registry import method_names
from benchmark.report.suite_tables import suite_table, suite_tables
from benchmark.report.table_files import write_suite_table, write_tables
from benchmark.runs.records import read_records
from benchmark.runs.spec import Paths, resolve
from benchmark.runs.suites.suite import SuiteCell, cells, changes_of, find_suite, list_suites
from benchmark.training.method import find_method

pytestmark = pytest.mark.usefixtures("quick_environment")


def shipped() -> list[tuple[str, str]]:
    return [(name, size) for name, suite in list_suites().items() for size in suite.sizes]


@pytest.mark.parametrize(("name", "size"), shipped())
def test_every_cell_of_every_suite_is_a_valid_run(name: str, size: str, tmp_path: Path) -> None:
    suite = find_suite(name)
    runs = []
    for cell in cells(suite, size):
        assert cell.spec.method in method_names()
        spec = cell.spec
        runs.append(resolve(spec, Paths(tmp_path, tmp_path)).run)
    assert len(set(runs)) == len(runs), "every cell is a run of its own"


def test_the_comparison_says_which_methods_a_size_lacks_and_where_no_image_is_mirrored(tmp_path: Path) -> None:
    suite, paths = find_suite("compare"), Paths(tmp_path, tmp_path)
    lacking, mirrors = suite.source.partition("lack")[2], suite.source.split("No image is mirrored")[1].split(".")[0]
    everywhere, paper = mirrors.split("at size paper")
    for size in suite.sizes:
        runs = {suite.rows[cell.row].labels["Method"]: resolve(cell.spec, paths) for cell in cells(suite, size, [0])}
        for row in suite.rows:
            name = row.labels["Method"]
            if name not in runs:
                assert name in lacking, f"{name} is absent at size {size}"
            else:
                told = name in everywhere or (size == "paper" and name in paper)
                assert told is not runs[name].config.flip, f"{name} at size {size}"


def test_residual_encoders_of_small_images_have_the_stem_for_these(tmp_path: Path) -> None:
    """ImageNet's stem leaves one place of an image of 32 px."""
    seen = []
    for name, size in shipped():
        for cell in cells(find_suite(name), size, seeds=[0]):
            resolved = resolve(cell.spec, Paths(tmp_path, tmp_path))
            features = getattr(resolved.config, "features", None)
            if getattr(features, "name", "") != "simclr" or resolved.card.resolution > 32:
                continue
            encoder = features.encoder
            if encoder is not None and encoder.net.startswith("resnet"):
                seen.append((name, size))
                assert encoder.stem == "cifar", f"{name}, {size}: {cell.spec}"
    assert ("latentcond-features", "paper") in seen


def test_the_ablation_is_the_posters_grid_with_both_readings_of_lsgan() -> None:
    suite = find_suite("infoscc-ablation")
    poster = [
        ("Global", "Hinge", 13.08, 10.71, 4030),
        ("Global", "Non saturating", 25.62, 10.33, 28595),
        ("Global", "LSGAN", 29.02, 9.89, 45583),
        ("Patch", "Hinge", 15.95, 10.51, 7327),
        ("Patch", "Non saturating", 14.83, 10.21, 5114),
        ("Patch", "LSGAN", 11.59, 11.06, 3645),
    ]
    rows = [row for row in suite.rows if row.method == "infoscc" and row.published]
    found = [
        (row.labels["Discriminator"], row.labels["Loss"].removesuffix(" (4th power)"), *row.published.values())
        for row in rows
    ]
    assert found == poster
    assert [row.set["loss"] for row in rows] == 2 * ["hinge", "non_saturating", "lsgan4"]
    squares = [row for row in suite.rows if row.set.get("loss") == "lsgan"]
    assert [row.labels["Loss"] for row in squares] == 2 * ["LSGAN (squares)"]
    assert not any(row.published for row in squares)
    baseline = suite.rows[0]
    assert (baseline.method, baseline.published) == ("eigengan", {"FID": 29.02, "IS": 8.52})
    assert [cell.spec.seed for cell in cells(suite, "paper")] == 9 * [0] + 9 * [1] + 9 * [2]
    assert {(c.spec.dataset, c.spec.recipe) for c in cells(suite, "paper")} == {("afhq", "paper")}
    assert {(c.spec.dataset, c.spec.recipe, c.spec.seed) for c in cells(suite, "small")} == {
        ("digits", "small", seed) for seed in (0, 1, 2)
    }


def test_cells_merge_the_changes_of_suite_size_and_row(suite_file: str) -> None:
    suite = find_suite(suite_file)
    assert [cell.spec.changes for cell in cells(suite, "small", seeds=[7])] == [
        {"eval": {"metrics": "all"}, "steps": 10, "loss": "hinge"},
        {"eval": {"metrics": "all"}, "steps": 10, "loss": "lsgan"},
    ]
    assert [cell.spec.changes["steps"] for cell in cells(suite, "paper")] == [20, 20]
    assert [cell.spec.seed for cell in cells(suite, "small")] == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match="no size 'papers'"):
        cells(suite, "papers")


def test_rows_are_chosen_by_their_labels_or_parts_of_them() -> None:
    suite = find_suite("compare")

    def methods(*wanted: str) -> list[str]:
        return [cell.spec.method for cell in cells(suite, "fashion", [0], rows=wanted)]

    assert methods("CGAN") == ["cgan"], "the label of a row is no part of ACGAN's"
    assert methods("Conditioned", "SNGAN", "LT-GAN") == ["selfcond", "ltgan", "sngan"], "in the suite's order"
    assert methods("conditioned") == ["latentcond"]
    assert methods("latentcond", "cgan") == ["cgan", "latentcond"], "by the names of methods, too"
    assert len(methods()) == len(suite.rows)
    with pytest.raises(ConfigError, match=r"(?s)--rows SNGAM.*did you mean 'SNGAN'"):
        methods("SNGAM")
    with pytest.raises(ConfigError, match=r"(?s)--rows MGAN.*no row of compare, small, has it"):
        cells(suite, "small", rows=["MGAN"])


def test_published_values_stand_only_beside_their_own_dataset(suite_file: str, paths: Paths) -> None:
    for size, dataset, recipe, steps in (("small", "digits", "small", 10), ("paper", "afhq", "paper", 20)):
        changes = {"steps": steps, "loss": "hinge"}
        write(paths.results, {"fd_judge": 3.0, "unasked": 1.0}, dataset=dataset, recipe=recipe, changes=changes)
        write_suite_table(suite_file, size, paths.results)
    small, paper = ((paths.results / "tables" / f"two-{size}.md").read_text() for size in ("small", "paper"))
    assert "published" not in small.lower()
    assert "| InfoSCC | Hinge | 3.000 | 1 | 13.08 |" in paper
    assert "| InfoSCC | LSGAN | – | not run (1 of 1) | – |" in paper
    assert "the paper's table 1. They are not comparable digit by digit" in paper
    assert "unasked" not in paper, "only the suite's metrics"


def test_a_metric_that_no_record_has_is_named(suite_file: str, paths: Paths) -> None:
    Path(suite_file).write_text(SUITE.replace("[fd_judge]", "[fd_judge, fd_lite0]"))
    write(paths.results, {"fd_judge": 3.0}, changes={"steps": 10, "loss": "hinge"})
    write_suite_table(suite_file, "small", paths.results)
    assert "No run has a value of fd\\_lite0." in (paths.results / "tables" / "two-small.md").read_text()


def test_a_cell_recorded_under_two_configurations_gives_two_rows(suite_file: str, paths: Paths) -> None:
    for version, value in ((1, 3.0), (2, 30.0)):
        write(paths.results, {"fd_judge": value}, changes={"steps": 10, "loss": "hinge"}, config={"version": version})
    (table,) = suite_tables(read_records(paths.results), [suite_file])
    assert len(table.rows) == 3
    assert sorted(table.rows[i].summary(table.columns[0]).mean for i in (0, 1)) == [3.0, 30.0]
    assert any("configured differently" in note for note in table.notes)


def test_write_tables_adds_the_suites_that_have_records(suite_file: str, paths: Paths) -> None:
    write(paths.results, {"fd_judge": 3.0}, changes={"steps": 10, "loss": "hinge"})
    names = {path.name for path in write_tables(paths.results, [suite_file])}
    assert {"two-small.csv", "two-small.tex", "two-small.md", "digits.md", "tables.tex"} <= names
    assert "two-paper.md" not in names
    assert r"\input{two-small.tex}" in (paths.results / "tables" / "tables.tex").read_text()
    shipped_names = {path.name for path in write_tables(paths.results)}
    assert not any(name.startswith("infoscc-ablation") for name in shipped_names)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("method: infoscc, set: {loss: lsgan}", "method: infoscx", "row 2: unknown method 'infoscx'"),
        ("Loss: LSGAN}", "Los: LSGAN}", "row 2: label 'Los' of no column"),
        ("metrics:", "metric:", "metric: unknown key; did you mean 'metrics'"),
        ("set: {loss: lsgan}", "sett: {loss: lsgan}", "(?s)row 2.*sett: unknown key; did you mean 'set'"),
        ("{FID: 13.08}", "{FIDD: 13.08}", "row 1: published value 'FIDD'"),
        ("seeds: [0, 1]", "seeds: [1, 1]", "a seed is given twice"),
        ("method: infoscc, set: {loss: lsgan}", "method: infoscc, sizes: {smal: {}}", "row 2: no size 'smal'"),
        ("method: infoscc, set: {loss: lsgan}", "method: infoscc, only: [papr]", "row 2: no size 'papr'"),
        ("seeds: [0, 1]", "seeds: []", "seeds"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds"),
        ("seeds: [0, 1]", "plot: Los\nseeds: [0, 1]", "(?s)plot: 'Los'.*did you mean 'Loss'"),
        ("seeds: [0, 1]", "plot: Loss\nseeds: [0, 1]", "plot: 'Hinge' is no number"),
        ("published: {FID: 13.08}", "published_also: {digits: {FID: 1.0}}", "row 1: digits: published value 'FID'"),
    ],
)
def test_a_bad_suite_names_its_file_and_key(suite_file: str, old: str, new: str, message: str) -> None:
    assert SUITE.count(old) == 1
    text = SUITE.replace(old, new)
    Path(suite_file).write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        find_suite(suite_file)
    assert "two.yaml" in str(error.value)


def test_an_unknown_suite_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'smoke'"):
        find_suite("smok")


def test_a_row_may_differ_between_sizes_or_be_of_one_only(suite_file: str, paths: Paths) -> None:
    text = SUITE.replace("set: {loss: lsgan}", "set: {loss: lsgan}, sizes: {paper: {loss: lsgan4}}")
    text += "  - {labels: {Model: EigenGAN, Loss: Hinge}, method: eigengan, only: [paper]}\n"
    Path(suite_file).write_text(text)
    suite = find_suite(suite_file)
    assert [cell.spec.changes["loss"] for cell in cells(suite, "small", [0])] == ["hinge", "lsgan"]
    assert [cell.spec.changes.get("loss") for cell in cells(suite, "paper", [0])] == ["hinge", "lsgan4", None]
    changes = {"steps": 10, "loss": "lsgan"}
    write(paths.results, {"fd_judge": 3.0}, changes=changes)
    assert len(suite_tables(read_records(paths.results), [suite_file])[0].rows) == 2
    write(paths.results, {"fd_judge": 3.0}, method="eigengan", dataset="afhq", recipe="paper", changes={"steps": 20})
    (_, paper) = suite_tables(read_records(paths.results), [suite_file])
    assert [len(row.done) for row in paper.rows] == [0, 0, 1]


def test_a_run_that_another_suite_asked_for_in_other_words_is_the_row_s(tmp_path: Path) -> None:
    """IC-GAN's recipe for digits has k = 5, so the row that says so and one that says nothing are the same run."""
    suite = find_suite("icgan-k")
    (spec,) = (cell.spec for cell in cells(suite, "small", [1]) if cell.spec.changes.get("k") == 5)
    same = {key: value for key, value in spec.changes.items() if key != "k"}
    paths = Paths(tmp_path, tmp_path)
    known = resolve(spec, paths)
    assert known.config_hash == resolve(dataclasses.replace(spec, changes=same), paths).config_hash
    written = write(tmp_path, {"fd_judge": 3.0}, method="icgan", seed=1, changes=same, config_hash=known.config_hash)
    write(tmp_path, {"fd_judge": 9.0}, method="icgan", seed=1, changes={**same, "k": 7})  # no row's
    write(tmp_path, {"fd_judge": 9.0}, method="icgan", seed=1, changes=same, recipe="paper")
    rows = suite_table(suite, "small", read_records(tmp_path), "digits").rows
    assert [[record.run for record in row.done] for row in rows] == [[], [], [written], []]


def d_images(cell: SuiteCell) -> int:
    """Images that a cell's discriminator sees, by its whole configuration."""
    config = resolve(cell.spec, Paths(Path(), Path())).config
    return config.steps * config.batch * config.n_dis


def test_compare_has_every_method_at_one_budget() -> None:
    suite = find_suite("compare")
    assert {row.method for row in suite.rows} == set(method_names())
    for size, images in (("small", 64_000), ("shapes", 64_000), ("gpu", 6_400_000)):
        assert {d_images(cell) for cell in cells(suite, size, [0])} == {images}
    unequal = cells(find_suite("infoscc-attributes"), "paper", [0])
    assert len({d_images(cell) for cell in unequal}) > 1, "without a budget rows may differ, and the check sees it"


IC_GAN = [name for name in list_suites() if name.startswith("icgan")]


@pytest.mark.parametrize("name", IC_GAN)
def test_tables_of_ic_gan_at_paper_size_have_its_protocol_and_one_budget(name: str) -> None:
    suite = find_suite(name)
    for size in suite.sizes:
        if not size.startswith("paper"):
            continue
        runs = [resolve(cell.spec, Paths(Path(), Path())) for cell in cells(suite, size, [0])]
        target = runs[0].transfer or runs[0].card
        kind = {"coco_stuff": "icgan_coco", "imagenet_lt": "icgan_lt"}
        wanted = next((protocol for start, protocol in kind.items() if target.name.startswith(start)), "icgan")
        assert {run.evaluation.protocol for run in runs} == {wanted}
        budgets = {d_images(cell) for cell in cells(suite, size, [0])}
        assert len(budgets) == (2 if name == "icgan-transfer" else 1), "a transfer's models have their own tables'"


def test_scenes_on_stylegan2_are_ic_gan_s_own_recipe() -> None:
    """The suite's row writes the recipe out, for a suite has one; only the budget is the table's."""
    suite = find_suite("icgan-coco")
    for size, dataset in (("paper", "coco_stuff128"), ("paper256", "coco_stuff256")):
        (cell,) = [c for c in cells(suite, size, [0]) if suite.rows[c.row].labels["Networks"] == "StyleGAN2"
                   and c.spec.method == "icgan"]  # fmt: skip
        row = resolve(cell.spec, Paths(Path(), Path())).config
        recipe = find_method("icgan").recipe("paper_stylegan2", dataset)
        assert dataclasses.replace(row, steps=recipe.steps, ch=recipe.ch) == recipe, "ch is BigGAN's"


def test_a_budget_is_a_whole_number_of_steps(suite_file: str) -> None:
    suite = dataclasses.replace(find_suite(suite_file), images=6400)
    batch = find_method("infoscc").recipe("small", "digits").batch
    assert [cell.spec.changes["steps"] for cell in cells(suite, "small", [0])] == [6400 // batch] * 2
    with pytest.raises(ConfigError, match=f"infoscc sees {batch} images a step on digits"):
        cells(dataclasses.replace(suite, images=6401), "small", [0])


def test_smoke_has_every_method_for_a_few_steps() -> None:
    suite = find_suite("smoke")
    assert {row.method for row in suite.rows} == set(method_names())
    for cell in cells(suite, "small"):
        resolved = resolve(cell.spec, Paths(Path(), Path()))
        assert resolved.config.steps <= 50
        assert (resolved.evaluation.n_fake or 0) <= 500


def test_every_suite_has_a_small_size_of_embedded_data_and_several_seeds() -> None:
    embedded = {"digits", "digits_0to4", "digits_5to9", "digits_lt", "stacked_digits", "ring2d", "grid2d"}
    embedded |= {"shapes", "shapes_class", "shapes_unseen"}
    for name, suite in list_suites().items():
        assert {cell.spec.dataset for cell in cells(suite, "small")} <= embedded, name
        seeds = {"smoke": 1, "compare": 5}.get(name, 3)  # five: compare's records are the drift gate's baselines
        assert len({cell.spec.seed for cell in cells(suite, "small")}) == seeds, name


def test_a_suite_s_classifier_is_left_out_where_there_are_no_labels(suite_file: str, paths: Paths) -> None:
    """One list of extractors for data with and without labels; what a user asks for is not changed."""
    listed = "set: {steps: 10, eval: {extractors: [judge, inception]}}"
    text = SUITE.replace("set: {steps: 10}", listed).replace("dataset: afhq, recipe: paper", "dataset: celeba_hq")
    Path(suite_file).write_text(text.replace("method: infoscc", "method: sngan"))
    suite = find_suite(suite_file)
    (small, *_), (paper, *_) = cells(suite, "small", [0]), cells(suite, "paper", [0])
    assert resolve(small.spec, paths).evaluation.extractors == ("judge", "inception")
    unlabelled = resolve(paper.spec, paths)
    assert unlabelled.evaluation.extractors == ("inception",)
    assert any("celeba_hq has no labels" in note for note in unlabelled.notes)
    assert resolve(small.spec, paths).notes == []
    Path(suite_file).write_text(text.replace("[judge, inception]", "[judge]").replace("infoscc", "sngan"))
    alone = cells(find_suite(suite_file), "paper", [0])[0]
    assert resolve(alone.spec, paths).evaluation.extractors == ("lite0",)
    assert "judge" not in alone.spec.changes["eval"]["extractors"], "the record's changes make the same run again"
    labelled = {"data": {"conditioning": "attributes"}, "eval": {"extractors": ["judge"]}}
    row = dataclasses.replace(suite.rows[0], set=labelled)
    assert changes_of(suite, "paper", row, "celeba_hq")["eval"]["extractors"] == ["judge"], "a row may ask for labels"


def test_lt_gans_paper_sizes_have_its_protocol_and_one_budget() -> None:
    """Rows of one table see as many real images, and are measured against the test split by as many generated ones."""
    for name, suite in list_suites().items():
        if not name.startswith("ltgan"):
            continue
        assert "paper" in suite.sizes, name
        for size in suite.sizes:
            if size.startswith("small"):
                continue
            specs = cells(suite, size, [0])
            assert len({d_images(cell) for cell in specs}) == 1, (name, size)
            for cell in specs:
                evaluation = resolve(cell.spec, Paths(Path(), Path())).evaluation
                found = (evaluation.protocol, evaluation.reference, evaluation.n_fake)
                assert found == ("ltgan", "test", None), (name, size)


def test_lt_gan_with_consistency_has_the_recipes_warm_up() -> None:
    """On faces CR + LT has another warm-up than LT, in the recipe and in the suite; on CIFAR-10 the same."""
    suite, recipes = find_suite("ltgan-comparison"), find_method("ltgan").RECIPES
    for size, dataset in (("celeba_hq", "celeba_hq"), ("paper", "cifar10")):
        both = next(cell for cell in cells(suite, size, [0]) if cell.spec.changes.get("lambda_cr"))
        assert resolve(both.spec, Paths(Path(), Path())).config == recipes["paper_cr"][dataset]
