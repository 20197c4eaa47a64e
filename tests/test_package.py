"""What of a folder travels to a cluster; git itself says what it ignores."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from distgan.errors import UserError
from distgan.jobs import ignored, package
from distgan.jobs.sending import _told


def git(folder: Path, *words: str, given: bytes = b"") -> bytes:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        input=given,
        capture_output=True,
        timeout=60,
        env={**os.environ, **own},
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.fixture
def without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where git is not installed."""
    monkeypatch.setattr(ignored, "_listed", lambda folder: set())


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(chosen: package.Chosen) -> set[str]:
    return {str(name) for name in chosen.files}


# Where spaces end a line, ~ stands for them.
RULES = """\
# a comment
*.log~~~
!keep.log
/top.txt
data/
sub/*.bin
**/deep/x
a/**/z
a/b/**
\\#sharp
\\!bang
name\\~
[abc]?.c
[!a-c]x.d
[[:digit:]]*.n
odd[
back\\
*/one.txt
foo**bar
ends/**/
[z-a].q
[]x].s
""".replace("~", " ")
PIECES = (
    *("a", "b", "data", "sub", "deep", "x", "z", "top.txt", "keep.log", "n.log", "#sharp", "!bang"),
    *("name ", "name", "a1.c", "d1.c", "ax.d", "dx.d", "1.n", "odd[", "back\\", "one.txt"),
    *("fooxbar", "ends", "q.bin", "].s", "x.s", "z.q", "é.c"),
)


def test_patterns_are_read_as_git_reads_them(tmp_path: Path) -> None:
    draw = random.Random(0)
    for round_ in range(3):
        folder = tmp_path / str(round_)
        files = {"/".join(draw.choices(PIECES, k=draw.randint(1, 4))) for _ in range(400)}
        # The deepest first: a file in the place of a folder would end all below it.
        for name in sorted(files, key=lambda name: (-name.count("/"), name)):
            above = (folder / name).parents
            if not (folder / name).is_dir() and not any(one.is_file() for one in above):
                fill(folder, name)
        lines = RULES.splitlines()
        # Each by itself, as one that ignores much hides what others do.
        kept = draw.sample(lines, len(lines) // (1 + round_))
        (folder / ".gitignore").write_text("\n".join(kept))
        for inner in ("a", "sub", "data", "deep/a"):
            if (folder / inner).is_dir():
                some = [*draw.sample(lines, 3), "!" + draw.choice(lines)]
                (folder / inner / ".gitignore").write_text("\r\n".join(some) + "\n")
        git(folder, "init", "-q")
        every = [p.relative_to(folder) for p in folder.rglob("*") if ".git" not in p.parts]
        given = b"\0".join(map(os.fsencode, every))
        said = git(folder, "check-ignore", "--no-index", "-z", "--stdin", given=given)
        expected = {os.fsdecode(name) for name in said.split(b"\0") if name}
        ours = ignored.Patterns(folder)
        found = {str(path) for path in every if ours(path, (folder / path).is_dir())}
        assert found == expected
        assert 50 < len(found) < len(every) - 50, "the cases are of both kinds"


@pytest.mark.parametrize("by", ["git", "patterns"])
def test_what_is_ignored_stays(by: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if by == "patterns":
        request.getfixturevalue("without_git")
    tree = fill(tmp_path / "tree", "job/train.py", "job/secret.key", "job/big/a.bin", "job/in/b.py")
    fill(tree, "job/in/c.tmp", "other.py", "job/.env", "job/runs/x")
    (tree / ".gitignore").write_text("*.key\njob/big/\n")
    (tree / "job/in/.gitignore").write_text("*.tmp\n")
    git(tree, "init", "-q")
    chosen = package.choose(tree / "job")
    assert names(chosen) == {"train.py", "in/b.py"}
    # secret.key, big, in/c.tmp; .env, runs and in/.gitignore by their names.
    assert chosen.excluded == 6
    package.copy(chosen, tmp_path / "copy")
    copied = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "copy")) for path in copied} == names(chosen)


