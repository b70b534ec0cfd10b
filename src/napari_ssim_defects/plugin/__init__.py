"""The napari plugin: manifest targets, evented state, controller and Qt views."""
