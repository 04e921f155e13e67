"""The command line: `python -m benchmark COMMAND`, also installed as `gantlet`.

Names and files are checked before anything heavy is imported, so that a missing dataset is reported at once.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark import __version__
from benchmark.commands import looking, requests, results, running
from benchmark.core.errors import UserError
from benchmark.core.names import printable
from benchmark.core.signals import Ended
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.runs.logs import LOGS


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="gantlet", description="Train and compare GANs in one harness, by one protocol.")
    top.add_argument("--version", action="version", version=f"gantlet {__version__}")
    words = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    paths = argparse.ArgumentParser(add_help=False)
    paths.add_argument("--data-root", type=path, default=Path(os.environ.get("GANTLET_DATA") or "data"), metavar="DIR",
                        help="where datasets are (default: $GANTLET_DATA, else data)")  # fmt: skip
    paths.add_argument("--results", type=path, default=Path("results"), metavar="DIR", help="where runs and tables go")
    paths.add_argument("--quiet", action="store_true", help="no progress, only the outcome")

    what = argparse.ArgumentParser(add_help=False)
    what.add_argument("--method", nargs="+", default=["infoscc"], help="one or more; `list` shows them")
    what.add_argument(
        "--dataset", default="digits", help="a dataset's name, a dataset config (YAML), or a folder or zip of images"
    )
    what.add_argument("--seed", nargs="+", type=int, help="one or more (default: 0, or a suite's own)")
    what.add_argument("--recipe", help="the settings to start from: small or paper (default: the dataset's; on a "
                      "CPU small where that would take more than two days)")  # fmt: skip
    what.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
                      help="change a setting; eval.KEY the evaluation's, data.KEY the dataset's")  # fmt: skip
    what.add_argument("--protocol", choices=list(PROTOCOLS), help="a paper's evaluation instead of the suite's")
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    device.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="number of CPU threads (default: $OMP_NUM_THREADS; else for small recipes 2 in `run` and 1 in suites, for "
        "others all cores)",
    )

    engine = argparse.ArgumentParser(add_help=False)
    engine.add_argument("--precision", choices=["fp32", "tf32", "bf16"], help="number format of the training steps "
                        "(default: fp32); others are runs and rows of their own")  # fmt: skip
    engine.add_argument("--capture", choices=["none", "compile", "graph"], help="how training steps are launched: "
                        "compile them, or record them as CUDA graphs (default: none)")  # fmt: skip

    log = argparse.ArgumentParser(add_help=False)
    log.add_argument("--log", choices=LOGS, help="next to log.jsonl: tensorboard writes scalars and grids of samples "
                     "to the run's folder (needs gantlet[tensorboard])")  # fmt: skip

    verb = words.add_parser("list", help="methods, datasets, metrics and suites, a line each")
    verb.set_defaults(do=looking.list_all)
    verb = words.add_parser(
        "describe", parents=[paths], help="all about a method (its settings), a dataset, a metric, a suite"
    )
    verb.add_argument("name", nargs="+", help="one or more; `list` shows them")
    verb.set_defaults(do=looking.describe)
    verb = words.add_parser(
        "plan", parents=[what, device, engine, paths], help="what a run, or a suite, would do and cost"
    )
    verb.add_argument("--suite", metavar="NAME", help="a suite instead of a run")
    verb.add_argument("--size", default="small", help="size of the suite (default: small)")
    verb.add_argument("--gpu", metavar="NAME", help="estimate for this GPU, which need not be here, by its data sheet: "
                      "a100, h100, rtx4090, ... (default: a100 for --device cuda without one)")  # fmt: skip
    verb.set_defaults(do=looking.plan)
    verb = words.add_parser("prepare", parents=[paths], help="make a dataset's arrays")
    verb.add_argument("--dataset", nargs="+", required=True, help="one or more, as for `run`")
    verb.set_defaults(do=looking.prepare)
    verb = words.add_parser("run", parents=[what, device, engine, log, paths], help="train, evaluate, write the record")
    verb.set_defaults(do=running.run)
    verb = words.add_parser("suite", parents=[device, engine, log, paths], help="all runs of a suite, then its table")
    verb.add_argument("name", help="`list` shows them")
    verb.add_argument("--size", default="small", help="one of the suite's sizes (default: small)")
    verb.add_argument("--seed", nargs="+", type=int, help="instead of the suite's")
    verb.add_argument("--rows", nargs="+", default=[], metavar="TEXT", help="only these rows: their labels, names of "
                      "methods, or parts of labels (default: all)")  # fmt: skip
    verb.add_argument("--workers", type=positive, metavar="N", help="number of runs at a time (default: one a core for "
                      "runs of one thread on the CPU, else 1)")  # fmt: skip
    verb.add_argument("--minutes", type=minutes, metavar="N", help="stop after this time, with status 140; the same "
                      "command goes on (default: when all is done)")  # fmt: skip
    verb.add_argument("--executor", choices=["local", "slurm"], default="local", help="where runs run, with --workers")
    verb.add_argument(
        "--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="options of sbatch, by submitit's names"
    )
    verb.set_defaults(do=running.suite)
    verb = words.add_parser(
        "reproduce", parents=[device, log, paths], help="paper-size runs against the values that a paper published"
    )
    verb.add_argument("--method", required=True, help="`list` shows them")
    verb.add_argument("--dataset", required=True, help="the dataset of the published values")
    verb.add_argument("--table", metavar="SUITE", help="only this suite's values (default: of every suite)")
    verb.add_argument("--seed", nargs="+", type=int, help="instead of the suite's")
    verb.add_argument("--records-only", action="store_true", help="train nothing: compare the records there are")
    verb.set_defaults(do=running.reproduce)
    verb = words.add_parser(
        "sample", parents=[what, device, engine, paths], help="generated images from a finished run"
    )
    verb.add_argument("run", nargs="?", type=path, metavar="RUN", help="the folder of a finished run or an export, "
                      "or a published model, as reference/digits/biggan (default: by --method, --dataset, ...)"
                      )  # fmt: skip
    verb.add_argument("--n", type=positive, default=64, help="how many (default: 64)")
    verb.add_argument("--latents", type=int, default=0, metavar="SEED", help="another seed of the latents (default: 0)")
    verb.add_argument("--instances", metavar="DATASET", help="condition on images of this dataset, not of the "
                      "run's own (transfer; methods conditioned on images)")  # fmt: skip
    verb.add_argument("--class", dest="label", metavar="N", help="all of this class or cluster, by number or name")
    verb.add_argument("--attributes", metavar="1,0,1", help="all with these attributes: 1 with and 0 without, in order")
    verb.add_argument("--instance", type=int, metavar="ROW", help="all for this training image, by its number")
    verb.add_argument("--out", type=path, required=True, metavar="DIR", help="where the PNG files go")
    verb.set_defaults(do=results.sample)
    verb = words.add_parser("export", help="a finished run as safetensors with a model card, in Hugging Face's layout")
    verb.add_argument("run", type=path, metavar="RUN", help="the folder of a finished run")
    verb.add_argument("out", type=path, metavar="DIR", help="a new or empty folder")
    verb.add_argument("--license", default="other", metavar="ID", help="of the weights, such as cc-by-nc-4.0 "
                      "(default: other, not stated)")  # fmt: skip
    verb.add_argument("--sampler", action="store_true", help="also write sampler.pt2, which needs torch alone")
    verb.add_argument("--compact", action="store_true", help="only what sampling needs, large tensors in float16: no "
                      "discriminator, no model card")  # fmt: skip
    verb.set_defaults(do=results.export)
    verb = words.add_parser(
        "eval", parents=[device, paths], help="score images made elsewhere, or a run by another protocol"
    )
    verb.add_argument("pictures", type=path, metavar="PATH", help="a folder, zip, .npz or .npy file of images, or "
                      "the folder of a finished run")  # fmt: skip
    verb.add_argument("--reference", metavar="DATASET|PATH", help="what they are compared with: a dataset's name, or "
                      "images as PATH; a run has its own dataset")  # fmt: skip
    verb.add_argument("--extractors", nargs="+", metavar="NAME", help="judge, lite0, lite2, inception, "
                      "inception-clean, dinov2, dinov2-b, clip-b-32, clip-l-14, clip-l-14-336, torchvision:MODEL "
                      "(default: the judge where the reference has labels, else lite0)")  # fmt: skip
    verb.add_argument("--protocol", choices=list(PROTOCOLS), help="a paper's evaluation (default: suite)")
    verb.add_argument("--all", action="store_true", help="all metrics instead of the few that a table's headline has")
    verb.add_argument("--n", type=positive, metavar="N", help="score this many of the images (default: all)")
    verb.add_argument("--resolution", type=positive, metavar="SIDE", help="resize images and reference to this side "
                      "in pixels (default: as they are)")  # fmt: skip
    verb.add_argument("--name", help="name of the row in tables (default: the path's)")
    verb.add_argument("--run-seed", type=int, metavar="N", help="of the training run that made the images: sets of one "
                      "name with different seeds are one row, with intervals and tests")  # fmt: skip
    verb.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
                      help="change a setting of the evaluation, such as k=3 or half_samples=0")  # fmt: skip
    verb.set_defaults(do=results.evaluate)
    verb = words.add_parser(
        "compare", parents=[paths], help="two methods, or two runs: which is better, and how certain"
    )
    verb.add_argument("a", metavar="A", help="a method, or the folder of a finished run")
    verb.add_argument("b", metavar="B", help="another one")
    verb.add_argument("--dataset", help="of two methods (default: one on which the suite `compare` has both)")
    verb.set_defaults(do=results.compare)
    verb = words.add_parser(
        "table", parents=[paths], help="write all tables from the records, print the best rows of one"
    )
    verb.add_argument(
        "name", nargs="?", help="which to print: a dataset or a suite (default: the latest run's dataset)"
    )
    verb.add_argument("--size", default="small", help="of a suite (default: small)")
    verb.add_argument("--columns", nargs="+", default=[], metavar="ID", help="metrics to print, as fd or recall_judge; "
                      "or all (default: the headline as far as a line holds it)")  # fmt: skip
    verb.add_argument("--rows", nargs="+", default=[], metavar="TEXT", help="rows to print: parts of their labels, as "
                      "a method's name; or all (default: the best 28)")  # fmt: skip
    verb.add_argument("--with", choices=["reference"], dest="beside", help="put these records, marked as own, into the "
                      "published tables of results/reference")  # fmt: skip
    verb.set_defaults(do=results.table)
    verb = words.add_parser(
        "report", parents=[paths], help="a small HTML site of all results: leaderboards, datasets, methods"
    )
    verb.add_argument(
        "--out",
        type=path,
        metavar="FILE",
        help="the front page (default: report.html in the results); the other pages go into a folder of its name",
    )
    verb.set_defaults(do=results.report)
    verb = words.add_parser(
        "drift", parents=[paths], help="regression tests: have metrics, or a method's results, changed?"
    )
    verb.add_argument("--model", metavar="METHOD", help="compare new records of this method with its baseline")
    verb.add_argument("--dataset", help="with --model")
    verb.add_argument("--accept", metavar="REASON", help="accept the present numbers as the baseline")
    verb.add_argument("--records", type=path, default=Path("results/reference"), metavar="DIR",
                      help="with --model --accept: whose records become the baseline")  # fmt: skip
    verb.add_argument("--config", metavar="HASH", help="the start of a configuration's hash, where there are several")
    verb.add_argument("--metrics", nargs="+", metavar="ID", help="only these (default: all)")
    verb.add_argument("--json", type=path, metavar="FILE", help="also write the report to this file")
    verb.add_argument("--allow-inconclusive", action="store_true", help="an inconclusive result is no failure")
    verb.set_defaults(do=results.drift)
    return top


def path(text: str) -> Path:
    """An argument that is a path which a file can have."""
    from benchmark.data.layout import user_path  # loads pydantic, which `--help` has no use for

    if not text.strip():
        raise argparse.ArgumentTypeError("a path is empty")
    try:
        return user_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(f"{printable(error.what)}: {error.why}; {error.mend}") from None


def positive(text: str) -> int:
    """An argument that is a whole number above 0."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to {2**31 - 1}")
    return int(text)


