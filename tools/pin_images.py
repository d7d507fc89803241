"""Name the images of Dockerfile and docker-compose.yml by the digests that their tags have today.

A tag moves; a digest names one content for ever, on all platforms (it is the index's). This asks
the registry with `docker buildx imagetools`, and needs no engine that runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = ("Dockerfile", "docker-compose.yml")
# `FROM name:tag@digest` or `image: name:tag@digest`; what is built here has no digest.
PINNED = re.compile(
    r"^(?P<before>FROM | +image: )(?P<tag>[\w./-]+:[\w.-]+)@sha256:\w+", flags=re.MULTILINE
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class NotPinned(Exception):
    """The registry did not tell a digest."""


def digest_of(tag: str) -> str:
    """Ask the registry which digest a tag has.

    Raises:
        NotPinned: there is no docker, or no answer; says why.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise NotPinned("there is no docker on PATH")
    command = [docker, "buildx", "imagetools", "inspect", tag, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    digest = done.stdout.strip()
    if done.returncode or not DIGEST.fullmatch(digest):
        raise NotPinned(f"{tag}: {done.stderr.strip() or 'no digest in the answer'}")
    return digest


def pinned(text: str, digests: dict[str, str]) -> str:
    """The text with the digest of each tag; a tag that is not in `digests` is looked up."""

    def renamed(found: re.Match[str]) -> str:
        tag = found["tag"]
        if tag not in digests:
            digests[tag] = digest_of(tag)
        return f"{found['before']}{tag}@{digests[tag]}"

    return PINNED.sub(renamed, text)


def main(root: Path = ROOT) -> int:
    """Return the exit code: 0 if all images are named by what their tags are today."""
    digests: dict[str, str] = {}
    try:
        new = {name: pinned((root / name).read_text(encoding="utf-8"), digests) for name in FILES}
    except (NotPinned, subprocess.TimeoutExpired) as exc:
        print(f"images: nothing is changed; {exc}", file=sys.stderr)
        return 1
    for name, text in new.items():
        (root / name).write_text(text, encoding="utf-8")
    for tag, digest in digests.items():
        print(f"{tag}@{digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
