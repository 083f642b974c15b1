"""A directed graph as inline SVG: columns from left to right, after Sugiyama's method.

Every node stands one column to the right of the last one that leads to it.  A line that crosses
several columns runs through a waypoint in each, so that it goes between the boxes and not behind
them.  Within a column the order follows the neighbours' (the barycentre heuristic), and the
heights are the nearest to the neighbours' that leave no overlap.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from audit_parts.wording import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SWEEPS = 12
CHARACTER = 7.9  # one character in 12 px of DejaVu Sans Bold, the widest that a system may use
WIDEST = 30  # characters in a box
HEIGHT, WAYPOINT, GAP, BETWEEN, MARGIN = 34.0, 4.0, 10.0, 64.0, 12.0


class Node(NamedTuple):
    """A box: what stands in it, how it is coloured, and what pointing at it tells."""

    key: str
    title: str
    subtitle: str
    tone: str
    tip: str = ""


class Link(NamedTuple):
    """A line between two boxes.  One that is `loose` gives way when links go round in a circle."""

    source: str
    target: str
    tone: str
    tip: str = ""
    loose: bool = False


class Spot(NamedTuple):
    """Where a box or a waypoint is: its column's left edge, its middle, and its width."""

    x: float
    y: float
    width: float


def draw(nodes: Sequence[Node], links: Iterable[Link], title: str) -> str:
    """Return the graph as one `<svg>` element; nothing in it reaches outside of it."""
    boxes = {node.key: node for node in nodes}
    links = [link for link in links if link.source in boxes and link.target in boxes]
    columns, routes = _columns(boxes, links)
    _untangle(columns, routes)
    spots = _place(columns, routes, boxes)
    right = max((spot.x + spot.width for spot in spots.values()), default=0) + MARGIN
    bottom = max((spot.y for spot in spots.values()), default=0) + HEIGHT / 2 + MARGIN
    leaving: dict[str, list[str]] = defaultdict(list)
    for link, route in zip(links, routes, strict=True):
        leaving[link.source].append(_line(link, [spots[key] for key in route]))
    drawn = "".join(_box(boxes[key], spots[key], leaving[key]) for key in boxes)
    return (
        f'<svg class="graph" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'width="{right:.0f}" height="{bottom:.0f}" viewBox="0 0 {right:.0f} {bottom:.0f}">'
        f"<title>{escape(plain(title))}</title>{drawn}</svg>"
    )


def _columns(
    boxes: Iterable[str], links: Sequence[Link]
) -> tuple[list[list[str]], list[list[str]]]:
    """Return the keys of each column, and each link's route through the columns."""
    level = _levels(boxes, links)
    columns: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for key, number in level.items():
        columns[number].append(key)
    routes = []
    for number, link in enumerate(links):
        first, last = level[link.source], level[link.target]
        between = range(first + 1, last) if first < last else range(first - 1, last, -1)
        waypoints = [f"\0{number}/{column}" for column in between]  # no box has such a key
        for column, key in zip(between, waypoints, strict=True):
            columns[column].append(key)
        routes.append([link.source, *waypoints, link.target])
    return columns, routes


def _levels(boxes: Iterable[str], links: Sequence[Link]) -> dict[str, int]:
    """Return each box's column: the longest way to it.

    The loose links of a circle do not count; what is a circle without them shares a column.
    """
    import networkx as nx  # noqa: PLC0415 - a third of a second, and only a page needs it

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(boxes)
    graph.add_edges_from((link.source, link.target) for link in links)
    circle = nx.condensation(graph).graph["mapping"]
    graph.remove_edges_from(
        [
            (link.source, link.target)
            for link in links
            if link.loose and circle[link.source] == circle[link.target]
        ]
    )
    circles = nx.condensation(graph)
    level: dict[int, int] = {}
    for number in nx.topological_sort(circles):
        level[number] = 1 + max((level[up] for up in circles.predecessors(number)), default=-1)
    return {key: level[circles.graph["mapping"][key]] for key in graph}


def _neighbours(routes: Iterable[Sequence[str]]) -> tuple[dict[str, list[str]], ...]:
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for route in routes:
        for left, right in pairwise(route):
            after[left].append(right)
            before[right].append(left)
    return before, after


def _untangle(columns: list[list[str]], routes: Iterable[Sequence[str]]) -> None:
    """Order every column by the mean place of its neighbours in the one before, then after."""
    before, after = _neighbours(routes)
    place = {key: float(at) for column in columns for at, key in enumerate(column)}
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        neighbours = before if forth else after
        for column in columns if forth else reversed(columns):
            wish = {key: _mean(place, neighbours[key], place[key]) for key in column}
            column.sort(key=wish.__getitem__)
            place.update((key, float(at)) for at, key in enumerate(column))


