"""Looks at a database file's locks, copies it, or folds in a left log - always in a process of its own.

POSIX locks belong to a process and vanish when it closes *any* descriptor of the file, so a process that may hold
a database open must never open that file itself. Started as a plain script: the standard library only.
"""

import fcntl
import json
import os
import shutil
import struct
import sys


def holder(path):
    """`("write" | "read" | None, pid)`: who has locked the file."""
    layout = "hhqqi4x" if sys.platform == "linux" else "qqihh4x"
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None, None
    except OSError:
        return None, None
    try:
        if sys.platform == "linux":
            asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        else:
            asked = struct.pack(layout, 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
            _, _, pid, kind, _ = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    finally:
        os.close(file)
    return {fcntl.F_WRLCK: "write", fcntl.F_RDLCK: "read"}.get(kind), pid or None


def state(path):
    """What tells that nobody wrote: inode, size and time of change of the file, and whether a log lies beside it."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    log = path + ".wal"
    return [found.st_ino, found.st_size, found.st_mtime_ns, os.path.exists(log) and os.path.getsize(log) > 0]


def main():
    action, path = sys.argv[1:3]
    if action == "fold":
        import duckdb

        duckdb.connect(path).close()
    kind, pid = holder(path)
    answer = {"kind": kind, "pid": pid, "state": state(path)}
    if action == "copy" and kind != "write" and answer["state"] and not answer["state"][3]:
        shutil.copyfile(path, sys.argv[3])
        answer["after"] = state(path)
    print(json.dumps(answer))  # noqa: T201 - its answer to the parent


main()
