"""Write the generated references into docs/generated: command line, settings, metrics, datasets, methods.

`make docs` calls it before Sphinx; `python docs/generate.py` alone writes the pages. Everything is taken from the code:
the grammar of the command line, the configuration classes with the comments behind their fields, the catalogue of
metrics, the dataset configs, and the method files.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from sample_grids import samples_text

from benchmark.__main__ import parser
from benchmark.core.config import to_dict
from benchmark.core.field_docs import FieldDoc, field_docs
from benchmark.core.registry import method_names
from benchmark.data.cards import list_cards
from benchmark.metrics.catalogue import METRICS
from benchmark.metrics.metric_row import MetricRow
from benchmark.runs.suites.suite import find_suite
from benchmark.training.method import find_method

ROOT = Path(__file__).parents[1]
DOCS = Path(__file__).parent
OUT = DOCS / "generated"


def main() -> None:
    """Write every page."""
    OUT.mkdir(exist_ok=True)
    classes = config_classes()
    pages = {
        "cli": cli_page(parser()),
        "config": config_page(classes),
        "metrics": metrics_page(),
        "datasets": datasets_page(),
        "methods": methods_page(classes),
    }
    for name, text in pages.items():
        (OUT / f"{name}.md").write_text(text.rstrip() + "\n")
    for source in outside_pages():
        (OUT / copy_name(source)).write_text(
            "---\norphan: true\n---\n\n" + relinked(source.read_text(), source.parent, DOCS / "generated")
        )


# ---- pages outside of docs -------------------------------------------------------------------------------------------

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+\.md)(#[^)\s]*)?\)")


def outside_pages() -> list[Path]:
    """Markdown files outside of docs to which its pages lead: the site has copies of them."""
    pages = [path for folder in (DOCS, DOCS / "tutorials", DOCS / "results") for path in folder.glob("*.md")]
    found = {(page.parent / link[0]).resolve() for page in pages for link in _LINK.findall(page.read_text())}
    return sorted(path for path in found if path.is_file() and not path.is_relative_to(DOCS))


def copy_name(source: Path) -> str:
    """The name of the copy of a page, which is unlike any generated page's."""
    return "copy-" + source.name.lower()


def relinked(text: str, source: Path, target: Path) -> str:
    """A page's text for a place in `target`, its links to pages made for one in `source`.

    A page outside of docs is linked as its copy; one that has none becomes plain text.
    """
    copies = {path: DOCS / "generated" / copy_name(path) for path in outside_pages()}

    def moved(link: re.Match[str]) -> str:
        path = (source / link[1]).resolve()
        path = copies.get(path, path)
        return f"]({os.path.relpath(path, target)}{link[2] or ''})" if path.is_relative_to(DOCS) else "]()"

    return _LINK.sub(moved, text)


# ---- text ------------------------------------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Text as Markdown shows it: what is between backticks stays, other signs of Markdown lose their meaning."""
    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]|#$])", r"\\\1", part) for part in parts)


