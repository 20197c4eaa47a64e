"""A folder on any pyarrow filesystem; writes are atomic, so readers never see part of a file."""

from __future__ import annotations

import copy
import errno
import functools
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from pyarrow import fs as pafs

from distgan.errors import UserError, first_line, printable
from distgan.storage.scratch import Scratch

OWNER = "owner.json"
"""File of a run that describes its owner; see `distgan.storage.ownership`."""

T = TypeVar("T")
Writer = Callable[[IO[bytes]], Any]


class Storage:
    """Reads and atomically writes named files under one folder.

    Args:
        uri: a local path, or a URI that pyarrow understands (``s3://bucket/runs/a``,
            ``gs://...``, ``hdfs://...``, ``file:///...``).
        filesystem: used instead of the one the URI names; then ``uri`` is a path in it.
        owner: id that the file `OWNER` must hold at each write; None writes without this check.

    Raises:
        UserError: when no filesystem understands the URI.
    """

    def __init__(
        self,
        uri: str | Path,
        filesystem: pafs.FileSystem | None = None,
        *,
        owner: str | None = None,
    ) -> None:
        self.uri, self.owner = str(uri), owner
        self._owned = self
        _check_name(self.uri)
        if filesystem is not None:
            self.filesystem, self.root = filesystem, self.uri
        elif "://" in self.uri:
            try:
                self.filesystem, self.root = pafs.FileSystem.from_uri(self.uri)
            except (ValueError, OSError) as error:
                raise UserError(
                    f"{self.uri}: not a path or URI that can be opened ({first_line(error)})"
                ) from None
            if not self.root:
                raise UserError(f"{self.uri}: names no bucket or folder")
        else:
            self.filesystem = pafs.LocalFileSystem()
            self.root = os.path.abspath(os.path.expanduser(self.uri))
        self.local = isinstance(self.filesystem, pafs.LocalFileSystem)
        self.whole_objects = _kind(self.filesystem) in {"s3", "gcs", "abfs"}
        """Whether it is a store of objects: each there once it is whole, and no folders."""

    def path(self, name: str = "") -> str:
        """Where ``name`` lies inside the filesystem."""
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def show(self, name: str = "") -> str:
        """``name`` as a user would type it: a path or a complete URI."""
        return join(self.uri, name) if name else self.uri

    def child(self, name: str) -> Storage:
        """The folder ``name`` inside this one, on the same filesystem, written to for its owner."""
        inner = copy.copy(self)
        inner.uri, inner.root = join(self.uri, name), self.path(name)
        return inner

    def owned_by(self, owner: str, inside: str = "") -> Storage:
        """This folder, written to for an owner.

        Args:
            owner: the owner's id.
            inside: the folder inside this one that has the file `OWNER`.
        """
        owned = copy.copy(self)
        owned.owner = owner
        owned._owned = self.child(inside) if inside else self
        return owned

    def anywhere(self) -> str:
        """The folder's address, valid in a process with another working directory."""
        if "://" not in self.uri:
            return self.root
        path, query = parted(self.uri)
        return path.rstrip("/") + query

    def attempt(self, action: Callable[[], T]) -> T:
        """Call a function that accesses the storage; all accesses go through here."""
        return action()

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder of that name is there."""
        return bool(self._type(name) != pafs.FileType.NotFound)

    def is_folder(self, name: str = "") -> bool:
        """Whether a folder of that name is there."""
        return bool(self._type(name) == pafs.FileType.Directory)

    def _type(self, name: str) -> pafs.FileType:
        return self.attempt(lambda: self.filesystem.get_file_info(self.path(name))).type

    def names(self, folder: str = "") -> list[str]:
        """Base names of the files and folders directly inside ``folder``, sorted.

        Raises:
            UserError: when it is a file.
        """
        selector = pafs.FileSelector(self.path(folder), allow_not_found=True)
        try:
            found = self.attempt(lambda: self.filesystem.get_file_info(selector))
        except NotADirectoryError:
            raise UserError(
                f"{self.show(folder)}: is a file, not a folder; move it elsewhere"
            ) from None
        return sorted(info.base_name for info in found)

    def read(self, name: str) -> bytes:
        """The whole content of a file."""
        return self.attempt(lambda: self._read(name))

    def _read(self, name: str) -> bytes:
        # Reading from a pipe or a device may block or not end.
        if self.local and not stat.S_ISREG(os.stat(self.path(name)).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", self.path(name))
        with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
            return bytes(stream.readall())

    def read_text(self, name: str) -> str:
        """The whole content of a UTF-8 file."""
        return self.read(name).decode("utf-8")

    def write(self, name: str, content: bytes | memoryview | str | Writer) -> None:
        """Write a file atomically, replacing one of the same name.

        Args:
            content: bytes, text, or a function that writes to an open binary stream.

        Raises:
            UserError: when the disk is full or the place cannot be written.
        """
        if isinstance(content, str):
            content = content.encode("utf-8")
        writer = content if callable(content) else functools.partial(_write_all, content=content)
        self.attempt(lambda: self._write(name, writer))

    def check_owner(self) -> None:
        """Check that the folder still belongs to ``owner``.

        Raises:
            UserError: when it has another owner, or does not exist any more.
        """
        if self.owner is None:
            return
        found, uri = owner_of(self._owned), self._owned.uri
        if found is None:
            raise UserError(
                f"{uri}: is gone, or was moved or emptied ({OWNER} is not there); nothing "
                "more is written there: bring it back and go on with --resume"
            )
        if found.get("id") != self.owner:
            raise UserError(
                f"{uri}: has got another owner ({OWNER} says which); this one, "
                f"{self.owner} and lost meanwhile, writes no more"
            )

    def _write(self, name: str, writer: Writer) -> None:
        self.check_owner()
        try:
            if self.local:
                self._write_local(Path(self.path(name)), writer)
            else:
                self._write_remote(self.path(name), writer)
        except OSError as error:
            self.check_owner()  # The folder may have gone meanwhile.
            raise UserError(self._refusal(name, error)) from error

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""
        if self.exists(name):
            self.check_owner()
            self.attempt(lambda: self.filesystem.delete_file(self.path(name)))

    def delete_folder(self, name: str = "") -> None:
        """Remove a folder with its contents if it exists."""
        if self.exists(name):
            self.check_owner()
            self.filesystem.delete_dir(self.path(name))

    def move(self, name: str, target: str) -> None:
        """Rename a file, replacing one of the name ``target``.

        Raises:
            UserError: when the place cannot be written, or has got another owner.
        """
        self.check_owner()
        try:
            self.filesystem.move(self.path(name), self.path(target))
        except OSError as error:
            raise UserError(self._refusal(target, error)) from error

    def make(self) -> None:
        """Create the folder itself.

        Raises:
            UserError: when it cannot be created.
        """
        try:
            self.filesystem.create_dir(self.root, recursive=True)
        except OSError as error:
            raise UserError(self._refusal("", error)) from error

    def clear_unfinished(self, folder: str = "", of: str = "") -> None:
        """Remove incomplete files that killed writers have left directly inside a folder.

        Args:
            of: the name of the file that was being written; any by default.
        """
        beside = re.compile(rf"\.?{re.escape(of) if of else '.+'}\.\d+\.tmp")
        for name in self.names(folder):
            if beside.fullmatch(name):
                self.delete(f"{folder}/{name}" if folder else name)

    def _write_local(self, target: Path, writer: Writer) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with open(beside, "wb") as stream:
                writer(stream)
                stream.flush()
                os.fsync(stream.fileno())
                _release_cache(stream.fileno())
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)

    def _write_remote(self, target: str, writer: Writer) -> None:
        # In an object store an object appears only after its complete upload; other filesystems
        # need a rename.
        self.filesystem.create_dir(target.rsplit("/", 1)[0], recursive=True)
        beside = target if self.whole_objects else f"{target}.{os.getpid()}.tmp"
        with tempfile.TemporaryFile() as buffer:
            writer(buffer)
            buffer.seek(0)
            with self.filesystem.open_output_stream(beside) as stream:
                shutil.copyfileobj(buffer, stream)
        if beside != target:
            self.filesystem.move(beside, target)

    def _refusal(self, name: str, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return (
                f"{self.show(name)}: no space left to write it ({first_line(error)}); "
                "what was written before is intact, free some space or choose another --out"
            )
        return f"{self.show(name)}: cannot be written ({first_line(error)}); choose another --out"


class AppendLog:
    """A text file to which whole lines are appended.

    On a local disk each line is written at once. Elsewhere the file is kept in a temporary folder
    and uploaded by `publish`, because object stores cannot append.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self._name = storage, name
        self._rest = b""
        if storage.local:
            self._folder = None
            self._path = Path(storage.path(name))
        else:
            self._folder = Scratch("distgan-log-")
            self._path = Path(self._folder.path) / "log"
            if storage.exists(name):
                self._path.write_bytes(storage.read(name))
        try:
            self._stream = open(self._path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UserError(storage._refusal(name, error)) from error

    def append(self, line: str) -> None:
        """Add one line.

        Raises:
            UserError: when the disk is full.
        """
        self._rest += line.encode() + b"\n"
        self._storage.attempt(self._flush)

    def _flush(self) -> None:
        self._storage.check_owner()
        # On a full disk only a part is written; the next attempt continues with the rest.
        try:
            while self._rest:
                self._rest = self._rest[self._stream.write(self._rest) :]
        except OSError as error:
            raise UserError(self._storage._refusal(self._name, error)) from error

    def publish(self) -> None:
        """Upload the file, where the storage is not local."""
        if not self._storage.local:
            self._storage.write(self._name, self._path.read_bytes())

    def close(self) -> None:
        """Publish and close the file."""
        self._stream.close()
        self.publish()
        if self._folder is not None:
            self._folder.close()


def _kind(filesystem: pafs.FileSystem) -> str:
    """The protocol of a filesystem: ``s3`` also for Python's own, such as ``py::fsspec+s3``."""
    return re.split(r"[:+]", filesystem.type_name)[-1]


def owner_of(storage: Storage) -> dict[str, Any] | None:
    """The contents of `OWNER`; None without the file, an empty dict where it is damaged."""
    try:
        found = json.loads(storage._read(OWNER))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def parted(uri: str) -> tuple[str, str]:
    """Split a URI into the part before its query and the query with its question mark.

    A path without a scheme has no query.
    """
    path, mark, query = uri.partition("?") if "://" in uri else (uri, "", "")
    return path, mark + query


def join(uri: str, name: str) -> str:
    """The address of ``name`` inside the folder at a path or URI; keeps the URI's query."""
    path, query = parted(uri)
    return f"{path.rstrip('/')}/{name}{query}"


def last_name(uri: str) -> str:
    """The name of the file or folder at a path or URI."""
    return parted(uri)[0].rstrip("/").rpartition("/")[2]


def split(path: str) -> tuple[Storage, str]:
    """The folder of a file at a path or URI, and the file's name, empty for a folder."""
    _check_name(path)
    place, query = parted(path)
    folder, _, name = place.rpartition("/")
    storage = Storage((folder or ("/" if path.startswith("/") else ".")) + query)
    return storage, "" if not name or storage.is_folder(name) else name


def _check_name(uri: str) -> None:
    try:
        uri.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{printable(uri)}: its name is not UTF-8, which pyarrow's filesystems need; rename it"
        ) from None
    if "\0" in uri:
        raise UserError(f"{printable(uri)}: holds a null character, which no path can")


def _write_all(stream: IO[bytes], content: bytes | memoryview) -> None:
    stream.write(content)


_LARGE = 2**20
"""Bytes from which on a written file's pages are dropped from the kernel's cache."""


def _release_cache(handle: int) -> None:
    """Drop a large file, already on the disk, from the kernel's page cache (Linux and BSD).

    A checkpoint is read again only after a failure; its pages would push out those of the data
    set. The advice needs clean pages, so it has an effect only after ``fsync``.
    """
    if hasattr(os, "posix_fadvise") and os.fstat(handle).st_size >= _LARGE:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
