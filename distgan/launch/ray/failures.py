"""What becomes of a run whose workers fail: they start again, or the run ends.

Ray counts all failures of a run. Here those count that follow one another without a new
checkpoint between: a run that goes forward is never given up, one that cannot soon is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch.distributed as dist
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import PreemptionError, WorkerGroupError

from distgan.errors import LostWorkersError, UserError
from distgan.runs import checkpoint
from distgan.storage.storage import Storage

SECONDS_WITHOUT_AN_ANSWER = 60
"""After which a worker whose process does not answer the controller is taken for dead."""
CONTROLLER = {
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(SECONDS_WITHOUT_AN_ANSWER),
    # For its first moments Ray may count on a node that is gone.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    # A group with a dead member cannot part in order; there is no use in waiting for it.
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "3",
}
"""Variables that Ray Train's controller reads from its environment."""


class Preempted(Exception):  # noqa: N818 - it is no error, but the way out of the workers
    """Raised by all workers after the checkpoint that a preemption or a resize asked for."""


class Left(Exception):  # noqa: N818 - nothing went wrong
    """Raised in the controller when the driver does not want to wait for it."""


class Told(NamedTuple):
    """A line for the user and the kind of event it is."""

    text: str
    kind: str


class FailureCount:
    """Failures in a row of one run, and what follows from the next.

    Args:
        out: the run's folder.
        most: failures in a row after which the workers are started once more.
    """

    def __init__(self, out: str, most: int) -> None:
        self._out, self._most = out, most
        self._failures, self._newest, self._cause = 0, -1, ""

    def failed(self, error: Exception) -> Told | None:
        """Count what ended the workers; what to tell, None where nothing went wrong.

        Raises:
            UserError: a worker's mistake, or too many failures in a row.
            Exception: the error itself, where trying again cannot help.
        """
        failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
        if isinstance(error, PreemptionError) or any(
            isinstance(failure, Preempted) for failure in failures.values()
        ):
            return None
        for failure in failures.values():
            # One rank's mistake makes the others fail too; only the mistake matters.
            mistake = mistake_in(failure)
            if mistake is not None:
                raise mistake
        loss, text = describe(failures)
        self._count(error, loss, text)
        return Told(f"{text}; {self._again()}", "worker lost" if loss else "worker failed")

    def died_at_start(self, error: Exception) -> Told:
        """Count workers that died before they trained; what to tell.

        Raises:
            UserError: for too many failures in a row.
        """
        text = "the workers died while they started"
        self._count(error, True, text)
        return Told(f"{text}; {self._again()}", "worker lost")

    def _again(self) -> str:
        return f"starting again ({self._failures} of {self._most} without a checkpoint)"

    def _count(self, error: Exception, loss: bool, text: str) -> None:
        newest = self._newest_checkpoint()
        # After a rollback for the run's health the newest is an older one.
        if newest != self._newest:
            self._failures, self._newest, self._cause = 0, newest, ""
        # An exception of the program at the same place twice is no accident.
        hopeless = not loss and text == self._cause
        self._failures, self._cause = self._failures + 1, text
        if self._failures <= self._most and not hopeless:
            return
        if not loss:
            raise error
        tries = "" if self._failures == 1 else f", {self._failures} times without a new checkpoint"
        raise LostWorkersError(
            f"{text}{tries}; see what befell it (memory is a common cause), then go on with "
            f"--resume {self._out}, or allow more by --max-failures"
        )

    def _newest_checkpoint(self) -> int:
        try:
            found = checkpoint.index(Storage(self._out))
        except (OSError, UserError):
            return self._newest
        return int(found[-1]["images_seen"]) if found else 0


def mistake_in(failure: BaseException) -> UserError | None:
    """The user's mistake that a worker raised, itself or as a cause."""
    for error in (failure, failure.__cause__):
        if isinstance(error, UserError):
            return error
    return None


def describe(failures: dict[int, Exception]) -> tuple[bool, str]:
    """Whether workers were lost rather than raised something, and one line for the user.

    Args:
        failures: by rank.
    """
    deaths = {rank: death for rank, error in failures.items() if (death := _death(error))}
    if deaths:
        causes = dict.fromkeys(deaths.values())
        ranks = ", ".join(map(str, deaths))
        who = f"worker {ranks}" if len(deaths) == 1 else f"workers {ranks}"
        return True, f"{who} lost ({'; '.join(causes)})"
    for rank, error in failures.items():
        if not _lost_touch(error):
            line = " ".join(str(error).split())
            return False, f"worker {rank} failed ({type(error).__name__}: {line[:200]})"
    ranks = ", ".join(map(str, failures))
    return True, f"worker {ranks} lost touch with the others" if failures else "the workers failed"


def _death(error: Exception) -> str:
    if type(error).__name__ == "WorkerHealthCheckTimeoutError":
        return f"no answer for {SECONDS_WITHOUT_AN_ANSWER} s"
    cause = getattr(error, "health_check_failure", error)
    if isinstance(cause, OutOfMemoryError):
        return "out of memory"
    if not isinstance(cause, RayActorError):
        return ""
    text = str(cause)
    if getattr(cause, "preempted", False):
        return "its node was taken away"
    if re.search(r"node (has died|was terminated|died)|NODE_DIED", text):
        return "its node is gone"
    return "its process was killed"


def _lost_touch(error: Exception) -> bool:
    # By NCCL and torch's store it is told by exceptions of their own, by gloo by nothing but
    # a RuntimeError whose text begins with a place in gloo's code.
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and bool(_FROM_GLOO.match(str(error)))


_FROM_GLOO = re.compile(r"\[[^]\s]*\bgloo/[^]\s]+:\d+\] ")
