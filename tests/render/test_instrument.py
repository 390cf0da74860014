"""A MIDI track becomes a stem: played by a real plugin in its own process, in time, styled and published like any."""

from collections.abc import Callable, Iterator
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from torch import Tensor

from presets.library import Library
from render import batch, children, scans
from render.errors import InputError
from render.events import Event, StemFailed
from render.plan import Plan
from render.planner import plan_album, plan_stems

MakeStem = Callable[..., Path]
Contents = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scans are kept for the whole session, apart from the user's; no child outlives a test."""
    kept = tmp_path_factory.getbasetemp() / "plugin-scans"
    monkeypatch.setattr(scans, "folder", lambda: kept)
    yield
    children.POOL.close()


def song(path: Path, *, notes: int = 24, programs: bool = False, empty: bool = False) -> Path:
    """A file of short notes on a track called Bass, and one called Tempo that changes it all the time."""
    rng = np.random.default_rng(5)
    tempos = mido.MidiTrack([mido.MetaMessage("track_name", name="Tempo")])
    for _ in range(notes // 2):
        tempos.append(mido.MetaMessage("set_tempo", tempo=int(rng.integers(150_000, 900_000))))
        tempos.append(mido.MetaMessage("text", time=int(rng.integers(100, 900))))
    bass = mido.MidiTrack([mido.MetaMessage("track_name", name="Bass")])
    if programs:
        bass.append(mido.Message("program_change", program=1))
    for _ in range(0 if empty else notes):
        bass.append(
            mido.Message("note_on", note=int(rng.integers(50, 90)), velocity=100, time=int(rng.integers(60, 240)))
        )
        bass.append(mido.Message("note_off", note=bass[-1].note, time=int(rng.integers(30, 90))))
    mido.MidiFile(tracks=[tempos, bass]).save(path)
    return path


def seconds(path: Path) -> list[float]:
    """When mido would play each note of the file at ``path``."""
    now, found = 0.0, []
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on":
            found.append(now)
    return found


def onsets(samples: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> list[int]:
    """Where ``[n, channels]`` begins to sound after a hundred samples of silence; a sine crosses zero in fewer."""
    loud = np.flatnonzero(np.abs(samples[:, 0]) > 1e-4)
    return [int(at) for at in loud[np.diff(loud, prepend=-1000) > 100]]


def run(plan: Plan) -> list[Event]:
    """What happens when ``plan`` is rendered."""
    told: list[Event] = []
    batch.run(plan, on_event=told.append)
    return told


def album(tmp_path: Path, plugin: Path, *tracks: str, head: str = "amount = 0") -> Path:
    """A manifest of ``tracks``, in which SINE is the path of ``plugin``."""
    path = tmp_path / "album.toml"
    body = "".join(f"[[track]]\n{track}\n" for track in tracks).replace("SINE", str(plugin))
    path.write_text(f"[album]\n{head}\noutput = 'out/{{track}}.wav'\n{body}")
    return path


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_onsets_are_where_the_tempo_map_has_them(
    shelf: Library, tmp_path: Path, plugin_folder: Path, rate: int
) -> None:
    """Notes of a real instrument begin within a sample, a fiftieth of a millisecond, of mido's seconds."""
    path = song(tmp_path / "bass.mid")
    track = f'midi = "bass.mid"\ninstrument = {{ plugin = "SINE", rate = {rate}, tail_s = 0.25 }}'
    plan = plan_album(album(tmp_path, plugin_folder / "GramoSine.vst3", track), library=shelf)
    (job,) = plan.jobs
    assert [event for event in run(plan) if isinstance(event, StemFailed)] == []
    samples, there = soundfile.read(tmp_path / "out" / "bass.wav", always_2d=True)
    assert there == rate
    assert samples.shape == (job.info.frames, 2)
    assert samples.shape[0] == int(np.ceil(mido.MidiFile(path).length * rate - 1e-6)) + round(0.25 * rate)
    expected = seconds(path)
    found = onsets(samples)
    assert len(found) == len(expected) == 24
    assert max(abs(at / rate - time) for at, time in zip(found, expected, strict=True)) <= 1 / rate


def test_five_minutes_do_not_drift(shelf: Library, tmp_path: Path, plugin_folder: Path) -> None:
    """After five minutes and hundreds of tempos the last note of a real instrument is as much in time as the first."""
    path = song(tmp_path / "long.mid", notes=1400)
    track = 'midi = "long.mid"\ninstrument = { plugin = "SINE", rate = 8000, tail_s = 0 }'
    plan = plan_album(album(tmp_path, plugin_folder / "GramoSine.vst3", track), library=shelf)
    assert not [event for event in run(plan) if isinstance(event, StemFailed)]
    samples, rate = soundfile.read(tmp_path / "out" / "long.wav", always_2d=True)
    expected = seconds(path)
    found = onsets(samples)
    assert expected[-1] > 300
    assert len(found) == len(expected) == 1400
    assert max(abs(at / rate - time) for at, time in zip(found, expected, strict=True)) <= 1 / rate


def test_sustain_holds_to_its_sample(shelf: Library, tmp_path: Path, plugin_folder: Path) -> None:
    """A note that is released under the pedal sounds on until the pedal comes up, to the sample."""
    track = mido.MidiTrack()
    track.append(mido.Message("control_change", control=64, value=127))
    track.append(mido.Message("note_on", note=69, velocity=127, time=100))
    track.append(mido.Message("note_off", note=69, time=100))
    track.append(mido.Message("control_change", control=64, value=0, time=301))
    track.append(mido.MetaMessage("end_of_track", time=200))
    mido.MidiFile(tracks=[track]).save(tmp_path / "held.mid")
    manifest = album(tmp_path, plugin_folder / "GramoSine.vst3", 'midi = "held.mid"\ninstrument.plugin = "SINE"')
    run(plan_album(manifest, library=shelf))
    samples, rate = soundfile.read(tmp_path / "out" / "held.wav", always_2d=True)
    sounding = np.flatnonzero(np.abs(samples[:, 0]) > 1e-4)
    assert rate == 48_000
    assert sounding[0] == 5_000
    assert abs(int(sounding[-1]) + 1 - round(501 / 960 * rate)) <= 1


def test_program_changes_choose_the_sound(shelf: Library, tmp_path: Path, plugin_folder: Path) -> None:
    """Of a plugin with programs, each at its tick; one it has not changes nothing, and the next part begins anew."""
    track = mido.MidiTrack()
    for program in (None, 2, 1, 99):
        if program is not None:
            track.append(mido.Message("program_change", program=program))
        track.append(mido.Message("note_on", note=69, velocity=127))
        track.append(mido.Message("note_off", note=69, time=480))
    mido.MidiFile(tracks=[track]).save(tmp_path / "programs.mid")
    one = 'midi = "programs.mid"\ninstrument = { plugin = "SINE", tail_s = 0 }\ntitle = '
    manifest = album(tmp_path, plugin_folder / "GramoPrograms.vst3", f'{one}"first"', f'{one}"second"')
    plan = plan_album(manifest, library=shelf)
    assert not plan.jobs[0].notes
    assert not [event for event in run(plan) if isinstance(event, StemFailed)]
    for name in ("first", "second"):
        samples, rate = soundfile.read(tmp_path / "out" / f"{name}.wav", always_2d=True)
        # Half a second of whole periods of 440 Hz each: program N plays N + 1 times as high.
        loudest = [
            np.abs(np.fft.rfft(samples[at : at + rate // 2, 0])).argmax() * 2 for at in range(0, 2 * rate, rate // 2)
        ]
        assert loudest == [440, 1320, 880, 880]


def test_a_part_is_a_stem_like_any(
    shelf: Library, tmp_path: Path, plugin_folder: Path, make_stem: MakeStem, contents: Contents
) -> None:
    """It plays at the album's rate, is styled, goes through the chain, is stamped, and leaves nothing else behind."""
    make_stem("vox.wav", rate=8000)
    song(tmp_path / "bass.mid", notes=6, programs=True)
    part = 'midi = "bass.mid"\nmidi_track = "bass"\ninstrument = { plugin = "SINE", tail_s = 0 }'
    chained = part + '\ntitle = "Quiet"\n[[track.chain]]\nplugin = "gain"\ngain_db = -6.0'
    sine = plugin_folder / "GramoSine.vst3"
    manifest = album(tmp_path, sine, part, 'stem = "vox.wav"', chained, head='preset = "tape"\nbit_depth = "32f"')
    plan = plan_album(manifest, library=shelf)
    assert [(job.index, job.title, job.info.rate) for job in plan.jobs] == [
        (1, "bass bass", 8000),
        (2, "vox", 8000),
        (3, "Quiet", 8000),
    ]
    first = plan.jobs[0]
    assert first.song is not None
    assert first.song.path == tmp_path / "bass.mid"
    assert any("program changes" in note for note in first.notes)
    assert not [event for event in run(plan) if isinstance(event, StemFailed)]
    assert contents(tmp_path / "out") == ["Quiet.wav", "bass bass.wav", "vox.wav"]
    loud, _ = soundfile.read(tmp_path / "out" / "bass bass.wav", always_2d=True)
    quiet, _ = soundfile.read(tmp_path / "out" / "Quiet.wav", always_2d=True)
    assert np.abs(loud).max() > 0.05
    assert np.abs(quiet - loud * 10 ** (-6 / 20)).max() < 1e-6
    assert all(job.done for job in plan_album(manifest, library=shelf).jobs)
    song(tmp_path / "bass.mid", notes=7)
    with pytest.raises(InputError, match="was not rendered from these inputs"):
        plan_album(manifest, library=shelf)


def test_a_file_that_changes_after_the_plan_fails_alone(
    shelf: Library, tmp_path: Path, plugin_folder: Path, make_stem: MakeStem, noise: Callable[..., Tensor]
) -> None:
    """Notes that are not those of the plan are not rendered as if they were; the other stem is."""
    make_stem("vox.wav", noise())
    song(tmp_path / "bass.mid", notes=4)
    part = 'midi = "bass.mid"\ninstrument = { plugin = "SINE", tail_s = 0 }'
    plan = plan_album(album(tmp_path, plugin_folder / "GramoSine.vst3", part, 'stem = "vox.wav"'), library=shelf)
    song(tmp_path / "bass.mid", notes=5)
    failed = [event for event in run(plan) if isinstance(event, StemFailed)]
    assert ["changed after the plan" in event.reason for event in failed] == [True]
    assert (tmp_path / "out" / "vox.wav").is_file()


def test_all_mistakes_of_midi_tracks_at_once(
    shelf: Library, tmp_path: Path, plugin_folder: Path, make_stem: MakeStem
) -> None:
    """Each line names its key, what is there and what is meant, and the nearest name; nothing is rendered."""
    make_stem("vox.wav")
    song(tmp_path / "bass.mid")
    song(tmp_path / "none.mid", empty=True)
    (tmp_path / "cut.mid").write_bytes((tmp_path / "bass.mid").read_bytes()[:-9])
    synth = 'instrument = { plugin = "SINE" }'
    tracks = [
        'midi = "bass.mid"',
        f'midi = "bas.mid"\n{synth}',
        f'midi = "bass.mid"\nmidi_track = "Bas"\n{synth}',
        f'midi = "none.mid"\n{synth}',
        f'midi = "cut.mid"\n{synth}',
        'midi = "bass.mid"\ninstrument = { plugin = "SINE", rate = 1, tail_s = 99, parameters = { levle_db = 0 } }',
        f'midi = "bass.mid"\ninstrument = {{ plugin = "{plugin_folder / "GramoGain.vst3"}" }}',
        f'stem = "vox.wav"\n{synth}',
        'stem = "bass.mid"',
        synth,
    ]
    with pytest.raises(InputError) as caught:
        plan_album(album(tmp_path, plugin_folder / "GramoSine.vst3", *tracks), library=shelf)
    told = {mistake.key: mistake.message for mistake in caught.value.mistakes}
    expected = {
        "track[1].instrument": "a MIDI file makes no sound of its own",
        "track[2].midi": "did you mean 'bass.mid'?",
        "track[3].midi_track": "did you mean 'Bass'?",
        "track[4].midi": "has no notes",
        "track[5].midi": "truncated",
        "track[6].instrument.rate": "found 1; expected a whole number of Hz",
        "track[6].instrument.tail_s": "found 99; expected a number of seconds from 0 to 60",
        "track[6].instrument.parameters.levle_db": "did you mean",
        "track[7].instrument.plugin": "is an effect; expected an instrument",
        "track[8].instrument": "found beside a stem",
        "track[9].stem": "is MIDI, which makes no sound of its own",
        "track[10].stem": "is missing; expected the path of an audio file, or midi and instrument",
    }
    for key, words in expected.items():
        assert words in told.get(key, f"nothing is said of {key}, but of {sorted(told)}"), key
    assert len(caught.value.mistakes) == len(expected)


def test_a_midi_file_alone_is_told_what_it_needs(shelf: Library, tmp_path: Path) -> None:
    """A MIDI file given as a stem is refused with the way to render it."""
    with pytest.raises(InputError, match="instrument = "):
        plan_stems([song(tmp_path / "bass.mid")], library=shelf)


def test_a_crash_while_playing_fails_that_part_alone(
    shelf: Library, tmp_path: Path, plugin_folder: Path, make_stem: MakeStem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the instrument's process dies the part fails with the plugin's name, and the next stem is rendered."""
    make_stem("vox.wav")
    song(tmp_path / "bass.mid")
    part = 'midi = "bass.mid"\ninstrument = { plugin = "SINE", tail_s = 0 }'
    plan = plan_album(album(tmp_path, plugin_folder / "GramoSine.vst3", part, 'stem = "vox.wav"'), library=shelf)
    asked = children.Child.ask

    def dying(self: children.Child, header: dict[str, object], *rest: object, **options: object) -> object:
        if header["do"] == "notes":
            self._strike()
        return asked(self, header, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(children.Child, "ask", dying)
    failed = [event for event in run(plan) if isinstance(event, StemFailed)]
    assert len(failed) == 1
    assert "GramoSine" in failed[0].reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()) == ["vox.wav"]
