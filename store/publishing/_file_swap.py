"""Copies a database file, takes its standby, or replaces it by a new one, always in a process of its own.

POSIX locks belong to a process and vanish when it closes *any* descriptor of the file, so a process that may hold
a database open must never open that file itself. It runs as a script with the standard library alone (-I -S).
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
import struct
import sys
import time

LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
"""Suffixes of the logs that a killed session leaves beside its file: committed changes that are not yet in the file."""


def writer(path):
    """PID of the process that has the file open for writing, 0 where it is unknown; None where no process has."""
    linux = sys.platform == "linux"
    layout = "hhqqi4x" if linux else "qqihh4x"
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place would not let go
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", path)
        request = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if linux else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        reply = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(layout, *request)))
    finally:
        os.close(file)
    kind, pid = (reply[0], reply[4]) if linux else (reply[3], reply[2])
    return max(pid, 0) if kind == fcntl.F_WRLCK else None


def state(path):
    """Inode, size and time of change of the file (key "") and of each log that exists: equal as long as nobody wrote.

    Raises:
        OSError: a log is no plain file, which cannot be copied.
    """
    found = {}
    for suffix in ("", *LOGS):
        try:
            seen = os.stat(path + suffix)
        except FileNotFoundError:
            continue
        if suffix and not stat.S_ISREG(seen.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", path + suffix)
        if seen.st_size or not suffix:
            found[suffix] = [seen.st_ino, seen.st_size, seen.st_mtime_ns]
    return found


def copy(path, temporary):
    """Copy the file with its logs, unless a process writes; `whole` says that they did not change meanwhile."""
    answer = {"writer": writer(path), "state": state(path), "whole": False}
    if answer["writer"] is None and "" in answer["state"]:
        try:
            for suffix in answer["state"]:
                shutil.copy(path + suffix, temporary + suffix)
        except FileNotFoundError:  # a session that ends removes its log
            return answer
        answer["whole"] = state(path) == answer["state"]
    return answer


REST = 1.0
"""Seconds that a standby rests where only locks tell who reads it: a client opens a file before it takes its lock."""


def standby_name(path, active, standby):
    """Name of the file that was published before the present one: it says of which two files, as they are, this is true.

    Args:
        active, standby: inode, size and time of change of each, so that neither was changed by anybody since.
    """
    marks = ["-".join(f"{number:x}" for number in numbers) for numbers in (active, standby)]
    return f"{path}.standby-{marks[0]}-{marks[1]}"


def take(path, temporary):
    """Give the standby its temporary name, unless a process writes or has written to either file, or has it open.

    The name is synced before anybody writes: a standby by that name is whole. One that is still read is removed, and its
    readers go on with it.
    """
    answer = {"writer": writer(path), "state": state(path), "taken": False}
    if answer["writer"] is not None or set(answer["state"]) != {""}:
        return answer
    for name in standbys(path):
        own = state(name)
        if set(own) != {""} or name != standby_name(path, answer["state"][""], own[""]):
            continue
        one, other = os.stat(path), os.lstat(name)
        if (
            not stat.S_ISREG(other.st_mode)
            or other.st_nlink != 1
            or any(getattr(one, n) != getattr(other, n) for n in ("st_mode", "st_uid", "st_gid"))
        ):
            continue  # a person linked it, or changed who may read the published one
        os.rename(name, temporary)
        sync_folder(path)  # a name that came back after a power cut would promise the state from before this publish
        answer["taken"] = unused(temporary, other.st_ctime)
        if not answer["taken"]:
            os.unlink(temporary)
        break
    return answer


def standbys(path):
    """Paths of all files that are or were standbys of the file at this path."""
    folder, name = os.path.split(path)
    return [os.path.join(folder, found) for found in os.listdir(folder) if found.startswith(f"{name}.standby-")]


def unused(path, since):
    """Whether no process has the file open; nobody can open it any more, as it has changed its name.

    The kernel gives a write lease on a file only if it is open nowhere else. Where there are no leases, as on a network file
    system or on macOS, a lock tells, for clients of DuckDB only; `since` is the Unix time at which it became the standby.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True
    except AttributeError:
        pass
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
    finally:
        os.close(file)
    time.sleep(min(max(since + REST - time.time(), 0.0), REST))
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(file)


def sync_folder(path):
    """Put the names in the folder of a file on the disk."""
    file = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def replace(path, temporary, before, keep):
    """Replace the file that was copied by the new one, unless a process writes or has written since.

    The new file contains the changes of the logs, which do not fit it and have to go. They are renamed first, so that
    the next publisher can undo it if this process dies in between.

    Args:
        keep: the old file becomes the standby; otherwise there is none any more.
    """
    file = os.open(path, os.O_RDONLY) if "" in before else None
    try:
        if file is not None:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # readers may stay; no writer can open it from here on
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return {"writer": writer(path), "done": False}
    if state(path) != before:
        return {"writer": None, "done": False}
    end = f".taken-{before[''][0]}" if file is not None else ".orphan"
    logs = [path + suffix for suffix in before if suffix]
    for log in logs:
        os.rename(log, log + end)
    standby = None
    if keep and file is not None and not logs and os.fstat(file).st_nlink == 1:
        standby = standby_name(path, state(temporary)[""], before[""])
        try:
            os.link(path, standby)
        except OSError:  # a file system without hard links
            standby = None
    try:
        os.replace(temporary, path)
    except OSError:
        for log in logs:
            os.rename(log + end, log)
        raise
    for log in logs if file is not None else ():
        os.unlink(log + end)
    for name in standbys(path):
        if name != standby:
            with contextlib.suppress(OSError):  # a folder in its place
                os.unlink(name)
    return {"writer": None, "done": True}


def main():
    action, path, temporary = sys.argv[1:4]
    if action == "replace":
        answer = replace(path, temporary, json.loads(sys.argv[4]), sys.argv[5] == "keep")
    else:
        answer = {"copy": copy, "take": take}[action](path, temporary)
    print(json.dumps(answer))  # noqa: T201 - its answer to the parent


main()