def code(text: str) -> str:
    """A code span that a table cell can hold."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def prose(docstring: str) -> str:
    """A docstring as Markdown: indented paragraphs become blocks of code."""
    blocks = [block for block in re.split(r"\n\s*\n", docstring.strip("\n")) if block.strip()]
    return "\n\n".join(f"```text\n{b}\n```" if b.startswith("  ") else escaped(b) for b in blocks)


def table(head: list[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [[*head], [":--" for _ in head], *([*row] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


# ---- the command line ------------------------------------------------------------------------------------------------


def cli_page(top: argparse.ArgumentParser) -> str:
    """Usage and options of each command."""
    (commands,) = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    about = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    parts = ["# Command line", f"`gantlet COMMAND`, or `python -m benchmark COMMAND`. {escaped(top.description or '')}"]
    parts.append(
        table(["command", "what it does"], ([f"[{name}](#gantlet-{name})", escaped(about[name])] for name in about))
    )
    for name, command in commands.choices.items():
        usage = re.sub(r"\s+", " ", command.format_usage().removeprefix("usage: ")).strip()
        options = [a for a in command._actions if not isinstance(a, argparse._HelpAction)]
        rows = [[code(option_names(a)), escaped(help_of(a, command))] for a in options]
        parts += [f"## gantlet {name}", f"{escaped(sentence(about[name]))}", f"```text\n{wrapped(usage)}\n```"]
        parts += [table(["option", "meaning"], rows)] if rows else []
    return "\n\n".join(parts)


def option_names(action: argparse.Action) -> str:
    """`--seed N [N ...]`, or the name of a positional argument."""
    value = action.metavar or action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    shown = "" if action.nargs == 0 else value + (" ..." if action.nargs == "+" else "")
    return f"{', '.join(action.option_strings)} {shown}".strip() if action.option_strings else shown


def help_of(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    """The help of an option, with its placeholders filled in; said to be required where it is."""
    text = command._get_formatter()._expand_help(action) if action.help else ""
    if action.choices:
        text = f"{sentence(text)} One of `{'`, `'.join(map(str, action.choices))}`."
    return f"{text} (required)".strip() if action.required and action.option_strings else text


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    first = text.split(" ")[0]
    plain = re.fullmatch(r"[a-z]+(-[a-z]+)*[,;.]?", first)  # no name of a setting, a value or a symbol
    return f"{text[:1].upper() if plain else text[:1]}{text[1:]}{'' if text.endswith(('.', '?')) or not text else '.'}"


def wrapped(usage: str, width: int = 96) -> str:
    """A usage line, broken between options."""
    lines = [""]
    for word in re.findall(r"\[[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]|\S+", usage):
        if len(lines[-1]) + len(word) > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n".join(lines)


# ---- settings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldText:
    """A field of a configuration class, as it is written."""

    name: str
    type: str
    default: str  # empty: it must be given
    comment: str


@dataclass(frozen=True)
class ConfigClass:
    """A configuration class, as it is written."""

    name: str
    path: Path
    about: str
    bases: tuple[str, ...]
    fields: tuple[FieldText, ...]


def config_classes() -> list[ConfigClass]:
    """Every strict configuration class of the package and of the methods, read from the text of its file."""
    paths = [path for folder in ("benchmark", "methods") for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in paths:
        _ALIASES.update(aliases_in(path))
    return [cls for path in paths for cls in classes_in(path)]


_ALIASES: dict[str, ast.expr] = {}  # what names of types stand for: `Precision = Literal[...]`


def aliases_in(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """The names that a file gives to types of settings."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("Literal[", "Annotated[")):
            yield from ((ast.unparse(target), node.value) for target in node.targets)


def classes_in(path: Path) -> Iterator[ConfigClass]:
    """The strict configuration classes of a file, each with the fields that it declares itself."""
    source = path.read_text()
    if "config=STRICT" not in source:
        return
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and any("config=STRICT" in ast.unparse(d) for d in node.decorator_list):
            docs = [doc for doc in field_docs(getattr(module, node.name)) if doc.owner == node.name]
            bases = tuple(ast.unparse(base) for base in node.bases)
            about = ast.get_docstring(node) or ""
            yield ConfigClass(node.name, path.relative_to(ROOT), about, bases, tuple(map(field_text, docs)))


def field_text(doc: FieldDoc) -> FieldText:
    """A field in the words of the page."""
    kind = type_text(ast.parse(doc.type, mode="eval").body)
    default = "" if doc.default is None else default_text(ast.parse(doc.default, mode="eval").body)
    comment = "of source; its file is `benchmark/data/sources/KIND.py`" if doc.name == "kind" else doc.about
    return FieldText(doc.name, kind, default, comment)


_TYPES = {
    "PositiveInt": "int > 0", "NonNegativeInt": "int ≥ 0",
    "PositiveFloat": "float > 0", "NonNegativeFloat": "float ≥ 0",
    "Probability": "float, 0 to 1", "Beta": "float, 0 to below 1",
    "None": "null", "str": "text", "bool": "true or false",
}  # fmt: skip
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def type_text(node: ast.expr) -> str:
    """An annotation in words: `PositiveInt | None` is "int > 0 or null"."""
    if isinstance(node, ast.BinOp):
        return f"{type_text(node.left)} or {type_text(node.right)}"
    if isinstance(node, ast.Subscript):
        name = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            return ", ".join(str(ast.literal_eval(one)) for one in inner)
        if name == "Annotated":
            bounds = [f"{_BOUNDS[k.arg]} {ast.unparse(k.value)}" for one in inner[1:] if isinstance(one, ast.Call)
                      for k in one.keywords if k.arg in _BOUNDS]  # fmt: skip
            return " ".join([type_text(inner[0]), ", ".join(bounds)]).strip()
        if name == "tuple":
            kinds = [type_text(one) for one in inner if ast.unparse(one) != "..."]
            return f"list of {kinds[0]}" if len(kinds) < len(inner) else f"list: {'; '.join(kinds)}"
        if name == "dict":
            return f"mapping of {type_text(inner[0])} to {type_text(inner[1])}"
    text = ast.unparse(node)
    if text in _TYPES or text not in _ALIASES:
        return _TYPES.get(text, text)
    return type_text(_ALIASES[text])


def default_text(node: ast.expr) -> str:
    """A default as a setting is written: without `added(...)`, the tuple as a list."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "added":
        return default_text(node.args[0])
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "Field":
        return "{}"
    if isinstance(node, ast.Constant):
        return {"None": "null", "True": "true", "False": "false", "": '""'}.get(str(node.value), str(node.value))
    if isinstance(node, ast.Tuple):
        return f"[{', '.join(default_text(one) for one in node.elts)}]"
    return ast.unparse(node)


_GROUPS: dict[str, str | tuple[str, ...]] = {  # headings of the page, by the beginnings of paths
    "How a step is computed": "benchmark/core",
    "Training": "benchmark/training/config.py",
    "Stages": "benchmark/training",
    "Evaluation: `eval.KEY`": ("benchmark/evaluation", "benchmark/metrics"),
    "Dataset config: `data.KEY`": "benchmark/data/cards.py",
    "Sources of a dataset config: `data.source.KEY`": "benchmark/data",
    "Suite files": "benchmark/runs/suites",
}


def config_page(classes: list[ConfigClass]) -> str:
    """Every setting that no single method owns."""
    parts = [
        "# Settings",
        "Every setting can be changed: `--set KEY=VALUE` (`SET=` with make), or a keyword in Python. A nested one is "
        "written with dots, `--set encoder.steps=100 eval.n_fake=500`. Settings of each method are in "
        "[methods](methods.md). In comments, [P] is the paper, [C] the authors' code, and [ours] a choice made here.",
    ]
    left = [cls for cls in classes if cls.path.parts[0] == "benchmark" and "published" not in cls.path.stem]
    known = {cls.name for cls in left}
    for heading, where in _GROUPS.items():
        mine = [cls for cls in left if str(cls.path).startswith(where)]
        left = [cls for cls in left if cls not in mine]
        parts += [f"## {heading}"] if mine else []
        for cls in mine:
            parts += [f"### {cls.name}", prose(cls.about), inherited(cls, known), fields_table(cls, known)]
    return "\n\n".join(part for part in parts if part)


def inherited(cls: ConfigClass, known: set[str], page: str = "") -> str:
    """A line that names the class whose fields it has as well."""
    bases = [base for base in cls.bases if base in known]
    return f"With the settings of {', '.join(f'[{base}]({page}#{base.lower()})' for base in bases)}." if bases else ""


def fields_table(cls: ConfigClass, known: set[str], page: str = "") -> str:
    """The fields of a class: name, type, default, meaning. Nested classes are links."""

    def linked(kind: str) -> str:
        shown = escaped(kind)
        for name in known:
            shown = re.sub(rf"\b{name}\b", f"[{name}]({page}#{name.lower()})", shown)
        return shown

    rows = [
        [code(f.name), linked(f.type), code(f.default) if f.default else "required", escaped(sentence(f.comment))]
        for f in cls.fields
    ]
    return table(["setting", "type", "default", "meaning"], rows) if rows else ""


# ---- metrics ---------------------------------------------------------------------------------------------------------

_SCALES = {"log": "their logarithm (ratios)", "logit": "their logit (shares)", "identity": "the values as they are"}


def metrics_page() -> str:
    """A table of all metrics, then a section for each."""
    listed = [row for row in METRICS if row.about]
    parts = [
        "# Metric reference",
        "Upper-case letters at the end of an id stand for an extractor (X), a transform (T), a number (K) or labels "
        "(L): `fd_X` is `fd_judge`, `fd_lite0`, ... [Metrics](../metrics.md) says when to trust which.",
        table(
            ["metric", "id", "better", "headline"],
            (
                [f"[{r.name}](#{anchor(r.name)})", code(r.id), r.better or "–", "yes" if r.headline else ""]
                for r in listed
            ),
        ),
    ]
    for row in METRICS:
        if row.about:
            parts += [f"({anchor(row.name)})=\n## {escaped(row.name)}", metric_text(row)]
    return "\n\n".join(parts)


def metric_line(row: MetricRow) -> list[str]:
    """Of the table of all metrics."""
    return [f"[{row.name}](#{anchor(row.name)})", code(row.id), row.better or "–", "yes" if row.headline else ""]


def anchor(name: str) -> str:
    """The target of a metric's section."""
    return "metric-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def metric_text(row: MetricRow) -> str:
    """All that the catalogue knows of a metric, and the docstring of the module that computes it."""
    related = [other.id for other in METRICS if not other.about and other.source == f"as {row.id}"]
    facts = {
        "id": code(row.id) + "".join(f", {code(other)}" for other in related),
        "better": row.better or "neither",
        "unit": row.unit,
        "computed from": ", ".join(row.needs),
        "seeds are compared on": _SCALES[row.scale],
        "margin": f"{row.margin:g}" if row.absolute_margin else f"{100 * row.margin:g} %",
        "on request": f"`eval.extra=[{row.extra}]`"
        if row.extra
        else ("by a setting, see above" if row.optional else ""),
        "source": escaped(row.source),
    }
    parts = [escaped(sentence(row.about)), table(["", ""], ([key, value] for key, value in facts.items() if value))]
    if row.compute:
        module = ROOT / (row.compute.partition(":")[0].replace(".", "/") + ".py")
        parts.append(prose(ast.get_docstring(ast.parse(module.read_text())) or ""))
    return "\n\n".join(parts)


def on_request(row: MetricRow) -> str:
    """How a metric is requested that is not computed otherwise."""
    if row.extra:
        return f"`eval.extra=[{row.extra}]`"
    return "by a setting, see above" if row.optional else ""


# ---- datasets --------------------------------------------------------------------------------------------------------


def datasets_page() -> str:
    """A table of all datasets, then where each comes from and which files it needs."""
    cards = list_cards()
    rows = ([f"[{name}](#{name})", escaped(card.title), str(card.resolution), card.conditioning, card.default_recipe]
            for name, card in cards.items())  # fmt: skip
    parts = [
        "# Dataset reference",
        "From the dataset configs in `datasets/`. [Datasets](../datasets.md) says how to use your own.",
        table(["dataset", "what it is", "side, px", "labels", "recipe"], rows),
    ]
    for name, card in cards.items():
        facts = {
            "images": f"{card.resolution} px, {'grey' if card.channels == 1 else 'RGB'}"
            if not card.source.is_points
            else "2-D points",
            "labels": card.conditioning + (f", {card.n_classes} classes" if card.n_classes else ""),
            "attributes": ", ".join(card.attribute_names),
            "source": f"`{card.source.kind}`",
            "mirrored images are valid": "yes" if card.flip_ok else "no",
            "files needed": ", ".join(code(path) for path in files_of(card)),
            "licence": card.licence,
            "homepage": f"<{card.homepage}>" if card.homepage else "",
        }
        shown = {
            key: value if value.startswith(("`", "<")) else escaped(value) for key, value in facts.items() if value
        }
        parts += [f"({name})=\n## {escaped(name)}", escaped(sentence(card.title)), table(["", ""], shown.items())]
    return "\n\n".join(parts)


def files_of(card: Any) -> list[str]:
    """What must be in the data root, relative to it."""
    root = Path("/DATA")
    return [path.replace("/DATA/", "") for path in card.source.required(card, root)]


# ---- methods ---------------------------------------------------------------------------------------------------------


def methods_page(classes: list[ConfigClass]) -> str:
    """Paper, settings and recipes of each method."""
    shared = {cls.name for cls in classes if cls.path.parts[0] == "benchmark"}
    own = {cls.path.stem: cls for cls in classes if cls.path.parts[0] == "methods" and cls.name == "Config"}
    names = method_names()
    parts = [
        "# Method reference",
        "From the method files. [Methods](../methods.md) has a line for each and what they are conditioned on.",
        table(["method", "what it is"], ([f"[{name}](#{name})", escaped(find_method(name).summary)] for name in names)),
    ]
    for name in names:
        file, cls = find_method(name), own[name]
        docstring = ast.get_docstring(ast.parse((ROOT / cls.path).read_text())) or ""
        parts += [f"## {name}", prose(docstring), f"File: `{cls.path}`. Data: {', '.join(file.cls.accepts)}."]
        parts += [f"### Settings of {name}", prose(cls.about), inherited(cls, shared, "config.md")]
        parts += [fields_table(cls, shared, "config.md"), f"### Recipes of {name}", recipes_table(file.RECIPES)]
        parts += [f"### Results of {name}", results_text(name)]
        if samples := samples_text(name, OUT):
            parts += [f"### Samples of {name}", samples]
    return "\n\n".join(part for part in parts if part)


TABLES = ROOT / "results" / "reference" / "tables"
_RESULTS = ("FD-judge ↓", "Recall-judge ↑", "Coverage-judge ↑", "Authenticity-judge ↑")
_COSTS = ("Parameters", "FLOPs a step", "Training s")


def results_text(method: str) -> str:
    """What the published suite `compare` has of a method: values and cost, by dataset."""
    (row,) = [row for row in find_suite("compare").rows if row.method == method]
    found = []
    for dataset, size in {"digits": "small", "coloured shapes": "shapes"}.items():
        values, costs = (published(f"compare-{size}{end}.md").get(row.labels["Method"]) for end in ("", "-cost"))
        if values and costs:
            shown = [values[name].replace(" ", "\N{NO-BREAK SPACE}") for name in _RESULTS]  # a mean with its interval
            found.append([dataset, *shown, values["Runs"], *(costs[c] for c in _COSTS)])
    if not found:
        return "No published runs in the suite `compare`."
    return (
        "Suite `compare`, recipe `small`, 64,000 training images of 16 px, mean ± half the 95 % interval over seeds. "
        "Bold: best of all methods; ~: not significantly worse. [All results](../results/index.md).\n\n"
    ) + table(["dataset", *_RESULTS, "seeds", "parameters", "FLOPs a step", "training, s"], found)


def published(name: str) -> dict[str, dict[str, str]]:
    """A published table: by its first column, the other cells by the names of their columns."""
    lines = [
        line.strip("| ").split(" | ") for line in (TABLES / name).read_text().splitlines() if line.startswith("| ")
    ]
    head, _, *rows = lines
    return {row[0]: dict(zip(head, (cell.strip() for cell in row))) for row in rows}


def recipes_table(recipes: dict[str, dict[str, Any]]) -> str:
    """Each recipe: dataset, steps, batch, and what else differs from the defaults."""
    rows = [
        [recipe, code(dataset), f"{cfg.steps:,}", str(cfg.batch), ", ".join(code(one) for one in differing(cfg))]
        for recipe, by_dataset in recipes.items()
        for dataset, cfg in by_dataset.items()
    ]
    return table(["recipe", "dataset", "steps", "batch", "other settings that differ from the defaults"], rows)


def differing(cfg: Any) -> list[str]:
    """`key=value` of the plain settings whose value is not the default; nested ones by their name alone."""
    plain, found = to_dict(cfg), []
    for one in fields(cfg):
        default: Any = one.default
        default = getattr(default, "default", default)
        if one.name in ("steps", "batch", "log_every", "checkpoint_every") or getattr(cfg, one.name) == default:
            continue
        if isinstance(plain.get(one.name), dict):
            found += [f"{one.name}: its own"] if default is not MISSING else []
        elif one.name in plain:
            found.append(f"{one.name}={str(plain[one.name]).replace(' ', '')}")
    return found


if __name__ == "__main__":
    main()
