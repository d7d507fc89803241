"""`python -m tests.fuzz` finds what there is to find, and says how to see it again."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import main, targets


def test_every_target_is_a_file() -> None:
    """Named as its file is."""
    assert {"codecs", "frame_parser", "http_head", "json_patch", "tokens"} <= set(targets())
    assert not {"command", "soak"} & set(targets())


def test_a_round_is_told_with_its_seed(capfd: pytest.CaptureFixture[str]) -> None:
    """And ends well where nothing is found."""
    assert main(["--seconds", "0", "--examples", "1", "client"]) == 0
    assert "seed " in capfd.readouterr().out


def test_unknown_target_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With those there are."""
    with pytest.raises(SystemExit):
        main(["no-such"])
    assert "no such target: no-such" in capsys.readouterr().err


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_nothing_is_found_in_ten_minutes() -> None:
    """All targets, in turns."""
    assert main(["--seconds", "600"]) == 0
