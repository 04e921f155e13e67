"""The Markdown and the JSON file of `gpu_check.py`: what was run and found, refused, failed, and not run yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_jobs import PICTURES
from gpu_timing import CHUNK, PROFILED

from benchmark.core.files import write_json, write_text

Found = Mapping[Any, dict[str, Any] | None]  # of each item; None: not run yet
STATES = ("done", "refused", "failed", "cut")

CHECKS = f"""Small recipes on {PICTURES} synthetic pictures of CIFAR-10's shape, the stages before the GAN untrained.
*Finite*: every logged loss. *Curves*: the means of the losses over the second half of the steps beside two float32 runs
on the CPU from the same weights; the figure is the distance of the loss that is the farthest off, in tolerances, so 1
or less agrees (the criterion stands in `tests/tools/gpu_curves.py`). *Resumed*: a run that SIGKILL ended after half of
its steps and that was continued, beside the undisturbed one: every tensor of the checkpoint. Where they differ, the
figure is the largest difference in parts of a tensor's norm, *repeat* that of two undisturbed runs, and *deterministic*
the same test with torch's deterministic algorithms."""

SPEED = f"""Synthetic pictures of 32 px. After warming up (the capture is in it), steps in the middle of a training are
timed in chunks of {CHUNK}, the device synchronised at their ends; the average generator is not updated. *Share of
peak*: floating-point operations a step, counted by torch's formulas in an eager float32 step, over the time and over
the peak measured above in that precision.
*Operators*: dispatched in an eager float32 step, views included. *Kernels* and *launches*: what the card ran, copies
included, and what the host launched, a step, of {PROFILED} profiled steps; only on a card."""

EVALUATION = """From stored bytes to features on the host. `inception` has random weights: its cost is that of the real
ones. Evaluation uses the first of the two batches."""

TOGETHER = """Images a second of one run, and of two processes with a seed each on the same card, both in all; the gain
is their ratio: 1.00 is what one run after the other gives."""


def write_report(header: dict[str, Any], listed: Sequence[Any], known: Found, folder: Path, slug: str) -> None:
    """Write both files, each whole or not at all."""
    plain = {"header": header, "items": [known[item] for item in listed if known[item] is not None]}
    plain["not_run"] = [item.name for item in listed if known[item] is None]
    write_json(folder / f"{slug}.json", plain)
    write_text(folder / f"{slug}.md", markdown(header, listed, known))


def markdown(header: dict[str, Any], listed: Sequence[Any], known: Found) -> str:
    """The page."""
    of = {part: [item for item in listed if item.part == part] for part in {item.part for item in listed}}
    peaks: dict[str, float] = next((v for item in of.get("peak", []) if (v := value(known[item]))), {})
    sections = [
        "\n".join(_header(header, listed, known)),
        _section("Peak, measured", "", _peaks(peaks)),
        _section("Correctness", CHECKS, _checks(of.get("check", []), known)),
        _section("Speed", SPEED, _speeds(of, known, peaks)),
        _section("Evaluation", EVALUATION, _evaluations(of.get("evaluation", []), known)),
        _section("Two seeds at once", TOGETHER, _together(of.get("together", []), known)),
        _complaints(listed, known),
        *(_listed(title, listed, known, state) for title, state in
          (("Refused", "refused"), ("Failed", "failed"), ("Not finished", "cut"))),
        _not_run(listed, known),
    ]  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def value(found: dict[str, Any] | None) -> Any:
    """What a done item found; None of any other."""
    return found.get("value") if found and found["status"] == "done" else None


def complaint(found: dict[str, Any]) -> str:
    """What is wrong with a training that ended: a loss, a curve, or a resumed run that differs more than a repeated."""
    if found["part"] != "check" or found["status"] != "done":
        return ""
    v, words = found["value"], []
    if not v["finite"]:
        words.append("a logged loss is not finite")
    if v["curves"] and not v["curves"]["ok"] and not v["curves"]["few"]:
        words.append("its losses are not the CPU's")
    equal_again = v.get("repeat", {}).get("equal") or v.get("resume_deterministic", {}).get("equal") is False
    if not v["resume"]["equal"] and equal_again:
        words.append("a killed and continued run has other weights")
    return "; ".join(words)


def _header(header: dict[str, Any], listed: Sequence[Any], known: Found) -> list[str]:
    card, machine = header["card"], header["environment"]
    results = [found for item in listed if (found := known[item]) is not None]
    counts = {state: sum(found["status"] == state for found in results) for state in STATES}
    commits = sorted({str(found["commit"]) for found in results})
    lines = [
        f"# {card['name']}",
        "",
        *(f"- {key}: {text}" for key, text in card.items() if key != "name"),
        f"- driver: {header['driver'] or 'none found'}",
        f"- torch: {', '.join(sorted({found['torch'] for found in results})) or 'nothing was run'}",
        f"- processor: {machine['cpu']}",
        f"- commit: {', '.join(commits) or machine['commit']}",
        f"- a training has {header['steps']} steps; a timing at most as many, and about {header['window']:g} s",
        f"- items: {counts['done']} done, {counts['refused']} refused, {counts['failed']} failed, "
        f"{counts['cut']} not finished, {len(listed) - len(results)} not run yet",
    ]
    if header["device"] == "cpu":
        lines += ["", "**This is no card: the tool was run on the CPU, and its figures say nothing of one.**"]
    if len(commits) > 1:
        lines += ["", "The items were run at several commits; the JSON file says which at which."]
    return lines


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines]) if lines else ""


