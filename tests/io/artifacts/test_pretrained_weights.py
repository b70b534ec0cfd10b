"""Weights of AlexNet come whole, from where they should, or not at all."""

from __future__ import annotations

import hashlib
import io
import pickle
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.artifacts import pretrained_weights as alexnet_weights
from napari_ssim_defects.io.artifacts.pretrained_weights import NAME, fetched_weights, read_weights


class Response(io.BytesIO):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """A file of a few weights that counts as the published one; the internet has it."""
    stream = io.BytesIO()
    torch.save({"features.0.bias": torch.arange(300_000.0)}, stream)
    content = stream.getvalue()
    monkeypatch.setattr(alexnet_weights, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(alexnet_weights, "urlopen", lambda url, timeout: Response(content))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return content


def fetch() -> tuple[list[float], dict[str, Any]]:
    steps, fractions = fetched_weights(), []
    while True:
        try:
            fractions.append(next(steps).fraction)
        except StopIteration as finished:
            return fractions, finished.value


def cached(tmp_path: Path) -> list[str]:
    return [file.name for file in (tmp_path / "hub" / "checkpoints").iterdir()]


def test_weights_are_fetched_once(
    published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fractions, weights = fetch()
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(fractions) > 2
    assert torch.equal(weights["features.0.bias"], torch.arange(300_000.0))
    assert cached(tmp_path) == [NAME]

    def refuse(url: str, timeout: float) -> Response:
        raise AssertionError("fetched again")

    monkeypatch.setattr(alexnet_weights, "urlopen", refuse)
    assert fetch()[0] == []


@pytest.mark.parametrize("error", [TimeoutError("timed out"), OSError("no route to host")])
def test_missing_network_is_one_sentence(
    error: OSError, published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str, timeout: float) -> Response:
        raise error

    monkeypatch.setattr(alexnet_weights, "urlopen", fail)
    with pytest.raises(InputError, match="could not be downloaded from https://") as caught:
        fetch()
    assert "\n" not in str(caught.value)
    assert cached(tmp_path) == []


def test_connection_that_breaks_leaves_nothing(
    published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Response):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ConnectionResetError("reset by peer")
            return super().read1(-1 if size is None else size)

    monkeypatch.setattr(alexnet_weights, "urlopen", lambda url, timeout: Broken(published))
    with pytest.raises(InputError, match="reset by peer"):
        fetch()
    assert cached(tmp_path) == []


def test_another_file_at_the_address_is_refused(
    published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alexnet_weights, "urlopen", lambda url, timeout: Response(b"<html>"))
    with pytest.raises(InputError, match="not the published one"):
        fetch()
    assert cached(tmp_path) == []


def test_closing_ends_the_fetching_and_leaves_nothing(published: bytes, tmp_path: Path) -> None:
    steps = fetched_weights()
    next(steps)
    steps.close()
    assert cached(tmp_path) == []


def test_named_files_are_read(published: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(published)
    save_file({"features.0.bias": torch.arange(5.0)}, tmp_path / "weights.safetensors")
    assert len(read_weights(tmp_path / "weights.pth")["features.0.bias"]) == 300_000
    assert len(read_weights(tmp_path / "weights.safetensors")["features.0.bias"]) == 5


def test_other_pickles_are_never_opened(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trap,)

    for name in ("trap.pth", "trap.pt", "trap.safetensors", "trap"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(InputError) as caught:
            read_weights(tmp_path / name)
        assert name in str(caught.value)
    assert not trap.exists()


def test_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("no.pth", "no.safetensors"):
        with pytest.raises(InputError, match=name):
            read_weights(tmp_path / name)


def test_the_real_hash_is_that_of_the_public_name() -> None:
    assert f"alexnet-owt-{alexnet_weights.SHA256[:8]}.pth" == NAME
    assert len(alexnet_weights.SHA256) == 64
