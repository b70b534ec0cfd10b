"""One image at a time, with what was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.layers import Layer

from ..layers import (
    created_labels,
    find_derived,
    image_key,
    is_heatmap,
    is_inspectable,
    is_mask,
    set_visible,
)
from ..layers.ground_truth import images_of_truth
from ..state.panel_state import PanelState
from .camera import bring_into_view

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["KEYS", "OneImage"]

KEYS = {"previous": ",", "next": ".", "plain": "H"}


class OneImage:
    """Shows one image with its heatmap and its outlines, and hides others in the same place.

    Heatmaps add up and outlines do not tell whose they are, so what lies over an image must be its
    own. Ground truth belongs to the image whose name it has. Whichever is chosen, in the panel, in
    the layer list or by keys, the others follow. Images beside each other stay, and so does
    everything in napari's grid.
    """

    def __init__(self, viewer: ViewerModel, state: PanelState) -> None:
        self._viewer = viewer
        self._state = state
        self._hidden: WeakKeyDictionary[Layer, bool] = WeakKeyDictionary()  # and if seen before
        self._covering: list[Layer] = []  # while the plain image is shown
        self._inserted: Layer | None = None
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        viewer.bind_key(KEYS["previous"], lambda _: self.step(-1), overwrite=True)
        viewer.bind_key(KEYS["next"], lambda _: self.step(1), overwrite=True)
        viewer.bind_key(KEYS["plain"], self._while_held, overwrite=True)

    def close(self) -> None:
        """Disconnect from the viewer and the state."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        for key in KEYS.values():
            self._viewer.bind_key(key, None)

    def choose(self, image: Layer) -> None:
        """Show an image with its heatmap, if it has one."""
        key = str(image.unique_id)
        heatmap = find_derived(self._viewer.layers, "residual", key)
        if self._state.heatmap is not heatmap:
            self._state.heatmap = heatmap  # and `show` is called
        if heatmap is None or self._state.image is not image:
            self._show(key)

    def show(self, heatmap: Layer) -> None:
        """Show the image of a heatmap, and both of them only."""
        self._show(image_key(heatmap))
        set_visible(heatmap, True)

    def step(self, by: int) -> None:
        """Step by this number of images, cyclically: inspected ones, or all if none is."""
        made = {image_key(layer) for layer in self._viewer.layers if is_heatmap(layer)}
        images = [layer for layer in self._viewer.layers if is_inspectable(layer)]
        images = [layer for layer in images if str(layer.unique_id) in made] or images
        if not images:
            return
        here = self._state.image
        number = images.index(here) + by if here in images else min(by, 0)
        self.choose(images[number % len(images)])

    def set_plain(self, plain: bool) -> None:
        """Hide all that covers images, or show it again."""
        if plain and not self._covering:
            self._covering = [
                layer
                for layer in self._viewer.layers
                if layer.visible and not is_inspectable(layer)
            ]
        for layer in self._covering:
            set_visible(layer, not plain)
        if not plain:
            self._covering = []

    def _while_held(self, _: Any) -> Iterator[None]:
        self.set_plain(True)
        yield
        self.set_plain(False)

    def _show(self, key: str | None) -> None:
        layers, state = self._viewer.layers, self._state
        keys = self._keys()
        mine = [layer for layer in layers if key is not None and keys[layer] == key]
        if not mine:
            return
        # In napari's grid, layers over the same place are seen side by side.
        grid = getattr(self._viewer, "canvas", self._viewer).grid.enabled  # 0.9, 0.7
        if not grid:
            for layer in layers:
                if keys[layer] not in (None, key) and any(_overlap(layer, each) for each in mine):
                    self._hidden.setdefault(layer, layer.visible)
                    set_visible(layer, False)
                elif is_mask(layer) and any(_overlap(layer, each) for each in mine):
                    set_visible(layer, False)  # it was opened as an opaque image
        for layer in mine:
            seen = self._hidden.pop(layer, layer.visible)
            set_visible(layer, seen or is_inspectable(layer))
        state.image = next((layer for layer in mine if is_inspectable(layer)), None)
        if not grid:
            bring_into_view(self._viewer, state.image or mine[0])
        heatmap = next((layer for layer in mine if is_heatmap(layer)), None)
        labels = None if heatmap is None else created_labels(heatmap, layers)
        active = layers.selection.active
        if active is not None and keys.get(active) not in (None, key):
            layers.selection.active = heatmap or state.image
        if labels is not None:
            state.labels_layer = labels

    def _keys(self) -> dict[Layer, str | None]:
        """Return the id of the image that each layer is, was made of or is the truth of, if any."""
        layers = self._viewer.layers
        keys = {layer: image_key(layer) for layer in layers}
        for truth, image in images_of_truth(layers).items():
            if not is_mask(truth):  # an opaque image, which is not to be seen with any
                keys[truth] = image_key(image)
        return keys

    def _on_active(self, event: Any) -> None:
        layer = event.value
        # What is added lies over all others, and whoever adds it says what is to be shown. napari
        # tells of it twice.
        if layer is None or layer is self._inserted:
            return
        self._inserted = None
        key = self._keys().get(layer)
        images = [each for each in self._viewer.layers if str(each.unique_id) == key]
        if images:
            if images[0] is not self._state.image or (
                is_heatmap(layer) and self._state.heatmap is not layer
            ):
                self.choose(images[0])
        elif is_heatmap(layer):  # its image was removed
            self._state.heatmap = layer

    def _on_inserted(self, event: Any) -> None:
        self._inserted = event.value

    def _on_removed(self, event: Any) -> None:
        if event.value is self._state.image:
            self._state.image = None
        if event.value is self._inserted:
            self._inserted = None
        self._covering = [layer for layer in self._covering if layer is not event.value]


def _overlap(first: Layer, second: Layer) -> bool:
    low, high = first.extent.world[:, -2:]
    other_low, other_high = second.extent.world[:, -2:]
    return bool((other_low < high).all() and (low < other_high).all())
