"""An object store in memory, as S3 is one: whole objects under keys, no folders, no rename."""

from __future__ import annotations

import io
import random
import threading
import time
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from distgan.storage.storage import Storage


class _Upload(io.BytesIO):
    """An object that appears when its upload is complete."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        super().__init__()
        self._store, self._key = store, key

    def close(self) -> None:
        if not self.closed:
            self._store.put(self._key, self.getvalue())
        super().close()


class ObjectStore(pafs.FileSystemHandler):  # type: ignore[misc]
    """Operations are atomic, take a random time of at most so many seconds, and are counted.

    Args:
        seconds: before and after which an operation takes effect.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.objects: dict[str, bytes] = {}
        self.seconds = seconds
        self.moves = 0
        self._draw, self._lock = random.Random(7), threading.Lock()

    def storage(self, name: str) -> Storage:
        """A folder in it."""
        return Storage(f"bucket/{name}", pafs.PyFileSystem(self))

    def _travel(self) -> None:
        time.sleep(self._draw.random() * self.seconds)

    def put(self, key: str, content: bytes) -> None:
        self._travel()
        with self._lock:
            self.objects[key] = content
        self._travel()

    def get_type_name(self) -> str:
        return "s3"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        self._travel()
        with self._lock:
            found = [self._info(path.strip("/")) for path in paths]
        self._travel()
        return found

    def _info(self, key: str) -> pafs.FileInfo:
        kind = pafs.FileType.NotFound
        if key in self.objects:
            kind = pafs.FileType.File
        elif any(other.startswith(f"{key}/") for other in self.objects):
            kind = pafs.FileType.Directory
        return pafs.FileInfo(key, kind, size=len(self.objects.get(key, b"")))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        self._travel()
        top = f"{selector.base_dir.strip('/')}/"
        with self._lock:
            inner = {
                top + key.removeprefix(top).split("/")[0]
                for key in self.objects
                if key.startswith(top)
            }
            found = [self._info(key) for key in sorted(inner)]
        self._travel()
        return found

    def create_dir(self, path: str, recursive: bool) -> None:
        """There are none."""

    def delete_dir(self, path: str) -> None:
        # As S3 does it: first a list, then one object after another.
        with self._lock:
            listed = [key for key in self.objects if key.startswith(f"{path.strip('/')}/")]
        for key in listed:
            self.delete_file(key)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.delete_dir(path)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        self._travel()
        with self._lock:
            self.objects.pop(path.strip("/"), None)

    def move(self, source: str, target: str) -> None:
        """A copy and a deletion, as pyarrow does it on S3."""
        self.moves += 1
        self.put(target.strip("/"), self.objects[source.strip("/")])
        self.delete_file(source)

    def copy_file(self, source: str, target: str) -> None:
        raise NotImplementedError

    def open_input_stream(self, path: str) -> Any:
        self._travel()
        with self._lock:
            content = self.objects.get(path.strip("/"))
        self._travel()
        if content is None:
            raise FileNotFoundError(path)
        return pa.BufferReader(content)

    open_input_file = open_input_stream

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        return pa.PythonFile(_Upload(self, path.strip("/")), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError
