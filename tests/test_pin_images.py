"""`make pin-images`: what the registry says becomes the name of every image, or nothing changes."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tools.pin_images import FILES, ROOT, main

if TYPE_CHECKING:
    from pathlib import Path

TODAY = "sha256:" + "a1" * 32
ANSWERS = f"""#!/bin/sh
[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo {TODAY}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the two files."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def answer(project: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have a program named docker answer so, and no other."""
    program = project / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")


def test_every_image_gets_the_digest_of_its_tag(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Redis, nginx and both stages of our own; tags stay, and nothing else changes."""
    answer(project, monkeypatch, ANSWERS)
    before = {name: (ROOT / name).read_text() for name in FILES}
    assert main(project) == 0
    told = capsys.readouterr().out.split()
    assert [name.partition(":")[0] for name in told] == ["python", "redis", "nginx"]
    for name in FILES:
        after = (project / name).read_text().splitlines()
        changed = [
            (old, new)
            for old, new in zip(before[name].splitlines(), after, strict=True)
            if old != new
        ]
        assert len(changed) == 2, name
        for old, new in changed:
            assert new == re.sub(r"sha256:\w+", TODAY, old)


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no digest\n"])
def test_without_an_answer_nothing_changes(
    project: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """Half of the images would be as bad as none."""
    answer(project, monkeypatch, script)
    assert main(project) == 1
    for name in FILES:
        assert (project / name).read_text() == (ROOT / name).read_text()
