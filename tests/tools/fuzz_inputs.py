"""Bad inputs for `fuzz.py`: hostile values, changed texts, damaged files, and the command lines that read them.

Every attack is drawn from a seeded generator and built in a folder of its own. One by a damaged file says how to see
whether the damage was used.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmark.core.config import dump_yaml
from benchmark.core.registry import method_names

ANY_METHOD = "sngan"
HUGE = 10**12
DEPTH = 5000  # of nested lists: more than a recursive reader has stack for

TEXTS = (
    "", " ", ".", "..", "../../../outside", "/proc/none", "a/b", "a" * 300, "~nosuchuser/x", "\x1b[2J", "bell\x07",
    "-1", "1e999", "nan", str(HUGE), "0", "none", "null", "[[[[", "{a: &x [*x]}", "=1+1", "@cmd", r"\input{a}",
    "\udcff", "<script>x</script>", "020", "1:30", "2020-13-45", "!!python/object:os.system x", "digits\n", "%s%n",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**5, 10**7, 2**31, HUGE, 10**18, 10**30, 1e-300, 1e308, 0.5, "", "text", "../../../outside",
    "\x1b[2J", "a" * 300, [], [1], [[[]]], {}, {"a": 1}, [None], "=1+1", r"\input{x}", "<b>", "nan", "2020-01-01",
)  # fmt: skip
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
)
LOOP = "a: &a {b: *a}\n"


@dataclass(frozen=True)
class Attack:
    """One bad input and the command that reads it.

    arguments: of the command line. anywhere: it names itself where to write. wrong: called after the command was
    accepted; says what its output shows of the damage, and nothing where that had no effect.
    """

    name: str
    arguments: list[str]
    anywhere: bool = False
    wrong: Callable[[], str] | None = None


@dataclass(frozen=True)
class Good:
    """What is sound, to be damaged. Folders that are copied, never changed.

    results: of one finished run with stages, and its prepared data. samples: what `sample` writes of it. sample: the
    command, with {results} and {out}. records: a results folder of some records.
    """

    results: Path
    samples: Path
    sample: list[str]
    records: Path


Maker = Callable[[Random, Path, Good], Attack]


# ---- damage ---------------------------------------------------------------------------------------------------------


def damaged(content: bytes, random: Random) -> tuple[bytes, str]:
    """Other bytes than these, and what was done."""
    if not content:
        return b"\0", "a byte where there was none"
    at = random.randrange(len(content))
    kind = random.choice(["flipped", "zeroed", "cut", "emptied", "doubled"])
    if kind == "flipped":
        changed = content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1 :]
    elif kind == "zeroed":
        changed = content[:at] + bytes(min(64, len(content) - at)) + content[at + 64 :]
    elif kind == "cut":
        changed = content[:at]
    elif kind == "emptied":
        changed = b""
    else:
        changed = content + content[at:]
    return changed, f"{kind} at byte {at} of {len(content)}"


def damage(path: Path, random: Random) -> str:
    """Damage a file until its bytes differ. Returns what was done."""
    before = path.read_bytes()
    while True:
        after, how = damaged(before, random)
        if after != before:
            path.write_bytes(after)
            return how


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a nested one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [leaf for key, part in inner for leaf in leaves(part, (*path, key))]


def changed(value: Any, random: Random) -> tuple[Any, str]:
    """A nested value with one part replaced, removed, or nested deeply; and what was done."""
    value = json.loads(json.dumps(value))
    path = random.choice(leaves(value))
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    where = ".".join(map(str, path))
    if random.random() < 0.2:
        del parent[path[-1]]
        return value, f"{where} removed"
    parent[path[-1]] = random.choice(VALUES)
    return value, f"{where} = {str(parent[path[-1]])[:40]!r}"


def garbled(text: str, random: Random) -> tuple[bytes, str]:
    """A text with bytes that no text has, or that a parser chokes on."""
    kind = random.choice(["damage", "latin", "control", "deep list", "deep mapping", "bomb", "loop", "bom", "empty"])
    if kind == "damage":
        content, how = damaged(text.encode(), random)
        return content, how
    at = random.randrange(len(text) + 1)
    inserted = {
        "latin": b"\xe9\xff", "control": b"\x00\x1b[2J", "deep list": b"[" * DEPTH, "deep mapping": b"{a: " * DEPTH
    }  # fmt: skip
    if kind in inserted:
        return text[:at].encode() + inserted[kind] + text[at:].encode(), f"{kind} at {at}"
    whole = {"bomb": BOMB.encode(), "loop": LOOP.encode(), "bom": b"\xff\xfe" + text.encode("utf-16-le"), "empty": b""}
    return whole[kind], kind


# ---- command lines and settings -------------------------------------------------------------------------------------

COMMANDS: dict[str, list[str]] = {
    "plan": ["--method", "--dataset", "--recipe", "--seed", "--set", "--device", "--threads", "--protocol", "--results",
             "--data-root", "--suite", "--size"],
    "prepare": ["--dataset", "--data-root", "--results"],
    "sample": ["--method", "--dataset", "--seed", "--n", "--instances", "--out"],
    "eval": ["--reference", "--extractors", "--protocol", "--n", "--resolution", "--name", "--set", "--results"],
    "suite": ["--size", "--seed", "--workers", "--executor", "--slurm"],
    "reproduce": ["--method", "--dataset", "--table", "--seed"],
    "table": ["--with", "--results"],
    "report": ["--out", "--results"],
    "drift": ["--model", "--dataset", "--json", "--metrics", "--config", "--records", "--accept"],
}  # fmt: skip


def arguments(random: Random, here: Path, good: Good) -> Attack:
    """A command with one or two hostile options."""
    verb = random.choice(list(COMMANDS))
    results = here / "results"
    words = [verb]
    if verb == "eval":
        words.append(random.choice(TEXTS) if random.random() < 0.5 else str(good.samples))
    if verb == "suite":
        words.append(random.choice(TEXTS))
    given = random.sample(COMMANDS[verb], min(len(COMMANDS[verb]), random.choice([1, 1, 2])))
    for option in given:
        words += [option, random.choice(TEXTS)]
    fill = {"--results": str(results), "--method": ANY_METHOD, "--dataset": "digits"}
    fill |= {"--out": str(here / "out")} if verb == "sample" else {}
    fill |= {"--records-only": ""} if verb == "reproduce" else {}
    for option, value in fill.items():
        if option not in given and (option in COMMANDS[verb] or option == "--records-only"):
            words += [option, value] if value else [option]
    anywhere = bool({"--results", "--out", "--json"} & set(given))
    return Attack(f"{verb}: {' '.join(given)}", words, anywhere=anywhere)


def settings(random: Random, here: Path, good: Good) -> Attack:
    """A run's plan with one hostile setting."""
    from benchmark.core.config import flatten
    from benchmark.runs.spec import Paths, RunSpec, resolve

    method = random.choice(method_names())
    plain = resolve(RunSpec(method, "digits", 0), Paths(here, here)).plain
    known = flatten(plain["config"]) | {f"eval.{key}": value for key, value in flatten(plain["eval"]).items()}
    known |= {f"data.{key}": "" for key in ("resolution", "channels", "n_classes", "source.kind", "name")}
    key, value = random.choice(list(known)), random.choice([*VALUES, *TEXTS])
    text = value if isinstance(value, str) else json.dumps(value)
    words = ["plan", "--method", method, "--results", str(here / "results"), "--set", f"{key}={text}"]
    return Attack(f"plan {method}: {key}={text[:30]!r}", words)


