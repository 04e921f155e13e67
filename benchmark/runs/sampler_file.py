"""A trained generator as one file that torch alone can run: neither this package nor its data is needed to sample.

`torch.export` writes down the operations of the method's `sample`, random draws included, with the weights of G:

    import torch
    sample = torch.export.load("sampler.pt2").module()
    images = sample(torch.arange(16) % 10)      # conditions [16]; of an unconditional method: sample()
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.core.files import atomic
from benchmark.runs.trained import TrainedRun

SAMPLER = "sampler.pt2"
N = 16  # images of a call: the shapes of a written graph are fixed


class _Sampler(nn.Module):
    """The method's `sample` with its generator: conditions as `Sample.conditions` codes them -> [N, C, S, S]."""

    def __init__(self, trained: TrainedRun) -> None:
        super().__init__()
        self.G, self._method = trained.G, trained.method

    def forward(self, conditions: Tensor | None = None) -> Tensor:
        """N images in [-1, 1]; points [N, 2] of a run on 2-D data."""
        return self._method.sample(self.G, N, conditions).images


def example_conditions(trained: TrainedRun) -> Tensor | None:
    """Conditions of the shape that the written sampler takes: [N], attributes [N, A]; None: it takes none."""
    method = trained.method
    if method.conditioning == "none":
        return None
    if method.conditioning == "attributes":
        return torch.zeros(N, method.n_labels, dtype=torch.int64)
    return torch.arange(N) % method.n_labels


def write_sampler(path: Path, trained: TrainedRun) -> None:
    """Write the run's sampler, atomically. The run is on the CPU.

    Raises UserError for a method whose `sample` decides by the values of its tensors: no fixed graph computes it.
    """
    conditions = example_conditions(trained)
    inputs = () if conditions is None else (conditions,)
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that share memory
            torch.export.save(torch.export.export(_Sampler(trained).eval(), inputs, strict=False), file)
    except Exception as error:  # of many types, as the operation that cannot be written
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]:.200}"
        mend = "export it without --sampler, and sample it by `gantlet sample`"
        raise UserError(f"{trained.name}: its sampler cannot be written", reason, mend) from None
    with atomic(path) as out:
        out.write(file.getvalue())
