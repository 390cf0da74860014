"""Two domains of recorded notes to train between: ``python -m tests.real.domains FOLDER [MINUTES [SEED]]`` makes them.

Phrases from a seed, played by fluidsynth on the sampled instruments of Debian's ``fluid-soundfont-gm``: plucked and
struck ones in ``FOLDER/plucked``, bowed and sung ones in ``FOLDER/sung``, a minute each. Another seed makes what was
not trained on.
"""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import mido

SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
#: General MIDI programs, from 0: grand and electric piano, nylon and steel guitar; strings, choir, cello and voice.
DOMAINS = {"plucked": (0, 4, 24, 25), "sung": (48, 52, 42, 53)}
MINUTE_S = 60.0
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16), (2, 5, 9), (4, 7, 11))


def make(folder: Path, minutes: int = 12, seed: int = 0) -> None:
    """Write ``minutes`` files of a minute of each domain, its instruments by turns, 44.1 kHz stereo."""
    chance = random.Random(seed)
    for domain, programs in DOMAINS.items():
        place = folder / domain
        place.mkdir(parents=True, exist_ok=True)
        for number in range(minutes):
            song = phrases(chance, programs[number % len(programs)])
            song.save(place / f"{number:02d}.mid")
            play(place / f"{number:02d}.mid", place / f"{number:02d}.wav")


def phrases(chance: random.Random, program: int) -> mido.MidiFile:
    """A minute of chords, a bass and a tune over them in a key, at a tempo of its own."""
    beats_s = 60 / chance.randint(72, 126)
    key = chance.randint(-5, 6)
    notes: list[tuple[float, float, int, int]] = []
    at = 0.0
    while at < MINUTE_S - 4 * beats_s:
        chord = chance.choice(CHORDS)
        root = 48 + key + chord[0]
        notes.append((at, 3.8 * beats_s, root - 12, chance.randint(60, 90)))
        spread = chance.choice((0.0, 0.25, 0.5)) * beats_s
        notes += [
            (at + spread * k, (3.6 * beats_s - spread * k), root + tone - chord[0] + 12, chance.randint(50, 80))
            for k, tone in enumerate(chord)
        ]
        beat = 0.0
        while beat < 4:
            length = chance.choice((0.5, 0.5, 1.0, 2.0))
            if chance.random() < 0.75:
                pitch = 60 + key + chance.choice((0, 2, 4, 5, 7, 9, 11, 12, 14))
                notes.append(
                    (at + beat * beats_s, min(length, 4 - beat) * beats_s * 0.9, pitch, chance.randint(64, 100))
                )
            beat += length
        at += 4 * beats_s
    events = [(on, mido.Message("note_on", note=pitch, velocity=loud)) for on, _, pitch, loud in notes]
    events += [(on + long, mido.Message("note_off", note=pitch)) for on, long, pitch, _ in notes]
    song = mido.MidiFile()
    track = mido.MidiTrack([mido.Message("program_change", program=program)])
    song.tracks.append(track)
    now = 0
    for seconds, message in sorted(events, key=lambda event: event[0]):
        tick = round(seconds / 0.5 * song.ticks_per_beat)  # at MIDI's own 120 beats a minute
        track.append(message.copy(time=tick - now))
        now = tick
    return song


def play(song: Path, out: Path) -> None:
    """``song`` as a sound file, by fluidsynth."""
    player = shutil.which("fluidsynth")
    if player is None or not SOUND_FONT.exists():
        sys.exit("fluidsynth and fluid-soundfont-gm are needed (Debian packages of those names)")
    command = [player, "-ni", "-g", "0.5", "-r", "44100", "-F", str(out), str(SOUND_FONT), str(song)]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