def minutes(text: str) -> float:
    """An argument that is a time in minutes, above 0 and at most a year."""
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII) or not 0 < float(text) <= 60 * 24 * 366:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of minutes, such as 30 or 0.5")
    return float(text)


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that is no longer read."""
    state = select.poll()
    state.register(sys.stdout.fileno(), 0)  # an error is reported unasked
    return bool(state.poll(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Exit status: 0 done, 1 a run failed, 2 bad input, 3 busy, 130 interrupted, 143 or 129 terminated.

    140: told to leave (SIGUSR2), or its minutes are over, and what was trained is saved. 141: whatever reads the output
    has closed it.
    """
    # Before torch is loaded: threads that spin for long while they wait slow each other down on a busy machine
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    parsed: Any = parser().parse_args(arguments)
    try:
        status = parsed.do(parsed)
        sys.stdout.flush()  # here, where a closed pipe is seen
        return status
    except UserError as error:
        requests.say(error)
        return error.exit_code
    except (KeyboardInterrupt, Ended) as stop:
        with suppress(OSError):  # the terminal may be what was closed
            print("gantlet: stopped; the same command goes on from what is saved", file=sys.stderr, flush=True)
        return stop.exit_code if isinstance(stop, Ended) else 130
    except BrokenPipeError:  # the reader of the output has enough of it, as `| head` has
        if not _reader_is_gone():
            raise  # it was another pipe: an error like any other
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
