"""`distgan submit`, `jobs`, `status`, `logs` and `stop`: a Ray cluster from elsewhere."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError

if TYPE_CHECKING:
    from distgan.jobs.client import Job

_SUBMIT = """\
Everything after -- is a command of distgan, as on this machine:

  distgan submit --address http://HEAD:8265 --follow -- \\
      train mnist-dcgan --workers 8 --out /shared/runs/one
  distgan submit --env AWS_SECRET_ACCESS_KEY -- train mnist-mlp --out s3://bucket/one
  distgan submit -- train --resume /shared/runs/one      go on, after `distgan stop`

RAY_API_SERVER_ADDRESS stands for --address. Every node must see --out and --data under the
same name. Whoever reaches a cluster's dashboard runs code there: leave it on its loopback
address, come through `ssh -N -L 8265:127.0.0.1:8265 HEAD`, and use Ray's tokens
(RAY_AUTH_MODE=token). A job server on this machine that asks for the token in ~/.ray gets it.
"""

_EXIT_CODES = {"SUCCEEDED": 0, "FAILED": 1, "STOPPED": 143}


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verbs."""
    parser = verbs.add_parser(
        "submit",
        help="run a command of distgan on a Ray cluster",
        usage="distgan submit [OPTIONS] -- COMMAND ...",
        epilog=_SUBMIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=_submit)
    _add_address(parser)
    parser.add_argument("--follow", action="store_true", help="show what it prints until it ends")
    parser.add_argument("--name", metavar="NAME", help="of the job [made up]")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="K[=V]",
        help="an environment variable of the job; without =V the value it has here; its value lies "
        "in the cluster's logs, for whoever may read them",
    )
    parser.add_argument(
        "--working-dir", metavar="DIR", help="a folder that goes along, up to 100 MiB"
    )
    parser.add_argument(
        "--image", metavar="IMAGE", help="a container with distgan inside; nothing travels"
    )
    parser.add_argument(
        "--installed", action="store_true", help="the nodes have this distgan; nothing travels"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="list the files that travel")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    parser = verbs.add_parser("jobs", help="what ran and runs on a cluster")
    parser.set_defaults(execute=_jobs)
    _add_address(parser)
    for verb, text, execute in (
        ("status", "how a job is", _status),
        ("logs", "what a job printed", _logs),
        ("stop", "have a job write a checkpoint and end", _stop),
    ):
        parser = verbs.add_parser(verb, help=text)
        parser.set_defaults(execute=execute)
        parser.add_argument("job", metavar="JOB", help="its name; `distgan jobs` lists them")
        _add_address(parser)
        if verb == "logs":
            parser.add_argument("-f", "--follow", action="store_true", help="until it ends")


def _add_address(parser: Parser) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        help="the cluster's dashboard [RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265]",
    )


def _submit(options: argparse.Namespace) -> int:
    from distgan import jobs
    from distgan.cli.console import command, say

    words = _command(options.command, options.parse)
    env = dict(_variable(given) for given in options.env)
    name = jobs.submit(
        words,
        address=options.address,
        name=options.name,
        env=env,
        working_dir=options.working_dir,
        image=options.image,
        installed=options.installed,
        verbose=options.verbose,
        say=say,
    )
    say(f"submitted: {name}")
    if options.follow:
        return _follow(name, options.address)
    for verb in (("logs", name, "-f"), ("status", name), ("stop", name)):
        say(f"  {command(*verb, *_at(options.address))}")
    return 0


def _at(address: str | None) -> list[str]:
    """The option that a printed command needs to reach the same cluster."""
    return ["--address", address] if address else []


