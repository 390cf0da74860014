"""A part is heard to the sample at its tempo map's times, whatever the blocks, and a player that fails is named."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from render import midi, midipart, midirender
from render.errors import ChainError
from render.midirender import Message, Samples

RATE = 48_000


@dataclass
class Clicks:
    """A player that is high while any note sounds, and remembers what it was given; controllers set its height."""

    channels: int = 2
    latency_samples: int = 0
    name: str = "Clicks"
    at: int = 0
    heard: list[tuple[int, bytes]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notes: set[int] = set()
        self.level = 1.0
        self.delayed = np.zeros((self.channels, self.latency_samples), np.float32)

    def play(self, messages: Sequence[Message], samples: int) -> Samples:
        """Sound from now on; controllers are heard at the start of the block only, as in JUCE."""
        block, last = np.zeros((self.channels, samples), np.float32), 0
        self.counts.append(samples)
        for at, data in messages:
            assert 0 <= at < samples
            self.heard.append((self.at + at, data))
            block[:, last:at] = self.level * bool(self.notes)
            last = at
            if data[0] & 0xF0 == 0x90:
                self.notes.add(data[1])
            elif data[0] & 0xF0 == 0x80:
                self.notes.discard(data[1])
            elif data[0] & 0xF0 == 0xB0:
                assert at == 0
                self.level = data[2] / 127
        block[:, last:] = self.level * bool(self.notes)
        self.at += samples
        joined = np.concatenate([self.delayed, block], 1)
        self.delayed = joined[:, samples:]
        return joined[:, :samples]


def song(tmp_path: Path, *, minutes: float = 0.1) -> Path:
    """A file of short notes whose tempo changes all the time: accelerating, slowing, and by jumps."""
    rng = np.random.default_rng(3)
    tempos, notes = mido.MidiTrack(), mido.MidiTrack()
    seconds = 0.0
    while seconds < minutes * 60:
        tempo = int(rng.integers(250_000, 1_500_000))
        ticks = int(rng.integers(100, 1500))
        tempos.append(mido.MetaMessage("set_tempo", tempo=tempo))
        tempos.append(mido.MetaMessage("text", time=ticks))
        seconds += ticks * tempo / 480e6
    for _ in range(int(minutes * 120)):
        notes.append(mido.Message("note_on", note=60, velocity=100, time=int(rng.integers(120, 480))))
        notes.append(mido.Message("note_off", note=60, time=int(rng.integers(20, 120))))
    path = tmp_path / "song.mid"
    mido.MidiFile(tracks=[tempos, notes]).save(path)
    return path


def onsets(sound: torch.Tensor) -> list[int]:
    """The samples at which ``[channels, n]`` begins to sound."""
    on = sound[0].abs() > 0
    before = torch.nn.functional.pad(on[:-1], (1, 0))
    return torch.nonzero(on & ~before)[:, 0].tolist()


def expected(path: Path) -> list[float]:
    """The seconds at which mido itself would play the notes of ``path``."""
    now, found = 0.0, []
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on":
            found.append(now)
    return found


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_onsets_are_midos_across_tempo_changes(tmp_path: Path, rate: int) -> None:
    """Every note begins within half a sample of where mido's tempo map puts it, over five minutes of changes."""
    path = song(tmp_path, minutes=5 if rate == RATE else 0.2)
    part = midipart.part(midi.read(path))
    samples = midirender.length(part, rate, 0.5)
    sound = torch.cat(list(midirender.stream(part, Clicks(), rate, 2, samples)), 1)
    assert sound.shape == (2, samples)
    times = expected(path)
    assert len(onsets(sound)) == len(times) == (600 if rate == RATE else 24)
    worst = max(abs(at / rate - time) for at, time in zip(onsets(sound), times, strict=True))
    assert worst <= 0.5 / rate + 1e-9


def test_latency_is_taken_off(tmp_path: Path) -> None:
    """A late instrument sounds at the same samples as a prompt one, and as long."""
    part = midipart.part(midi.read(song(tmp_path)))
    samples = midirender.length(part, RATE, 0)
    prompt, late = (
        torch.cat(list(midirender.stream(part, Clicks(latency_samples=n), RATE, 2, samples)), 1) for n in (0, 40_000)
    )
    assert torch.equal(prompt, late)


def test_controllers_are_heard_when_they_come(tmp_path: Path) -> None:
    """A controller in the middle of a note takes effect at its own sample, though players hear it per block."""
    track = mido.MidiTrack()
    track.append(mido.Message("note_on", note=60, velocity=1))
    track.append(mido.Message("control_change", control=7, value=0, time=481))
    track.append(mido.Message("control_change", control=7, value=127, time=111))
    track.append(mido.Message("note_off", note=60, time=480))
    path = tmp_path / "song.mid"
    mido.MidiFile(tracks=[track]).save(path)
    part = midipart.part(midi.read(path))
    sound = torch.cat(list(midirender.stream(part, Clicks(), RATE, 2, midirender.length(part, RATE, 0))), 1)
    assert onsets(sound) == [0, round(592 / 960 * RATE)]
    assert torch.nonzero(sound[0] == 0)[0, 0] == round(481 / 960 * RATE)


def test_length_is_whole_samples_and_the_tail(tmp_path: Path) -> None:
    """A part ends on the first sample that is not before its end; what divides evenly gets none too many."""
    path = tmp_path / "song.mid"
    track = [mido.Message("note_on", note=60, velocity=1), mido.Message("note_off", note=60, time=480)]
    mido.MidiFile(tracks=[mido.MidiTrack(track)]).save(path)
    part = midipart.part(midi.read(path))
    assert midirender.length(part, 44_100, 0) == 22_050
    assert midirender.length(part, 11_025, 2) == 5513 + 22_050
    track[1].time = 0
    mido.MidiFile(tracks=[mido.MidiTrack(track)]).save(path)
    assert midirender.length(midipart.part(midi.read(path)), RATE, 0) == 1


@pytest.mark.parametrize("fault", ["short", "nan", "channels", "silent"])
def test_a_player_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Too few samples or channels, samples that are no numbers, and silence, are errors with the player's name."""
    sound = Clicks.play

    def faulty(self: Clicks, messages: Sequence[Message], samples: int) -> Samples:
        block = sound(self, messages, samples)
        if fault == "nan":
            block[0, -1] = np.nan
        return {"short": block[:, 1:], "nan": block, "channels": block[:1], "silent": block * 0}[fault]

    monkeypatch.setattr(Clicks, "play", faulty)
    part = midipart.part(midi.read(song(tmp_path)))
    said = {"nan": "not finite", "silent": "nothing but silence"}.get(fault, "expected 2 channels of")
    with pytest.raises(ChainError, match=f"Clicks returned .*{said}"):
        list(midirender.stream(part, Clicks(), RATE, 2, midirender.length(part, RATE, 0)))


def test_program_changes_are_advised_upon(tmp_path: Path) -> None:
    """Who relies on program changes is told of instruments that have no programs, or one for all; others nothing."""
    path = song(tmp_path)
    assert midirender.advice(midipart.part(midi.read(path))) == []
    file = mido.MidiFile(path)
    file.tracks[1].insert(0, mido.Message("program_change", program=3))
    file.save(path)
    assert "preset_file" in midirender.advice(midipart.part(midi.read(path)))[0]
    assert midirender.advice(midipart.part(midi.read(path)), programs=True) == []
    file.tracks[1].insert(0, mido.Message("program_change", channel=9, program=3))
    file.save(path)
    assert "on 2 channels" in midirender.advice(midipart.part(midi.read(path)), programs=True)[0]
