"""The table of all inspected images."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt

from napari_ssim_defects.plugin.state.panel_state import ImageSummary
from napari_ssim_defects.plugin.views.widgets.overview_table import OverviewTable

FOUND = {
    "b": ImageSummary(2, 1200, 0.001),
    "a": ImageSummary(10, 50, 0.0),
    "c": ImageSummary(0, 0, 0),
}


@pytest.fixture
def heatmaps():
    return {name: Image(np.zeros((2, 2)), name=name) for name in FOUND}


@pytest.fixture
def chosen():
    return []


@pytest.fixture
def table(qtbot, heatmaps, chosen):
    table = OverviewTable(chosen.append)
    qtbot.addWidget(table)
    table.show_images(tuple((heatmaps[name], found) for name, found in FOUND.items()), None)
    return table


def rows(table):
    return [
        [table.item(row, column).text() for column in range(table.columnCount())]
        for row in range(table.rowCount())
    ]


def test_images_with_most_regions_come_first_and_any_column_sorts_by_its_numbers(table):
    assert rows(table) == [
        ["a", "10", "50", "0 %"],
        ["b", "2", "1,200", "0.1 %"],
        ["c", "0", "0", "0 %"],
    ]
    table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert [row[0] for row in rows(table)] == ["b", "a", "c"]
    table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert [row[0] for row in rows(table)] == ["a", "b", "c"]


def test_a_row_leads_to_its_image_and_new_numbers_choose_nothing(table, heatmaps, chosen):
    table.setCurrentCell(2, 1)
    assert chosen == [heatmaps["c"]]
    changed = (heatmaps["c"], ImageSummary(99, 1, 0.0)), (heatmaps["a"], FOUND["a"])
    table.show_images(changed, heatmaps["a"])
    assert [row[:2] for row in rows(table)] == [["c", "99"], ["a", "10"]]
    assert table.currentRow() == 1
    assert chosen == [heatmaps["c"]]


def test_without_images_there_is_no_table(table):
    table.show_images((), None)
    assert table.isHidden()
