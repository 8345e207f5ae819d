"""System calls that a tool's process may make, as lists of `seccomp.Rule` by what they protect.

The rules also hold for root: none relies on the user having few rights.
"""

from __future__ import annotations

import os
import signal
import socket
from itertools import product

from tools.sandbox.seccomp import (
    ALLOW,
    IGNORED,
    MISSING,
    NOTIFY,
    UNSUPPORTED,
    AnyBit,
    Equal,
    NotNull,
    Rule,
)

CLONE_THREAD = 0x00010000
CLONE_NAMESPACES = 0x7E020080
"""CLONE_NEW* of linux/sched.h: mount, cgroup, uts, ipc, user, pid, net, and time."""
MSG_FASTOPEN = 0x20000000
TMPFILE = 0o20000000
SET_ID = 0o6000
TYPE_BITS = 0xF
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
F_SETFL = 4
BUFFER_SIZES = (7, 8, 32, 33)
"""SO_SNDBUF, SO_RCVBUF, and their FORCE variants."""
OTHERS_FILES = (1024, 1026, 8, 10, 15)
"""F_SETLEASE keeps other processes from opening a file; F_NOTIFY, F_SETOWN, F_SETSIG and F_SETOWN_EX send signals."""
CHANGING_IOCTLS = (
    0x40086602,  # FS_IOC_SETFLAGS
    0x40046602,  # FS_IOC32_SETFLAGS
    0x401C5820,  # FS_IOC_FSSETXATTR
    0x40087602,  # FS_IOC_SETVERSION
    0x40806685,  # FS_IOC_ENABLE_VERITY
    0x5412,  # TIOCSTI: types into another terminal
    0x541C,  # TIOCLINUX
    0x8901,  # FIOASYNC: sends signals to the owner
    0x8902,  # SIOCSPGRP: the same
    0x5452,  # FIOASYNC: signals to the owner
)


def _denied(*calls: str) -> list[Rule]:
    return [Rule(call) for call in calls]


