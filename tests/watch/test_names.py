"""What is an input and what everything is called, for whatever names a file system may hold."""

import os
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from render import naming
from watch import names

# Anything a Linux file system holds as one name: every byte but 0 and /.
NAMES = st.binary(min_size=1, max_size=255).map(lambda b: os.fsdecode(b.replace(b"/", b"_").replace(b"\0", b"_")))
ODD = NAMES | st.sampled_from(
    ["-rf", "a\nb", "{stem}", "{0.__class__}", "\x1b[31m", "é" * 100, "..wav", " ", "nul", "x" * 255, "\udcff"]
)
VALUES: dict[str, str | int] = {"folder": "tape", "stem": "vox", "preset": "tape", "quality": "draft", "seed": 0}


@pytest.mark.parametrize(
    "path",
    [
        "vox.wav",
        "tape/vox.WAV",
        "tape/a/b/c.aiff",
        "tape/_takes/vox.wav",
        "tape/-rf.wav",
        "tape/a\nb.wav",
        "x/album.toml",
    ],
)
def test_inputs_are_seen(path: str) -> None:
    """Stems and albums are inputs wherever they are; an underscore means something in the watched folder alone."""
    assert names.is_input(path)


@pytest.mark.parametrize(
    "path",
    [
        "_out/tape/vox.wav",
        "_failed/tape/vox.wav",
        "_done/vox.wav",
        "_vox.wav",
        ".gramophone/vox.wav",
        "tape/.vox.wav.Xy12Zq",
        "tape/.vox.wav",
        "tape/._vox.wav",
        "tape/~vox.wav",
        "tape/~syncthing~vox.wav.tmp",
        "tape/.syncthing.vox.wav.tmp",
        "tape/vox.wav.part",
        "tape/vox.wav.filepart",
        "tape/vox.wav.crdownload",
        "tape/vox.wav~",
        "tape/Upload.TMP/vox.wav",
        "tape/.stversions/vox.wav",
        "tape/notes.txt",
        "tape/vox.toml",
        "tape/watch.toml",
        "tape/wav",
        "tape/.wav",
        "tape//vox.wav",
        "/vox.wav",
        "../vox.wav",
        "tape/../../vox.wav",
        "",
    ],
)
def test_what_is_no_input_is_never_taken_for_one(path: str) -> None:
    """Our own folders, hidden and unfinished files and what is no sound are none, at any depth."""
    assert not names.is_input(path)


@pytest.mark.parametrize("folder", [names.OUT, names.FAILED, names.DONE, names.STATE])
def test_our_own_folders_are_never_inputs(folder: str) -> None:
    """Whatever is put where outputs, failures, sources and state go is not eaten again."""
    assert not names.is_input(f"{folder}/tape/vox.wav")


@given(ODD, st.lists(ODD, max_size=4))
@example("..", ["..", ".."])
def test_no_name_leads_an_output_out_or_to_an_impossible_name(stem: str, folders: list[str]) -> None:
    """Whatever a stem and its folders are called, the output lies below its folder under a name every system takes."""
    for text in (names.TEMPLATE, "{folder}_{stem}", "flat/{stem}", "{preset}/{folder}/{stem}_{seed:03d}"):
        place = names.output(names.parse_template(text), VALUES | {"stem": stem, "folder": "/".join(folders)})
        assert not place.is_absolute()
        for part in place.parts:
            assert part not in (".", "..")
            assert not part.startswith(".")
            assert part.isprintable()
            assert not set(part) & set('<>:"/\\|?*')
            assert len(part.encode()) <= naming.MAX_BYTES + 1


def test_sub_folders_are_kept_and_made_one_name_where_the_template_says_so() -> None:
    """A {folder} of its own keeps the tree; beside other text it is part of one name."""
    values = VALUES | {"folder": "tape/drums/close"}
    assert names.output(names.parse_template(names.TEMPLATE), values) == PurePosixPath("tape/drums/close/vox")
    assert names.output(names.parse_template("{folder}_{stem}"), values) == PurePosixPath("tape_drums_close_vox")
    assert names.output(names.parse_template("{folder}/{stem}"), VALUES | {"folder": ""}) == PurePosixPath("vox")


@pytest.mark.parametrize("text", ["../{stem}", "/tmp/{stem}", "{album}", "{stem.__class__}", "~/x", "{stem}/"])
def test_templates_that_could_leave_the_folder_or_name_no_field_are_refused(text: str) -> None:
    """A template is checked when the config is, not when the first stem comes."""
    with pytest.raises(naming.NamingError):
        names.parse_template(text)