# ---- text files -----------------------------------------------------------------------------------------------------


def text_file(random: Random, path: Path, plain: dict[str, Any]) -> str:
    """Write a changed or garbled version of a YAML or JSON file. Returns what was done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if random.random() < 0.6:
        plain, how = changed(plain, random)
    else:
        how = ""
    text = json.dumps(plain, indent=1) if path.suffix == ".json" else dump_yaml(plain)
    content = text.encode()
    if not how:
        content, how = garbled(text, random)
    path.write_bytes(content)
    return how


def dataset_config(random: Random, here: Path, good: Good) -> Attack:
    """A dataset config of one's own."""
    images(here / "in" / "images", random)
    plain = {
        "name": "mine", "title": "Mine", "source": {"kind": "folder", "path": str(here / "in" / "images")},
        "resolution": 16, "channels": 1, "conditioning": "class", "n_classes": 3, "flip_ok": True, "licence": "CC0",
    }  # fmt: skip
    how = text_file(random, here / "in" / "mine.yaml", plain)
    return Attack(
        f"dataset config: {how}",
        ["prepare", "--quiet", "--dataset", str(here / "in" / "mine.yaml"), "--results", str(here / "results")],
    )


def suite(random: Random, here: Path, good: Good) -> Attack:
    """A suite of one's own."""
    row = {"labels": {"Method": "SNGAN"}, "method": "sngan", "set": {"width": 4}}
    other = {"labels": {"Method": "DCGAN"}, "method": "dcgan"}
    claim = {"claim": "one", "by": "ours", "better": row["labels"], "than": other["labels"], "metric": "fd"}
    plain = {
        "title": "Mine", "source": "me", "dataset": "digits", "recipe": "small", "seeds": [0], "columns": ["Method"],
        "metrics": ["fd_judge"], "images": 64, "sizes": {"small": {}}, "rows": [row, other], "claims": [claim],
    }  # fmt: skip
    how = text_file(random, here / "in" / "mine.yaml", plain)
    words = ["plan", "--suite", str(here / "in" / "mine.yaml"), "--results", str(here / "results")]
    return Attack(f"suite: {how}", words)


