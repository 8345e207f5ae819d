"""File system that contains only what a tool's process may see: a mount namespace with its own root.

Folders keep their paths, and are read-only unless named as writable. The scratch folder is in memory, with a size
limit. Source: mount_namespaces(7), mount_setattr(2), pivot_root(2).
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.opening import without_links

CLONE_NEWNS = 0x00020000
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
OPEN_TREE_CLONE, AT_RECURSIVE, AT_EMPTY_PATH, MOVE_FROM_DESCRIPTOR, AT_FDCWD = 1, 0x8000, 0x1000, 0x4, -100
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_REC, MS_PRIVATE, MNT_DETACH = (
    1,
    2,
    4,
    8,
    32,
    1 << 14,
    1 << 18,
    2,
)
READ_ONLY, NO_SET_ID, NO_DEVICES, NO_PROGRAMS, MAP_IDS = 1, 2, 4, 8, 0x00100000
"""MOUNT_ATTR_* of linux/mount.h."""
SCRATCH_FILES = 20_000


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


@dataclass(frozen=True)
class View:
    """Files that a process sees. Paths that don't exist are skipped.

    Attributes:
        readable: files and folders mounted read-only.
        system: the operating system's files and folders, mounted read-only; only world-readable ones are accessible.
        writable: files and folders mounted writable and noexec; their paths are resolved already.
        scratch: an existing empty folder, where a tmpfs of ``scratch_bytes`` is mounted.
        devices: device files.
        owner: user and group that own ``scratch``.
        ids: file descriptor of a user namespace (`identity.mapped`) for ID-mapped mounts: root's files in ``readable``
            appear as the owner's where the file system supports it. None: files keep their owners.
    """

    readable: tuple[Path, ...]
    system: tuple[Path, ...]
    writable: tuple[Path, ...]
    scratch: Path
    scratch_bytes: int
    devices: tuple[Path, ...]
    owner: tuple[int, int]
    ids: int | None = None

    def enter(self) -> None:
        """Makes this the file system of the calling process, which must have its own mount namespace.

        Raises:
            OSError: a mount failed.
        """
        _mount("none", "/", None, MS_REC | MS_PRIVATE)
        trees = [*self._trees()]  # opened before anything is mounted over them
        root = self.scratch
        _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
        for link, target in _links((*self.readable, *self.system, *self.devices)):
            _place_link(root, link, target)
        for path, tree in trees:
            _attach(tree, _below(root, path), stat.S_ISDIR(os.fstat(tree).st_mode))
        scratch = _below(root, self.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        uid, gid = self.owner
        options = f"mode=700,size={self.scratch_bytes},nr_inodes={SCRATCH_FILES},uid={uid},gid={gid}"
        _mount("tmpfs", scratch, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
        self._mount_proc(root)
        _mount("none", root, None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
        os.chdir(root)
        _checked(_libc().syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
        _checked(_libc().umount2(b".", MNT_DETACH), "umount of the old root")
        os.chdir(self.scratch)

    def _trees(self) -> Iterator[tuple[Path, int]]:
        """Copies of the mounts, by their real paths, outer ones first."""
        wanted: dict[Path, int] = {}
        owned = 0 if self.ids is None else MAP_IDS
        for paths, attributes in (
            (self.readable, READ_ONLY | NO_SET_ID | NO_DEVICES | owned),
            (self.system, READ_ONLY | NO_SET_ID | NO_DEVICES),
            (self.devices, NO_SET_ID | NO_PROGRAMS),
        ):
            for path in paths:
                if path.exists():
                    wanted[path.resolve()] = attributes
        # Not resolved again: a tool may have replaced it with a link since the check.
        wanted |= dict.fromkeys(self.writable, NO_SET_ID | NO_DEVICES | NO_PROGRAMS)
        of_system = {path.resolve() for path in self.system}
        for path in sorted(wanted):
            if of_system.intersection(path.parents):
                wanted[path] &= ~MAP_IDS
            with suppress(FileNotFoundError):
                yield path, self._tree(path, wanted[path])

    def _tree(self, path: Path, attributes: int) -> int:
        here = without_links(path, os.O_PATH)
        try:
            flags = OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH | os.O_CLOEXEC
            tree = _libc().syscall(OPEN_TREE, here, b"", flags)
            _checked(tree, f"open_tree {path}")
        finally:
            os.close(here)
        if not attributes & MAP_IDS or _set_attributes(tree, attributes, self.ids or 0) < 0:
            _checked(_set_attributes(tree, attributes & ~MAP_IDS), f"mount_setattr {path}")
        return int(tree)

    def _mount_proc(self, root: Path) -> None:
        """Mounts /proc of this PID namespace, unless the container hides parts of its own /proc."""
        place = _below(root, Path("/proc"))
        place.mkdir(exist_ok=True)
        try:
            _mount("proc", place, "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
        except OSError:
            return


def _links(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Symbolic links in the given paths, by the real path of each link."""
    for path in paths:
        for step in (*reversed(path.parents), path):
            if step.is_symlink():
                target = os.readlink(step)
                yield step.parent.resolve() / step.name, target
                yield from _links([Path(os.path.join(step.parent, target))])


def _place_link(root: Path, link: Path, target: str) -> None:
    place = _below(root, link)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(target)


def _attach(tree: int, place: Path, is_folder: bool) -> None:
    try:
        if not os.path.lexists(place):  # an attached folder may contain it already
            (place if is_folder else place.parent).mkdir(parents=True, exist_ok=True)
            if not is_folder:
                place.touch()
        result = _libc().syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(place), MOVE_FROM_DESCRIPTOR)
        _checked(result, f"move_mount {place}")
    finally:
        os.close(tree)


def _set_attributes(tree: int, attributes: int, ids: int = 0) -> int:
    told = _Attributes(attributes, 0, 0, ids)
    size = ctypes.c_size_t(ctypes.sizeof(told))
    return int(_libc().syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, ctypes.byref(told), size))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _mount(source: str, target: str | Path, kind: str | None, flags: int, options: str = "") -> None:
    result = _libc().mount(
        source.encode(), os.fsencode(target), kind and kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _checked(result, f"mount {target}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
