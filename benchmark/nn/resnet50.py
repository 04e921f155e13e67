"""ResNet-50 for images of 32 pixels and more: the classifier behind the CAS of ImageNet. The network is torchvision's.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), table 1, with the stride in the
3 x 3 convolution of a block, as torchvision has it.
"""

from __future__ import annotations

from torch import Tensor, nn

MIN_SIDE = 32  # pixels; the last stage then sees one place


class ResNet50(nn.Module):
    """A fresh ResNet-50. channels: 1 or 3, grey repeated. n_classes: logits."""

    def __init__(self, channels: int, n_classes: int) -> None:
        from torchvision.models import resnet50  # a second to import, and only this needs it

        super().__init__()
        assert channels in (1, 3), f"{channels} channels"
        self.net = resnet50(weights=None, num_classes=n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1], sides of 32 pixels or more -> logits [N, n_classes]."""
        assert min(x.shape[2:]) >= MIN_SIDE, f"images of {x.shape[3]} x {x.shape[2]} px; {MIN_SIDE} are needed"
        return self.net(x.expand(-1, 3, -1, -1))