def record(random: Random, here: Path, good: Good) -> Attack:
    """A changed record among sound ones."""
    results = here / "results"
    shutil.copytree(good.records, results)
    path = random.choice(sorted((results / "records").glob("*.json")))
    how = text_file(random, path, json.loads(path.read_text()))
    words = [random.choice(["table", "table", "report"]), "--quiet", "--results", str(results)]
    return Attack(f"record, {words[0]}: {how}", words)


# ---- images ---------------------------------------------------------------------------------------------------------


def images(folder: Path, random: Random, n: int = 12) -> set[bytes]:
    """Grey PNG images in three class folders. Returns their pixels."""
    pixels = [random.randbytes(256) for _ in range(n)]
    for i, one in enumerate(pixels):
        path = folder / f"class{i % 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.frombuffer(one, np.uint8).reshape(16, 16)).save(path)
    return set(pixels)


def image_folder(random: Random, here: Path, good: Good) -> Attack:
    """A folder, or a zip, with a damaged image."""
    folder = here / "in" / "images"
    pixels = images(folder, random)
    path = random.choice(sorted(folder.rglob("*.png")))
    how = damage(path, random)
    source = {"kind": "folder", "path": str(folder)}
    if random.random() < 0.5:
        archive = Path(shutil.make_archive(str(here / "in" / "archive"), "zip", folder))
        source = {"kind": "zip", "path": str(archive)}
        if random.random() < 0.5:
            how += f", and the zip {damage(archive, random)}"
    card = here / "in" / "mine.yaml"
    plain = {
        "name": "mine",
        "title": "Mine",
        "source": source,
        "resolution": 16,
        "channels": 1,
        "conditioning": "class",
    }
    card.write_text(dump_yaml(plain))
    words = ["prepare", "--quiet", "--dataset", str(card), "--results", str(here / "results")]

    def wrong() -> str:
        files = (here / "results" / "artifacts" / "data").glob("*/t*.npy")
        found = {image.tobytes() for file in files for array in [np.load(file)] if array.ndim == 4 for image in array}
        return "" if found == pixels else "other pixels than those that were damaged"

    return Attack(f"images: {how}", words, wrong=wrong)


