"""The report's content: what is read, thinned, grouped, escaped and refused."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distgan.errors import UserError
from distgan.report import condition, curves, facts, measured, pictures, write_report
from distgan.report.reading import read_runs
from distgan.runs.grid import grid_png
from distgan.storage.storage import Storage

from .conftest import Run
from .written_runs import STEP, UNHEALTHY, write_evaluations, write_run, write_translations

pytest.importorskip("plotly", reason="the extra report is not installed")


def test_thinning_keeps_spikes_gaps_and_ends() -> None:
    rng = random.Random(0)
    x = [float(n) for n in range(40_000)]
    y: list[float | None] = [round(rng.random(), 3) for _ in x]
    y[12_345], y[23_456] = 50.0, -50.0
    y[30_000] = None
    few_x, few_y = curves.thin(x, y, 900)
    assert len(few_x) == len(few_y) <= 900
    assert few_x == sorted(set(few_x))
    assert (few_x[0], few_x[-1]) == (0, 39_999)
    points = dict(zip(few_x, few_y, strict=True))
    assert (points[12_345], points[23_456], points[30_000]) == (50, -50, None)
    assert all(y[int(at)] == value for at, value in points.items())


def test_a_short_curve_stays_whole() -> None:
    assert curves.thin([1, 2, 3], [0.1, None, 0.3], 3) == ([1, 2, 3], [0.1, None, 0.3])


def test_charts_are_of_what_the_records_have(tmp_path: Path) -> None:
    (run,) = read_runs([str(write_run(tmp_path / "run", health=False))])
    for record in run.records:
        del record["diversity"]
    run.records[3]["d_loss"] = None
    run.records[4]["d_loss"] = float("nan")
    run.records[5]["d_grad_norm"] = 0.0  # has no logarithm
    found = {c.key: c for c in curves.charts([run], (*curves.TRAINING, *curves.SPEED), True)}
    assert "diversity" not in found
    assert "traffic" not in found, "one worker sends nothing"
    assert "augment" not in found
    d_loss, g_loss = found["losses"].series
    assert d_loss.y[3] is None
    assert d_loss.y[4] is None
    assert d_loss.y[5] == pytest.approx(run.records[5]["d_loss"], rel=1e-4)
    assert d_loss.x == [STEP * n for n in range(1, 31)]
    assert (d_loss.color, g_loss.color) == (0, 1)
    assert found["gradients"].series[0].y[5] is None


def test_several_runs_share_charts(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, seed=n) for n, name in enumerate("ab")]
    runs = read_runs([str(folder) for folder in folders])
    losses = next(c for c in curves.charts(runs, curves.TRAINING, True) if c.key == "losses")
    assert [(s.name, s.color, s.dash) for s in losses.series] == [
        *(("a D", 0, "solid"), ("a G", 0, "dash")),
        *(("b D", 1, "solid"), ("b G", 1, "dash")),
    ]


def test_states_of_health_become_spans(tmp_path: Path) -> None:
    (run,) = read_runs([str(write_run(tmp_path / "run"))])
    well, ill, again = condition.spans(run)
    assert (well.state, well.start, well.end) == ("healthy", 0, 10 * STEP)
    assert (ill.state, ill.start, ill.end) == ("discriminator wins", 10 * STEP, 20 * STEP)
    assert (again.start, again.end) == (20 * STEP, 30 * STEP)
    assert (ill.evidence, ill.remedy) == (UNHEALTHY["evidence"], UNHEALTHY["remedy"])
    assert ill.actions == "halved both learning rates"
    run.records[15]["health"] = "made up"
    assert [span.style for span in condition.spans(run)][2] == "unknown"
    (old,) = read_runs([str(write_run(tmp_path / "old", health=False))])
    assert condition.spans(old) == []


def test_samples_are_thinned_and_small(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(60):
        images = rng.integers(0, 256, (16, 7, 7, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
        storage.write(f"samples/images-{number:012d}.png", grid_png(images, 4))
    storage.write("samples/notes.txt", "not a sample")
    found = pictures.read_samples(storage)
    assert len(found) == pictures.MOST
    assert (found[0].images, found[-1].images) == (0, 59)
    gaps = np.diff([sample.images for sample in found])
    assert set(gaps) <= {2, 3}
    # grid_png enlarged 115 pixels fivefold; the page holds them as they were.
    assert (found[0].width, found[0].height, found[0].pixelated) == (115, 115, True)
    content = base64.b64decode(found[-1].uri.split(",", 1)[1])
    with Image.open(io.BytesIO(content)) as shown:
        shown_pixels = np.asarray(shown.convert("RGB"), float)
    with Image.open(io.BytesIO(storage.read("samples/images-000000000059.png"))) as drawn:
        pixels = np.asarray(drawn.convert("RGB"), float)[2::5, 2::5]
    # Noise of four pixels is the hardest for a lossy format, and yet it is the same picture.
    assert np.corrcoef(shown_pixels.mean(2).ravel(), pixels.mean(2).ravel())[0, 1] > 0.95


def test_a_picture_that_was_not_enlarged_is_only_reduced(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 600, 600, 3), dtype=np.uint8)
    Storage(tmp_path).write("samples/images-000000000007.png", grid_png(images, 2))
    (sample,) = pictures.read_samples(Storage(tmp_path))
    assert (sample.images, sample.width, sample.pixelated) == (7, pictures.WIDEST, False)


def test_values_of_other_cards_stay_apart(tmp_path: Path) -> None:
    a, b = (write_run(tmp_path / name) for name in "ab")
    write_evaluations(a, "aaaa1111", [40.0, 20.0])
    write_evaluations(b, "aaaa1111", [50.0, 30.0, 10.0])
    write_evaluations(b, "bbbb2222", [5.0], extractor="small", fake=10_000)
    first, second = measured.groups(read_runs([str(a), str(b)]))
    assert (first.key, first.runs, first.at) == ("aaaa1111", ["a", "b"], ["40,000", "60,000"])
    assert (second.key, second.runs, second.numbers) == ("bbbb2222", ["b"], [1])
    frechet, precision = first.rows
    assert [(c.value, c.interval, c.best) for c in frechet.cells] == [
        ("20", "18 to 22", False),
        ("10", "9 to 11", True),
    ]
    assert (frechet.better, precision.better) == ("lower", "higher")
    assert precision.cells[0].interval == ""
    curve = first.charts[0].series[1]
    assert (curve.x, curve.y) == ([20_000, 40_000, 60_000], [50, 30, 10])
    assert curve.low == pytest.approx([45, 27, 9])
    assert first.charts[1].series[0].low == []
    assert ("generated images", "10,000") in second.card


def test_the_page_shows_both_cards_and_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_evaluations(folder, "aaaa1111", [40.0])
    write_evaluations(folder, "bbbb2222", [5.0])
    text = Path(write_report([str(folder)])).read_text()
    assert "measured in 2 ways" in text
    assert text.count("<h3>Card <code>") == 2


def test_facts(tmp_path: Path) -> None:
    names = {"a": "non-saturating", "b": "hinge"}
    runs = read_runs([str(write_run(tmp_path / n, loss=loss)) for n, loss in names.items()])
    said = dict(facts.summary(runs[1]))
    assert (said["recipe"], said["dataset"], said["loss"]) == (
        "mnist-mlp-tutorial",
        "mnist",
        "hinge",
    )
    assert said["images"] == "60,000 of 1,000,000"
    speeds = sorted(r["images_per_second"] for r in runs[1].records)
    assert said["speed"] == f"{(speeds[14] + speeds[15]) / 2:,.0f} images/s"
    assert said["time"] == "1 min"
    assert said["workers"].startswith("2, ")
    assert facts.differing(runs).rows == [("loss", ["non-saturating", "hinge"])]
    assert facts.differing(runs[:1]).rows == []
    machine = dict(facts.environment(runs).rows)
    assert machine["torch"] == [runs[0].starts[0]["versions"]["torch"]] * 2


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / place / "run", 1, 0) for place in ("x", "y")]
    assert [run.name for run in read_runs([str(f) for f in folders])] == ["x/run", "y/run"]


def test_settings_of_another_version_are_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    with open(folder / "config.yaml", "a") as file:
        file.write("of_the_future:\n  setting: 3\n")
    (run,) = read_runs([str(folder)])
    assert run.settings["of_the_future.setting"] == 3


def test_nothing_of_a_run_is_markup_or_code(tmp_path: Path) -> None:
    nasty = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
    folder = write_run(tmp_path / "run")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines[-1] |= {"health": nasty, "evidence": nasty, "remedy": nasty, "action": nasty}
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    write_evaluations(folder, nasty, [3.0], extractor=nasty)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("data: mnist", f"data: '{nasty}'"))
    text = Path(write_report([str(folder)])).read_text()
    assert nasty not in text
    assert "<img src=x" not in text
    # theme, samples, films, compare, plots, charts, two of data, the library
    assert text.count("</script>") == 9
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    scripts = next(part for part in policy.split(";") if "script-src" in part).split()[1:]
    assert len(scripts) == 7
    assert all(re.fullmatch(r"'sha256-[\w+/]{43}='", script) for script in scripts)


def test_where_the_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_run(tmp_path / name)
    assert write_report(["a"]) == "a/report.html"
    assert write_report(["a"]) == "a/report.html", "an older one is replaced"
    assert write_report(["a", "b"]) == "report.html"
    assert write_report([f"file://{tmp_path}/b"], "deep/x.html") == "deep/x.html"
    for path in ("a/report.html", "report.html", "deep/x.html"):
        assert 1e6 < (tmp_path / path).stat().st_size < 2.5e6


@pytest.mark.slow
def test_the_verb(distgan: Run, tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    result = distgan("report", "a", "--out", "x.html")
    assert (result.stdout, result.stderr) == ("the report: x.html\n", "")
    assert (tmp_path / "x.html").exists()


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 0, 0)
    (folder / "environment.json").unlink()
    page = Path(write_report([str(folder)])).read_text()
    assert "Stopped before the first record, which a run writes after 10,000 images" in page
    assert f"distgan train --resume {folder}" in page
    owner = {"process": os.getpid(), "host": socket.gethostname()}
    (folder / "owner.json").write_text(json.dumps(owner))
    assert "No record yet: the run is training" in Path(write_report([str(folder)])).read_text()
    (folder / "owner.json").write_text(json.dumps({**owner, "host": "elsewhere"}))
    assert "Stopped before the first record" in Path(write_report([str(folder)])).read_text()


def test_the_newest_value_and_its_direction_are_the_headline(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert measured.headline(read_runs([str(folder)])[0]) is None
    write_evaluations(folder, "aaaa1111", [60.0, 40.0])
    write_evaluations(folder, "bbbb2222", [7.0])
    path = folder / "evaluations.jsonl"
    # The one of another card was made last, of the newest generator.
    path.write_text(
        path.read_text().replace('"images": 20000, "seconds"', '"images": 1, "seconds"')
    )
    found = measured.headline(read_runs([str(folder)])[0])
    assert found is not None
    assert (found.value, found.better, found.images) == ("40", "lower", 40_000)
    assert found.before == "60"


def test_rows_of_a_grid_are_named_where_the_data_is(tmp_path: Path) -> None:
    named, gone = (
        write_run(tmp_path / "named", conditional=True),
        write_run(tmp_path / "gone", conditional=True, data=str(tmp_path / "nowhere")),
    )
    runs = read_runs([str(named), str(gone), str(write_run(tmp_path / "plain"))])
    assert [run.rows for run in runs] == [tuple("0123456789"), (), ()]


def test_mistakes_cost_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(*runs: Path, out: str | None = None) -> str:
        with pytest.raises(UserError) as caught:
            write_report([str(run) for run in runs], out)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    good = write_run(tmp_path / "good")
    assert "holds no run (no config.yaml)" in says(tmp_path)
    assert "given twice" in says(good, good)
    assert "is a folder; name a file" in says(good, out=str(good))
    assert "is a folder; name a file" in says(good, out=f"{good}/")
    for name, content, said in (
        ("config.yaml", "[", "config.yaml: cannot be read as YAML"),
        ("environment.json", "[]", "environment.json: is damaged"),
        ("samples/images-000000000005.png", "x", "000005.png: is not a PNG that can be read"),
        (
            "evaluations.jsonl",
            '{"images": 1}',
            "evaluations.jsonl: line 1: is damaged (has no card)",
        ),
    ):
        bad = write_run(tmp_path / name.replace("/", "-"))
        (bad / name).write_text(content)
        assert said in says(bad)
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        bad = write_run(tmp_path / f"bytes-{name}")
        (bad / name).write_bytes(b"\xff\xfe")
        assert f"{name}: is damaged (not UTF-8)" in says(bad)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert "pip install 'distgan[report]'" in says(good)


def test_rows_of_translations_have_names_and_are_compared(tmp_path: Path) -> None:
    folders = [write_translations(tmp_path / "images"), write_run(tmp_path / "plain")]
    runs = read_runs([str(folder) for folder in folders])
    assert [run.rows for run in runs] == [("input", "output", "target"), ()]
    assert [run.translated for run in runs] == [("input", "output", "target"), ()]
    page = Path(write_report([str(folders[0])])).read_text("utf-8")
    assert 'data-rows="input,output,target" data-across="10"' in page
    assert "<span>input</span><span>output</span><span>target</span>" in page
    assert "Always of the same images." in page
    page = Path(write_report([str(folders[1])])).read_text("utf-8")
    assert "data-rows" not in page
    assert "Always from the same latents." in page


def test_a_translation_of_settings_that_are_unknown_is_still_reported(tmp_path: Path) -> None:
    folder = write_translations(tmp_path / "images")
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config + "later: 1\n")
    (run,) = read_runs([str(folder)])
    assert run.translated == ()
    assert write_report([str(folder)])


def test_the_last_grid_of_translations_is_less_reduced(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    storage = Storage(tmp_path)
    for number in range(2):
        images = rng.integers(0, 256, (30, 250, 250, 1), np.uint8)
        storage.write(f"samples/images-{number:012d}.png", grid_png(images, 10))
    first, last = pictures.read_samples(storage, large=True)
    assert (first.width, last.width) == (pictures.WIDEST, 2_509)
    assert last.line == pytest.approx((1 / 2_509, 1 / 752))
    assert first.line == last.line
    assert [each.width for each in pictures.read_samples(storage)] == [pictures.WIDEST] * 2
