"""What a step would take on a GPU that is not here: from counts of operations, and the GPU's data sheet.

Peak rates are the vendor's, of dense products. The share of the peak that training reaches, and the time that an
operator takes at least, are assumptions: nothing was measured on these GPUs. An estimate may be wrong by a factor of
two or three in either direction.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.core.engine import Precision
from benchmark.core.errors import ConfigError, suggest

ASSUMED_SHARE = 0.3  # of the peak, reached by a GAN's convolutions and matrix products
ASSUMED_OPERATOR_S = 10e-6  # least time of an operator called from Python: its launch, where the work is small
ASSUMPTIONS = (
    f"assumed: {ASSUMED_SHARE:.0%} of the data sheet's peak, and at least {ASSUMED_OPERATOR_S * 1e6:.0f} us an "
    "operator; not measured"
)


@dataclass(frozen=True)
class Gpu:
    """A GPU's peak rates of dense products, in TFLOP/s, from its data sheet. None: its tensor cores lack the format."""

    name: str
    fp32: float
    tf32: float | None
    bf16: float | None
    source: str

    def peak(self, precision: Precision) -> float:
        """FLOP/s in this precision; in float32 where the GPU lacks the format."""
        return 1e12 * ({"fp32": self.fp32, "tf32": self.tf32, "bf16": self.bf16}[precision] or self.fp32)

    def seconds(self, flops: float, operators: float, precision: Precision = "fp32") -> float:
        """Estimated time of so many floating-point operations in so many operators, one after another."""
        return max(flops / (ASSUMED_SHARE * self.peak(precision)), operators * ASSUMED_OPERATOR_S)


# Data sheets that state rates with structured sparsity are halved.
GPUS = {
    "t4": Gpu("T4", 8.1, None, None, "NVIDIA T4 data sheet"),
    "v100": Gpu("V100 SXM2", 15.7, None, None, "NVIDIA V100 data sheet"),
    "rtx3090": Gpu("GeForce RTX 3090", 35.6, 35.6, 71.0, "NVIDIA Ampere GA102 whitepaper, appendix A"),
    "a100": Gpu("A100 SXM", 19.5, 156.0, 312.0, "NVIDIA A100 data sheet"),
    "l4": Gpu("L4", 30.3, 60.0, 121.0, "NVIDIA L4 data sheet, halved: stated with sparsity"),
    "rtx4090": Gpu("GeForce RTX 4090", 82.6, 82.6, 165.2, "NVIDIA Ada whitepaper, appendix A"),
    "h100": Gpu("H100 SXM", 67.0, 494.5, 989.5, "NVIDIA H100 data sheet, halved: stated with sparsity"),
    "h200": Gpu("H200 SXM", 67.0, 494.5, 989.5, "NVIDIA H200 data sheet, halved: stated with sparsity"),
}
DEFAULT_GPU = "a100"


def find_gpu(name: str) -> Gpu:
    """The GPU of this name. Raises ConfigError, with the nearest name."""
    if name not in GPUS:
        raise ConfigError(f"--gpu {name}", "its peak rates are not known here", suggest(name, GPUS))
    return GPUS[name]
