"""Which benchmarks there are; modules are imported only when they run."""

from __future__ import annotations

import importlib

from benchmarks.frame.comparison import Benchmark
from distgan.config.settings import nearest
from distgan.errors import UserError

KNOWN = {
    "step": "how fast every recipe's step is, where its time goes, what each option is worth",
    "throughput": "the step beside a textbook loop of the same networks",
    "scale": "how training scales with workers and networks, beside what the model expects",
    "peers": "the same networks and rule with what people would use instead",
    "feed": "how fast images reach a worker, beside torch's and Ray Data's loaders",
    "metrics": "how long the Frechet distance takes, beside scipy and torch-fidelity",
    "checkpoint": "how long training stands still for a checkpoint",
    "overhead": "what the whole system, Ray included, costs over a plain loop",
    "startup": "seconds from the command to the first update, and where they go",
}
"""What each answers, by name: that of its module in benchmarks/. `all` runs them in this order."""

APART = {
    "quality": "the GAN speedrun: seconds to a Frechet distance, about an hour",
    "recipes": "how good every recipe is after so many images",
    "learning": "whether generated images come closer to real ones, and all modes are found",
    "sense": "what metrics make of known damage to images",
    "coverage": "how often 95% intervals hold what they are of",
    "tuning": "a search's wall time beside the same trials by hand",
    "beyond_memory": "how a set larger than memory streams",
    "published": "what `distgan plan`'s model makes of published figures",
    "gpu_check": "whether distgan is right on GPUs: a line for each check, and a record",
    "curve": "that model up to 1,024 workers, from `scale`'s results",
}
"""Those that take no turns in the frame and are none of `all`: modules that run as they are."""

ALL = "all"


def check(name: str) -> None:
    """See that there is a benchmark of that name.

    Raises:
        UserError: when there is none, with the nearest that is.
    """
    names = [*KNOWN, *APART, ALL]
    if name not in names:
        raise UserError(
            f"{name!r}: no such benchmark{nearest(name, names)}; `distgan bench --list` lists them"
        )


def load(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        UserError: when there is none, or it needs a package that is not installed.
    """
    check(name)
    try:
        found: Benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    except ImportError as error:
        raise UserError(f"bench {name}: needs a package that is not here ({error})") from None
    return found
