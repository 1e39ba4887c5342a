"""Write a file completely or not at all."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from bijecta.errors import InputError


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Replace a file in one step, so that readers see the old content or the new, never a half.

    The content goes to a temporary file in the same folder, reaches the disk (flush, fsync), and takes the name of
    the target with one rename. Whatever fails before the rename leaves the target as it was and no temporary file.
    Devices and pipes such as ``/dev/stdout`` cannot be renamed over and are written directly.

    Args:
        path: the file to write. A symbolic link is followed; an existing file keeps its permissions.
        write: called once with the open binary file (readable and seekable too); what it returns is ignored.

    Raises:
        InputError: the folder does not exist, or the path is a folder.
        OSError: the disk is full, or the folder is not writable.

    Reference:
        Pillai et al. (2014), "All file systems are not created equal", OSDI.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "numbers.txt"
        >>> write_atomically(target, lambda file: file.write(b"1 2 3"))
        >>> target.read_text()
        '1 2 3'
    """
    target = Path(os.path.realpath(path))
    _check_target(target)
    if target.exists() and not target.is_file():
        with target.open("wb") as device:
            write(device)
        return
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        _write_to_disk(temporary, write)
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise InputError(f"Cannot write {target.name}: the folder {target.parent} does not exist. Create it first.")
    if target.is_dir():
        raise InputError(f"Cannot write to {target}: it is a folder. Give the path of a file.")


def _write_to_disk(path: Path, write: Callable[[BinaryIO], object]) -> None:
    # "x" refuses to follow a name that someone else created, and lets the umask decide the permissions.
    with path.open("x+b") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; systems without folder handles (Windows) do so on their own."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse to sync a folder; the data itself is already safe
        pass
    finally:
        os.close(handle)
