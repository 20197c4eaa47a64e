"""Hostile sources: nothing runs, and nothing is opened but what the command names.

What is opened is heard by Python's own audit hooks in a process of its own; what libraries open
below Python (Arrow, Pillow) they are given as paths that Python names, or as bytes.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distgan.data.decoder import BadImageError, decode
from distgan.data.sources import open_source

from .test_sources import ENCODED, Hostile, cifar_python

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    b"(hacked) (w) file closefile\nshowpage\n%%EOF\n"
)

WATCH = """
import json, sys
events, statuses = None, {}
def hook(name, arguments):
    if events is None:
        return
    if name in ("open", "os.listdir", "os.scandir"):
        events.append([name, repr(arguments[0]), arguments[1] if name == "open" else None])
    elif name.split(".")[0] in ("subprocess", "socket") or name.startswith(("os.exec", "os.spawn",
            "os.system", "os.posix_spawn", "os.fork")):
        events.append([name, repr(arguments), None])
from distgan.cli import main
sys.addaudithook(hook)
heard = {}
for case, words in json.loads(sys.argv[1]).items():
    events = []
    statuses[case] = main(words)
    heard[case], events = events, None
with open(sys.argv[2], "w") as stream:
    json.dump([statuses, heard], stream)
"""


def hostile(folder: Path, outside: Path) -> None:
    """Sources that try to reach ``outside`` or to run something, each in a folder of its own."""
    eps = folder / "eps"
    eps.mkdir(parents=True)
    (eps / "a.png").write_bytes(EPS)
    with tarfile.open(folder / "traversal.tar", "w") as archive:
        for name, kind, target in (
            ("../../outside/a.png", tarfile.REGTYPE, ""),
            ("b.png", tarfile.SYMTYPE, str(outside / "secret.png")),
            ("c.png", tarfile.LNKTYPE, "../outside/secret.png"),
            ("d.png", tarfile.CHRTYPE, ""),
            ("e.png", tarfile.FIFOTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = len(ENCODED[0]) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(ENCODED[0]))
    with zipfile.ZipFile(folder / "slip.zip", "w") as archive:
        archive.writestr(f"../{outside.name}/a.png", ENCODED[0])
        archive.writestr(f"{outside}/b.png", ENCODED[1])
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(outside / "secret.png"))
    cifar_python(folder / "pickles", **{"x": Hostile()})  # type: ignore[arg-type]
    np.save(folder / "objects.npy", np.array([Hostile()], object))
    (folder / "stylegan").mkdir()
    (folder / "stylegan" / "a.png").write_bytes(ENCODED[0])
    labels = {"labels": [["a.png", 0], [f"../../{outside.name}/secret.png", 0]]}
    (folder / "stylegan" / "dataset.json").write_text(json.dumps(labels))
    pipes = folder / "pipes"
    pipes.mkdir()
    os.mkfifo(pipes / "a.png")
    (pipes / "b.png").symlink_to("/dev/zero")
    (pipes / "c.png").write_bytes(ENCODED[0])
    handed = folder / "handed"
    handed.mkdir()
    made: dict[str, Any] = {
        **{"format": 2, "count": 1, "height": 32, "width": 32, "channels": 3, "classes": []},
        **{"class_counts": [], "mean": [0.5] * 3, "schema": "", "skipped": 0, "source": {}},
        "files": [
            {"name": f"../../{outside.name}/a.parquet", "count": 1, "bytes": 1, "sha256": ""}
        ],
    }
    (handed / "manifest.json").write_text(json.dumps(made))
    (handed / "b.parquet").write_bytes(b"PAR1")


COMMANDS = {
    "eps": ("data", "prepare", "in/eps"),
    "traversal.tar": ("data", "prepare", "in/traversal.tar"),
    "slip.zip": ("data", "prepare", "in/slip.zip"),
    "pickles": ("data", "prepare", "in/pickles"),
    "objects.npy": ("data", "prepare", "in/objects.npy"),
    "stylegan": ("data", "prepare", "in/stylegan"),
    "pipes": ("data", "prepare", "in/pipes", "--skip-bad", "2"),
    "handed": ("data", "info", "in/handed"),
}
ENDS_WELL = {"traversal.tar", "pipes"}


@pytest.mark.slow
def test_nothing_runs_and_nothing_else_is_opened(tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(ENCODED[5])
    hostile(work / "in", outside)
    words = {
        case: [*line, *(("--out", f"out/{case}", "--workers", "0") if "info" not in line else ())]
        for case, line in COMMANDS.items()
    }
    subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps(words), str(tmp_path / "log.json")],
        cwd=work,
        check=True,
        timeout=120,
    )
    statuses, heard = json.loads((tmp_path / "log.json").read_text())
    assert statuses == {case: 0 if case in ENDS_WELL else 2 for case in COMMANDS}
    # Python's own modules and those of libraries, which are read when they are first needed.
    code = (sys.prefix, sys.base_prefix, "/proc/self", "/usr/lib", str(Path(__file__).parents[1]))
    assert sum(map(len, heard.values())) > 20
    for name, what, mode in (event for events in heard.values() for event in events):
        if name == "socket.gethostname":
            continue  # Who owns a folder says on which machine.
        assert name in ("open", "os.listdir", "os.scandir"), (name, what)
        path = os.path.normpath(os.path.join(work, what.strip("b'\"")))
        inside = path.startswith(str(work)) or what.isdigit()
        assert inside or (path.startswith(code) and mode in ("r", "rb", None)), (name, what, mode)
        assert "secret.png" not in what
    assert [path.name for path in outside.iterdir()] == ["secret.png"]
    assert (outside / "secret.png").read_bytes() == ENCODED[5]
    assert not list(tmp_path.rglob("hacked"))


def test_no_decoder_but_those_that_are_named() -> None:
    with pytest.raises(BadImageError, match="not an image"):
        decode(EPS)
    # Windows' icons, Photoshop's and FITS files are Pillow's to read, and not ours.
    for content in (b"\0\0\1\0" + bytes(60), b"8BPS" + bytes(60), b"SIMPLE  =" + bytes(2880)):
        with pytest.raises(BadImageError, match="not an image"):
            decode(content)


def test_folders_that_link_to_each_other(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(12)]
    for name in names:
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "0.png").write_bytes(ENCODED[0])
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / "set" / name / f"to-{other}").symlink_to(f"../{other}")
    source = open_source(str(tmp_path / "set"), "train")
    assert 12 <= source.count <= 12 * 8
    assert any("links to a folder that is read 8 times already" in note for note in source.notes)
