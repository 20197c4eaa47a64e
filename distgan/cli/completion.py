"""`distgan completion`: scripts by which a shell completes verbs, options, recipes, settings.

A script holds every word itself, since to start Python at each press of a key would take too long.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from distgan.cli.parser import Parser, Verbs

_COMPLETION = """\
The script is printed; where a shell looks for such:

  distgan completion bash > ~/.local/share/bash-completion/completions/distgan
  distgan completion zsh > ~/.zfunc/_distgan      (~/.zfunc being in $fpath before compinit)
  distgan completion fish > ~/.config/fish/completions/distgan.fish

Write it again after an update of distgan.
"""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "completion",
        help="a script with which a shell completes all this",
        epilog=_COMPLETION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=list(SCRIPTS), help="which shell")
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Print a script."""
    from distgan.cli.console import say

    say(SCRIPTS[options.shell](list(_commands(options.root)), _settings()), end="")
    return 0


@dataclass
class Command:
    """A verb, or a verb and its action, and what may follow it."""

    path: str
    help: str
    words: tuple[str, ...] = ()
    """What may stand in the place of its first argument."""
    flags: dict[str, str] = field(default_factory=dict)
    """Options without a value, and what they do."""
    options: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Options with a value: what they do, and the words that may be given, if few."""
    settings: bool = False
    """Whether any setting is an option too."""


Settings = Mapping[str, tuple[str, tuple[str, ...]]]
"""As the options of a `Command`."""


def _commands(parser: Parser, path: str = "", about: str = "") -> Iterator[Command]:
    from distgan.guides import ORDER
    from distgan.recipes import known

    found = Command(path, about, settings=parser.takes_settings)
    arguments = {"recipe": tuple(known()), "name": ORDER if path == "guide" else ()}
    inner: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            said = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, verb in action.choices.items():
                inner += _commands(verb, f"{path} {name}".strip(), said.get(name, ""))
            found.words = tuple(action.choices)
        elif not action.option_strings:
            words = tuple(map(str, action.choices or ())) or arguments.get(action.dest, ())
            found.words = found.words or words
        for option in action.option_strings:
            help_ = (action.help or "").replace("%%", "%")
            if action.nargs == 0:
                found.flags[option] = help_
            else:
                found.options[option] = (help_, tuple(map(str, action.choices or ())))
    yield found
    yield from inner


def _settings() -> Settings:
    """Every setting that any recipe or a variant has."""
    from distgan.config.described import groups
    from distgan.recipes import known

    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for recipe in known().values():
        for group in groups(recipe()):
            for setting in group.settings:
                # Of a name each variant takes its own only.
                _, before = found.get(f"--{setting.name}", ("", ()))
                words = tuple(dict.fromkeys((*before, *setting.choices)))
                found[f"--{setting.name}"] = (setting.help, words)
    return found


def _cases(commands: list[Command], settings: Settings) -> Iterator[tuple[str, str]]:
    """Patterns of "VERB OPTION", and the words that may follow: none for a file or a number."""
    patterns: dict[str, list[str]] = {}
    for command in commands:
        for option, (_, words) in command.options.items():
            patterns.setdefault(" ".join(words), []).append(f'"{command.path} {option}"')
    for option, (_, words) in settings.items():
        patterns.setdefault(" ".join(words), []).append(f'*" {option}"')
    for joined, own in patterns.items():
        yield "|".join(own), joined


_BY_CASES = """\
    case "$verb $prev" in
{values}
    *) case $cur in
        -*) case $verb in
{options}
            esac ;;
        *) case $verb in
{words}
            esac ;;
        esac ;;
    esac
"""


def _body(commands: list[Command], settings: Settings) -> str:
    """The part of a script that bash and zsh read alike; it leaves what may stand in ``list``."""
    dotted = " ".join(settings)
    lines: dict[str, list[str]] = {"values": [], "options": [], "words": []}
    for pattern, words in _cases(commands, settings):
        lines["values"].append(f'    {pattern}) list="{words}" ;;')
    for command in commands:
        own = " ".join([*command.flags, *command.options])
        more = " $settings" if command.settings else ""
        lines["options"].append(f'        "{command.path}") list="{own}{more}" ;;')
        if command.words:
            lines["words"].append(f'        "{command.path}") list="{" ".join(command.words)}" ;;')
    body = _BY_CASES.format(**{name: "\n".join(own) for name, own in lines.items()})
    return f'    local settings="{dotted}"\n{body}'


_BASH = """\
# Completion of distgan for bash, printed by `distgan completion bash`.
_distgan() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= list=
    ((COMP_CWORD > 1)) && verb=${COMP_WORDS[1]}
    [[ $verb == data ]] && ((COMP_CWORD > 2)) && verb="data ${COMP_WORDS[2]}"
    # --name=value arrives as three words.
    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
    [[ $cur == "=" ]] && cur=
"""

_ZSH = """\
#compdef distgan
# Completion of distgan for zsh, printed by `distgan completion zsh`.
_distgan() {
    local cur=$words[CURRENT] prev=$words[CURRENT-1] verb= list=
    ((CURRENT > 2)) && verb=$words[2]
    [[ $verb == data ]] && ((CURRENT > 3)) && verb="data $words[3]"
"""


def _bash(commands: list[Command], settings: Settings) -> str:
    end = """\
    COMPREPLY=($(compgen -W "$list" -- "$cur"))
}
complete -o default -F _distgan distgan
"""
    return f"{_BASH}{_body(commands, settings)}{end}"


def _zsh(commands: list[Command], settings: Settings) -> str:
    end = """\
    if [[ -n $list ]]; then compadd -- ${=list} || _files; else _files; fi
}
# Loaded by name, the file is the function's body; sourced, it registers it.
if [[ $funcstack[1] == _distgan ]]; then _distgan "$@"; else compdef _distgan distgan; fi
"""
    return f"{_ZSH}{_body(commands, settings)}{end}"


def _fish(commands: list[Command], settings: Settings) -> str:
    lines = ["# Completion of distgan for fish, printed by `distgan completion fish`."]
    for command in commands:
        verb = command.path.split(" ")[-1]
        here = f"__fish_seen_subcommand_from {verb}" if verb else "__fish_use_subcommand"
        start = f"complete -c distgan -n '{here}'"
        inner = [c for c in commands if c.path.rpartition(" ")[0] == command.path and c.path]
        names = " ".join(c.path.split(" ")[-1] for c in inner)
        once = f"{here}; and not __fish_seen_subcommand_from {names}" if verb else here
        lines += [
            f"complete -c distgan -n '{once}' -f -a {c.path.split(' ')[-1]} -d {_quoted(c.help)}"
            for c in inner
        ]
        if command.words and not inner:
            lines.append(f"{start} -a '{' '.join(command.words)}'")
        for flag, about in command.flags.items():
            lines.append(f"{start} {_fish_option(flag)} -d {_quoted(about)}")
        more = settings if command.settings else {}
        for option, (about, words) in {**more, **command.options}.items():
            takes = f"-x -a '{' '.join(words)}'" if words else "-r"
            lines.append(f"{start} {_fish_option(option)} {takes} -d {_quoted(about)}")
    return "\n".join(lines) + "\n"


def _fish_option(option: str) -> str:
    return f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"


def _quoted(text: str) -> str:
    escaped = text.partition(". ")[0].replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""What makes the script of each shell."""
