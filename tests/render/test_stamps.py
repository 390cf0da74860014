"""Stamps: an output is recognised by its inputs and its bytes, and by nothing less."""

from pathlib import Path

import pytest

from render import stamps
from render.errors import RenderError

INPUTS = {"stem": "abc", "settings": {"amount": 1.0}, "chain": []}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output with its stamp."""
    path = tmp_path / "album/01.wav"
    path.parent.mkdir()
    path.write_bytes(b"sound")
    stamps.write(path, INPUTS, path)
    return path


def test_the_same_inputs_and_bytes_are_recognised(tmp_path: Path, output: Path) -> None:
    """Order of keys does not matter: inputs are compared by content."""
    assert stamps.holds(output, dict(reversed(INPUTS.items())))


def test_other_inputs_are_not(tmp_path: Path, output: Path) -> None:
    """One changed setting is another render."""
    assert not stamps.holds(output, INPUTS | {"settings": {"amount": 0.9}})


@pytest.mark.parametrize("content", [b"sounds", b"sound!"[:5][::-1], b""])
def test_an_output_that_was_changed_is_not_ours_any_more(tmp_path: Path, output: Path, content: bytes) -> None:
    """Another size, or the same size with other bytes: not recognised, so never taken for done."""
    output.write_bytes(content)
    assert not stamps.holds(output, INPUTS)


def test_a_missing_output_or_stamp_is_not_done(tmp_path: Path, output: Path) -> None:
    """A stamp alone, written just before a crash, claims nothing; neither does an output without one."""
    other = output.with_name("02.wav")
    other.write_bytes(b"sound")
    assert not stamps.holds(other, INPUTS)
    output.unlink()
    assert not stamps.holds(output, INPUTS)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 99}', "[" * 100_000])
def test_a_broken_stamp_is_no_stamp(tmp_path: Path, output: Path, text: str) -> None:
    """Whatever stands in the record's place, the answer is no and not an exception."""
    (record,) = (output.parent / stamps.FOLDER).iterdir()
    record.write_text(text)
    assert not stamps.holds(output, INPUTS)


def test_an_unreadable_stem_is_one_clear_error(tmp_path: Path) -> None:
    """Its digest cannot be taken, and the error says of which file."""
    with pytest.raises(RenderError, match=r"gone\.wav cannot be read"):
        stamps.file_digest(tmp_path / "gone.wav")
