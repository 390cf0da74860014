"""Names of outputs: templates that cannot leave their folder, and names that every file system takes."""

import string
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from render import naming
from render.naming import NamingError

VALUES: dict[str, str | int] = {
    "album": "Night Bus",
    "index": 3,
    "track": "Vox",
    "title": "Vox",
    "stem": "vox",
    "preset": "tape70-rain30",
    "quality": "draft",
    "seed": 0,
}


def test_the_template_of_the_manual_gives_the_name_it_promises() -> None:
    """Folders without fields are the output folder; the rest is filled in, padded as asked."""
    template = naming.parse("renders/{album}/{index:02d}_{track}_{preset}.wav")
    assert template.folder == "renders"
    assert template.container == "WAV"
    assert template.fill(VALUES, suffix=".flac") == PurePosixPath("Night Bus/03_Vox_tape70-rain30.wav")


def test_without_an_ending_the_format_s_own_is_appended() -> None:
    """Dots in a title are no ending: only the template's own text decides."""
    template = naming.parse("{track}")
    assert template.container is None
    assert template.fill(VALUES | {"track": "Vox v1.5"}, suffix=".aiff").name == "Vox v1.5.aiff"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("../{track}", "without .."),
        ("a/../../{track}", "without .."),
        ("a\\..\\{track}", "without .."),
        ("/etc/{track}", "relative to the manifest"),
        ("C:\\x\\{track}", "relative to the manifest"),
        ("~/{track}", "without ~"),
        ("{track}/", "a file name at the end"),
        ("", "a file name at the end"),
        (".wav", "a name before .wav"),
        ("{trak}", "did you mean 'track'?"),
        ("{track.__class__}", "expected one of {album}"),
        ("{track[0]}", "expected one of {album}"),
        ("{}", "expected one of"),
        ("{track!r}", "expected {track}"),
        ("{track:>1000000}", "expected {track}"),
        ("{index:1000000d}", "expected {index} or {index:02d}"),
        ("{index:x}", "expected {index} or {index:02d}"),
        ("{track", "no template"),
        ("{track}.mp3", "expected .wav, .aiff, .flac or none"),
        ("a\nb{track}", "control characters"),
    ],
)
def test_templates_that_are_none_say_why(text: str, line: str) -> None:
    """Each refused template says what was found and what is allowed."""
    with pytest.raises(NamingError) as caught:
        naming.parse(text)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


_ODD = st.text(st.characters(codec=None), max_size=300) | st.sampled_from(
    [
        "..",
        "../../etc/passwd",
        ".hidden",
        "CON",
        "nul.txt",
        "a/b",
        "a\\b",
        "c:",
        "x" * 500,
        "é" * 300,
        "\udcff",
        "\x1b[31m",
    ]
)
_TEMPLATES = st.sampled_from(
    ["{track}", "{album}/{track}", "out/{album}/{index:02d}_{title}.flac", "{preset}{stem}.aiff", "{track}.{stem}"]
)


@given(_TEMPLATES, _ODD, _ODD, st.integers(1, 10**6))
@example("{album}/{track}", "..", "..", 1)
def test_no_value_leads_out_of_the_folder_or_to_an_impossible_name(
    text: str, track: str, album: str, index: int
) -> None:
    """Whatever titles and names hold, the path is relative, visible, printable and short enough for any system."""
    values = VALUES | {"track": track, "title": track, "stem": track, "album": album, "index": index}
    path = naming.parse(text).fill(values, suffix=".wav")
    assert not path.is_absolute()
    for part in path.parts:
        assert part not in (".", "..")
        assert not part.startswith(".")
        assert not set(part) & set('<>:"/\\|?*')
        assert part.isprintable()
        assert len(part.encode()) <= naming.MAX_BYTES + 1
        assert not part.endswith((" ", "."))
        assert part.split(".")[0].rstrip().casefold() not in ("con", "prn", "aux", "nul", "com1", "lpt9")
    assert path.suffix in (".wav", ".flac", ".aiff")


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_is_a_template_or_a_clear_refusal(text: str) -> None:
    """No template, however odd, raises anything but `NamingError`, and what is accepted stays inside its folder."""
    try:
        template = naming.parse(text)
    except NamingError:
        return
    folder = Path("/root/folder")
    filled = folder / template.folder / template.fill(VALUES, suffix=".wav")
    assert folder in Path(*filled.parts).parents
    assert ".." not in filled.parts


@given(st.text(string.ascii_letters + "éßÉ", min_size=1, max_size=8))
def test_case_and_composition_do_not_make_two_names(name: str) -> None:
    """What macOS or Windows would take for one file has one collision key."""
    import unicodedata

    key = naming.collision_key(Path(name))
    assert key == naming.collision_key(Path(unicodedata.normalize("NFD", name)))
    assert key == naming.collision_key(Path(name.swapcase().swapcase())) == naming.collision_key(Path(name.upper()))