KERNEL = [
    *_denied("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"),
    *_denied("process_mrelease", "move_pages", "migrate_pages", "io_uring_setup", "unshare", "setns"),
    *_denied("mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount"),
    *_denied("open_tree", "mount_setattr", "swapon", "swapoff", "quotactl", "quotactl_fd", "acct", "syslog"),
    *_denied("bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module"),
    *_denied("finit_module", "delete_module", "reboot", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *_denied("sethostname", "setdomainname", "personality", "iopl", "ioperm", "modify_ldt", "name_to_handle_at"),
    *_denied("open_by_handle_at", "fanotify_init", "setuid", "setgid", "setreuid", "setregid", "setresuid"),
    *_denied("setresgid", "setfsuid", "setfsgid", "setgroups", "capset"),
    Rule("clone", when=(AnyBit(0, CLONE_NAMESPACES),)),
    Rule("clone3", MISSING),  # the filter can't see its flags in memory; the C library falls back to clone
    *(Rule("ioctl", when=(Equal(1, command),)) for command in CHANGING_IOCTLS),
    # A host must end with its parent, so it may not clear the signal.
    Rule("prctl", ALLOW, (Equal(0, PR_SET_PDEATHSIG), Equal(1, signal.SIGKILL))),
    Rule("prctl", when=(Equal(0, PR_SET_PDEATHSIG),)),
    Rule("prctl", when=(Equal(0, PR_SET_DUMPABLE),)),  # otherwise `watch` could not count its open files
    *(Rule("fcntl", when=(Equal(1, command),)) for command in OTHERS_FILES),
    Rule("fcntl", when=(Equal(1, F_SETFL), AnyBit(2, os.O_ASYNC))),
    *_denied("inotify_init", "inotify_init1", "io_setup"),  # counted per user or machine, not per host
    Rule("inotify_add_watch"),  # reports names of files that others write, even unreadable ones
]
"""Protects other processes' memory, namespaces, mounts, the kernel itself, and other users' identities."""

METADATA = [
    # Landlock covers none of these. `metadata` performs permitted changes in scratch.
    *(Rule(call, NOTIFY) for call in ("chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat")),
    *_denied("utime", "utimes", "futimesat", "chown", "fchown", "lchown", "fchownat"),
    *(Rule(call, UNSUPPORTED) for call in ("setxattr", "lsetxattr", "fsetxattr")),
    *(Rule(call, UNSUPPORTED) for call in ("removexattr", "lremovexattr", "fremovexattr")),
    Rule("openat2", MISSING),  # the filter can't see its mode in memory
    Rule("open", when=(AnyBit(1, os.O_CREAT | TMPFILE), AnyBit(2, SET_ID))),
    Rule("openat", when=(AnyBit(2, os.O_CREAT | TMPFILE), AnyBit(3, SET_ID))),
    *(Rule(call, when=(AnyBit(1, SET_ID),)) for call in ("creat", "mkdir", "mknod")),
    *(Rule(call, when=(AnyBit(2, SET_ID),)) for call in ("mkdirat", "mknodat")),
    # Landlock controls truncation by path or descriptor from its third version on.
    Rule("truncate"),
    *(
        Rule(call, when=(Equal(flags, mode, os.O_ACCMODE), AnyBit(flags, os.O_TRUNC)))
        for call, flags in (("open", 1), ("openat", 2))
        for mode in (os.O_RDONLY, os.O_ACCMODE)
    ),
]
"""Protects modes, owners, times, attributes and set-id bits of files."""

MEMORY = [
    # Without a cgroup, data waiting in sockets is not counted: buffers keep their default size (`watch` counts
    # sockets).
    *(Rule("setsockopt", IGNORED, (Equal(1, socket.SOL_SOCKET), Equal(2, option))) for option in BUFFER_SIZES),
    *_denied("shmget", "shmat", "shmctl", "msgget", "msgctl", "semget", "semctl", "mq_open"),
    *_denied("memfd_create", "memfd_secret", "add_key", "request_key", "keyctl"),
]
"""Denies memory that no limit of the process counts, or that outlives the process."""

SCHEDULING = [
    *_denied("setpriority", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"),
    *_denied("ioprio_set", "setrlimit"),
]
"""Protects priorities, processors and, except for `HOST_LIMITS`, resource limits of this process and of others."""

SIGNALS = _denied("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
"""Used if neither a PID namespace nor Landlock blocks signals to other processes."""

NO_PROGRAMS = [
    *_denied("fork", "vfork", "execve", "execveat"),
    Rule("clone", ALLOW, (Equal(0, CLONE_THREAD, CLONE_THREAD),)),
    Rule("clone"),
]
"""Denies new processes, but allows threads."""

PROGRAMS_BY_NOTICE = [
    Rule("clone", ALLOW, (Equal(0, CLONE_THREAD, CLONE_THREAD),)),
    *(Rule(call, NOTIFY) for call in ("clone", "fork", "vfork")),
]
"""Lets the outer process permit each new process, until the host is being ended. Otherwise, without a PID namespace,
a chain of processes that each start the next one and exit could never be caught."""

PAIRS = [
    Rule("socketpair", ALLOW, (Equal(0, socket.AF_UNIX), Equal(1, socket.SOCK_STREAM, TYPE_BITS))),
    Rule("socketpair"),
]
"""Allows pairs of streams, which asyncio needs. Datagram sockets could also send to addresses other than the peer's."""
NO_SOCKETS = [*_denied("socket"), *PAIRS]
"""Denies sockets of all families: a UNIX socket may lead to a daemon with network access."""

TCP_ONLY = [
    *(
        Rule("socket", ALLOW, (Equal(0, family), Equal(1, socket.SOCK_STREAM, TYPE_BITS), Equal(2, protocol)))
        for family, protocol in product((socket.AF_INET, socket.AF_INET6), (0, socket.IPPROTO_TCP))
    ),
    Rule("socket"),
    *_denied("bind", "listen"),  # a port may be shared with the platform's own listener
    Rule("sendto", when=(NotNull(4),)),
    Rule("sendto", when=(AnyBit(3, MSG_FASTOPEN),)),  # connects without connect
    Rule("sendmsg", when=(AnyBit(2, MSG_FASTOPEN),)),
    Rule("sendmmsg", when=(AnyBit(3, MSG_FASTOPEN),)),
    Rule("connect", NOTIFY),
    *PAIRS,
]
"""Allows outgoing TCP only; `connections` makes or denies each ``connect``."""

HOST_LIMITS = [Rule("prlimit64", ALLOW, (Equal(0, 0),)), Rule("prlimit64", when=(NotNull(2),))]
"""Lets a host lower its own limits, as `tools.builtin.forked` does in its child, but not those of other processes."""
NO_LIMITS = [Rule("prlimit64", when=(NotNull(2),))]

COMMON = [*KERNEL, *METADATA, *MEMORY, *SCHEDULING]


def of_host(*, network: bool, subprocesses: bool, signals: bool, alone: bool) -> list[Rule]:
    """The rules of a tool host.

    Args:
        network: whether it may connect to what `connections` allows.
        subprocesses: whether it may start programs.
        signals: whether another mechanism blocks its signals to other processes.
        alone: whether it has a PID namespace, so that everything that it started ends with it.
    """
    return [
        *COMMON,
        *HOST_LIMITS,
        *(TCP_ONLY if network else NO_SOCKETS),
        *(NO_PROGRAMS if not subprocesses else [] if alone else PROGRAMS_BY_NOTICE),
        *([] if signals else SIGNALS),
    ]


def of_program(*, signals: bool) -> list[Rule]:
    """Additional rules of a program that a model wrote (`tools.builtin.forked`): no sockets, processes or limits at
    all."""
    return [*NO_LIMITS, *NO_SOCKETS, *NO_PROGRAMS, *([] if signals else SIGNALS)]


def of_virtual_machine(*, signals: bool) -> list[Rule]:
    """Like `of_program`, for a program that is started under the rules (`tools.builtin.java`): it may replace itself by
    another one, which stays under them."""
    starting = [rule for rule in NO_PROGRAMS if rule.call != "execve"]
    return [*NO_LIMITS, *NO_SOCKETS, *starting, *([] if signals else SIGNALS)]