def _command(given: Sequence[str], parse: Callable[[Sequence[str]], object]) -> list[str]:
    """The command to send, which ``parse`` has accepted."""
    if not given or given[0] != "--" or len(given) == 1:
        raise UserError(
            "submit: a command of distgan comes after --, as in "
            "`distgan submit --follow -- train mnist-dcgan --out /shared/runs/one`"
        )
    words = list(given[1:])
    if words[0] in ("submit", "jobs", "status", "logs", "stop"):
        raise UserError(f"submit -- {words[0]}: runs here, not on the cluster")
    parse(words)
    return words


def _variable(given: str) -> tuple[str, str]:
    name, found, value = given.partition("=")
    if not name.isidentifier():
        raise UserError(f"--env {name}: not the name of a variable; give K=V, or K")
    if not found:
        if name not in os.environ:
            raise UserError(f"--env {name}: not set here; give {name}=VALUE or set it")
        value = os.environ[name]
    return name, value


def _follow(name: str, address: str | None) -> int:
    from distgan.cli.console import command, say
    from distgan.jobs import client

    try:
        job = client.follow(name, lambda text: say(_plain(text), end=""), address)
    except KeyboardInterrupt:
        at = _at(address)
        say(
            f"\n{name} goes on without you: `{command('logs', name, '-f', *at)}` to follow, "
            f"`{command('stop', name, *at)}` to end it",
            error=True,
        )
        return 130
    say(_line(job))
    if job.state == "FAILED":
        say(f"distgan: {name}: {_reason(job)}", error=True)
    return job.exit_code if job.state == "FAILED" and job.exit_code else _EXIT_CODES[job.state]


_COLOURS = re.compile(r"\x1b\[[\d;]*m")


def _plain(output: str) -> str:
    """A job's output without colour codes, with each update of a progress bar on a line."""
    return _COLOURS.sub("", output).replace("\r\n", "\n").replace("\r", "\n")


def _reason(job: Job) -> str:
    lines = job.message.strip().splitlines()
    return lines[0][:300] if lines else "no reason is given"


def _line(job: Job) -> str:
    seconds = job.seconds
    took = "" if seconds is None else f"{seconds:,.0f} s"
    command = shlex.join(job.command) if job.command else "(not of distgan)"
    return f"{job.name}  {job.state}  {took}  {command}"


def _jobs(options: argparse.Namespace) -> int:
    from distgan import jobs
    from distgan.cli.console import say

    found = jobs.jobs(options.address)
    if not found:
        say("no jobs yet; `distgan submit` sends one")
    width = max((len(job.name) for job in found), default=0)
    for job in found:
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started))
        seconds = f"{job.seconds or 0:,.0f} s"
        command = shlex.join(job.command) if job.command else "(not of distgan)"
        say(f"{job.name:<{width}}  {job.state:<9}  {started}  {seconds:>8}  {command}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from distgan import jobs
    from distgan.cli.console import say

    job = jobs.status(options.job, options.address)
    say(_line(job))
    if job.folder:
        say(f"run: {job.folder}")
    if job.message:
        say(_reason(job))
    return 0


def _logs(options: argparse.Namespace) -> int:
    from distgan import jobs
    from distgan.cli.console import say

    if options.follow:
        return _follow(options.job, options.address)
    text = _plain(jobs.logs(options.job, options.address))
    say(text, end="" if text.endswith("\n") else "\n")
    return 0


def _stop(options: argparse.Namespace) -> int:
    from distgan import jobs
    from distgan.cli.console import command, say

    before = jobs.status(options.job, options.address)
    if before.state in jobs.client.ENDED:
        say(f"{before.name}: has ended already ({before.state})")
        return 0
    say(f"{before.name}: asked to write a checkpoint and end")
    job = jobs.stop(options.job, options.address)
    if job.state not in jobs.client.ENDED:
        raise UserError(f"{job.name}: has not ended yet; see `distgan status {job.name}`")
    say(_line(job))
    if job.folder and job.command[:1] == ("train",):
        again = ("submit", *_at(options.address), "--", "train", "--resume", job.folder)
        say(f"to go on: {command(*again)}")
    return 0
