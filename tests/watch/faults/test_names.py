"""Names: whatever a stem is called, it gets an output of its own that every system can hold, and leads nowhere else."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon


def drop(daemon: "Daemon", *stems: str) -> tuple[str, ...]:
    """Stems of those names, each with another sound; the names."""
    for seed, name in enumerate(stems):
        daemon.drop(name, seed=seed + 1)
    return stems


def assert_own_outputs(daemon: "Daemon", made: Sequence[str]) -> list[str]:
    """Each of ``made`` gets done with an output nobody else has; the names of those, from ``_out`` on."""
    daemon.until(lambda: all(daemon.states().get(name) == "done" for name in made), f"{sorted(made)} are done")
    rows = {row.relative: row for row in daemon.rows("done")}
    outputs = [rows[name].output or "" for name in made]
    # As a Mac's file system sees them, and whatever ending they have.
    keys = {unicodedata.normalize("NFC", os.path.splitext(output)[0]).casefold() for output in outputs}  # noqa: PTH122
    assert len(keys) == len(made), "some file system takes two of them for one"
    for name, output in zip(made, outputs, strict=True):
        assert (daemon.folder / output).is_relative_to(daemon.folder / "_out")
        assert len(os.fsencode(Path(output).name)) <= 255
        with (daemon.folder / output).open("rb") as styled, (daemon.folder / name).open("rb") as stem:
            assert np.array_equal(soundfile.read(styled)[0], soundfile.read(stem)[0])
    daemon.check()
    return [output.removeprefix("_out/") for output in outputs]


def test_names_that_differ_by_their_ending(shared: "Daemon") -> None:
    """vox.wav, vox.flac and vox.aiff are three stems and three outputs."""
    outputs = assert_own_outputs(shared, drop(shared, "tape/vox.wav", "tape/vox.flac", "tape/vox.aiff"))
    assert sorted(Path(output).stem for output in outputs) == ["vox", "vox (2)", "vox (3)"]


def test_names_that_differ_by_case(shared: "Daemon") -> None:
    """Drum, drum and DRUM each have an output that a file system without case can hold beside the others."""
    assert_own_outputs(shared, drop(shared, "tape/Drum.wav", "tape/drum.wav", "tape/DRUM.WAV.wav", "tape/DRUM.wav"))


def test_names_that_differ_by_composition(shared: "Daemon") -> None:
    """é in one code point and in two are two stems here and one name on a Mac."""
    composed = [unicodedata.normalize(form, "tape/café.wav") for form in ("NFC", "NFD")]
    assert composed[0] != composed[1]
    assert_own_outputs(shared, drop(shared, *composed))


@pytest.mark.parametrize("letter", ["a", "é", "音"])
def test_a_name_of_255_bytes(shared: "Daemon", letter: str) -> None:
    """The longest name there can be, and its twin, have outputs, also where those need a number."""
    size = len(letter.encode())
    bare = letter * ((255 - 4) // size)
    made = (f"tape/{bare}.wav", f"tape/{bare}.aif", f"tape/{bare[:-1]}b.wav", f"rain/{bare}.wav")
    outputs = assert_own_outputs(shared, drop(shared, *made))
    assert sum(" (2)." in output for output in outputs) == 1


def test_a_name_that_is_too_long_for_a_reason_fails_with_one(shared: "Daemon") -> None:
    """A failed stem with a name of 255 bytes has its text all the same."""
    path = shared.folder / "tape" / ("f" * 251 + ".wav")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no sound")
    shared.until(lambda: shared.states().get(f"tape/{path.name}") == "failed", "it is failed")
    shared.until(lambda: not path.exists(), "it is put aside")
    shared.check()


def test_a_name_that_is_no_utf8(shared: "Daemon") -> None:
    """Bytes that are no text are a name like any; the output's is one that can be shown."""
    name = os.fsdecode(b"tape/caf\xe9 \xff.wav")
    [output] = assert_own_outputs(shared, drop(shared, name))
    output.encode("utf-8")


