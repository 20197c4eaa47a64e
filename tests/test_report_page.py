"""The report in a browser: drawn, quiet, alone, and as wide as the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from distgan.report import write_report

from .browser import CHROMIUM, Browser
from .written_runs import write_evaluations, write_run, write_translations

pytest.importorskip("plotly", reason="the extra report is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open pages with"),
]

SIZES = {"laptop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The report of one run, of three and of one that has only begun, by number of runs."""
    folder = tmp_path_factory.mktemp("runs")
    long = "a-run-with-a-name-that-is-much-too-long-for-the-screen-of-any-phone"
    losses = {"one": "non-saturating", "two": "hinge", long: "wasserstein"}
    runs = [write_run(folder / n, loss=losses[n], seed=s) for s, n in enumerate(losses)]
    for run, value in zip(runs, (20.0, 30.0, 40.0), strict=True):
        write_evaluations(run, "aaaa1111", [3 * value, 2 * value, value])
    write_evaluations(runs[0], "bbbb2222", [7.0])
    begun = write_run(folder / "begun", 0, 0)
    return {
        0: Path(write_report([str(begun)])),
        1: Path(write_report([str(runs[0])])),
        3: Path(write_report([str(run) for run in runs], str(folder / "three.html"))),
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_page_is_quiet_alone_and_fits(
    browser: Browser, pages: dict[int, Path], number: int, size: str, dark: bool
) -> None:
    browser.errors.clear()
    browser.requests.clear()
    browser.show(*SIZES[size], dark)
    browser.open(pages[number])
    assert browser.errors == []
    assert browser.requests == [pages[number].as_uri()]
    assert browser.value("document.documentElement.scrollWidth") == SIZES[size][0]
    wanted = browser.value("document.querySelectorAll('[data-chart]').length")
    assert (wanted > 0) == (number > 0)
    drawn = "[...document.querySelectorAll('[data-chart]')].filter(e => {{ {} }}).length"
    lines = "return [...e.querySelectorAll('.js-line')].some(p => p.getBBox().width > 100)"
    assert browser.value(drawn.format(lines)) == wanted
    inside = "return e.querySelector('svg').getBoundingClientRect().right <= innerWidth"
    assert browser.value(drawn.format(inside)) == wanted
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 384) == dark


TICKS = """[...document.querySelectorAll('[data-chart]')].flatMap(chart => {
    const out = [], edge = chart.closest('figure').getBoundingClientRect();
    for (const axis of ['x', 'y']) {
        const ticks = [...chart.querySelectorAll(`.${axis}tick text`)];
        const said = ticks.map(tick => tick.textContent);
        if (new Set(said).size < said.length) out.push([chart.dataset.chart, 'twice', ...said]);
        for (const tick of ticks) {
            const box = tick.getBoundingClientRect();
            if (box.left < edge.left || box.right > edge.right || box.bottom > edge.bottom)
                out.push([chart.dataset.chart, 'cut', tick.textContent]);
        }
        if (!ticks.length) out.push([chart.dataset.chart, 'none', axis]);
    }
    return out;
})"""


@pytest.mark.parametrize("size", SIZES)
def test_no_label_of_an_axis_is_cut_or_there_twice(
    browser: Browser, tmp_path: Path, size: str
) -> None:
    folder = write_run(tmp_path / "run", health=False)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        line |= {"images": 7_654_321 + 40 * number, "d_loss": 123_456 + number, "g_loss": 123_460.5}
        line |= {"data_wait": 0.0004 * number / 30, "d_accuracy": 0.995 + number / 1e4}
        line |= {"d_grad_norm": 2e-7 * (1 + number), "images_per_second": 1234567.0 + number / 9}
        line |= {"diversity": 0.6 + number * 1e-6}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_evaluations(folder, "aaaa1111", [250_000.0, 249_990.0])
    browser.show(*SIZES[size])
    browser.open(Path(write_report([str(folder)])))
    assert browser.value(TICKS) == []


