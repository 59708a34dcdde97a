"""`python docker/size.py ROOT`: how large the image is whose files lie in ROOT, and of what.

The system is what lies outside /opt/umzero: the base and the packages that the Dockerfile adds.
What dpkg says of these stands beside it; it counts the documentation, too, that slim images leave
out. Sizes are those of the files, as an engine sums them, uncompressed; MB are 10^6 bytes. Exit
code 1: above the limit.
"""

import argparse
import os
import stat
import sys
from pathlib import Path

LIMIT_MB = 400
OURS = ("opt/umzero/lib", "opt/umzero/weights")
LARGEST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--limit", type=float, default=LIMIT_MB, help="in MB")
    given = parser.parse_args()
    root: Path = given.root
    base, added = packages(root, set((root.parent / "base-packages").read_text().split()))
    parts = {name: size_of(root / name) for name in OURS}
    total = size_of(root)
    print(f"{'system':24} {(total - sum(parts.values())) / 1e6:7.1f} MB")
    print(f"  dpkg: {base / 1e6:.1f} MB of the base, {added / 1e6:.1f} MB of packages added")
    for name, size in parts.items():
        print(f"{name:24} {size / 1e6:7.1f} MB")
    environment = next((root / "opt/umzero/lib").glob("python3*/site-packages"))
    largest = sorted(((size_of(path), path.name) for path in environment.iterdir()), reverse=True)
    told = ", ".join(f"{name} {size / 1e6:.0f}" for size, name in largest[:LARGEST])
    print(f"  the largest of it: {told}")
    print(f"{'together':24} {total / 1e6:7.1f} MB, of at most {given.limit:g}")
    if total > given.limit * 1e6:
        sys.exit("too large")


def packages(root: Path, of_base: set[str]) -> tuple[int, int]:
    """Bytes of the base's packages and of those that were added, by dpkg's list."""
    base = added = 0
    for entry in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        pairs = (line.split(": ", 1) for line in entry.splitlines() if line[:1].strip())
        fields = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
        if fields.get("Status") != "install ok installed":
            continue
        size = 1024 * int(fields.get("Installed-Size", "0"))
        if fields["Package"] in of_base:
            base += size
        else:
            added += size
    return base, added


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; one with several names counts once."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    seen: dict[tuple[int, int], int] = {}
    for folder, _, files in os.walk(path):
        for name in files:
            told = Path(folder, name).lstat()
            if stat.S_ISREG(told.st_mode):
                seen[told.st_dev, told.st_ino] = told.st_size
    return sum(seen.values())


if __name__ == "__main__":
    main()