@given(st.lists(ODD, min_size=1, max_size=12))
def test_no_two_stems_share_an_output_on_any_file_system(stems: list[str]) -> None:
    """Numbered one after the other, outputs differ by more than case, composition or ending, and stay short enough."""
    taken: set[str] = set()
    template = names.parse_template(names.TEMPLATE)
    for stem in [s for name in stems for s in (name, name.upper(), unicodedata.normalize("NFD", name))]:
        place = names.unused(names.output(template, VALUES | {"stem": stem}), taken.__contains__)
        assert names.key(place) not in taken
        assert len(place.name.encode()) <= naming.MAX_BYTES + 1
        taken.add(names.key(place))
    assert len(taken) == 3 * len(stems)


def test_stems_that_differ_by_ending_alone_get_outputs_of_their_own() -> None:
    """The output's ending is not known before the stem is opened, so that the names before it have to differ."""
    first = names.output(names.parse_template(names.TEMPLATE), VALUES)
    second = names.unused(first, {names.key(first)}.__contains__)
    assert (str(first), str(second)) == ("tape/vox", "tape/vox (2)")
    assert names.key(PurePosixPath("Tape/VOX.flac")) == names.key(first)


@given(NAMES, st.integers(2, 10_000))
@example("x" * 251 + ".wav", 2)
@example("é" * 125 + "\udcff.wav", 10_000)
@example("x." + "y" * 250, 2)
def test_a_source_put_aside_keeps_its_name_but_for_the_number(name: str, number: int) -> None:
    """However long or odd its name, it fits the file system and keeps its ending; its reason's name fits too."""
    aside = names.aside(f"tape/{name}", number)
    assert aside.startswith("tape/")
    assert len(os.fsencode(aside.removeprefix("tape/"))) <= names.NAME_BYTES
    assert f" ({number})" in aside
    if names.kind(name) == "stem":
        assert aside.endswith(f" ({number}){names.ending(name)}")
    assert names.aside(f"tape/{name}") == f"tape/{name}"
    assert len(os.fsencode(names.reason(name))) <= names.NAME_BYTES
    assert names.reason(name).endswith(".txt")


def test_long_names_that_begin_alike_have_reasons_of_their_own() -> None:
    """A reason's name is cut where it must be, but never onto another's."""
    one, other = "x" * 251 + ".wav", "x" * 251 + ".mp3"
    assert names.reason(one) != names.reason(other)


@pytest.mark.parametrize(
    ("folder", "blend"),
    [
        ("tape70-choir30", {"tape": 70, "choir": 30}),
        ("a33-b33-c33", {"a": 33, "b": 33, "c": 33}),
        ("lo-fi50-old tape50", {"lo-fi": 50, "old tape": 50}),
    ],
)
def test_a_label_of_a_blend_is_read_back(folder: str, blend: dict[str, int]) -> None:
    """A folder named as outputs of a blend are is that blend."""
    assert blend in names.blends(folder)


@pytest.mark.parametrize("folder", ["tape", "tape70", "tape70-choir40", "tape-choir", "70-30", "tape70-tape30", ""])
def test_other_names_are_no_blend(folder: str) -> None:
    """Percentages have to be about a hundred, of different presets."""
    assert names.blends(folder) == ()


@given(st.text(st.sampled_from("ab1290-"), max_size=200))
@example("-".join(["a11"] * 60))
def test_every_reading_of_a_folder_s_name_gives_that_name_again(folder: str) -> None:
    """A hostile name costs no more than another, and no reading invents anything."""
    for blend in names.blends(folder):
        assert "-".join(f"{name}{weight}" for name, weight in blend.items()) == folder


@given(ODD)
def test_messages_show_any_name_in_one_line(name: str) -> None:
    """No line break, escape code or undecodable byte reaches a terminal or a log."""
    assert names.shown(name).isprintable()


def test_the_sidecar_and_the_folders_of_a_stem() -> None:
    """A sidecar has the stem's name; the folders above go from the nearest to the watched one."""
    assert names.sidecar("tape/take 1.5.wav") == "tape/take 1.5.toml"
    assert names.sidecar("tape/watch.wav") is None
    assert names.folders_above("vox.wav") == ("",)
    assert names.folders_above("tape/a/vox.wav") == ("tape/a", "tape", "")
