"""Presets on stems they have not heard: ``python -m tests.real.held_out STEMS STYLE PRESET...`` prints a table.

``STEMS`` and ``STYLE`` are folders of sounds that were not trained on: twenty seconds of each stem are played through
each preset, and judged (`engine.judge`) against fifteen seconds of each sound of the style, one after the other; means
over the stems. Presets are of the library; ``NAME:QUALITY`` asks for one of the qualities.
"""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from engine import audio
from engine.judge import Judge, Verdict
from engine.settings import Settings
from engine.style import restyle
from presets.library import default_library

STEM_S, STYLE_S, RATE_HZ = 20, 15, 44100
COLUMNS = ("style_ratio", "chroma", "onset", "mfcc_ratio", "gap_db")


def main(stems: Path, style: Path, names: list[str]) -> None:
    """Judge the stems themselves and what each preset makes of them."""
    sounds = [_heard(path, STEM_S) for path in sorted(stems.glob("*.wav"))]
    other = torch.cat([_heard(path, STYLE_S) for path in sorted(style.glob("*.wav"))], 1)
    judges = [Judge(sound, other, RATE_HZ) for sound in sounds]
    say = sys.stdout.write
    say("|  | style ratio | chroma | onset | MFCC ratio | gap, dB | CPU s per s |\n| --- |" + " ---: |" * 6 + "\n")
    say(_row("the stems themselves", [judge.verdict(s) for judge, s in zip(judges, sounds, strict=True)], 0.0))
    for name in names:
        preset, _, quality = name.partition(":")
        target = default_library().load(preset).target
        began = time.process_time()
        styled = [restyle(sound, RATE_HZ, target, Settings(quality=quality or "standard")) for sound in sounds]
        spent = (time.process_time() - began) / STEM_S / len(sounds)
        verdicts = [judge.verdict(s) for judge, s in zip(judges, styled, strict=True)]
        say(_row(f"`{target.recipe}`{f', {quality}' if quality else ''}", verdicts, spent))


def _row(name: str, verdicts: list[Verdict], spent: float) -> str:
    means = (sum(getattr(verdict, column) for verdict in verdicts) / len(verdicts) for column in COLUMNS)
    return f"| {name} | {' | '.join(f'{mean:.2f}' for mean in means)} | {spent:.3f} |\n"


def _heard(path: Path, seconds: int) -> Tensor:
    found = audio.read(path)
    return audio.resample(found.samples, found.rate, RATE_HZ)[:, : seconds * RATE_HZ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
