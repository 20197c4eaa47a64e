"""README and guides: short, linked and up to date, with valid commands and Python blocks."""

from __future__ import annotations

import ast
import re
import shlex
import unicodedata
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal
from xml.etree import ElementTree

import pytest
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmarks.pictures import charts, figures
from distgan import guides
from distgan.cli import guide, main
from distgan.cli.main import parse
from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS, Count, leaves, override
from distgan.errors import UserError
from distgan.guides import tables
from distgan.recipes import RECIPES, recipe

ROOT = Path(__file__).parents[1]
FOLDER = Path(guides.__file__).parent
GUIDES = [FOLDER / f"{name}.md" for name in guides.ORDER]
PAGES = [ROOT / "README.md", *GUIDES]
RESULTS = ROOT / "benchmarks/results/README.md"
CONFIG = type(recipe("mnist-mlp-tutorial"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page that are in one of these languages."""
    return [code for lang, code in _FENCE.findall(page.read_text()) if lang in languages]


def prose(page: Path) -> str:
    """A page without its code blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


# README and .ci/run


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_its_first_blocks_are_the_quick_start_and_the_test_command() -> None:
    # .ci/run runs the second as it stands.
    first, second = (code for _, code in _FENCE.findall((ROOT / "README.md").read_text())[:2])
    assert first.strip().endswith(".venv/bin/distgan train")
    assert second.strip().endswith(".venv/bin/python -m pytest -n 2 --dist loadfile")
    assert len(first.splitlines()) == len(second.splitlines()) == 1


def test_every_guide_is_named_and_linked() -> None:
    assert {path.name for path in FOLDER.glob("*.md")} == {path.name for path in GUIDES}
    readme = (ROOT / "README.md").read_text()
    for name in guides.ORDER:
        assert f"[{name}](distgan/guides/{name}.md)" in readme


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_no_page_names_this_machine(page: Path) -> None:
    # Folders in which a checkout may lie, of which none is a reader's.
    folders = "|".join(("work", "home", "root", "Users"))
    assert not re.search(rf"(?<![\w.])/({folders})/", page.read_text())


# Pictures


PICTURES = {path for path in FOLDER.iterdir() if path.suffix in (".png", ".svg", ".webp", ".gif")}


def pictures(page: Path) -> set[Path]:
    """The files of a page's pictures, which all have words for who cannot see them."""
    found = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose(page))
    assert all(len(words) > 20 for words, _ in found), f"{page}: a picture without a description"
    return {(page.parent / target).resolve() for _, target in found}


def test_every_picture_is_there_and_shown_and_made_by_a_command() -> None:
    shown = set().union(*map(pictures, PAGES))
    assert shown == PICTURES
    assert len(pictures(ROOT / "README.md")) >= 6
    made = (ROOT / "benchmarks/README.md").read_text()
    table = made[made.index("## Pictures") : made.index("## A benchmark of your own")]
    assert all(f"`{path.stem}`" in table for path in PICTURES)


def test_pictures_are_small() -> None:
    sizes = [path.stat().st_size for path in PICTURES]
    assert max(sizes) < 300_000
    assert sum(sizes) < 1_500_000


def test_pictures_are_what_their_names_say() -> None:
    for path in PICTURES:
        if path.suffix == ".svg":
            text = path.read_text("utf-8")
            assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
            # A page shows an SVG as an image, in which nothing is fetched and no script runs.
            assert not re.search(r"<script|href=|url\((?!#)|@import", text)
        else:
            with Image.open(path) as picture:
                assert picture.format == path.suffix[1:].upper()
                frames = getattr(picture, "n_frames", 1)
                assert (frames > 10) == (path.suffix in (".webp", ".gif"))


@pytest.mark.parametrize("name", ["peers", "scaling"])
def test_charts_show_the_tables_as_they_are(name: str) -> None:
    shown = (FOLDER / f"{name}.svg").read_text("utf-8")
    assert shown == getattr(charts, name)(), f"run `python -m benchmarks.pictures {name}`"


def test_a_table_is_read_back() -> None:
    text = """**one**

|  | images/s | quartiles | ratio | quartiles |
|---|---:|---:|---:|---:|
| ours | 15,200 | 1-2 |  |  |
| JAX | 16,362 | 3-4 | 1.101 (1.020-1.125) | 5-6 |

**two**
"""
    rows = figures.table(text, "**one**")
    assert list(rows) == ["ours", "JAX"]
    assert rows["JAX"]["quartiles"] == "3-4"
    assert figures.number(rows["JAX"]["images/s"]) == 16_362
    assert figures.number(rows["JAX"]["ratio"]) == 1.101
    for missing in ("**two**", "**three**"):
        with pytest.raises(LookupError):
            figures.table(text, missing)


def test_pictures_travel_with_the_package() -> None:
    patterns = re.search(r'"distgan.guides" = \[(.*)\]', (ROOT / "pyproject.toml").read_text())
    assert patterns is not None
    assert {f'"*{path.suffix}"' for path in PICTURES} <= set(patterns[1].split(", "))


# Links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE):
        kept = [c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN"]
        name = "".join(kept).replace(" ", "-")
        found.add(name)
    return found


def links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            yield target


@pytest.mark.parametrize("page", [*PAGES, RESULTS], ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target}: no such file"
        assert path.is_relative_to(ROOT), f"{target}: leads out of the repository"
        if anchor:
            page_of = path / "README.md" if path.is_dir() else path
            assert anchor in anchors(page_of), f"{target}: no such heading"


def test_links_are_found() -> None:
    # Guards the test above: a pattern that matches nothing would let it pass.
    assert len(list(links(ROOT / "README.md"))) > 15
    assert "how-many-workers" in anchors(FOLDER / "scaling.md")
    assert "the-tutorial-and-what-was-corrected" in anchors(FOLDER / "training.md")


# Commands


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of distgan in a page's shell blocks."""
    for block in blocks(page, "bash", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            if words[:1] == ["distgan"]:
                yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_are_valid(page: Path) -> None:
    for words in commands(page):
        check(words)


def check(words: list[str]) -> None:
    """That a command parses, and that its settings exist and may have these values."""
    options = parse(words)
    if options.verb == "submit":
        inner = options.command
        return check(inner[1:] if inner[:1] == ["--"] else inner)
    name = getattr(options, "recipe", None) or "mnist-mlp"
    if options.verb == "train" and name.startswith("my/"):
        # The reader's images, for which a recipe is chosen.
        name = "photos-64"
    changes = dict(options.overrides)
    for own in ("images", "batch", "seed", "data"):
        if options.verb == "train" and getattr(options, own, None) is not None:
            changes[own] = getattr(options, own)
    override(recipe(name), changes)


def test_commands_are_found_and_wrong_ones_refused() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 40
    for words in ("trian", "train --no.such 1", "train --loss hinged", "train no-such-recipe"):
        with pytest.raises(UserError):
            check(words.split())


# Python


def imported(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Modules of distgan that a block imports, and names that it takes from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and dotted(node):
            module, _, name = dotted(node).rpartition(".")
            yield module, name


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return node.id if isinstance(node, ast.Name) and node.id == "distgan" else ""


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_is_valid(page: Path) -> None:
    for code in blocks(page, "python"):
        check_python(code)


def check_python(code: str) -> None:
    """That code compiles, and that the names it takes from distgan exist."""
    compile(code, "<block>", "exec")
    for module, name in imported(ast.parse(code)):
        if module.split(".")[0] == "distgan":
            found = import_module(module)
            if name is not None and not hasattr(found, name):
                import_module(f"{module}.{name}")


def test_python_is_found_and_wrong_names_refused() -> None:
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 10
    calls = set(imported(ast.parse("import distgan.jobs\ndistgan.jobs.submit([])")))
    for wrong in ("from distgan import trane", "import distgan.trane", "distgan.trane()"):
        with pytest.raises(ImportError):
            check_python(wrong)
    assert calls == {("distgan.jobs", None), ("distgan.jobs", "submit"), ("distgan", "jobs")}


# Tables of settings


@pytest.mark.parametrize("page", GUIDES, ids=ids)
def test_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text()
    assert text == tables.rewritten(text, CONFIG), "run `python -m distgan.guides`"


def test_every_setting_is_in_a_table() -> None:
    shown = {target for page in GUIDES for target, _ in tables.BLOCK.findall(page.read_text())}

    def table_of(target: str) -> str:
        return tables.rewritten(f"<!-- settings: {target} -->\n<!-- end -->", CONFIG)

    usual = {target: table_of(target).partition("\n")[2] for target in tables.groups(CONFIG)}
    assert usual.keys() <= shown
    for name in RECIPES:
        # Another family's groups that are not those of the GAN stand as RECIPE:GROUP.
        for group in tables.groups(type(recipe(name))):
            own = table_of(f"{name}:{group}").partition("\n")[2]
            named = any(target.endswith(f":{group}") for target in shown)
            # Of several discriminators each has what the only one of a GAN has.
            alike = re.sub(r"^discriminator_\w+", "discriminator", group)
            same = own.replace(f"--{group}.", f"--{alike}.") == usual.get(alike)
            assert same or named, f"{name}:{group} is in no guide"
        for setting in leaves(recipe(name)):
            group, _, last = setting.name.rpartition(".")
            table = table_of(f"{name}:{group or 'run'}")
            rows = (f"| `{last}` |", f"| `--{last}` |", f"**`{last} {setting.value}`**")
            found = any(row in table for row in rows)
            assert found or setting.name == "recipe", f"--{setting.name} is in no table"
            assert setting.help, f"--{setting.name} is not explained"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class _Round:
    """Round ones."""

    name: Literal["round"] = "round"
    radius: Annotated[float, Field(gt=0)] = 1.5
    """Of the circle."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class _Square:
    """Square ones.

    With a second paragraph.
    """

    name: Literal["square"] = "square"
    side: Strength = Schedule(2)
    """Of the square, |a|."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class _Inner:
    kind: Annotated[_Round | _Square, Field(discriminator="name")] = Field(default=_Square())
    often: Annotated[Count, Field(ge=10)] = 20
    """Images
    between two."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class _Outer:
    way: Literal["a", "b"]
    """Which."""
    on: bool = True
    inner: _Inner = Field(default=_Inner())


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class _Child(_Outer):
    more: str = "x"
    """Of the child."""


def test_a_table_is_made_of_the_dataclasses() -> None:
    before = "x\n<!-- settings: {} -->\nold\n<!-- end -->\ny"

    def made(target: str) -> list[str]:
        text = tables.rewritten(before.format(target), _Outer)
        assert text.startswith(f"x\n<!-- settings: {target} -->\n")
        assert text.endswith("\n<!-- end -->\ny")
        assert "old" not in text
        return [line for line in text.splitlines()[2:-2] if line and "|---" not in line]

    assert made("run")[1:] == [
        "| `--way` | `a`, `b` | the recipe's | Which. |",
        "| `--on` | `true`, `false` | `true` |  |",
    ]
    assert made("inner")[2:] == [
        "| `often` | a count, such as `300k`, at least 10 | `20` | Images between two. |"
    ]
    heading = "| setting | values | default | what it does |"
    assert made("inner.kind") == [
        "Settings that begin with `--inner.kind.`, for each `name`:",
        "**`name round`**: Round ones.",
        heading,
        "| `radius` | a number, above 0 | `1.5` | Of the circle. |",
        "**`name square`** (the default): Square ones.",
        heading,
        "| `side` | a number or schedule | `2` | Of the square, \\|a\\|. |",
    ]
    assert tables.groups(_Outer) == ["run", "inner", "inner.kind"]
    with pytest.raises(LookupError, match="there is no group outer"):
        made("outer")


def test_text_under_a_field_is_inherited() -> None:
    helped = {setting.name: setting.help for setting in leaves(_Child(way="a"))}
    assert helped["way"] == "Which."
    assert helped["more"] == "Of the child."
    table = tables.rewritten("<!-- settings: run -->\n<!-- end -->", _Child)
    assert "| `--way` | `a`, `b` | the recipe's | Which. |" in table


# The command


def test_the_guides_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide"]) == 0
    lines = capsys.readouterr().out.splitlines()
    firsts = [line.split()[0] for line in lines if line and not line.startswith((" ", "`"))]
    assert firsts == list(guides.ORDER)
    for name in guides.ORDER:
        first, empty, said = guides.text(name).splitlines()[:3]
        assert first.startswith("# ")
        assert not empty
        assert said.endswith(".")
        assert len(said) <= 66, "a line of the list in a terminal of 80 columns"


def test_a_guide_is_plain_text_outside_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", "training"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# Training\n")
    assert "<!--" not in said
    assert "\x1b" not in said
    assert "(`distgan guide data`)" in said
    assert "| `r1` |" in said


@pytest.mark.parametrize("name", guides.ORDER)
def test_a_guide_is_drawn_in_a_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert guide.run(SimpleNamespace(name=name)) == 0  # type: ignore[arg-type]
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert guides.text(name).splitlines()[0][2:] in said
    assert "# " not in said.splitlines()[0]
    assert max(map(len, said.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in said, "a name was cut"


def test_links_of_a_terminal() -> None:
    text = (
        "see [health](health.md#states), [below](#here), [a page](https://a.b/c), "
        "[runs](../../benchmarks/README.md#x) ![grid](digits.png)<!-- hidden\n -->\n\n"
        "```python\nx = [1](2)\n```\n"
    )
    assert guides.for_terminal(text) == (
        "see health (`distgan guide health`), below, a page (https://a.b/c), "
        "runs (benchmarks/README.md) \n```python\nx = [1](2)\n```\n"
    )


def test_an_unknown_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", "metric"]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.count("\n") == 1
    assert "guide 'metric': there is no such guide, did you mean metrics?; have start," in said.err


def test_lines_of_the_code_are_where_the_guide_says() -> None:
    text = (FOLDER / "families.md").read_text("utf-8")
    references = re.findall(r"`(distgan/[\w/]+\.py):(\d+)` `(\w+)`", text)
    assert len(references) >= 8
    for file, line, name in references:
        lines = (ROOT / file).read_text("utf-8").splitlines()
        here = [number for number, each in enumerate(lines, 1) if f"def {name}(" in each]
        assert int(line) in here, f"{file}: {name} is at {here}"


def test_the_guides_family_is_the_one_that_is_tested() -> None:
    text = (FOLDER / "families.md").read_text("utf-8")
    toy = (ROOT / "tests" / "toy_family.py").read_text("utf-8")
    assert toy[toy.index("from __future__") :] in text
