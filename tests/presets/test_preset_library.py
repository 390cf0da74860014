"""The library: presets by name, whatever else lies in its folder."""

import json
import os
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from presets.errors import PresetError
from presets.library import Library, default_library, inspect
from presets.preset import Preset

MakePreset = Callable[..., Preset]


def test_a_saved_preset_is_found_listed_loaded_and_removed(library: Library, make_preset: MakePreset) -> None:
    """One preset's whole life."""
    made = make_preset("Tape 2")
    path = library.save(made)
    assert path == library.find("Tape 2") == library.folder / "Tape 2.gram.safetensors"
    (entry,) = library.list()
    assert (entry.name, entry.path, entry.card, entry.problem) == ("Tape 2", path, made.card, None)
    assert entry.size_bytes == path.stat().st_size
    assert library.load("Tape 2").content_hash == made.content_hash
    assert library.remove("Tape 2") == path
    assert library.list() == ()


def test_a_missing_preset_suggests_the_nearest(library: Library, make_preset: MakePreset) -> None:
    """The error names what was meant and what there is; in an empty library, how to learn one."""
    with pytest.raises(PresetError, match="is empty; learn one with: gramophone preset learn"):
        library.find("tape")
    for name in ("tape", "choir"):
        library.save(make_preset(name))
    with pytest.raises(
        PresetError, match=r"no preset is called 'Taep'.*did you mean 'tape'\? \(there are: choir, tape\)"
    ):
        library.load("Taep")
    with pytest.raises(PresetError, match="no preset is called 'zzz'") as caught:
        library.remove("zzz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["../tape", "a/b", "", "..", "tape:0.5"])
def test_no_name_reaches_outside_the_folder(library: Library, name: str) -> None:
    """Finding, loading and removing refuse what is no name before any path is made of it."""
    for action in (library.path, library.find, library.load, library.remove):
        with pytest.raises(PresetError, match="preset name"):
            action(name)


def test_a_listing_survives_whatever_lies_in_the_folder(library: Library, make_preset: MakePreset) -> None:
    """Broken and foreign files are listed with their problem, other files are not, and the good one is still there."""
    folder = library.folder
    good = library.save(make_preset("good")).read_bytes()
    (folder / "cut.gram.safetensors").write_bytes(good[: len(good) // 2])
    (folder / "empty.gram.safetensors").touch()
    (folder / "page.gram.safetensors").write_text("<!doctype html><title>Not found</title>" * 10)
    (folder / "folder.gram.safetensors").mkdir()
    (folder / "lost.gram.safetensors").symlink_to(folder / "nowhere")
    (folder / "bad, name.gram.safetensors").write_bytes(good)
    (folder / "plain.safetensors").write_bytes(good)
    save_file({"w": torch.ones(2)}, folder / "model.gram.safetensors")
    (folder / "notes.txt").write_text("mine")
    (folder / ".0123.tmp").write_bytes(good)
    newer = json.dumps({"__metadata__": {"gramophone": '{"format": 7, "created_by": "3.0"}'}}).encode()
    (folder / "newer.gram.safetensors").write_bytes(struct.pack("<Q", len(newer)) + newer)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.gram.safetensors")
    found = {entry.name: entry.problem for entry in library.list()}
    problems = {
        "cut": "truncated",
        "empty": "0 bytes",
        "page": "not a preset",
        "folder": "not a regular file",
        "lost": "No such file",
        "bad, name": "','",
        "plain": "is not named NAME.gram.safetensors",
        "model": "no Gramophone card",
        "newer": "format 7, written by Gramophone 3.0",
        "pipe": "not a regular file",
    }
    assert found.pop("good") is None
    assert found.keys() == problems.keys()
    for name, problem in found.items():
        assert problems[name] in (problem or "")


def test_a_listing_reads_headers_only(library: Library, make_preset: MakePreset) -> None:
    """A damaged tensor is not seen by the listing, which stays fast, and is seen by everything that uses the file."""
    path = library.save(make_preset())
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert library.list()[0].problem is None
    with pytest.raises(PresetError, match="corrupt tensor"):
        inspect(path)
    with pytest.raises(PresetError, match="corrupt tensor"):
        library.copy(path, "other", {})


def test_a_name_a_file_system_decomposed_is_found(library: Library, make_preset: MakePreset) -> None:
    """A file that macOS renamed to Unicode's decomposed form is still the preset of that name."""
    path = library.save(make_preset("caf\u00e9"))
    decomposed = path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    assert library.find("caf\u00e9") == decomposed
    assert library.list()[0].name == "caf\u00e9"
    assert library.load("cafe\u0301").name == "caf\u00e9"


def test_a_copy_keeps_the_sound_and_changes_the_card(library: Library, make_preset: MakePreset) -> None:
    """Copying a file under a new name changes the card fields asked for, keeps every tensor and checks the card."""
    path = library.save(make_preset("tape", amount=0.5))
    entry = library.copy(path, "other", {"amount": 0.25})
    copied = library.load("other")
    assert entry.card == copied.card
    assert copied.card.amount == 0.25
    assert copied.content_hash == library.load("tape").content_hash
    with pytest.raises(PresetError, match="amount"):
        library.copy(path, "third", {"amount": 7.0})
    with pytest.raises(PresetError, match="exists"):
        library.copy(path, "other", {})


def test_the_folder_is_the_option_then_the_environment_then_the_users(tmp_path: Path) -> None:
    """--library beats $GRAMOPHONE_LIBRARY beats the user's data folder; an empty variable counts as none."""
    environ = {"GRAMOPHONE_LIBRARY": str(tmp_path / "env")}
    assert default_library(tmp_path / "option", environ).folder == tmp_path / "option"
    assert default_library(None, environ).folder == tmp_path / "env"
    for none in ({}, {"GRAMOPHONE_LIBRARY": ""}):
        users = default_library(None, none).folder
        assert users.is_absolute()
        assert users.name == "presets"
        assert users.parent.name == "gramophone"
    with pytest.raises(PresetError, match="no user's home"):
        default_library(Path("~no-such-user-here/presets"))


def test_a_library_that_is_no_folder_says_so(tmp_path: Path, make_preset: MakePreset) -> None:
    """A file where the library should be is named in the error of reading and of writing."""
    (tmp_path / "library").write_text("not a folder")
    with pytest.raises(PresetError, match=r"library.*cannot be read: Not a directory"):
        Library(tmp_path / "library").list()
    with pytest.raises(PresetError, match="library"):
        Library(tmp_path / "library").save(make_preset())
