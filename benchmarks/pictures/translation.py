"""Translations in one picture: a row of held-out images of each task, from the recorded sheets."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.translation.__main__ import RECORDS

SHOWN = {
    "edges2digits-pix2pix": "outlines to digits, learned from pairs: pix2pix",
    "edges2digits-cyclegan": "outlines to digits, learned without pairs: CycleGAN",
    "cifar10-colorize": "gray to colours: pix2pix",
    "cifar10-superres": "16x16 to 32x32 pixels: superres",
}
"""Recipes, and what stands above their row."""
_WIDTH, _BAND, _MARGIN, _NAMES = 1000, 26, 10, 30
"""Pixels: of the picture, a title, the space around, and more than the names above a sheet take."""


def drawn() -> bytes:
    """A PNG with the first row of the sheet that the longest run of each recipe left."""
    rows = []
    for recipe, title in SHOWN.items():
        sheets = sorted(RECORDS.glob(f"{recipe}-[0-9]*.png"), key=_seconds)
        if not sheets:
            raise FileNotFoundError(
                f"{RECORDS}: no sheet of {recipe}; make one with "
                f"`python -m benchmarks.translation --only {recipe}`"
            )
        with Image.open(sheets[-1]) as sheet:
            strip = _first_row(sheet.convert("RGB"))
        width = _WIDTH - 2 * _MARGIN
        height = round(strip.height * width / strip.width)
        rows.append((title, strip.resize((width, height), Image.Resampling.LANCZOS)))
    font = ImageFont.load_default(15)
    tall = sum(strip.height + _BAND + _MARGIN for _, strip in rows) + _MARGIN
    whole = Image.new("RGB", (_WIDTH, tall), "white")
    pen, top = ImageDraw.Draw(whole), _MARGIN
    for title, strip in rows:
        pen.text((_MARGIN, top), title, fill="black", font=font)
        whole.paste(strip, (_MARGIN, top + _BAND))
        top += _BAND + strip.height + _MARGIN
    buffer = io.BytesIO()
    whole.quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _first_row(sheet: Image.Image) -> Image.Image:
    """The names and the first row of images of a sheet, behind which there is a white line."""
    white = (np.asarray(sheet) == 255).all((1, 2))
    return sheet.crop((0, 0, sheet.width, _NAMES + int(white[_NAMES:].argmax())))


def _seconds(path: object) -> int:
    """Of training, which the name of a record says: RECIPE-SECONDS-SEED-HASH."""
    return int(str(path).rsplit("-", 3)[1])
