"""The process in which a run is started: as it was, once the run is over."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

_RAY = "ray"


@contextlib.contextmanager
def restored(unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Undo at the end whatever changed meanwhile of environment, loggers and signal handlers.

    A notebook goes on after a run, perhaps with a Ray cluster of its own, which would inherit
    the variables that make ours private and quiet. Levels and handlers are put back for all
    loggers that were there; Ray's own, where Ray was imported meanwhile, get Ray's defaults.

    Args:
        unless: asked at the end; true where the process is over anyway, and something may still
            depend on the environment.
    """
    environment, complains = dict(os.environ), logging.raiseExceptions
    loggers = _loggers()
    handlers = _handlers()
    try:
        yield
    finally:
        if not unless():
            _restore_environment(environment)
            _restore_loggers(loggers)
            logging.raiseExceptions = complains
            _restore_handlers(handlers)


def _restore_environment(kept: dict[str, str]) -> None:
    for name in os.environ.keys() - kept.keys():
        del os.environ[name]
    for name, value in kept.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


_State = tuple[int, list[logging.Handler], bool, bool]
"""Of a logger: level, handlers, whether it hands on, whether it is disabled."""


def _all_loggers() -> dict[str, logging.Logger]:
    named = {
        name: logger
        for name, logger in logging.root.manager.loggerDict.copy().items()
        if isinstance(logger, logging.Logger)
    }
    return {"": logging.root, **named}


def _loggers() -> dict[str, _State]:
    return {
        name: (one.level, list(one.handlers), one.propagate, one.disabled)
        for name, one in _all_loggers().items()
    }


def _restore_loggers(kept: dict[str, _State]) -> None:
    for name, logger in _all_loggers().items():
        if name in kept:
            level, handlers, logger.propagate, logger.disabled = kept[name]
            logger.setLevel(level)
            logger.handlers[:] = handlers
        elif name == _RAY:
            # What `ray.init` sets unless it is told otherwise.
            logger.setLevel(logging.INFO)
        elif name.startswith(f"{_RAY}."):
            logger.setLevel(logging.NOTSET)


def _handlers() -> dict[signal.Signals, object]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _restore_handlers(kept: dict[signal.Signals, object]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in kept.items():
        # None is a handler that Python did not set. Set also where Python knows no change: Ray
        # installs its own below Python's.
        if handler is not None:
            signal.signal(number, handler)  # type: ignore[arg-type]
