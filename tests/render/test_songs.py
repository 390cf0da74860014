"""Bars come from the MIDI file that was chosen, or from the one beside the stem, and cuts go to them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mido
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from engine import audio, style
from engine.annotations import Annotations
from engine.bext import Broadcast
from presets.library import Library
from render import cli, cuts, midifiles, songs
from render import job as jobs
from render.choices import Choices
from render.errors import InputError
from render.planner import plan_album, plan_stems
from render.tempo import Marker, Song, Tempo, TempoMap

MakeStem = Callable[..., Path]


def tempo_file(path: Path, *, bpm: float = 100, markers: tuple[tuple[int, str], ...] = ()) -> Path:
    """A MIDI file of a tempo and ``markers`` at their ticks, without a note."""
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))])
    now = 0
    for tick, text in markers:
        track.append(mido.MetaMessage("marker", text=text, time=tick - now))
        now = tick
    path.parent.mkdir(parents=True, exist_ok=True)
    mido.MidiFile(tracks=[track]).save(path)
    return path


def test_the_file_beside_a_stem_is_its_song(shelf: Library, make_stem: MakeStem, tmp_path: Path) -> None:
    """A stem called vox takes its bars from vox.mid in its folder, and from no other file."""
    beside, alone = make_stem("vox.wav"), make_stem("other.wav")
    tempo_file(tmp_path / "vox.mid", bpm=100, markers=((480, "verse"),))
    first, second = plan_stems([beside, alone], library=shelf, choices=Choices(preset="tape")).jobs
    assert first.song == Song(tmp_path / "vox.mid", TempoMap(480, (Tempo(0, 600_000),)), (Marker(0.6, "verse"),))
    assert second.song is None
    assert midifiles.beside(tmp_path / "vox.mid") is None
    assert midifiles.beside(tmp_path / ("x" * 5000)) is None


def test_a_broken_file_beside_a_stem_is_noted(shelf: Library, make_stem: MakeStem, tmp_path: Path) -> None:
    """A file that nobody asked for does not stop the stem, and is not passed over in silence."""
    stem = make_stem("vox.wav")
    (tmp_path / "vox.mid").write_bytes(b"MThd")
    (job,) = plan_stems([stem], library=shelf, choices=Choices(preset="tape")).jobs
    assert job.song is None
    assert any("vox.mid" in note and "expected a Standard MIDI File" in note for note in job.notes)


def test_a_manifest_chooses_its_song(shelf: Library, make_stem: MakeStem, tmp_path: Path) -> None:
    """The album's tempo holds for every track, a track's own wins, and both win over the file beside the stem."""
    make_stem("a.wav"), make_stem("b.wav")
    tempo_file(tmp_path / "a.mid", bpm=60)
    tempo_file(tmp_path / "time" / "song.mid", bpm=90)
    tempo_file(tmp_path / "slow.mid", bpm=30)
    album = tmp_path / "album.toml"
    album.write_text(
        '[album]\npreset = "tape"\ntempo = "time/song.mid"\n[[track]]\nstem = "a.wav"\n'
        '[[track]]\nstem = "b.wav"\ntempo = "slow.mid"\n'
    )
    found = [job.song.tempo.tempos[0].bpm for job in plan_album(album, library=shelf).jobs if job.song]
    assert found == pytest.approx([90, 30], rel=1e-5)


def test_a_song_may_be_typed(
    shelf: Library, make_stem: MakeStem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--tempo wins over the file beside the stem, and is named when it cannot be read."""
    make_stem("vox.wav")
    tempo_file(tmp_path / "vox.mid", bpm=60)
    tempo_file(tmp_path / "song.mid", bpm=90)
    monkeypatch.chdir(tmp_path)
    (job,) = plan_stems([Path("vox.wav")], library=shelf, choices=Choices(preset="tape", tempo="song.mid")).jobs
    assert job.song is not None
    assert job.song.path == Path("song.mid")
    typed = ["render", "vox.wav", "--preset", "tape", "--library", str(shelf.folder), "--tempo", "sonk.mid"]
    done = CliRunner().invoke(cli.app, typed)
    assert done.exit_code == 2
    assert "--tempo" in done.output
    assert "did you mean 'song.mid'?" in " ".join(done.output.split())


