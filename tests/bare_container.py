"""A command in a root folder of its own: the part of a container that the kernel does, by itself.

Mounts and process ids are its own, the network is the machine's. For root alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path


def command(
    root: Path,
    words: Sequence[str],
    *,
    user: str,
    folder: str,
    variables: Mapping[str, str],
    binds: Mapping[str, Path],
    tmpfs: Sequence[str] = (),
    read_only: bool = False,
) -> list[str]:
    """Return the command that runs another one in there.

    Args:
        root: What it sees as `/`.
        words: The command.
        user: Who carries it out, `1000` or `1000:1000`.
        folder: Where it starts; made if it is not there.
        variables: All that stands in its environment.
        binds: Path in there → file or folder of the machine that is seen there.
        tmpfs: Folders that are empty and forgotten, as Compose writes them.
        read_only: Nothing else can be written.
    """
    script = ["set -e", f"cd {shlex.quote(str(root))}", "mount --make-rprivate /"]
    script += ["mount --bind . .", f"cd {shlex.quote(str(root))}", f"mkdir -p .{folder}"]
    mounts = [f"mount --rbind {source} .{there}" for there, source in binds.items()]
    for there, source in binds.items():
        make = "mkdir -p" if source.is_dir() else f"mkdir -p .{Path(there).parent}; touch"
        script.append(f"{make} .{there}")
    for one in tmpfs:
        there, _, options = one.partition(":")
        mounts.append(f"mount -t tmpfs -o {options or 'mode=1777'} tmpfs .{there}")
    script += ["mkdir -p ./proc ./dev", "mount -t proc proc ./proc", "mount --rbind /dev ./dev"]
    script += ["mount -o remount,bind,ro ."] if read_only else []
    script += mounts
    given = [f"{name}={value}" for name, value in variables.items()]
    group = user if ":" in user else f"{user}:{user}"
    inside = ["env", "-i", *given, "sh", "-c", f'cd {folder} && exec "$@"', "sh", *words]
    script.append(f"exec chroot --userspec={group} . {shlex.join(inside)}")
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script)]
