"""A flame graph as one HTML file: width is time, and what is above was called by what is below."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

from rllib.profiling.sampler import ProcessSamples, Seen

ROW, WIDTH = 17, 1200
LEAST = 0.001
"""Share of a thread's time below which a function is left out."""

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 2em auto; color: #222;
  background: #fff; padding: 0 1em }
svg { width: 100%; height: auto; display: block } rect { stroke: #fff; stroke-width: .5 }
text { font: 11px ui-monospace, monospace; pointer-events: none } g.cell { cursor: pointer }
h2 { font-size: 1.1em; margin: 1.5em 0 .3em } h3 { font-size: 1em; font-weight: normal; margin: 0 }
"""
_SCRIPT = """
for (const svg of document.querySelectorAll("svg")) {
  const cells = [...svg.querySelectorAll("g.cell")];
  const show = (x0, span) => cells.forEach(g => {
    const x = (+g.dataset.x - x0) / span, w = +g.dataset.w / span;
    const inside = x + w > 1e-9 && x < 1 - 1e-9;
    g.style.display = inside ? "" : "none";
    const left = Math.max(0, x), right = Math.min(1, x + w), rect = g.children[0];
    rect.setAttribute("x", left * WIDTH); rect.setAttribute("width", (right - left) * WIDTH);
    const text = g.children[1], room = Math.floor((right - left) * WIDTH / 6.7) - 1;
    text.setAttribute("x", left * WIDTH + 3);
    text.textContent = room > 2 ? g.dataset.name.slice(0, room) : "";
  });
  svg.addEventListener("click", event => {
    const g = event.target.closest("g.cell");
    g ? show(+g.dataset.x, +g.dataset.w) : show(0, 1);
  });
  show(0, 1);
}
"""


@dataclass
class Node:
    """A function in its place on the stack.

    Attributes:
        looks: how often it was seen there, functions that it called included.
        children: those, by name.
    """

    looks: int = 0
    children: dict[str, "Node"] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Of the functions that it called."""
        return max((1 + child.depth for child in self.children.values()), default=0)


def tree(seen: Iterable[Seen]) -> Node:
    """All stacks of a thread, put together."""
    root = Node()
    for each in seen:
        root.looks += each.looks
        node = root
        for name in each.stack:
            node = node.children.setdefault(name, Node())
            node.looks += each.looks
    return root


def page(processes: Iterable[ProcessSamples], seconds: float) -> str:
    """The file; it needs no network."""
    body = "\n".join(line for process in processes for line in _process(process))
    head = f'<meta charset="utf-8"><title>rllib profile</title><style>{_STYLE}</style>'
    words = "a click shows a function and what it called alone; a click beside it shows all"
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n'
        f"<h1>Where {seconds:.0f} seconds went</h1><p>{words}.</p>\n{body}\n"
        f"<script>const WIDTH = {WIDTH};{_SCRIPT}</script></body></html>\n"
    )


def _process(process: ProcessSamples) -> Iterator[str]:
    yield f"<h2>{escape(process.role)} (process {process.pid})</h2>"
    yield from (line for thread in _busiest(process.threads) for line in thread)


def _busiest(threads: Mapping[str, list[Seen]]) -> Iterator[Iterator[str]]:
    trees = sorted(((tree(seen), name) for name, seen in threads.items()), key=_looks, reverse=True)
    return (_thread(name, root) for root, name in trees)


def _looks(pair: tuple[Node, str]) -> int:
    return pair[0].looks


def _thread(name: str, root: Node) -> Iterator[str]:
    height = (root.depth + 1) * ROW
    yield f"<h3>{escape(name)}: seen {root.looks:,} times</h3>"
    yield f'<svg viewBox="0 0 {WIDTH} {height}">'
    yield f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    yield from _cells(root, 0.0, root.looks, height - ROW)
    yield "</svg>"


def _cells(node: Node, x: float, total: int, y: int) -> Iterator[str]:
    """What a function called, each beside the other, and what these called above them."""
    for name, child in node.children.items():
        width = child.looks / total
        if width >= LEAST:
            yield _cell(name, x, width, y)
            yield from _cells(child, x, total, y - ROW)
        x += width


def _cell(name: str, x: float, width: float, y: int) -> str:
    said = escape(name)
    return (
        f'<g class="cell" data-x="{x:.6f}" data-w="{width:.6f}" data-name="{said}">'
        f'<rect x="{x * WIDTH:.1f}" y="{y}" width="{width * WIDTH:.1f}" height="{ROW - 1}" '
        f'fill="{_colour(name)}"/><text x="0" y="{y + 12}"></text>'
        f"<title>{said}: {width:.1%}</title></g>"
    )


def _colour(name: str) -> str:
    """Warm, and the same for all functions of a file."""
    shade = crc32(name.rpartition("(")[2].encode())
    return f"hsl({shade % 50} {65 + shade // 50 % 25}% {68 + shade // 1250 % 12}%)"
