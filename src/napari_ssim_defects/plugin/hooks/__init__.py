"""What napari finds in the manifest, and the viewer of the demo."""