def test_a_folder_that_is_itself_ignored_travels_when_asked_for(tmp_path: Path) -> None:
    tree = fill(tmp_path / "tree", "out/a.py", "out/b.key")
    (tree / ".gitignore").write_text("out/\n*.key\n")
    git(tree, "init", "-q")
    assert names(package.choose(tree / "out")) == {"a.py"}


def test_repositories_inside_travel_too(tmp_path: Path) -> None:
    tree = fill(tmp_path / "tree", "a.py", "inner/b.py", "inner/c.key")
    (tree / "inner/.gitignore").write_text("*.key\n")
    for folder in (tree, tree / "inner"):
        git(folder, "init", "-q")
    assert names(package.choose(tree)) == {"a.py", "inner/b.py"}


@pytest.mark.parametrize("by", ["git", "patterns"])
def test_links(by: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if by == "patterns":
        request.getfixturevalue("without_git")
    outside = fill(tmp_path / "outside", "secret", "more/secret")
    tree = fill(tmp_path / "tree", "a.py", "real/b.py", "own.key")
    (tree / ".gitignore").write_text("*.key\n")
    if by == "git":
        git(tree, "init", "-q")
    links = {
        "file": "a.py", "folder": "real", "out": str(outside / "secret"), "up": "..",
        "outs": "../outside/more", "none": "nowhere", "self": "self", "loop": ".",
        "real/back": "..", "to-key": "own.key", "by-two": "out",
    }  # fmt: skip
    for name, target in links.items():
        (tree / name).symlink_to(target)
    chosen = package.choose(tree)
    assert names(chosen) == {"a.py", "real/b.py", "file", "folder/b.py"}
    reasons = {str(name): reason for name, reason in chosen.left_out.items()}
    leads_out = {name for name, reason in reasons.items() if "out of the folder" in reason}
    assert leads_out == {"out", "up", "outs", "by-two"}
    assert "what stays here" in reasons["to-key"]
    for name in ("loop", "real/back", "folder/back"):
        assert "leads back" in reasons[name]
    assert {"none", "self"} <= reasons.keys()
    copy = package.copy(chosen, tmp_path / "copy")
    assert not [path for path in copy.rglob("*") if path.is_symlink()]
    assert "secret" not in "".join(p.read_text() for p in copy.rglob("*") if p.is_file())
    said = "\n".join(_told(chosen, verbose=True))
    assert all(name in said for name in (*names(chosen), *reasons))
    assert f"{len(reasons)} left out" in said


def test_only_regular_files_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = fill(tmp_path / "tree", "a.py")
    os.mkfifo(tree / "pipe")
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        Path(os.fsdecode(b"b\xe9")).write_text("")
        chosen = package.choose(tree)
    assert names(chosen) == {"a.py"}
    assert {str(n): r for n, r in chosen.left_out.items()} == {
        "pipe": "is no regular file",
        "socket": "is no regular file",
        "b\udce9": "has a name that is not UTF-8",
    }


def test_few_of_many_are_named(tmp_path: Path) -> None:
    tree = fill(tmp_path / "tree", "a.py")
    for number in range(50):
        (tree / f"link-{number:02d}").symlink_to("/etc/passwd")
    said = _told(package.choose(tree), verbose=False)
    assert sum("link-" in line for line in said) == 20
    assert any("50 left out" in line for line in said)
    assert "and 30 more" in said[-1]
    assert not any("a.py" in line for line in said)


def test_the_size_counts_what_links_bring(tmp_path: Path) -> None:
    tree = fill(tmp_path / "tree", "a.py")
    (tree / "a.py").write_bytes(bytes(60))
    (tree / "again.py").symlink_to("a.py")
    assert package.choose(tree).size == 120
    with pytest.raises(UserError, match="would travel, more than"):
        package.copy_folder(tree, tmp_path / "copy", limit=100)
    assert not (tmp_path / "copy").exists()
