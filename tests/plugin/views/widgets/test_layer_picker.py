from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from napari.components import LayerList
from napari.layers import Image, Labels, Layer, Shapes
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractButton, QLabel, QListWidget, QWidget

from napari_ssim_defects.plugin.views.widgets.layer_picker import LayerPicker

UNSHIFTED = Qt.KeyboardModifier.NoModifier
CONTROL = Qt.KeyboardModifier.ControlModifier
MakePicker = Callable[[LayerList], LayerPicker]


def image(name: str) -> Image:
    return Image(np.zeros((12, 10), np.uint8), name=name)


def is_image(layer: Layer) -> bool:
    return isinstance(layer, Image)


@pytest.fixture
def layers() -> LayerList:
    """Three images; ``top`` is the topmost."""
    return LayerList([image("bottom"), image("middle"), image("top")])


@pytest.fixture
def make_picker(qtbot: QtBot) -> MakePicker:
    def make(layers: LayerList) -> LayerPicker:
        picker = LayerPicker(layers, is_image)
        qtbot.addWidget(picker)
        picker.resize(350, 200)
        picker.show()
        return picker

    return make


def rows(picker: LayerPicker) -> QListWidget:
    return picker.findChild(QListWidget)


def names(picker: LayerPicker) -> list[str]:
    view = rows(picker)
    return [view.item(row).text() for row in range(view.count())]


def click(qtbot: QtBot, picker: LayerPicker, name: str) -> None:
    view = rows(picker)
    place = view.visualItemRect(view.item(names(picker).index(name))).center()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)


def button(picker: LayerPicker, text: str) -> QAbstractButton:
    return next(found for found in picker.findChildren(QAbstractButton) if found.text() == text)


def listeners(layer: Layer) -> int:
    return len(layer.events.name.callbacks)


def test_the_topmost_layer_comes_first(make_picker: MakePicker, layers: LayerList) -> None:
    assert names(make_picker(layers)) == ["top", "middle", "bottom"]


def test_only_acceptable_layers_are_offered(make_picker: MakePicker, layers: LayerList) -> None:
    picker = make_picker(layers)
    layers.append(Labels(np.zeros((12, 10), np.uint8), name="labels"))
    layers.append(Shapes(name="shapes"))
    assert names(picker) == ["top", "middle", "bottom"]


def test_nothing_is_ticked_at_first(make_picker: MakePicker, layers: LayerList) -> None:
    assert make_picker(layers).selected() == []