def _mean(place: dict[str, float], near: Sequence[str], otherwise: float) -> float:
    return sum(place[key] for key in near) / len(near) if near else otherwise


def _place(
    columns: Sequence[Sequence[str]],
    routes: Iterable[Sequence[str]],
    boxes: dict[str, Node],
) -> dict[str, Spot]:
    before, after = _neighbours(routes)
    height: dict[str, float] = {}
    for column in columns:
        height.update(zip(column, _spread(column, [0.0] * len(column), boxes), strict=True))
    for sweep in range(SWEEPS):
        neighbours = before if sweep % 2 else after
        for column in columns if sweep % 2 else reversed(columns):
            wishes = [_mean(height, neighbours[key], height[key]) for key in column]
            height.update(zip(column, _spread(column, wishes, boxes), strict=True))
    top = min(height.values(), default=0.0) - HEIGHT / 2 - MARGIN
    spots: dict[str, Spot] = {}
    x = MARGIN
    for column in columns:
        width = max(_width(boxes[key]) if key in boxes else 0.0 for key in column)
        spots.update((key, Spot(x, height[key] - top, width)) for key in column)
        x += width + BETWEEN
    return spots


def _width(node: Node) -> float:
    return CHARACTER * min(max(len(node.title), len(node.subtitle) * 0.82), WIDEST) + 24


def _spread(column: Sequence[str], wishes: Sequence[float], boxes: dict[str, Node]) -> list[float]:
    """Return the heights nearest to the wishes, in the least squares, that keep the distances.

    With each wish lowered by the room that those above it need, keeping the distances means
    never to fall: pooling adjacent violators then gives the best heights in one pass.
    """
    needs = [0.0]
    for upper, lower in pairwise(column):
        sizes = sum(HEIGHT if key in boxes else WAYPOINT for key in (upper, lower))
        needs.append(needs[-1] + sizes / 2 + GAP)
    pools: list[tuple[float, int]] = []  # the sum of the wishes in each, and how many they are
    for wish, need in zip(wishes, needs, strict=False):
        total, number = wish - need, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / number:
            before, others = pools.pop()
            total, number = total + before, number + others
        pools.append((total, number))
    level = [total / number for total, number in pools for _ in range(number)]
    return [height + need for height, need in zip(level, needs, strict=False)]


def _line(link: Link, spots: Sequence[Spot]) -> str:
    """Return a link as a smooth path that is level wherever it meets a column."""
    start, end = spots[0], spots[-1]
    backward = end.x <= start.x
    x, y = start.x + (0 if backward and end.x < start.x else start.width), start.y
    path = [f"M{x:.1f} {y:.1f}"]
    if start.x == end.x:  # within a circle: round the outside
        bend = x + BETWEEN / 2
        path.append(f"C{bend:.1f} {y:.1f} {bend:.1f} {end.y:.1f} {x:.1f} {end.y:.1f}")
    else:
        for spot in spots[1:]:
            near = spot.x + spot.width if backward else spot.x
            middle = (x + near) / 2
            path.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {spot.y:.1f} {near:.1f} {spot.y:.1f}")
            x, y = spot.x if backward else spot.x + spot.width, spot.y
            if spot is not end:
                path.append(f"H{x:.1f}")
    tip = f"<title>{escape(plain(link.tip))}</title>" if link.tip else ""
    return f'<path class="link {link.tone}" d="{"".join(path)}">{tip}</path>'


def _box(node: Node, spot: Spot, links: Iterable[str]) -> str:
    """Return a box with the links that leave it, so that pointing at it can show them."""
    title, subtitle = (escape(plain(text, WIDEST)) for text in (node.title, node.subtitle))
    top = spot.y - HEIGHT / 2
    tip = f"<title>{escape(plain(node.tip, 400))}</title>" if node.tip else ""
    second = f'<text class="sub" x="{spot.x + 13:.1f}" y="{spot.y + 11:.1f}">{subtitle}</text>'
    return (
        f'<g class="node {node.tone}">{tip}{"".join(links)}'
        f'<rect x="{spot.x:.1f}" y="{top:.1f}" width="{spot.width:.1f}" height="{HEIGHT}" rx="6"/>'
        f'<rect class="mark" x="{spot.x:.1f}" y="{top:.1f}" width="4" height="{HEIGHT}" rx="2"/>'
        f'<text x="{spot.x + 13:.1f}" y="{spot.y + (-3 if subtitle else 4):.1f}">{title}</text>'
        f"{second if subtitle else ''}</g>"
    )
