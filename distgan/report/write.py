"""Writes runs as one self-contained HTML file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any

from distgan import __version__
from distgan.errors import UserError
from distgan.families.base import SHEET_WIDTH
from distgan.report import condition, curves, facts, measured, pictures, searched
from distgan.report.reading import RunFolder, read_runs
from distgan.storage.storage import Storage, split

NAME = "report.html"
_SCRIPTS = ("theme.js", "samples.js", "films.js", "compare.js", "plots.js", "charts.js")
_OF_A_SEARCH = ("theme.js", "plots.js", "charts.js")


def write_report(uris: Sequence[str], out: str | None = None) -> str:
    """Write the report of some runs, or of a search.

    Args:
        uris: folders or URIs of runs; several are drawn into the same charts and listed side by
            side. A single one may be of a search.
        out: the file; by default ``report.html`` in the folder of the only run, or in the
            current folder.

    Returns:
        Where the file is.

    Raises:
        UserError: for a folder that is not a run, a damaged file in it, a file that cannot be
            written, or a library that is not installed.
    """
    library = _library()
    if searched.is_search(uris[0]) and len(uris) == 1:
        storage, page = Storage(uris[0]), render_search(uris[0], library)
    else:
        runs = read_runs(uris)
        storage, page = runs[0].storage, render(runs, library)
    if out is None:
        out = storage.show(NAME) if len(uris) == 1 else NAME
    target, name = split(out)
    if not name:
        raise UserError(f"--out {out}: is a folder; name a file, such as {out.rstrip('/')}/{NAME}")
    target.write(name, page)
    return out


def render(runs: Sequence[RunFolder], library: str) -> str:
    """The page of some runs as HTML.

    Args:
        library: the JavaScript of plotly.
    """
    return _render("page.html", _SCRIPTS, library, _content(runs))


def render_search(uri: str, library: str) -> str:
    """The page of a search as HTML; see `render`."""
    return _render("search.html", _OF_A_SEARCH, library, searched.content(uri))


def _render(page: str, names: Sequence[str], library: str, content: dict[str, Any]) -> str:
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    scripts = [_asset(name) for name in names]
    return templates.get_template(page).render(
        **content,
        style=_asset("style.css"),
        scripts=scripts,
        # The page's content security policy allows these scripts only, whatever text the runs'
        # files hold.
        hashes=[_hash(text) for text in (*scripts, library)],
        library=base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode(),
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M"),
    )


def _content(runs: Sequence[RunFolder]) -> dict[str, Any]:
    spans = [condition.spans(run) for run in runs]
    states = {span.state: span.style for own in spans for span in own}
    training = curves.charts(runs, curves.TRAINING, health=True)
    speed = curves.charts(runs, curves.SPEED, health=False)
    groups = measured.groups(runs)
    drawn = [*training, *speed, *(chart for group in groups for chart in group.charts)]
    samples = [
        pictures.read_samples(run.storage, large=run.makes_clips or bool(run.translated))
        for run in runs
    ]
    return {
        "title": ", ".join(run.name for run in runs),
        "runs": runs,
        "summaries": [facts.summary(run) for run in runs],
        "headlines": [measured.headline(run) for run in runs],
        "unrecorded": [condition.unrecorded(run) for run in runs],
        "rows": [run.rows for run in runs],
        "translated": [run.translated for run in runs],
        "across": SHEET_WIDTH,
        "events": [facts.event_lines(run) for run in runs],
        "samples": samples,
        "films": [pictures.read_film(run.storage) for run in runs],
        "clips": [run.makes_clips for run in runs],
        "moments": sorted({sample.images for own in samples for sample in own}),
        "training": training,
        "speed": speed,
        "groups": groups,
        "spans": spans,
        "states": states,
        "differing": facts.differing(runs),
        "main_settings": facts.main_settings(runs),
        "all_settings": facts.all_settings(runs),
        "environment": facts.environment(runs),
        "drawn": {
            "charts": [asdict(chart) for chart in drawn],
            "bands": [[[span.start, span.end, span.style] for span in own] for own in spans],
        },
    }


def _library() -> str:
    try:
        import jinja2  # noqa: F401
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UserError(
            f"report: needs {error.name}, which is not installed; pip install 'distgan[report]'"
        ) from None
    text: str = get_plotlyjs()
    return text


def _asset(name: str) -> str:
    return (resources.files("distgan.report") / "assets" / name).read_text("utf-8")


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