def _section(title: str, text: str, body: str) -> str:
    return "\n\n".join(part for part in (f"## {title}", text, body) if part) if body else ""


def _peaks(peaks: Mapping[str, float]) -> str:
    return table(["Precision", "TFLOP/s"], [[name, f"{rate / 1e12:,.2f}"] for name, rate in peaks.items()])


def _checks(items: Sequence[Any], known: Found) -> str:
    head = ["Method", "Engine", "Finite", "Curves", "Loss", "Resumed", "Peak MB", "s"]
    return table(head, [_check(item, found) for item in items if (found := known[item])])


def _check(item: Any, found: dict[str, Any]) -> list[str]:
    if found["status"] != "done":
        finite = "no" if "non-finite" in found["reason"] else "–"
        return [item.what, item.how, finite, found["status"], "", "", "", ""]
    v = found["value"]
    curves, loss = v["curves"], ""
    if curves is None:
        text = "not compared yet"
    elif curves["missing"]:
        text = f"other losses: {', '.join(curves['missing'])}"
    else:
        text = (
            f"{curves['ratio']:.2f}"
            + ("" if curves["ok"] else " **outside**")
            + (", too few lines to judge" if curves["few"] else "")
        )
        loss = f"{curves['worst']} {curves['mine']:.3g}, CPU {curves['cpu'][0]:.3g} and {curves['cpu'][1]:.3g}"
    finite = "yes" if v["finite"] else "**no**"
    return [item.what, item.how, finite, text, loss, _resumed(v), f"{v['peak_mb']:,.0f}", f"{v['seconds']:.1f}"]


def _resumed(v: dict[str, Any]) -> str:
    if v["resume"]["equal"]:
        return "equal" + ("" if v["resume"]["log_equal"] else ", its log differs")
    words = [
        f"{name}{one['error'] if 'error' in one else 'equal' if one['equal'] else format(one['largest'], '.1e')}"
        for name, one in (
            ("", v["resume"]), ("repeat ", v["repeat"]), ("deterministic ", v["resume_deterministic"])
        )
    ]  # fmt: skip
    return "; ".join(words)


def _speeds(of: Mapping[str, Sequence[Any]], known: Found, peaks: Mapping[str, float]) -> str:
    head = ["Method", "Recipe", "Engine", "Batch", "ms a step", "Images/s", "Share of peak", "Operators", "Kernels",
            "Launches", "Peak MB", "First steps, s"]  # fmt: skip
    costs = {item.what: value(known[item]) for item in of.get("cost", [])}
    return table(
        head,
        [_speed(item, found, costs.get(item.what), peaks) for item in of.get("speed", []) if (found := known[item])],
    )


def _speed(item: Any, found: dict[str, Any], cost: Any, peaks: Mapping[str, float]) -> list[str]:
    recipe = cost["recipe"] if cost else ""
    if found["status"] != "done":
        return [item.what, recipe, item.how, "", found["status"], *[""] * 7]
    v, share, operators = found["value"], "", ""
    if cost:
        operators = f"{cost['operators']:,.0f}"
        if peak := peaks.get(item.how.split("+")[0]):
            share = f"{cost['flops'] / (v['ms'] / 1000) / peak:.1%}"
    kernels, launches = (f"{v[key]:,.0f}" if key in v else "–" for key in ("kernels", "launches"))
    return [item.what, recipe, item.how, str(v["batch"]), f"{v['ms']:,.2f}", f"{v['images_s']:,.0f}", share, operators,
            kernels, launches, f"{v['peak_mb']:,.0f}", f"{v['first_s']:.1f}"]  # fmt: skip


def _evaluations(items: Sequence[Any], known: Found) -> str:
    rows, batches = [], []
    for item in items:
        if v := value(known[item]):
            batches = [key for key in v if key.startswith("images_s")]
            rows.append([item.what, *(f"{v[key]:,.0f}" for key in batches), f"{v['peak_mb']:,.0f}"])
        elif known[item]:
            rows.append([item.what, known[item]["status"], "", ""])  # type: ignore[index]
    names = [f"Images/s, batch {key.rsplit(' ', 1)[1]}" for key in batches] or ["Images/s", ""]
    return table(["Extractor", *names, "Peak MB"], rows)


def _together(items: Sequence[Any], known: Found) -> str:
    rows = []
    for item in items:
        if v := value(known[item]):
            rates = (f"{v[key]:,.0f}" for key in ("alone_images_s", "together_images_s"))
            rows.append([item.what, item.how, *rates, f"{v['gain']:.2f}"])
        elif known[item]:
            rows.append([item.what, item.how, known[item]["status"], "", ""])  # type: ignore[index]
    return table(["Method", "Engine", "One, images/s", "Two at once, images/s", "Gain"], rows)


def _complaints(listed: Sequence[Any], known: Found) -> str:
    found = [(f["item"], words) for item in listed if (f := known[item]) and (words := complaint(f))]
    return _section("To look at", "", "\n".join(f"- {name}: {words}" for name, words in found))


def _listed(title: str, listed: Sequence[Any], known: Found, state: str) -> str:
    found = [f for item in listed if (f := known[item]) and f["status"] == state]
    return _section(title, "", "\n".join(f"- {f['item']}: {f['reason']}" for f in found))


def _not_run(listed: Sequence[Any], known: Found) -> str:
    waiting: dict[str, list[str]] = {}
    for item in listed:
        if known[item] is None:
            waiting.setdefault(item.part, []).append(" ".join(word for word in (item.what, item.how) if word))
    return _section("Not run yet", "", "\n".join(f"- {part}: {', '.join(names)}" for part, names in waiting.items()))