@pytest.mark.parametrize(
    "name",
    [
        *("-rf.wav", "--help.wav", "{stem}.wav", "{0.__class__}.wav", "%s%n.wav", "two\nlines.wav", "tab\there.wav"),
        *("\x1b[31mred.wav", "$(reboot).wav", "a'b\"c.wav", " .wav", "dot..wav", "CON.wav", "aux.wav", "a\\b.wav"),
        *("\u202egnp.wav", "[bold]x[/bold].wav", "a:b.wav", "?*.wav", "ends.wav.wav"),
    ],
)
def test_odd_names(shared: "Daemon", name: str) -> None:
    """A leading dash, braces, line breaks, escapes and what a shell or another system would take for something."""
    [output] = assert_own_outputs(shared, drop(shared, f"rain/{name}"))
    assert output.isprintable()
    said = shared.command("status", "--all")
    assert said.returncode == 0
    assert "\x1b[31mred" not in said.stdout


def test_odd_names_of_folders(shared: "Daemon") -> None:
    """Sub folders may be called as oddly; the output keeps as many levels, each with a name that every system takes."""
    made = drop(shared, "tape/-x/{a}/two\nlines/vox.wav", "tape/con/x../vox.wav")
    for name, output in zip(made, assert_own_outputs(shared, made), strict=True):
        folders = Path(output).parts[:-1]
        assert folders[0] == "tape"
        assert len(folders) == name.count("/")
        for folder in folders:
            assert folder.isprintable()
            assert not folder.endswith((".", " "))
            assert folder.casefold() != "con"


def test_links_out_of_the_folder_are_refused(shared: "Daemon", tmp_path: Path) -> None:
    """Neither a link to a file nor one to a folder is followed; each is told once and nothing behind it is touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    stem = shared.drop("tape/.mine.wav")
    stem.replace(outside / "secret.wav")
    (shared.folder / "tape/one link.wav").symlink_to(outside / "secret.wav")
    (shared.folder / "tape/a folder link").symlink_to(outside)
    (shared.folder / "tape/round").symlink_to(shared.folder)
    shared.until(lambda: "one link.wav is a link" in shared.log and "a folder link is a link" in shared.log, "told")
    shared.drop("tape/beside links.wav")
    shared.until(lambda: shared.states().get("tape/beside links.wav") == "done", "the one beside them is done")
    assert not [name for name in shared.states() if "link.wav" in name or "secret" in name or "round" in name]
    assert shared.log.count("is a link") == 3
    assert sorted(path.name for path in outside.iterdir()) == ["secret.wav"]
    shared.check()


@pytest.mark.parametrize(
    "line",
    [
        'chain = [{ plugin = "convolution", impulse_response_filename = "../../outside.wav" }]',
        'chain = [{ plugin = "convolution", impulse_response_filename = "/etc/passwd" }]',
        'preset = "../../outside.gram.safetensors"',
        'template = "../../{stem}"',
        'template = "/tmp/{stem}"',
        'out = ".."',
    ],
)
def test_a_sidecar_cannot_lead_out(shared: "Daemon", line: str) -> None:
    """What a sidecar names lies in the watched folder or is refused: the stem waits, and says why."""
    number = abs(hash(line)) % 10_000
    name = f"tape/side{number}"
    (shared.folder / "tape").mkdir(exist_ok=True)
    (shared.folder / f"{name}.toml").write_text(line + "\n")
    shared.drop(f"{name}.wav")

    def waits() -> bool:
        return any(row.relative == f"{name}.wav" and row.reason for row in shared.rows("found"))

    shared.until(waits, "it waits with a reason")
    [row] = [row for row in shared.rows("found") if row.relative == f"{name}.wav"]
    assert f"side{number}.toml" in (row.reason or "")
    (shared.folder / f"{name}.toml").write_text("mix = 1.0\n")
    shared.until(lambda: shared.states().get(f"{name}.wav") == "done", "mended, it is done")
    shared.check()


def test_a_link_in_the_output_folder_is_not_written_through(shared: "Daemon", tmp_path: Path) -> None:
    """Where outputs of a folder are to go, a link to elsewhere makes them wait; nothing appears there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    (shared.folder / "_out").mkdir(exist_ok=True)
    (shared.folder / "_out/flip").symlink_to(outside)
    shared.drop("flip/vox.wav")
    shared.until(lambda: "through a link" in shared.log, "it is refused")
    assert not list(outside.iterdir())
    (shared.folder / "_out/flip").unlink()
    shared.until(lambda: shared.states().get("flip/vox.wav") == "done", "without the link it is done")
    shared.check()
