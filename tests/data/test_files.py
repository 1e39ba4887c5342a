"""Atomic writing: the old content or the new, never a half."""

import os
import stat

import pytest

from bijecta.data import write_atomically
from bijecta.errors import InputError


def test_replaces_content_and_keeps_permissions(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    write_atomically(target, lambda file: file.write(b"new") and None)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_the_old_content_and_no_litter(tmp_path, error):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(target, fail)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_at_the_sync_is_a_failure_too(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a.bin", lambda file: file.write(b"x") and None)
    assert list(tmp_path.iterdir()) == []


def test_symbolic_links_are_followed(tmp_path):
    target, link = tmp_path / "a.bin", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, lambda file: file.write(b"new") and None)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_devices_are_written_directly():
    write_atomically(os.devnull, lambda file: file.write(b"gone") and None)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_unusable_targets_are_explained(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_atomically(tmp_path / "no" / "a", lambda _: None)
    with pytest.raises(InputError, match="is a folder"):
        write_atomically(tmp_path, lambda _: None)
