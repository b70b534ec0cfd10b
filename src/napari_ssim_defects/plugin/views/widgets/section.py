"""A titled part of the panel that can be folded away."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QSizePolicy, QVBoxLayout, QWidget

__all__ = ["Section"]


class Section(QWidget):
    """Shows or hides a widget below a button with a title.

    Unlike superqt's ``QCollapsible`` it has no fixed height while it is open, so its content may
    grow and sections can be nested, and its arrow is text, which follows the theme.

    Parameters
    ----------
    title
        Text of the button.
    content
        What it shows.
    expanded
        Whether it starts open.
    main
        Whether it is one of the panel's main parts, which stand out.
    """

    def __init__(
        self,
        title: str,
        content: QWidget,
        *,
        expanded: bool = False,
        main: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._title = title
        self._content = content
        self._expanded = expanded
        # Not checkable: the theme would paint every open section in its accent colour.
        self._button = QPushButton()
        self._button.setAccessibleName(title)
        self._button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._button.setStyleSheet(
            "text-align: left; font-weight: bold; padding: 5px;"
            if main
            else "text-align: left; background: transparent; padding: 3px 0px;"
        )
        self._button.clicked.connect(lambda: self.set_expanded(not self._expanded))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._button)
        layout.addWidget(content)
        self.set_expanded(expanded)

    def is_expanded(self) -> bool:
        """Whether it is open."""
        return self._expanded

    def set_expanded(self, expanded: bool) -> None:
        """Open or close it."""
        self._expanded = expanded
        self._content.setVisible(expanded)
        self._button.setText(f"{'▾' if expanded else '▸'}  {self._title}")
        self._button.setAccessibleDescription("expanded" if expanded else "collapsed")