def labels(random: Random, here: Path, good: Good) -> Attack:
    """A flat folder whose dataset.json is changed."""
    folder = here / "in" / "flat"
    folder.mkdir(parents=True)
    names = [f"{i}.png" for i in range(12)]
    for name in names:
        Image.fromarray(np.frombuffer(random.randbytes(256), np.uint8).reshape(16, 16)).save(folder / name)
    how = text_file(random, folder / "dataset.json", {"labels": [[name, i % 3] for i, name in enumerate(names)]})
    words = ["prepare", "--quiet", "--dataset", str(folder), "--results", str(here / "results")]
    return Attack(f"dataset.json: {how}", words)


def arrays(random: Random, here: Path, good: Good) -> Attack:
    """A damaged or odd .npy or .npz file as images to be evaluated."""
    path = here / "in" / f"images.{random.choice(['npy', 'npz'])}"
    path.parent.mkdir(parents=True)
    odd: tuple[Any, ...] = (
        np.zeros((40, 16, 16), np.float32), np.zeros((40, 16, 16, 5), np.uint8), np.zeros(0, np.uint8),
        np.array([{"a": 1}], object), np.full((40, 16, 16, 1), np.nan), np.zeros((2, 2)), np.array("text"),
        np.zeros((40, 16, 16, 1), np.uint64), np.asfortranarray(np.zeros((40, 16, 16, 1), np.uint8)),
    )  # fmt: skip
    plain = np.frombuffer(random.randbytes(40 * 256), np.uint8).reshape(40, 16, 16, 1)
    array = random.choice(odd) if random.random() < 0.4 else plain
    np.save(path, array) if path.suffix == ".npy" else np.savez(path, images=array)
    how = damage(path, random) if array is plain else f"{array.dtype} {array.shape}"
    words = ["eval", str(path), "--reference", "digits", "--quiet", "--results", str(here / "results")]
    return Attack(f"{path.suffix}: {how}", [*words, "--set", "half_samples=0", "controls=false"])


def archive(random: Random, here: Path, good: Good) -> Attack:
    """A zip whose members have hostile names, or a claim of size that is not true."""
    path = here / "in" / "archive.zip"
    path.parent.mkdir(parents=True)
    png = io.BytesIO()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(png, "PNG")
    names = [f"class{i % 3}/{i}.png" for i in range(12)]
    odd = random.choice(["../../outside.png", "/outside.png", "a" * 300 + ".png", "c\x1b/1.png", "class0/../../x.png"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in [*names, odd]:
            file.writestr(name, png.getvalue())
        if random.random() < 0.5:
            file.writestr("dataset.json", b" " * 10**9 if random.random() < 0.3 else b'{"labels": ' + b"[" * DEPTH)
    words = ["prepare", "--quiet", "--dataset", str(path), "--results", str(here / "results")]
    return Attack(f"zip with {odd[:24]!r}", words)


# ---- stored files ---------------------------------------------------------------------------------------------------


def stored(random: Random, here: Path, good: Good) -> Attack:
    """A damaged file of a finished run, of its stages or of its prepared data; then samples of the run."""
    results = here / "results"
    shutil.copytree(good.results, results)
    files = [path for part in ("runs", "artifacts") for path in sorted((results / part).rglob("*")) if path.is_file()]
    files = [path for path in files if path.suffix in (".pt", ".npy", ".json", ".yaml", ".safetensors")]
    path = random.choice(files)
    how = damage(path, random)
    out = here / "out"
    words = [word.format(results=results, out=out) for word in good.sample]

    def wrong() -> str:
        return "" if contents(out) == contents(good.samples) else "other samples"

    return Attack(f"{path.parent.name}/{path.name}: {how}", words, wrong=wrong)


def contents(folder: Path) -> dict[Path, bytes]:
    """The files of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


KINDS: dict[str, Maker] = {
    "command lines": arguments,
    "settings": settings,
    "dataset configs": dataset_config,
    "suites": suite,
    "records": record,
    "damaged images": image_folder,
    "dataset.json": labels,
    "arrays": arrays,
    "zip archives": archive,
    "stored files": stored,
}
