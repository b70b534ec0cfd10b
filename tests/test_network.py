"""Nothing is fetched without being asked for; the one download is checked, and can be stopped."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from napari_ssim_defects import TrainingConfig, train
from napari_ssim_defects.cli import main
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.training.messages import TrainingFinished
from napari_ssim_defects.io.artifacts import pretrained_weights as alexnet_weights
from napari_ssim_defects.io.artifacts.pretrained_weights import NAME, fetched_weights

SHAPES = {
    "features.0.weight": (64, 3, 11, 11), "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5), "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3), "features.6.bias": (384,),
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Answer = Callable[[socket.socket], None]


@pytest.fixture(scope="module", autouse=True)
def _lines_closed() -> Iterator[None]:
    yield
    gc.collect()  # the standard library leaves the line open where no web server answers


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to reach another computer fails, and is noted."""
    attempts: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        attempts.append(arguments[1:] or arguments)
        raise OSError("this test has no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return attempts


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Answer], None]]:
    """Let the published file come from a server here that answers as it is told to."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def begin(answer: Answer) -> None:
        def run() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    answer(connection)
                except OSError:  # whoever asked has gone
                    return
                if answer.__name__ == "silent":
                    ended.wait(10)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(alexnet_weights, "URL", f"http://127.0.0.1:{listener.getsockname()[1]}/w")
    monkeypatch.setattr(alexnet_weights, "_TIMEOUT", 0.5)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    yield begin
    ended.set()
    listener.close()
    for thread in threads:
        thread.join(10)


def _published(monkeypatch: pytest.MonkeyPatch) -> bytes:
    stream = io.BytesIO()
    torch.save({"features.0.bias": torch.arange(200_000.0)}, stream)
    content = stream.getvalue()
    monkeypatch.setattr(alexnet_weights, "SHA256", hashlib.sha256(content).hexdigest())
    return content


def _response(content: bytes, length: object = None) -> bytes:
    size = len(content) if length is None else length
    return f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + content


def _fetched() -> dict[str, Any]:
    steps = fetched_weights()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return dict(end.value)


def _left(tmp_path: Path) -> list[str]:
    return [file.name for file in (tmp_path / "hub" / "checkpoints").iterdir()]


# Not asked for


@pytest.mark.slow
def test_training_detecting_and_scoring_reach_no_other_computer(
    no_network: list[object],
    tmp_path: Path,
    material: Callable[..., Any],
    model_path: Path,
    capsys: Any,
) -> None:
    tiny = TrainingConfig(patch_size=16, latent_dimension=4, patches=8, epochs=1, batch_size=4)
    *_, last = train([material(1)], tiny, device="cpu")
    assert isinstance(last, TrainingFinished)
    for name, seed in (("good", 1), ("bad", 2)):
        (tmp_path / name).mkdir()
        Image.fromarray(material(seed, spoilt=name == "bad")).save(tmp_path / name / "a.png")
    mask = np.zeros((64, 72), np.uint8)
    mask[20:40, 30:50] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    model, good, bad = str(model_path), str(tmp_path / "good"), str(tmp_path / "bad")
    device = ["--device", "cpu", "--json"]
    assert main(["detect", model, bad, "-o", str(tmp_path / "out"), "--report", *device]) == 0
    assert main(["evaluate", model, bad, str(tmp_path / "masks"), *device]) == 0
    assert main(["calibrate", model, good, "-o", str(tmp_path / "c.safetensors"), *device]) == 0
    assert main(["info", model, "--json"]) == 0
    assert no_network == []


def test_importing_reaches_no_other_computer() -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('connects')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
        "import napari_ssim_defects.cli, napari_ssim_defects.core.training.train\n"
        "import napari_ssim_defects.io.artifacts.pretrained_weights\n"
        "import napari_ssim_defects.scale.folders\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Asked for


def test_the_weights_come_from_the_address_and_are_kept(
    serve: Callable[[Answer], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _published(monkeypatch)
    serve(lambda connection: connection.sendall(_response(content)))
    assert len(_fetched()["features.0.bias"]) == 200_000
    assert _left(tmp_path) == [NAME]
    assert len(_fetched()["features.0.bias"]) == 200_000  # nobody answers a second time


@pytest.mark.parametrize("length", ["", "0", "-5", "many", "1e3", "9" * 40, "\u0663"])
def test_a_length_that_makes_no_sense_is_passed_over(
    length: str,
    serve: Callable[[Answer], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = _published(monkeypatch)
    # What the server announces decides how much is read, so that a false zero is an empty file.
    serve(lambda connection: connection.sendall(_response(content, length)))
    try:
        assert len(_fetched()["features.0.bias"]) == 200_000
    except InputError:
        assert _left(tmp_path) == []


def silent(connection: socket.socket) -> None:
    """Say nothing, and leave the line open."""


def cut_off(connection: socket.socket) -> None:
    connection.sendall(_response(b"x" * 1000, 10**6))


def another_file(connection: socket.socket) -> None:
    connection.sendall(_response(b"<html>Please log in</html>"))


def missing(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def no_web_server(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9\r\n" * 10)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(2**20))


def elsewhere(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (silent, "could not be downloaded.*timed out"),
        (cut_off, "could not be downloaded.*cut off|could not be downloaded.*IncompleteRead"),
        (another_file, "not the published one"),
        (missing, "could not be downloaded.*404"),
        (no_web_server, "could not be downloaded"),
        (endless, "could not be downloaded.*more than"),
        (elsewhere, "could not be downloaded"),
    ],
)
def test_whatever_the_server_does_is_one_sentence_and_leaves_nothing(
    answer: Answer,
    sentence: str,
    serve: Callable[[Answer], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alexnet_weights, "_LARGEST", 2**23)
    serve(answer)
    begun = time.monotonic()
    with pytest.raises(InputError, match=sentence) as caught:
        _fetched()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 5
    assert _left(tmp_path) == []


def test_a_slow_server_keeps_nobody_who_wants_to_stop(
    serve: Callable[[Answer], None], tmp_path: Path
) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.05)

    serve(trickle)
    begun = time.monotonic()
    steps = fetched_weights()
    next(steps)
    next(steps)
    steps.close()
    assert time.monotonic() - begun < 2
    assert _left(tmp_path) == []


def test_damaged_weights_in_the_cache_are_never_opened(
    serve: Callable[[Answer], None], tmp_path: Path
) -> None:
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"damaged")
    with pytest.raises(InputError, match="delete it to download it again"):
        _fetched()


# Behind a file


@pytest.mark.slow
def test_feature_matching_is_trained_with_a_file_and_no_network(
    no_network: list[object], tmp_path: Path, material: Callable[..., Any], capsys: Any
) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {name: 0.05 * torch.randn(shape, generator=generator)
               for name, shape in SHAPES.items()}  # fmt: skip
    save_file(weights, tmp_path / "alexnet.safetensors")
    Image.fromarray(material(1, (160, 176))).save(tmp_path / "a.png")
    command = ["train", str(tmp_path / "a.png"), "-o", str(tmp_path / "m.safetensors"),
               "--system", "fmae", "--minutes", "0.01", "--device", "cpu", "--json"]  # fmt: skip
    assert main([*command, "--alexnet", str(tmp_path / "alexnet.safetensors")]) == 0
    assert json.loads(capsys.readouterr().out)
    assert no_network == []


def test_feature_matching_without_network_or_file_says_what_to_do(
    no_network: list[object],
    tmp_path: Path,
    material: Callable[..., Any],
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    Image.fromarray(material(1, (160, 176))).save(tmp_path / "a.png")
    command = ["train", str(tmp_path / "a.png"), "-o", str(tmp_path / "m.safetensors"),
               "--system", "fmae", "--minutes", "0.01", "--device", "cpu"]  # fmt: skip
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "download the file on another computer" in error
    assert len(no_network) >= 1
    assert not (tmp_path / "m.safetensors").exists()
