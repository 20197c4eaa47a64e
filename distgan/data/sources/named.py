"""Sets that are downloaded by name: addresses and checksums of their files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distgan.errors import UserError
from distgan.storage.in_use import in_use
from distgan.storage.scratch import cache_folder

Progress = Callable[[str, int, int], None]
"""Called with a description of the work, the amount done, and the total."""

_CHUNK = 1 << 18
_SECONDS_TO_ANSWER = 30


@dataclass(frozen=True)
class Download:
    """Files to download from one address, their published MD5 sums, and the classes' names."""

    url: str
    files: dict[str, str]
    classes: tuple[str, ...] = ()


_IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

NAMED = {
    "mnist": Download(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            _IDX[0]: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            _IDX[1]: "d53e105ee54ea40749a09fcbcd1e9432",
            _IDX[2]: "9fb629c4189551a2d022fa330f9573f3",
            _IDX[3]: "ec29112dd5afa0611ce80d1b7f02629c",
        },
        tuple("0123456789"),
    ),
    "fashion-mnist": Download(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            _IDX[0]: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            _IDX[1]: "25c81989df183df01b3e8a0aad5dffbe",
            _IDX[2]: "bef4ecab320f06d8554ea6380940ec79",
            _IDX[3]: "bb300cfdad3c16e7a12a480ee83cd310",
        },
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
    "cifar10": Download(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    ),
    "cifar100": Download(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    ),
}
"""The sets that `distgan data prepare` takes by name. Checksums: the sets' own or torchvision's."""


def fetch(name: str, progress: Progress) -> Path:
    """The folder with a named set's files; missing ones are downloaded.

    While they are, `distgan clean` leaves the folder alone.

    Raises:
        UserError: when a download fails, or a file's checksum differs.
    """
    download, folder = NAMED[name], cache_folder() / name
    missing = {f: md5 for f, md5 in download.files.items() if not (folder / f).exists()}
    if missing:
        with _being_filled(folder):
            for file, md5 in missing.items():
                _fetch_file(download.url + file, folder / file, md5, progress)
    return folder


@contextlib.contextmanager
def _being_filled(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(in_use(folder))
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be made ({error.strerror}); see to its permissions, or name "
                "another place by XDG_CACHE_HOME"
            ) from None
        yield


def _fetch_file(url: str, target: Path, md5: str, progress: Progress) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    by_hand = f"download it by hand and give its folder as SOURCE, or put it in {target.parent}"
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS_TO_ANSWER) as answer:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            with open(beside, "wb") as stream:
                while chunk := answer.read(_CHUNK):
                    stream.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    progress(f"bytes of {target.name}", done, max(total, done))
        if digest.hexdigest() != md5:
            raise UserError(
                f"{url}: what came is not the published file (MD5 {digest.hexdigest()}, not "
                f"{md5}); try again, or {by_hand}"
            )
        os.replace(beside, target)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(f"{url}: cannot be downloaded ({error}); {by_hand}") from None
    finally:
        beside.unlink(missing_ok=True)
