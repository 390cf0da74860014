"""Manifests: every mistake at once, each in one line with its place, what was found, what is allowed, what is near."""

from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from render import manifest
from render.errors import InputError

WHOLE = """
[album]
title  = "Night Bus"
output = "renders/{album}/{index:02d}_{track}_{preset}.wav"
preset = "tape-choir"
amount = 0.8
mix    = 1
quality = "draft"
seed = 7
device = "cpu"
bit_depth = 24
format = "wav"
overs = "scale"
tail_s = 1.5

[[album.chain]]
plugin = "compressor"
threshold_db = -18

[[track]]
stem   = "stems/vox.wav"
title  = "Vox"
preset = { "tape-choir" = 0.7, "rain" = 0.3 }
bit_depth = "32f"
album_chain = false
[[track.chain]]
plugin = "reverb"

[[track]]
stem = "stems/bass.wav"
"""


def _check(text: str) -> tuple[manifest.Manifest, list[str]]:
    found, mistakes = manifest.check(tomli.loads(text), "album.toml")
    return found, [str(m) for m in mistakes]


def test_a_whole_manifest_has_no_mistakes() -> None:
    """Every key there is, at the album and at a track, is read as it was written."""
    found, mistakes = _check(WHOLE)
    assert mistakes == []
    assert found.album.amount == 0.8
    assert found.album.mix == 1.0
    assert found.album.bit_depth == 24
    assert found.track[0].bit_depth == "32f"
    assert found.track[0].preset == {"tape-choir": 0.7, "rain": 0.3}
    assert found.track[1].amount is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("amount = 1.5", "album.amount: found 1.5; expected a number from 0 (the stem) to 1 (the full style)"),
        ("amount = nan", "album.amount: found nan; expected a number from 0"),
        ("amount = true", "album.amount: found true; expected a number from 0"),
        ('mix = "half"', "album.mix: found 'half'; expected a number from 0 (dry) to 1 (wet)"),
        ('quality = "standart"', "expected one of draft, standard, fine; did you mean 'standard'?"),
        ("seed = -1", "album.seed: found -1; expected a whole number from 0 up"),
        ("seed = 1.5", "album.seed: found 1.5; expected a whole number"),
        ('device = "gpu"', "album.device: found 'gpu'; expected one of auto, cpu, cuda, mps"),
        ("bit_depth = 17", 'album.bit_depth: found 17; expected "source", 16, 24 or "32f"'),
        ('format = "flak"', "expected one of source, wav, aiff, flac; did you mean 'flac'?"),
        ('overs = "clip"', "album.overs: found 'clip'; expected one of limit, scale, refuse"),
        ("tail_s = -0.1", "album.tail_s: found -0.1; expected a number of seconds from 0 to 60"),
        ('title = ""', "album.title: found ''; expected a text of 1 to 200 characters"),
        ("preset = 3", "album.preset: found 3; expected a preset like"),
        ("amont = 1", "album.amont: no such key here; did you mean 'amount'?"),
        ("zzz = 1", "album.zzz: no such key here; expected one of preset, amount"),
        (
            "tail_s = 'atuo'",
            "album.tail_s: found 'atuo'; expected a number of seconds from 0 to 60, or \"auto\"",
        ),
    ],
)
def test_each_wrong_value_is_one_line(line: str, told: str) -> None:
    """Place, finding, remedy and, for names, the nearest: all in one line, and no second one."""
    _, mistakes = _check(f'[album]\n{line}\n[[track]]\nstem = "a.wav"\n')
    assert len(mistakes) == 1
    assert mistakes[0].startswith("album.toml: album.")
    assert told in mistakes[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["track: there is none"]),
        ("track = 3", ["track: found 3; expected tables [[track]]"]),
        ("track = [1]", ["track[1]: found 1; expected a table"]),
        ('album = 3\n[[track]]\nstem = "a"', ["album: found 3; expected a table [album]"]),
        ('[[tracks]]\nstem = "a"', ["tracks: no such key here", "did you mean 'track'?"]),
        (
            '[[track]]\nmidi = 3\nmidi_track = 0\ninstrument = "S.vst3"',
            [
                "midi: found 3; expected the path of a MIDI",
                "midi_track: found 0",
                "instrument: found 'S.vst3'; expected a t",
            ],
        ),
        ('[[track]]\nstem = "a"\n[[track]]\nstem = 4', ["track[2].stem: found 4; expected the path"]),
    ],
)
def test_mistakes_in_the_shape_of_the_document_are_told_by_place(text: str, told: list[str]) -> None:
    """Tables of the wrong kind and misspelt ones each have their own line."""
    _, mistakes = _check(text)
    for part in told:
        assert any(part in line for line in mistakes), mistakes


def test_five_mistakes_give_five_lines() -> None:
    """One run shows all that is to be mended, album and tracks alike, and reads what is right."""
    found, mistakes = _check(
        '[album]\namont = 1\nquality = "standart"\n[[track]]\nstem = "a.wav"\nmix = 2\n'
        '[[track]]\nstem = 5\n[[track]]\nstem = "c.wav"\nbit_depth = "48"\n'
    )
    assert len(mistakes) == 5
    assert [track.stem for track in found.track] == ["a.wav", None, "c.wav"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[album\n", "not TOML: Expected ']'"),
        (b"\xff\xfe[album]", "not TOML: not UTF-8 text"),
        (b"a = " + b"[" * 50_000, "not TOML"),
        (b"#" * (manifest.MAX_BYTES + 1), "is larger than 4,000,000 bytes"),
    ],
)
def test_what_is_not_toml_is_one_line(content: bytes, told: str, tmp_path: Path) -> None:
    """Broken, binary, endless or bottomless files are told as what they are, in bounded memory."""
    path = tmp_path / "album.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        manifest.load(path)
    (mistake,) = caught.value.mistakes
    assert told in str(mistake)
    assert "\n" not in str(mistake)


def test_a_missing_manifest_and_a_folder_are_one_line(tmp_path: Path) -> None:
    """Neither is opened as a manifest."""
    with pytest.raises(InputError, match="does not exist; expected an album manifest"):
        manifest.load(tmp_path / "album.toml")
    with pytest.raises(InputError, match="is a folder"):
        manifest.load(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors on Windows write one."""
    path = tmp_path / "album.toml"
    path.write_bytes(b'\xef\xbb\xbf[[track]]\nstem = "a.wav"\n')
    assert manifest.load(path)[1] == []


_KEYS = st.sampled_from(["album", "track", "stem", "amount", "chain", "preset", "midi", "title", "a.b", "x\ny", ""])
_VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_no_document_however_odd_raises_anything_but_its_mistakes(document: dict[str, Any]) -> None:
    """Any TOML there can be is read to the end: a manifest, and one printable line for each mistake."""
    found, mistakes = manifest.check(document, "album.toml")
    assert isinstance(found, manifest.Manifest)
    assert mistakes or found.track
    for mistake in mistakes:
        assert str(mistake).isprintable()
    assert len({str(m) for m in mistakes}) == len(mistakes)
