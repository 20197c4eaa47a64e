"""The reader of a run's text files, against texts whose meaning the two standards say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from distgan.config.settings import override
from distgan.errors import UserError
from distgan.families.registry import from_yaml, to_yaml
from distgan.recipes import RECIPES, recipe
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, parse_json, parse_yaml, read_bytes, read_lines


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("on", "on"),
        ("No", "No"),
        ("true", True),
        ("0:1:50", "0:1:50"),
        ("2026-01-01", "2026-01-01"),
        ("010", "010"),
        ("-7", -7),
        ("1.0e-08", 1e-8),
        ("null", None),
        ("'1'", "1"),
        ("[1, two]", [1, "two"]),
    ],
)
def test_words_are_words(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}", "c.yaml", "mend it")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value", ["on", "09", "1_0", "1.0e5", "-.5", "1:30", "~", "", "=", "<<", "2026-01-01", ".inf"]
)
def test_text_that_pyyaml_writes_is_text(value: str) -> None:
    assert parse_yaml(yaml.safe_dump({"a": value}), "c.yaml", "mend it") == {"a": value}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_read_as_pyyaml_reads_it(name: str) -> None:
    text = to_yaml(recipe(name))
    assert parse_yaml(text, "c.yaml", "mend it") == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: *x", "line 1: an alias or anchor"),
        ("a: 1\nb: *x", "line 2: an alias or anchor"),
        ("a: !!python/object/apply:os.getcwd []", "line 1: a tag"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is there twice"),
        ("1: 2", "a key that is no name"),
        ("[" * 100_000, "more than 50 brackets"),
        ("a: " + "9" * 5_000, "beyond 64 bits"),
        ("- a", "no mapping of settings"),
        ("", "no mapping of settings"),
        ("a: b: c", "line 1"),
        ("a: \x00", "cannot be read as YAML"),
        ("# " + "x" * 2**18, "262,146 characters"),
    ],
)
def test_what_no_configuration_holds(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        from_yaml(text, "c.yaml")
    assert str(caught.value).startswith("c.yaml: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_that_would_mean_a_billion_values_are_refused_at_the_first() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(UserError, match=r"line 1: an alias"):
        from_yaml("\n".join(lines), "bomb.yaml")


@pytest.mark.parametrize(
    ("text", "compiled"), [("on", "on"), ("off", "off"), ("true", "on"), ("false", "off")]
)
def test_compile_takes_yamls_booleans(text: str, compiled: str) -> None:
    lines = to_yaml(recipe("mnist-mlp-tutorial")).splitlines()
    given = [f"compile: {text}" if line.startswith("compile: ") else line for line in lines]
    assert from_yaml("\n".join(given), "c.yaml").compile == compiled


def test_booleans_take_yamls_words() -> None:
    text = to_yaml(recipe("mnist-mlp-tutorial")).replace("share_fakes: false", "share_fakes: yes")
    assert from_yaml(text, "c.yaml").share_fakes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", "1e300"),
        ("evaluate.num", "1e300"),
        ("batch", "1e9"),
        ("latent", "1000000000"),
        ("generator.network.widths", "1000000000"),
        ("generator.network.embedding", "1000000000"),
        ("generator.clip_norm", "inf"),
        ("discriminator.updates", "1000000000"),
    ],
)
def test_numbers_beyond_all_use(name: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"--{name}[. ]"):
        override(recipe("mnist-mlp-tutorial"), {name: value})


@pytest.mark.parametrize("kind", ["dcgan", "sngan", "r3gan"])
def test_networks_have_bounds(kind: str) -> None:
    field = "widths" if kind == "r3gan" else "width"
    for player in ("generator", "discriminator"):
        chosen = {f"{player}.network.name": kind, f"{player}.network.{field}": "1000000000"}
        with pytest.raises(UserError, match=rf"--{player}\.network\.{field}"):
            override(recipe("mnist-mlp-tutorial"), chosen)


def test_long_values_are_cut_in_messages() -> None:
    for changes in ({"loss": "x" * 100_000}, {"batch": "x" * 100_000}, {"x" * 100_000: "1"}):
        with pytest.raises(UserError) as caught:
            override(recipe("mnist-mlp-tutorial"), changes)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "value"),
    [("[NaN, -Infinity, 1e999]", [None, None, None]), ("9223372036854775807", 2**63 - 1)],
)
def test_json_has_numbers_only(text: str, value: Any) -> None:
    assert parse_json(text, "f.json", "mend it") == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[" * 100_000, '{"a":' * 100_000, "[" * 60 + "]" * 60, "9" * 5_000),
        *(str(2**63), '"\\ud800"', "01", "\x00"),
    ],
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(UserError, match=r"^f\.json: is damaged .*; mend it$"):
        parse_json(text, "f.json", "mend it")


class _Line(Shape):
    images: int


def test_lines_have_a_shape(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    read = lambda cut: read_lines(storage, "a.jsonl", _Line, "mend it", cut=cut)  # noqa: E731
    assert read(True) == []
    storage.write("a.jsonl", '{"images": 1, "x": [2]}\n\n{"images": 2}\n{"ima')
    assert read(True) == [{"images": 1, "x": [2]}, {"images": 2}]
    with pytest.raises(UserError, match=r"a\.jsonl: line 4: is damaged"):
        read(False)
    for line in ('{"images": "1"}', '{"images": 1.5}', "{}", "[]", "3", '{"images": true}'):
        storage.write("a.jsonl", f'{{"images": 1}}\n{line}\n')
        with pytest.raises(UserError, match=r"a\.jsonl: line 2: is damaged"):
            read(True)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, said in (("folder", "is a folder"), ("gone", "cannot be read")):
        with pytest.raises(UserError, match=rf"{name}: {said}.*; mend it"):
            read_bytes(Storage(tmp_path), name, "mend it")
