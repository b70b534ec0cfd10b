"""Pictures that a person opens after a detection or an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.evaluation.scores import Evaluation, Evaluator, evaluate
from napari_ssim_defects.io.writers.figures import (
    OverviewRow,
    refuse_other_formats,
    write_curves,
    write_overview,
)


@pytest.fixture
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:20, 10:30] = True
    return evaluate([(rng.random(mask.shape) + mask).astype(np.float32)], [mask])


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written."""
    written = []
    save = Figure.savefig

    def remember(self: Figure, *args: Any, **options: Any) -> None:
        written.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    return written


def _row(
    shape: tuple[int, ...] = (48, 64), name: str = "weave", defects: bool = True
) -> OverviewRow:
    rng = np.random.default_rng(0)
    labels = np.zeros(shape[:2], np.int32)
    labels[10:20, 10:30] = defects
    return OverviewRow(
        name=name,
        image=rng.integers(0, 256, shape).astype(np.uint8),
        truth=labels,
        residual=rng.random(shape[:2]).astype(np.float32),
        labels=labels,
    )


def test_overview_is_a_picture_of_sensible_size(tmp_path: Path) -> None:
    path = tmp_path / "overview.png"
    write_overview(path, [_row(), _row(defects=False)], (0.0, 1.0))
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width == 1600
        assert 300 <= picture.height <= 1200
        assert np.asarray(picture.convert("RGB")).std() > 20
    assert [file.name for file in tmp_path.iterdir()] == ["overview.png"]


def test_overview_shows_every_residual_on_the_same_scale(
    tmp_path: Path, figures: list[Figure]
) -> None:
    write_overview(tmp_path / "overview.png", [_row(), _row()], (0.1, 0.7))
    heatmaps = [
        image
        for axes in figures[0].axes
        for image in axes.get_images()
        if image.get_cmap().name == "magma"
    ]
    assert [image.get_clim() for image in heatmaps] == [(0.1, 0.7)] * 2


def test_overview_takes_rgb_images(tmp_path: Path) -> None:
    write_overview(tmp_path / "overview.png", [_row((48, 64, 3))], (0.0, 1.0))
    assert (tmp_path / "overview.png").stat().st_size > 1000


def test_overview_takes_images_of_one_grey_and_any_name(tmp_path: Path) -> None:
    row = _row(name="price $_$ of \\alpha")
    row.image[...] = 7
    write_overview(tmp_path / "overview.png", [row], (0.5, 0.5))
    assert (tmp_path / "overview.png").exists()


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.PNG", b"\x89PNG"), ("a.svg", b"<?xml"),
                        ("a.pdf", b"%PDF")],
)  # fmt: skip
def test_curves_are_written_in_the_format_of_its_name(
    name: str, start: bytes, evaluation: Evaluation, tmp_path: Path
) -> None:
    write_curves(tmp_path / name, evaluation)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_roc_of_few_values_is_drawn_through_all_of_them(
    tmp_path: Path, figures: list[Figure]
) -> None:
    residual = np.array([[0.0, 0.0, 0.5, 0.5, 1.0, 1.0]], np.float32)
    mask = np.array([[False, True, False, True, True, True]])
    scores = evaluate([residual], [mask])
    write_curves(tmp_path / "roc.svg", scores)
    curve = figures[0].axes[0].get_lines()[0]
    x, y = np.asarray(curve.get_xdata(), float), np.asarray(curve.get_ydata(), float)
    assert np.trapezoid(y, x) == pytest.approx(scores.auroc)
    assert {(0.0, 0.0), (0.0, 0.5), (1.0, 1.0)} <= set(zip(x, y, strict=True))


@pytest.mark.slow
def test_roc_of_many_values_stays_a_small_file_with_the_same_area(
    tmp_path: Path, figures: list[Figure]
) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((300, 400)) < 0.1
    scores = evaluate([(rng.random(mask.shape) + 0.5 * mask).astype(np.float32)], [mask])
    assert scores.false_positive_rates.size > 50_000
    write_curves(tmp_path / "roc.svg", scores)
    curve = figures[0].axes[0].get_lines()[0]
    area = np.trapezoid(np.asarray(curve.get_ydata()), np.asarray(curve.get_xdata()))
    assert area == pytest.approx(scores.auroc, abs=1e-3)
    assert (tmp_path / "roc.svg").stat().st_size < 200_000


@pytest.mark.parametrize("name", ["roc.jpg", "roc", "roc.png.txt", ".png"])
def test_other_formats_are_refused_with_a_sentence(
    name: str, evaluation: Evaluation, tmp_path: Path
) -> None:
    for refused in (
        lambda: refuse_other_formats(tmp_path / name),
        lambda: write_curves(tmp_path / name, evaluation),
        lambda: write_overview(tmp_path / name, [_row()], (0.0, 1.0)),
    ):
        with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf") as caught:
            refused()
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_picture_that_cannot_be_written_is_one_sentence(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        write_curves(tmp_path / "folder.png", evaluation)
    with pytest.raises(InputError, match="there is no folder"):
        write_curves(tmp_path / "nowhere" / "roc.png", evaluation)


def test_curves_of_precision_and_overlap_stand_beside_the_roc(
    evaluation: Evaluation, tmp_path: Path, figures: list[Figure]
) -> None:
    write_curves(tmp_path / "curves.svg", evaluation)
    names = [axes.get_ylabel() for axes in figures[0].axes]
    assert names == ["True positive rate", "Precision", "Overlap of each defect", "Defects found"]
    lines = figures[0].axes[2].get_lines()
    assert len(lines) == 3
    for line, values in zip(lines, evaluation.overlap_curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)


def test_froc_is_the_fourth_plot_and_images_without_defects_have_none(
    tmp_path: Path, figures: list[Figure]
) -> None:
    rng = np.random.default_rng(1)
    mask = np.zeros((40, 50), bool)
    mask[10:20, 10:20] = True
    for truth in (mask, np.zeros_like(mask)):
        evaluator = Evaluator(froc_thresholds=[0.5, 1.0, 1.5])
        evaluator.add((rng.random(mask.shape) + mask).astype(np.float32), truth)
        write_curves(tmp_path / "curves.svg", evaluator.result())
    first, second = (figure.axes for figure in figures)
    (line,) = first[3].get_lines()
    x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    assert x[-1] == first[3].get_xlim()[1] == 10
    assert y[-1] == 1
    assert [len(axes.get_lines()) for axes in second] == [0, 0, 0, 0]
    assert {axes.texts[0].get_text() for axes in second} == {"no defects"}
