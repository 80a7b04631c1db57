"""The terminal program of `meshctl top`: frames drawn with Textual, the extra `tui`.

Invariant: it asks in a thread and draws what came; a daemon that goes away is said, and asked again.
Neighbours: `top` makes the frames and is the only importer.
"""

from collections.abc import Callable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Label, Static

from cli.exits import Refusal
from cli.top import Frame, Panel
from meshd.observe.text import shown

PANELS = ("peers", "agents", "tasks")


class Screen(App[None]):
    """One window on a mesh, renewed every so often."""

    TITLE = "meshd"
    CSS = """
    #head { padding: 0 1; height: auto; }
    Label { padding: 1 1 0 1; text-style: bold; }
    DataTable { height: auto; max-height: 40%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("r", "renew", "Now"),
        Binding("ctrl+c", "quit", show=False, priority=True),  # as everywhere on a terminal
    ]

    def __init__(self, look: Callable[[], Frame], every_s: float) -> None:
        super().__init__()
        self._look = look
        self._every_s = every_s

    def compose(self) -> ComposeResult:
        """Called by Textual: what the window is made of."""
        yield Static("asking …", id="head", markup=False)
        with VerticalScroll():
            for title in PANELS:
                yield Label(title)
                yield DataTable(id=title, cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Called by Textual: begin to look."""
        self.action_renew()
        self.set_interval(self._every_s, self.action_renew)

    def action_renew(self) -> None:
        """Look now; a look under way is let go."""
        self.run_worker(self._renew, thread=True, exclusive=True)

    def _renew(self) -> None:
        try:
            frame = self._look()
        except Refusal as refusal:
            text = f"error[{refusal.body['code']}]: {shown(refusal.body['message'])}"
            self.call_from_thread(self._head, text)
        else:
            self.call_from_thread(self._draw, frame)

    def _head(self, text: str) -> None:
        self.query_one("#head", Static).update(text)

    def _draw(self, frame: Frame) -> None:
        self._head("\n".join(frame.lines))
        for panel in frame.panels:
            self._fill(panel)

    def _fill(self, panel: Panel) -> None:
        table: DataTable[str] = self.query_one(f"#{panel.title}", DataTable)
        row = table.cursor_row
        table.clear(columns=True)
        table.add_columns(*panel.headings)
        table.add_rows(panel.rows)
        if panel.rows:
            table.move_cursor(row=min(row, len(panel.rows) - 1))
