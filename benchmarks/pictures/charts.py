"""Charts of figures that stand in benchmarks/README.md, and of one run's restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.pictures.drawing import FAINT, GRID, LINES, OTHERS, OURS, WIDTH, Drawing
from benchmarks.pictures.figures import Table, made, number, section, table

_NETWORKS = {
    "W1": "the tutorial's fully connected networks, MNIST 28x28",
    "W2": "DCGAN, 32x32",
}
_OURS_ALONE = ("again", "compiled")
"""Rows of distgan beside itself, which are no peers'."""
_NAMES = {"textbook": "textbook loop"}
_LINKS = {
    "100Mbit": "100 Mbit/s",
    "1Gbit": "1 Gbit/s",
    "10Gbit": "10 Gbit/s",
    "loopback": "no limit",
}
_CURVES = {
    "mnist-mlp, as it is": "fully connected",
    "mnist-mlp, compress": "fully connected, gradients as bfloat16",
    "mnist-dcgan, as it is": "DCGAN",
    "mnist-dcgan, own batch statistics": "DCGAN, batch statistics of each worker's own",
}


def peers() -> str:
    """Speed beside peers: ratios to distgan, which is 100%."""
    text = section("peers")
    groups = {what: _speeds(text, load) for load, what in _NETWORKS.items()}
    rows = sum(map(len, groups.values()))
    picture = Drawing(
        122 + 27 * rows + 42 * len(groups),
        "Training speed, distgan = 100%",
        "Same networks, batches and update rule, float32; images/s on two CPU cores",
    )
    full = max(share for speeds in groups.values() for share, _ in speeds.values())
    left, room, y = 150.0, WIDTH - 150 - 190.0, 72.0
    for what, speeds in groups.items():
        y += 20
        picture.text(20, y, what, bold=True)
        y += 10
        for name, (share, images) in speeds.items():
            ours = name == "distgan"
            picture.text(left - 10, y + 17, _NAMES.get(name, name), anchor="end", bold=ours)
            picture.box(left, y + 3, room * share / full, 18, OURS if ours else OTHERS)
            end = left + room * share / full + 8
            picture.text(end, y + 17, f"{share:.0%}", bold=ours)
            picture.text(WIDTH - 20, y + 17, images, 13, FAINT, "end")
            y += 27
        y += 12
    note = "* These make new fakes for each update; distgan, beside them, does the same."
    picture.text(20, y + 14, note, 13)
    picture.text(20, y + 34, f"Measured {made(text)}", 13, FAINT)
    return picture.svg()


def _speeds(text: str, load: str) -> dict[str, tuple[float, str]]:
    """Share of distgan's speed, and images/s, of each side of a workload, fastest first."""
    found: dict[str, tuple[float, str]] = {}
    for kind, star in (("shared", ""), ("fresh", " *")):
        rows = table(text, f"**{load}, {kind}**")
        ours = next(iter(rows))
        for name, row in rows.items():
            if any(word in name for word in _OURS_ALONE) or (star and "fresh fakes" in name):
                continue
            share = 1.0 if name == ours else number(_ratio(row))
            found[name + star] = share, f"{row['images/s']} images/s"
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def _ratio(row: Mapping[str, str]) -> str:
    return next(cell for heading, cell in row.items() if heading.startswith("ratio"))


def scaling() -> str:
    """Two ranks over links of several speeds, measured and expected."""
    text = section("scale")
    rows = table(text)
    picture = Drawing(
        474,
        "Two workers on links of different speed",
        "Speed as a share of twice one process's; the batch is divided between the two",
    )
    left, right, top, bottom = 66.0, WIDTH - 30.0, 78.0, 290.0
    at = {link: left + 40 + n * (right - left - 80) / 3 for n, link in enumerate(_LINKS)}
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - (bottom - top) * share
        picture.line([(left, y), (right, y)])
        picture.text(left - 8, y + 5, f"{share:.0%}", 13, FAINT, "end")
    for link, words in _LINKS.items():
        picture.text(at[link], bottom + 22, words, anchor="middle")
    for number_, (curve, words) in enumerate(_CURVES.items()):
        colour = LINES[number_]
        measured, expected = (_efficiencies(rows, curve, side) for side in ("ranks", "the model"))
        for shares, hollow in ((expected, True), (measured, False)):
            points = [(at[k], bottom - (bottom - top) * v) for k, v in shares.items()]
            picture.line(points, colour, 1.5 if hollow else 2.5, "3 4" if hollow else "")
            for x, y in points:
                picture.dot(x, y, colour, hollow)
        y = bottom + 52 + 22 * number_
        picture.line([(left, y - 5), (left + 28, y - 5)], colour, 3)
        picture.text(left + 38, y, words)
    for line, words in enumerate(
        (
            "Discs: measured, on links that were emulated on one machine. Rings: the model",
            f"of `distgan plan`. {made(text)}",
        )
    ):
        picture.text(20, bottom + 146 + 18 * line, words, 13, FAINT)
    return picture.svg()


def _efficiencies(rows: Table, curve: str, side: str) -> dict[str, float]:
    """Images/s of a side over twice those of one process, by link."""
    found = {}
    for link in _LINKS:
        row = rows[f"{curve}, {link}, strong"]
        found[link] = number(row[side]) / (2 * number(row["one process"]))
    return found


def restart(
    points: Sequence[tuple[float, int]], killed: tuple[float, int], said: Sequence[str], total: int
) -> str:
    """Images seen over the seconds of a run with a worker that was killed.

    Args:
        points: seconds since the start and images seen, as they were read from the run.
        killed: when the worker was killed, and the images seen then.
        said: the run's own lines on it.
        total: images of the whole run.
    """
    picture = Drawing(
        430,
        "A worker is killed, and the run goes on",
        "distgan train --workers 2, one worker ended by SIGKILL; images seen over seconds",
    )
    left, right, top, bottom = 80.0, WIDTH - 30.0, 78.0, 320.0
    seconds = points[-1][0]
    step = next(s for s in (5, 10, 20, 30, 60, 120, 300) if seconds / s <= 8)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        moment, images = point
        return (
            left + (right - left) * moment / seconds,
            bottom - (bottom - top) * images / total,
        )

    for part in range(5):
        images = total * part // 4
        _, y = place((0, images))
        picture.line([(left, y), (right, y)])
        picture.text(left - 8, y + 5, f"{images / 1000:.0f} k", 13, FAINT, "end")
    for moment in range(0, int(seconds) + 1, step):
        x, _ = place((moment, 0))
        picture.line([(x, bottom), (x, bottom + 5)], FAINT)
        picture.text(x, bottom + 22, f"{moment} s", 13, FAINT, "middle")
    x, y = place(killed)
    picture.line([(x, top), (x, bottom)], LINES[1], 1.5, "4 4")
    picture.line([place(point) for point in points], OURS, 3)
    picture.dot(x, y, LINES[1])
    late = x > (left + right) / 2
    anchor, aside = ("end", -10) if late else ("start", 10)
    picture.text(x + aside, top + 14, "SIGKILL", 15, LINES[1], anchor, bold=True)
    for line, words in enumerate(said):
        picture.text(20, bottom + 56 + 22 * line, words, 13)
    picture.line([(20, bottom + 36), (WIDTH - 20, bottom + 36)], GRID)
    return picture.svg()