def test_a_click_anywhere_on_a_row_ticks_it_and_another_unticks_it(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    with qtbot.waitSignal(picker.selection_changed):
        click(qtbot, picker, "middle")
    assert picker.selected() == [layers["middle"]]
    with qtbot.waitSignal(picker.selection_changed):
        click(qtbot, picker, "middle")
    assert picker.selected() == []


def test_the_selection_is_in_the_order_of_the_layer_list(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    click(qtbot, picker, "top")
    click(qtbot, picker, "bottom")
    assert [layer.name for layer in picker.selected()] == ["bottom", "top"]


def test_the_space_bar_toggles_the_row_that_the_arrows_reach(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    view = rows(picker)
    view.setCurrentRow(0)
    qtbot.keyClick(view, Qt.Key.Key_Down)
    qtbot.keyClick(view, Qt.Key.Key_Space)
    assert picker.selected() == [layers["middle"]]
    qtbot.keyClick(view, Qt.Key.Key_Space)
    assert picker.selected() == []


def test_ctrl_a_ticks_every_layer_and_announces_it_once(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    announced: list[int] = []
    picker.selection_changed.connect(lambda: announced.append(len(picker.selected())))
    qtbot.keyClick(rows(picker), Qt.Key.Key_A, CONTROL)
    assert announced == [3]


@pytest.mark.parametrize(
    ("key", "modifier"), [(Qt.Key.Key_A, CONTROL), (Qt.Key.Key_Space, UNSHIFTED)]
)
def test_its_keys_are_claimed_before_the_shortcuts_of_the_window(
    make_picker: MakePicker, layers: LayerList, key: Qt.Key, modifier: Qt.KeyboardModifier
) -> None:
    picker = make_picker(layers)
    event = QKeyEvent(QEvent.Type.ShortcutOverride, key, modifier)
    event.ignore()
    QCoreApplication.sendEvent(rows(picker), event)
    assert event.isAccepted()


def test_all_and_none_tick_and_untick_every_layer(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    qtbot.mouseClick(button(picker, "All"), Qt.MouseButton.LeftButton)
    assert picker.selected() == list(layers)
    qtbot.mouseClick(button(picker, "None"), Qt.MouseButton.LeftButton)
    assert picker.selected() == []


def test_setting_the_selection_announces_a_change_once_and_no_change_never(
    make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    announced: list[list[Layer]] = []
    picker.selection_changed.connect(lambda: announced.append(picker.selected()))
    picker.set_selected([layers["top"], layers["bottom"], image("stranger")])
    picker.set_selected([layers["bottom"], layers["top"]])
    assert announced == [[layers["bottom"], layers["top"]]]


def test_new_layers_appear_unticked_and_keep_the_others_ticked(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    picker.set_selected([layers["middle"]])
    with qtbot.assertNotEmitted(picker.selection_changed):
        layers.append(image("new"))
        layers.insert(0, image("deep"))
    assert names(picker) == ["new", "top", "middle", "bottom", "deep"]
    assert picker.selected() == [layers["middle"]]


def test_removing_a_ticked_layer_unticks_it_and_announces_it(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    picker.set_selected([layers["middle"], layers["top"]])
    with qtbot.waitSignal(picker.selection_changed):
        layers.remove("middle")
    assert names(picker) == ["top", "bottom"]
    assert picker.selected() == [layers["top"]]


def test_removing_an_unticked_layer_is_no_change_of_the_selection(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    picker.set_selected([layers["top"]])
    with qtbot.assertNotEmitted(picker.selection_changed):
        layers.remove("middle")


def test_a_renamed_layer_stays_ticked_under_its_new_name(
    make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    middle = layers["middle"]
    picker.set_selected([middle])
    middle.name = "renamed"
    assert names(picker) == ["top", "renamed", "bottom"]
    assert picker.selected() == [middle]


def test_a_layer_that_takes_over_a_removed_layers_name_is_not_ticked(
    make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    picker.set_selected([layers["top"]])
    layers.remove("top")
    layers.append(image("top"))
    assert picker.selected() == []


def test_ticks_move_with_their_layers(make_picker: MakePicker, layers: LayerList) -> None:
    picker = make_picker(layers)
    bottom = layers["bottom"]
    picker.set_selected([bottom])
    layers.move(0, 3)
    assert names(picker) == ["bottom", "top", "middle"]
    layers.reverse()
    assert names(picker) == ["middle", "top", "bottom"]
    assert picker.selected() == [bottom]


def test_another_order_of_ticked_layers_is_announced(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    picker.set_selected([layers["bottom"], layers["top"]])
    with qtbot.waitSignal(picker.selection_changed):
        layers.reverse()
    assert [layer.name for layer in picker.selected()] == ["top", "bottom"]


def test_the_current_row_stays_with_its_layer(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    rows(picker).setCurrentRow(1)
    layers.append(image("new"))
    qtbot.keyClick(rows(picker), Qt.Key.Key_Space)
    assert picker.selected() == [layers["middle"]]


def test_a_hint_is_shown_exactly_while_there_is_no_acceptable_layer(
    make_picker: MakePicker,
) -> None:
    layers = LayerList([Shapes(name="shapes")])
    picker = make_picker(layers)
    hint = next(label for label in picker.findChildren(QLabel) if "Open" in label.text())
    assert hint.text() == "Open an image first"
    assert hint.isVisible()
    assert not rows(picker).isVisible()
    layers.append(image("first"))
    assert not hint.isVisible()
    assert rows(picker).isVisible()
    layers.clear()
    assert hint.isVisible()


def test_the_list_grows_to_six_rows_and_then_scrolls(make_picker: MakePicker) -> None:
    heights = {}
    layers = LayerList()
    picker = make_picker(layers)
    for number in range(1, 10):
        layers.append(image(f"layer {number}"))
        heights[number] = rows(picker).sizeHint().height()
    assert heights[1] < heights[2] < heights[6] == heights[7] == heights[9]
    assert 5 < heights[6] / heights[1] <= 6


@pytest.mark.parametrize(
    ("layer", "description"),
    [
        (lambda: Image(np.zeros((3, 12, 10), np.uint16)), "3 × 12 × 10, uint16"),
        (lambda: Image(np.zeros((12, 10, 3), np.uint8), rgb=True), "12 × 10 RGB, uint8"),
        (
            lambda: Image([np.zeros((12, 10)), np.zeros((6, 5))], multiscale=True),
            "12 × 10, float64",
        ),
    ],
)
def test_the_tooltip_tells_shape_and_dtype(
    make_picker: MakePicker, layer: Callable[[], Image], description: str
) -> None:
    layers = LayerList([layer()])
    layers[0].name = "photo"
    picker = make_picker(layers)
    assert rows(picker).item(0).toolTip() == f"photo\n{description}"


def test_the_tooltip_follows_replaced_data(
    qtbot: QtBot, make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    layers["top"].data = np.zeros((5, 4), np.float32)
    view = rows(picker)
    for row in (1, 0):
        qtbot.mouseMove(view.viewport(), view.visualItemRect(view.item(row)).center())
        view.itemEntered.emit(view.item(row))
    assert view.item(0).toolTip() == "top\n5 × 4, float32"


def test_a_removed_layer_is_not_kept_alive(make_picker: MakePicker, layers: LayerList) -> None:
    picker = make_picker(layers)
    picker.set_selected(layers)
    removed = weakref.ref(layers["middle"])
    layers.remove("middle")
    gc.collect()
    assert removed() is None
    assert len(picker.selected()) == 2


@pytest.mark.parametrize("how", ["close", "delete", "delete the parent"])
def test_a_widget_that_is_gone_leaves_no_connections(
    layers: LayerList, qtbot: QtBot, how: str
) -> None:
    before = [listeners(layer) for layer in layers]
    events = [len(layers.events[name].callbacks) for name in ("inserted", "removed", "reordered")]
    parent = QWidget()
    qtbot.addWidget(parent)
    picker = LayerPicker(layers, is_image, parent)
    assert [listeners(layer) for layer in layers] != before
    if how == "close":
        picker.close()
    else:
        (picker if how == "delete" else parent).deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert [listeners(layer) for layer in layers] == before
    after = [len(layers.events[name].callbacks) for name in ("inserted", "removed", "reordered")]
    assert after == events
    layers.append(image("late"))  # raises where a deleted widget still listens


def test_a_widget_that_is_forgotten_is_freed(layers: LayerList, qapp: object) -> None:
    picker = LayerPicker(layers, is_image)
    freed = weakref.ref(picker)
    del picker
    gc.collect()
    assert freed() is None
    layers.append(image("late"))


def test_a_closed_widget_catches_up_when_it_is_shown_again(
    make_picker: MakePicker, layers: LayerList
) -> None:
    picker = make_picker(layers)
    picker.set_selected([layers["top"], layers["bottom"]])
    picker.close()
    layers.remove("top")
    layers.append(image("new"))
    picker.show()
    assert names(picker) == ["new", "middle", "bottom"]
    assert picker.selected() == [layers["bottom"]]
