"""The report of a run that makes clips: they play in the page, or stand still if that is asked."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distgan.errors import UserError
from distgan.report import pictures, reading, write_report
from distgan.runs import animation, samples
from distgan.storage.storage import Storage

from . import toy_clips
from .browser import CHROMIUM, Browser
from .toy_clips import data_of, write_run

SIZES = {"laptop": (1280, 900), "phone": (390, 844)}
UNREDUCED = [{"name": "prefers-reduced-motion", "value": "no-preference"}]
REDUCED = [{"name": "prefers-reduced-motion", "value": "reduce"}]


@pytest.fixture(scope="module", autouse=True)
def _families() -> Iterator[None]:
    with toy_clips.registered():
        yield


@pytest.fixture
def run(tmp_path: Path) -> str:
    return write_run(tmp_path / "run", data=data_of(32), **{"clip.frames": 12})


def decoded(uri: str) -> Image.Image:
    head, _, content = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_the_newest_animation_is_embedded_as_it_is(run: str) -> None:
    found = pictures.read_film(Storage(run))
    assert found is not None
    assert found.images == 640
    content = Path(run, "samples", "images-000000000640.webp").read_bytes()
    assert base64.b64decode(found.uri.partition(",")[2]) == content
    said = f"10 clips, 12 frames, 10 a second; {len(content) / 1000:.0f}\xa0kB"
    assert found.caption == said
    assert (found.width, found.height) == (5 * 33 - 1, 2 * 33 - 1)
    still = np.asarray(decoded(found.still).convert("RGB"), int)
    first = np.asarray(decoded(found.uri).convert("RGB"), int)
    assert np.abs(still - first).mean() < 6


def test_what_is_shown_less_is_said(run: str) -> None:
    clips = np.zeros((10, 40, 256, 256, 1), np.uint8)
    storage = Storage(run)
    storage.write(samples.name(900, "webp"), animation.small(clips, 12.5))
    found = pictures.read_film(storage)
    assert found is not None
    assert found.caption.startswith(
        "1 of 10 clips, 40 frames (fewer, so that the page stays light), 12.5 a second; "
    )


def test_what_is_too_large_is_named_and_left_out(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 100)
    found = pictures.read_film(Storage(run))
    assert found is not None
    assert found.uri == ""
    assert re.fullmatch(
        r"samples/images-000000000640\.webp moves, but is too large for this page \(\d+\xa0kB\)",
        found.caption,
    )
    page = Path(write_report([run])).read_text()
    assert found.caption in page
    assert "<picture>" not in page


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"RIFF\x04\x00\x00\x00WEBP"])
def test_a_damaged_animation_is_named(run: str, content: bytes) -> None:
    Path(run, "samples", "images-000000000640.webp").write_bytes(content)
    with pytest.raises(
        UserError, match=r"images-000000000640\.webp.*: .*delete it, and the report"
    ):
        write_report([run])


def test_strips_have_the_names_of_their_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", data=data_of(16, classes=("a", "b", "c")))

    class Set:
        classes = ("a", "b", "c")

    monkeypatch.setattr(reading, "open_images", lambda location: Set)
    (found,) = reading.read_runs([run])
    assert found.makes_clips
    assert "".join(found.rows) == "abcabcabca"


def test_runs_of_images_have_none(tmp_path: Path) -> None:
    from .written_runs import write_run as write_images

    run = str(write_images(tmp_path / "images", 1, 1))
    assert pictures.read_film(Storage(run)) is None
    assert "<picture>" not in Path(write_report([run])).read_text()


SHOWN = "document.querySelector('.film img')?.currentSrc"
BUTTON = "document.querySelector('.film button')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here to open pages with")
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_clips_play_in_the_page(browser: Browser, run: str, size: str, dark: bool) -> None:
    film = pictures.read_film(Storage(run))
    assert film is not None
    page = Path(write_report([run]))
    browser.errors.clear()
    browser.requests.clear()
    browser.show(*SIZES[size], dark)
    browser.open(page)
    browser.wait(lambda: browser.value("document.querySelector('.film img').complete"))
    assert (browser.errors, browser.requests) == ([], [page.as_uri()])
    assert browser.value("document.documentElement.scrollWidth") == SIZES[size][0]
    assert browser.value(SHOWN) == film.uri
    # Above the strips, as wide as they are, and with its own proportions.
    box = "[...document.querySelectorAll('.seen img')].map(e => e.getBoundingClientRect().toJSON())"
    moving, strips = browser.value(box)
    assert moving["bottom"] < strips["top"]
    assert moving["width"] == strips["width"]
    assert moving["width"] / moving["height"] == pytest.approx(film.width / film.height, abs=0.03)
    assert film.caption in browser.value("document.querySelector('.film').textContent")
    # Enlarging is of the strips.
    browser.value("document.querySelector('.final .pictures').click()")
    large = browser.value("document.querySelector('dialog img').alt")
    assert large.startswith("Samples of")


@pytest.mark.slow
def test_it_stands_still_for_who_asks_for_less_motion(browser: Browser, run: str) -> None:
    film = pictures.read_film(Storage(run))
    assert film is not None
    browser.show(*SIZES["phone"])
    try:
        browser.call("Emulation.setEmulatedMedia", features=REDUCED)
        browser.open(Path(write_report([run])))
        states = []
        for pressed in ("", f"{BUTTON}.click()", "document.querySelector('.film img').click()"):
            browser.value(pressed or "0")
            browser.wait(lambda: browser.value("document.querySelector('.film img').complete"))
            browser.wait(lambda: browser.value(SHOWN) in (film.still, film.uri))
            states.append(
                (browser.value(SHOWN) == film.uri, browser.value(f"{BUTTON}.textContent"))
            )
        assert states == [(False, "Play"), (True, "Stop"), (False, "Play")]
        # And a page without scripts plays, or not, by itself.
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
        for features, uri in ((REDUCED, film.still), (UNREDUCED, film.uri)):
            browser.call("Emulation.setEmulatedMedia", features=features)
            browser.call("Page.reload")
            browser.wait(lambda uri=uri: browser.value(SHOWN) == uri)  # type: ignore[misc]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
        browser.call("Emulation.setEmulatedMedia", features=UNREDUCED)