def test_a_song_that_is_not_there_is_a_mistake(shelf: Library, make_stem: MakeStem, tmp_path: Path) -> None:
    """A chosen file that is missing or no MIDI is a line with its key and the nearest name, before any audio."""
    make_stem("a.wav")
    tempo_file(tmp_path / "song.mid")
    (tmp_path / "junk.mid").write_text("junk")
    album = tmp_path / "album.toml"
    album.write_text(
        '[album]\npreset = "tape"\n[[track]]\nstem = "a.wav"\ntempo = "sogn.mid"\n'
        '[[track]]\nstem = "a.wav"\ntempo = "junk.mid"\n[[track]]\nstem = "a.wav"\ntempo = 4\n'
    )
    with pytest.raises(InputError) as caught:
        plan_album(album, library=shelf)
    lines = [str(mistake) for mistake in caught.value.mistakes]
    assert len(lines) == 3
    assert any("track[1].tempo: " in line and "did you mean 'song.mid'?" in line for line in lines)
    assert any("track[2].tempo: " in line and "junk.mid" in line and "MThd" in line for line in lines)
    assert any("track[3].tempo: found 4; expected the path of a MIDI file" in line for line in lines)


def test_the_stamp_knows_the_song(shelf: Library, make_stem: MakeStem, tmp_path: Path) -> None:
    """Another tempo is another render, other notes are not, and a stem that is not styled has no bars to miss."""
    stem = make_stem("vox.wav")
    (plain,) = plan_stems([stem], library=shelf, choices=Choices(preset="tape")).jobs
    song = songs.chosen(tempo_file(tmp_path / "x.mid", bpm=90))
    other = songs.chosen(tempo_file(tmp_path / "y.mid", bpm=91))
    inputs = [replace(plain, song=s).inputs() for s in (None, song, replace(song, path=stem), other)]
    assert "song" not in inputs[0]
    assert inputs[1] == inputs[2] != inputs[3]
    dry = replace(plain, preset=None)
    assert dry.inputs() == replace(dry, song=song).inputs()


def test_a_stem_that_starts_later_has_the_bars_of_its_place(
    shelf: Library, make_stem: MakeStem, tmp_path: Path, noise: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stem that starts 1.25 s past the hour is cut at bars that much earlier, save those of a song beside it."""
    rate = 8000
    stem = tmp_path / "vox.wav"
    starts = Annotations(rate, broadcast=Broadcast(time_reference=round((3600 + 1.25) * rate)))
    with audio.Writer(stem, rate, 1, 12 * rate, audio.Format("WAV", "PCM_16"), annotations=starts) as writer:
        writer.write(noise(1, 12 * rate))
    tempo_file(tmp_path / "song.mid", bpm=240 / 1.4)
    album = tmp_path / "album.toml"
    album.write_text('[album]\npreset = "tape"\ntempo = "song.mid"\n[[track]]\nstem = "vox.wav"\n')
    given: list[list[float]] = []
    real = style.restyle_stream

    def restyle_stream(*args: object, cuts: list[float], together: object) -> object:
        given.append(cuts)
        return real(*args, cuts=cuts, together=together)  # type: ignore[arg-type]

    monkeypatch.setattr(style, "restyle_stream", restyle_stream)
    (job,) = plan_album(album, library=shelf).jobs
    assert job.song_start_s == pytest.approx(1.25)
    jobs.render(job, on_event=lambda event: None)
    # Places at 3, 6 and 9 s; bars at multiples of 1.4 s less 1.25: 2.95, 5.75 and 8.55.
    assert given == [pytest.approx([2.95, 5.75, 8.55], abs=1e-3)]
    tempo_file(tmp_path / "vox.mid")
    (beside,) = plan_stems([stem], library=shelf, choices=Choices(preset="tape")).jobs
    assert beside.song_start_s == 0
    assert beside.inputs() != replace(beside, song_start_s=1.0).inputs()


class _Counted:
    """Twenty-five seconds of noise that counts how often it is read."""

    channels, samples, rate = 1, 200_000, 8000

    def __init__(self) -> None:
        self.reads = 0

    def read(self, start: int, count: int) -> Tensor:
        """Some of the noise."""
        self.reads += 1
        return torch.randn(1, count, generator=torch.Generator().manual_seed(start))


def test_cuts_go_to_bars_and_markers() -> None:
    """Near each place the marker is taken, else the bar, and the stem is read only where there is neither."""
    source = _Counted()
    # Places at 4.2, 8.3, 12.5, 16.7 and 20.8 s, bars of 2.8 s.
    song = Song(Path("song.mid"), TempoMap(480, (Tempo(0, 700_000),)), (Marker(8.75, "chorus"),))
    found = cuts.cut_points(source, lambda seconds: song.cut_near(seconds, 0.5))
    assert 8.75 in found
    assert 8.4 not in found
    assert any(abs(cut - 16.8) < 1e-9 for cut in found)
    assert source.reads == 3
