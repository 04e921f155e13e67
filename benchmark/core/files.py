"""Files that survive a kill: atomic writes, hashes, locks, disk checks."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from benchmark.core.errors import BusyError, UserError
from benchmark.core.text import MAX_TEXT_BYTES, parse_json, read_text


@contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file next to `path` that replaces it, whole and on the disk, when the block ends well.

    A kill at any moment leaves the old file or the new one. A link at `path` is replaced itself: what it leads to is
    not touched. Raises UserError when the disk is full or not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise not_writable(path, error) from None
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_UMASK)  # mkstemp makes private files
        os.replace(name, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise not_writable(path, error) from None
    finally:
        Path(name).unlink(missing_ok=True)


def remove_torn(folder: Path) -> None:
    """Remove what a killed process left of files it was writing, below, too. The caller holds the folder's lock.

    Links to other folders are not followed: what lies there is not the folder's own.
    """
    for parent, _, files in os.walk(folder):
        for name in fnmatch.filter(files, ".*.tmp"):
            Path(parent, name).unlink(missing_ok=True)


_UMASK = os.umask(0)
os.umask(_UMASK)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable (a no-op on systems that cannot open folders)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def not_writable(path: Path, error: OSError) -> UserError:
    """The user's view of a failed write."""
    mend = "free some space" if error.errno == 28 else "check the permissions, or choose another folder"
    return UserError(f"{path}: cannot be written", error.strerror or str(error), mend)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path, "w") as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError when it is not whole, or no JSON of a reasonable size."""
    mend = "move it away; what made it can make it again"
    return parse_json(read_text(path, fault=UserError, mend=mend), str(path), fault=UserError, mend=mend)


class JsonLines:
    """A file of JSON objects, one a line, to which a process appends until it ends or is killed.

    A kill may cut the last line short: reading ends there, and `keep` removes what is left of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """The objects of the whole lines; none without a file. Raises UserError when the file cannot be read."""
        return [value for _, value in self._whole_lines()]

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Remove the torn tail and the lines that are not wanted, atomically; the others stay as they are written."""
        if self.path.exists():
            with atomic(self.path, "w") as file:
                file.writelines(line + "\n" for line, value in self._whole_lines() if wanted(value))

    def append(self, value: dict[str, Any]) -> None:
        """Write one more line. Raises UserError when the disk is full or not writable."""
        line = json.dumps(value) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8", opener=_no_link) as file:
                file.write(line)
        except OSError as error:
            raise not_writable(self.path, error) from None

    def sync(self) -> None:
        """Put the lines on the disk: before a checkpoint that counts on them is."""
        if self.path.exists():
            with open(self.path, "rb", opener=_no_link) as file:
                os.fsync(file.fileno())

    def _whole_lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each line with its object, up to the first that is not whole; one at a time, as a log may be long."""
        if not self.path.exists():
            return
        try:
            if not self.path.is_file():  # a named pipe would block for ever
                raise OSError(errno.EINVAL, "it is not a regular file")
            with open(self.path, "rb") as file:
                for content in iter(lambda: file.readline(MAX_TEXT_BYTES), b""):
                    # "\n" alone ends a line: a text in JSON may hold other separators
                    value = json.loads(line := content.removesuffix(b"\n").decode("utf-8"))
                    if not isinstance(value, dict):
                        return
                    yield line, value
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read", error.strerror or str(error), "move it away") from None
        except (ValueError, RecursionError):  # a kill may cut a line, and in it a character in two
            return


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_writable(folder: Path) -> None:
    """Raise UserError unless files can be created in `folder` (made if missing)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"gantlet")
    except OSError as error:
        raise not_writable(folder, error) from None


def require_makeable(folder: Path) -> None:
    """Raise UserError unless files could be created in `folder`, which is not made: before it is known to be needed."""
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"gantlet")
    except OSError as error:
        raise not_writable(folder, error) from None


def require_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raise UserError unless the disk of `folder` has `needed_bytes` free."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(
            f"{folder}: the disk is too full for {purpose}",
            f"{needed_bytes / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free",
            "free some space, or choose another --results folder",
        )


@contextmanager
def lock(path: Path, what: str, wait: bool) -> Iterator[None]:
    """Hold an exclusive lock; the operating system drops it when the process dies.

    wait=True: another holder is waited for. wait=False: it raises BusyError, saying who holds it.
    Raises UserError when the lock cannot be written, or is a link: what it leads to is not touched.
    """
    held, owner = FileLock(path), path.with_suffix(".owner")
    try:
        if path.is_symlink():
            raise OSError(errno.ELOOP, _IS_LINK)
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=0)
    except Timeout:
        who = _read_owner(owner)
        if not wait:
            raise BusyError(f"{what} is being worked on", f"{who} holds it", "wait until it ends, or stop it") from None
        print(f"waiting for {what}: {who} is making it", flush=True)
        held.acquire()
    except OSError as error:
        raise not_writable(path, error) from None
    try:
        with suppress(OSError):  # a name for messages: the lock holds without it
            owner.unlink(missing_ok=True)  # of a killed holder, or a link
            with open(owner, "x", opener=_no_link) as file:
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        owner.unlink(missing_ok=True)
        held.release()


def _read_owner(owner: Path) -> str:
    """Who holds a lock, as far as it is known: the holder may be just coming or going."""
    try:
        with open(owner, encoding="utf-8", errors="replace", opener=_no_link) as file:
            return file.readline(200).strip() or "another process"
    except OSError:
        return "another process"


_IS_LINK = "it is a symbolic link, and what it leads to is not the suite's: remove the link"


def _no_link(path: str, flags: int) -> int:
    """Open a file of the suite's own, and no other by a link of its name; nothing that would block."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = _IS_LINK
        raise
