"""Copies a database file, or replaces it by a new one, always in a process of its own.

POSIX locks belong to a process and vanish when it closes *any* descriptor of the file, so a process that may hold
a database open must never open that file itself. It runs as a script with the standard library alone (-I -S).
"""

import errno
import fcntl
import json
import os
import shutil
import struct
import sys

LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
"""Suffixes of the logs that a killed session leaves beside its file: committed changes that are not yet in the file."""


def writer(path):
    """PID of the process that has the file open for writing, 0 where it is unknown; None where no process has."""
    linux = sys.platform == "linux"
    layout = "hhqqi4x" if linux else "qqihh4x"
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        request = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if linux else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        reply = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(layout, *request)))
    finally:
        os.close(file)
    kind, pid = (reply[0], reply[4]) if linux else (reply[3], reply[2])
    return max(pid, 0) if kind == fcntl.F_WRLCK else None


def state(path):
    """Inode, size and time of change of the file (key "") and of each log that exists: equal as long as nobody wrote."""
    found = {}
    for suffix in ("", *LOGS):
        try:
            seen = os.stat(path + suffix)
        except FileNotFoundError:
            continue
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


def replace(path, temporary, before):
    """Replace the file that was copied by the new one, unless a process writes or has written since.

    The new file contains the changes of the logs, which do not fit it and have to go. They are renamed first, so that
    the next publisher can undo it if this process dies in between.
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
    try:
        os.replace(temporary, path)
    except OSError:
        for log in logs:
            os.rename(log + end, log)
        raise
    for log in logs if file is not None else ():
        os.unlink(log + end)
    return {"writer": None, "done": True}


def main():
    action, path, temporary = sys.argv[1:4]
    answer = copy(path, temporary) if action == "copy" else replace(path, temporary, json.loads(sys.argv[4]))
    print(json.dumps(answer))  # noqa: T201 - its answer to the parent


main()