def test_the_newest_generator_and_its_metric_come_first(browser: Browser, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", conditional=True)
    write_evaluations(folder, "aaaa1111", [60.0, 40.0])
    browser.show(*SIZES["laptop"])
    browser.open(Path(write_report([str(folder)])))
    image = "document.querySelector('.final img').getBoundingClientRect()"
    head = "document.querySelector('.headline').getBoundingClientRect()"
    assert browser.value(f"{image}.bottom") < 900
    assert browser.value(f"{head}.bottom") < 300
    assert browser.value("document.querySelector('.headline b').textContent") == "40"
    rows = "[...document.querySelectorAll('.final .rows span')].map(e => e.textContent)"
    assert browser.value(rows) == [str(digit) for digit in range(10)]
    # A name stands beside the middle of its row.
    for place in (0, 9):
        name = f"document.querySelectorAll('.final .rows span')[{place}].getBoundingClientRect()"
        middle = browser.value(f"{name}.top + {name}.height / 2 - {image}.top")
        height = browser.value(f"{image}.height")
        assert middle / height == pytest.approx((place + 0.5) / 10, abs=0.02)


SHOWN = """[...document.querySelectorAll('.moving')].map(
    sheet => [...sheet.querySelectorAll('img:not([hidden])')].map(img => img.dataset.images))"""
PIXEL = """(() => {
    const img = document.querySelector('.moving img:not([hidden])');
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 1;
    canvas.getContext('2d').drawImage(img, 0, 0);
    return canvas.getContext('2d').getImageData(0, 0, 1, 1).data[0];
})()"""


def test_the_slider_changes_the_picture(browser: Browser, pages: dict[int, Path]) -> None:
    browser.show(*SIZES["laptop"])
    browser.open(pages[3])
    assert browser.value(SHOWN) == [["30000"]] * 3
    last = browser.value(PIXEL)
    move = "document.getElementById('moment').value = {}; document.getElementById('moment')"
    browser.value(move.format(1) + ".dispatchEvent(new Event('input'))")
    assert browser.value(SHOWN) == [["10000"]] * 3
    assert browser.value("document.getElementById('moment-said').textContent") == "10,000 images"
    browser.wait(lambda: browser.value("document.querySelector('.moving img').complete"))
    # The grids have greys 40 apart; WebP may change them a little.
    assert (browser.value(PIXEL), last) == pytest.approx((80, 160), abs=6)


def test_playing_ends_at_the_last_picture(browser: Browser, pages: dict[int, Path]) -> None:
    browser.open(pages[1])
    browser.value("document.getElementById('play').click()")
    assert browser.value(SHOWN) == [["0"]]
    browser.wait(lambda: browser.value("document.getElementById('play').textContent") == "Play")
    assert browser.value(SHOWN) == [["30000"]]


def test_the_button_changes_colours_and_charts(browser: Browser, pages: dict[int, Path]) -> None:
    browser.show(*SIZES["laptop"], dark=False)
    browser.open(pages[1])
    line = "document.querySelector('.js-line').style.stroke"
    light = browser.value(line)
    browser.value("document.getElementById('theme').click()")
    assert browser.value("document.documentElement.dataset.theme") == "dark"
    browser.wait(lambda: browser.value(line) != light)


def test_the_legend_hides_a_curve(browser: Browser, pages: dict[int, Path]) -> None:
    browser.open(pages[1])
    browser.value("document.querySelector('.legend button').click()")
    count = "document.querySelector('[data-chart=losses]').querySelectorAll('.js-line').length"
    browser.wait(lambda: browser.value(count) == 1)


def test_a_grid_opens_large(browser: Browser, pages: dict[int, Path]) -> None:
    browser.show(*SIZES["laptop"])
    browser.open(pages[1])
    browser.value("document.querySelector('.final .pictures').click()")
    assert browser.value("document.querySelector('#large img').clientWidth") > 700
    browser.value("document.getElementById('large').click()")
    assert browser.value("document.getElementById('large').open") is False


def test_what_a_run_smuggles_in_does_not_run(browser: Browser, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", data='<img src=x onerror="document.title=1">')
    browser.show(*SIZES["laptop"])
    browser.open(Path(write_report([str(folder)])))
    assert browser.value("document.title") == "run - distgan"
    # Were it to get into the page all the same, the policy stops it.
    browser.value("document.body.insertAdjacentHTML('beforeend', '<i onclick=document.title=1>')")
    browser.value("document.body.lastElementChild.click()")
    assert browser.value("document.title") == "run - distgan"


GREYS = """[...document.querySelectorAll('.tile')].map(tile => [...tile.children].map(canvas =>
    canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0]))"""


@pytest.mark.parametrize("size", SIZES)
def test_a_line_parts_what_went_in_from_what_came_out(
    browser: Browser, tmp_path: Path, size: str
) -> None:
    page = Path(write_report([str(write_translations(tmp_path / "run"))]))
    browser.errors.clear()
    browser.show(*SIZES[size])
    browser.open(page)
    browser.wait(lambda: browser.value("!document.querySelector('.compare').hidden"))

    def shows(output: int, left: int) -> bool:
        # Pictures are compressed with losses.
        found = browser.value(GREYS)
        near = [abs(a - output) < 9 and abs(b - left) < 9 for a, b in found]
        return len(near) == 10 and all(near)

    # The output below, the input above it.
    assert shows(160, 20), browser.value(GREYS)
    shown = "getComputedStyle(document.querySelector('.tile .left')).clipPath"
    assert browser.value(shown) == "inset(0px 50% 0px 0px)"
    move = "e => {{ e.value = {}; e.dispatchEvent(new Event('input')) }}"
    browser.value(f"({move.format(80)})(document.querySelector('.compare input'))")
    assert browser.value(shown) == "inset(0px 20% 0px 0px)"
    said = "document.querySelector('.compare input').getAttribute('aria-valuetext')"
    assert browser.value(said) == "80% input"
    browser.value("document.querySelectorAll('.ends button')[1].click()")
    assert shows(160, 240), browser.value(GREYS)
    assert browser.value(said) == "80% target"
    # It goes with the moment of the samples.
    browser.value(f"({move.format(0)})(document.getElementById('moment'))")
    browser.wait(lambda: shows(80, 240))
    assert browser.value("document.querySelector('.compare .moment').textContent") == (
        "after 0 images"
    )
    assert browser.value("document.documentElement.scrollWidth") == SIZES[size][0]
    assert browser.errors == []
