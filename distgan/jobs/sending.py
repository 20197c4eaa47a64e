"""Sending a command of distgan to a cluster."""

from __future__ import annotations

import logging
import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distgan.errors import UserError
from distgan.jobs.client import STOP_SECONDS, connect, metadata_of, plain_errors
from distgan.jobs.package import Chosen, choose, copy, copy_package
from distgan.storage.scratch import Scratch

_FOLDERS = ("--out", "--resume")
_MOST_NAMED = 20
"""How many left-out files of a folder are named without ``verbose``."""


def submit(
    command: Sequence[str],
    *,
    address: str | None = None,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    working_dir: str | Path | None = None,
    image: str | None = None,
    installed: bool = False,
    verbose: bool = False,
    say: Callable[[str], None] = lambda _: None,
    client: Any = None,
) -> str:
    """Start ``distgan COMMAND...`` on a cluster, and return at once.

    The command runs on the cluster's head and uses that cluster. This package is sent along
    unless ``installed`` or ``image``; its dependencies must be installed there.

    Args:
        command: the words after ``distgan``, such as ``["train", "mnist-dcgan", "--out", ...]``.
        address: as `distgan.jobs.connect` takes it.
        name: of the job, unique on the cluster; None generates one.
        env: environment variables of all the job's processes. Ray stores them in the cluster
            and shows them to everybody who can query its job server.
        working_dir: a folder that is sent and becomes the command's working directory.
        image: a container image with distgan inside, in which the nodes run the job.
        installed: the nodes have this version of distgan, so it is not sent.
        verbose: list every file of ``working_dir`` that is sent.
        say: takes lines about what is sent.
        client: an existing one of `distgan.jobs.connect`.

    Returns:
        the job's name.

    Raises:
        UserError: as `connect`; for a run without a folder that every node sees; for a folder
            too large; for a name that is taken.
    """
    words = tuple(command)
    folder = _folder(words)
    _check(name, working_dir, image)
    chosen = None if working_dir is None else choose(Path(working_dir))
    client = client or connect(address)
    url = client.get_address()
    for quiet in ("dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
        logging.getLogger(f"ray.{quiet}").setLevel(logging.WARNING)
    with Scratch("distgan-submit-") as scratch, plain_errors(url):
        environment = _environment(Path(scratch), env or {}, chosen, image, installed, verbose, say)
        with _unique(name):
            job = client.submit_job(
                # exec replaces the shell, so that Python receives the signals.
                entrypoint=f"exec python -m distgan {shlex.join(words)}",
                submission_id=name or _made_up(words),
                runtime_env=environment,
                metadata=metadata_of(words, folder),
            )
    return str(job)


@contextmanager
def _unique(name: str | None) -> Iterator[None]:
    """Turn Ray's error for a job's name that exists into `UserError`."""
    try:
        yield
    except RuntimeError as error:
        if "already exists" in str(error):
            raise UserError(
                f"--name {name}: taken by a job of this cluster; choose another"
            ) from None
        raise


def _check(name: str | None, working_dir: str | Path | None, image: str | None) -> None:
    if working_dir == "":
        raise UserError("--working-dir: is empty; name a folder, such as .")
    if image and working_dir:
        raise UserError("--image: has its own files; leave --working-dir out")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(f"--name {name}: letters, digits, '-', '_' and '.' only, such as dcgan-1")


def _folder(words: tuple[str, ...]) -> str:
    """The folder that ``train`` or ``tune`` writes, valid on every node; else empty."""
    found = ""
    for position, word in enumerate(words):
        option, given, value = word.partition("=")
        if option in _FOLDERS:
            found = value if given else (words[position + 1 :] or ("",))[0]
    if not words or words[0] not in ("train", "tune"):
        return found
    if not found:
        raise UserError(
            "--out: needed on a cluster; a folder that every node mounts at the same place, "
            "such as /shared/runs/one, or an address such as s3://bucket/runs/one"
        )
    if "://" not in found and not found.startswith("/"):
        raise UserError(
            f"--out {found}: would lie in a folder of the job that is thrown away; give a path "
            "from the root that every node mounts, or an address such as s3://bucket/runs/one"
        )
    return found


def _environment(
    scratch: Path,
    env: Mapping[str, str],
    chosen: Chosen | None,
    image: str | None,
    installed: bool,
    verbose: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    # Ray's default of 3 seconds kills a job before its checkpoint is written.
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), **env}
    found: dict[str, Any] = {"env_vars": variables}
    if image:
        found["image_uri"] = image
        say(f"nothing travels: distgan comes from {image}")
        return found
    if not installed:
        package, size = copy_package(scratch)
        found["py_modules"] = [str(package)]
        say(f"distgan travels: {size / 2**20:.1f} MiB, kept there for the next job")
    if chosen is not None:
        found["working_dir"] = str(copy(chosen, scratch / "working-dir"))
        for line in _told(chosen, verbose):
            say(line)
    return found


def _told(chosen: Chosen, verbose: bool) -> list[str]:
    """Lines about the files of a folder that are sent; with their names if ``verbose``."""
    lines = [f"{chosen.folder} travels: {len(chosen.files):,} files, {chosen.size / 2**20:.1f} MiB"]
    if verbose:
        lines += [f"  {name}" for name in chosen.files]
    if chosen.excluded:
        lines.append(
            f"  {chosen.excluded:,} files and folders stay here: hidden, built, runs, or ignored "
            "by .gitignore"
        )
    if chosen.left_out:
        lines.append(f"  {len(chosen.left_out):,} left out:")
    shown = list(chosen.left_out.items())[: None if verbose else _MOST_NAMED]
    lines += [f"    {name} {reason}" for name, reason in shown]
    if len(shown) < len(chosen.left_out):
        lines.append(f"    and {len(chosen.left_out) - len(shown):,} more; -v names them all")
    return lines


def _made_up(words: tuple[str, ...]) -> str:
    named = [word for word in words[:2] if re.fullmatch(r"[A-Za-z0-9._-]+", word)]
    return "-".join([*(word for word in named if word[0] != "-"), secrets.token_hex(3)])
