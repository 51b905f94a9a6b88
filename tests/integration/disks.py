# SPDX-License-Identifier: Apache-2.0
"""Disks in memory, of a size, for tests that fill them. Needs root (mount)."""
import contextlib
import pathlib
import subprocess


def are_allowed():
    """Whether this user may mount one."""
    return subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


class Disk:
    """At `folder`, which it makes."""

    def __init__(self, folder, mebibytes):
        self.folder = pathlib.Path(folder)
        self.filler = self.folder / "filler"
        self.folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(self.folder)], check=True)

    def resize(self, mebibytes):
        subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", str(self.folder)], check=True)

    def fill(self, leave=0):
        """As somebody else does, to the last byte, but for `leave` of them."""
        with open(self.filler, "wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 16))
            file.truncate(max(0, file.tell() - leave))

    def free(self):
        self.filler.unlink(missing_ok=True)

    def down(self):
        subprocess.run(["umount", "-l", str(self.folder)], check=False)
