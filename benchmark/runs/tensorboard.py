"""`--log tensorboard`: the scalars of `log.jsonl` and grids of samples as TensorBoard's event files.

It looks on: no bit of a run and no name depends on it. The events lie in `tensorboard/` in the run's folder. A run that
resumes keeps those up to its checkpoint, takes scalars that a kill lost from `log.jsonl`, and drops the later ones,
whose steps are computed again.
"""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmark.core import distributed
from benchmark.core.files import JsonLines, not_writable
from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset
from benchmark.evaluation.sampling import standing_statistics
from benchmark.runs.figures.of_run import sample_grid
from benchmark.runs.figures.pictures import grid_picture
from benchmark.training.method import Method
from benchmark.training.progress import LOG

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

FOLDER = "tensorboard"  # in the run's folder
N_GRIDS = 10  # of a run, evenly spaced, the last step among them
SAMPLES = "samples"  # the tag of the grids
_FILES = "events.out.tfevents.*"
_SEED = 0x7B0A  # of all grids: each shows the same latents


class TensorBoard:
    """Writes what a GAN's training logs, and grids of its samples, as events. Only rank 0 writes."""

    def __init__(self, method: Method, data: Dataset, folder: Path) -> None:
        self.method, self.data = method, data
        self.log, self.folder = JsonLines(folder / LOG), folder / FOLDER
        steps = method.cfg.steps
        self.steps = set() if data.is_points else {round(steps * (i + 1) / N_GRIDS) for i in range(N_GRIDS)}
        self.writer: EventFileWriter | None = None

    def begin(self, step: int) -> None:
        """Start, or continue after this step: the files of before become one, with the events up to it."""
        if not distributed.is_main():
            return
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        with self._writing():
            before = sorted(self.folder.glob(_FILES))
            self.writer = EventFileWriter(str(self.folder))
            written: set[tuple[int, str]] = set()
            for event in (event for path in before for event in _events(path) if 0 < event.step <= step):
                values = {(event.step, value.tag) for value in event.summary.value}
                if not values & written:  # a kill may have left the old file next to the new one
                    self.writer.add_event(event)
                    written |= values
            for line in self.log.read():
                scalars = {name: value for name, value in line.items() if name != "step"}
                self._add_scalars(line["step"], {k: v for k, v in scalars.items() if (line["step"], k) not in written})
            self.writer.flush()
            for path in before:
                path.unlink()

    def __call__(self, step: int, G: nn.Module) -> None:
        """Draw a grid of samples where one is due; every rank calls, rank 0 works."""
        if step not in self.steps:
            return
        distributed.by_main(lambda: self._add_grid(step, G))

    def _add_grid(self, step: int, G: nn.Module) -> None:
        picture = self._grid(G)
        with self._writing():
            self._add(step, [_image(picture)])

    def logged(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the scalars of a line of `log.jsonl`."""
        if distributed.is_main():
            with self._writing():
                self._add_scalars(step, scalars)

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            with self._writing():
                self.writer.close()

    @torch.no_grad()
    def _grid(self, G: nn.Module) -> bytes:
        """Samples as the run's folder shows them, as PNG. The network and the random numbers are left as they are."""
        G = copy.deepcopy(G).eval()
        devices = [self.method.device] if self.method.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            standing_statistics(self.method, G)
            torch.manual_seed(derive_seed(_SEED))
            grid = sample_grid(self.method, G, self.data)
        buffer = io.BytesIO()
        grid_picture(grid).save(buffer, "PNG")
        return buffer.getvalue()

    def _add_scalars(self, step: int, scalars: Mapping[str, float | None]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=_finite(value)) for name, value in scalars.items()]
        self._add(step, values)

    def _add(self, step: int, values: list[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        assert self.writer is not None, "`begin` comes first"
        if values:
            self.writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
            self.writer.flush()  # before the checkpoint: what it holds is not lost

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A failed write is the user's to fix."""
        try:
            yield
        except OSError as error:
            raise not_writable(self.folder, error) from None


def _finite(value: float | None) -> float:
    """`log.jsonl` has null for every number that is not finite."""
    return value if value is not None and math.isfinite(value) else math.nan


def _events(path: Path) -> Iterator[Event]:
    """The whole events of a file, which a kill may have cut short."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    yield from LegacyEventFileLoader(str(path)).Load()


def _image(png: bytes) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = Image.open(io.BytesIO(png)).size
    image = Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=3)
    return Summary.Value(tag=SAMPLES, image=image)
