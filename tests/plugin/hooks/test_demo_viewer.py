"""The demo's results arrive in napari as layers that the panel works on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_ssim_defects.cli.demo import DemoResults
from napari_ssim_defects.core.segmentation.segment import segment
from napari_ssim_defects.io.writers.figures import OverviewRow
from napari_ssim_defects.plugin.controllers.panel_controller import controller_of
from napari_ssim_defects.samples import nanofibres


@pytest.fixture
def results(model: Any) -> DemoResults:
    samples = tuple(nanofibres(seed, defects=True, shape=(96, 80)) for seed in (1, 2))
    rows = []
    for sample in samples:
        residual = model.residual(sample.image)
        labels = segment(residual, float(np.quantile(residual, 0.8)), min_area=4)
        rows.append(OverviewRow("fibres", sample.image, sample.labels, residual, labels))
    return DemoResults(
        {}, model, Path("fibres.safetensors"), (0.05, 0.05), "µm", samples, tuple(rows)
    )


def test_results_become_layers_with_their_scale_and_the_panel_goes_on_from_them(
    make_napari_viewer: Callable[..., Any], results: DemoResults, qtbot: Any
) -> None:
    pytest.importorskip("npe2")
    from napari_ssim_defects.plugin.hooks.demo_viewer import add_results

    viewer = make_napari_viewer()
    add_results(viewer, results)
    names = [layer.name for layer in viewer.layers]
    assert names[:2] == ["good 1", "good 2"]
    assert names[2:6] == [
        "defective 1", "defective 1 truth", "defective 1 residual", "defective 1 defects",
    ]  # fmt: skip
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, (0.05, 0.05))
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    state = controller_of(viewer).state
    assert state.model is results.model
    assert state.model_name == "fibres"
    assert state.heatmap is viewer.layers["defective 1 residual"]
    assert len(viewer.layers["defective 1 defects"].features) == results.rows[0].labels.max()
    qtbot.waitUntil(lambda: state.summary is not None, timeout=20_000)
    viewer.close()
