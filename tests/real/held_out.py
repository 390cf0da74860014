"""Presets on a stem they have not heard: ``python -m tests.real.held_out STEM STYLE PRESET...`` prints a table.

``STYLE`` is a sound of the style that was not trained on. Presets are of the library, ``NAME:QUALITY`` asks for one of
the qualities; the judge is `engine.judge`, on the first twenty seconds.
"""

import sys
import time
from pathlib import Path

from torch import Tensor

from engine import audio
from engine.judge import Judge
from engine.settings import Settings
from engine.style import restyle
from presets.library import default_library

LONGEST_S = 20


def main(stem: Path, style: Path, names: list[str]) -> None:
    """Judge the stem itself and what each preset makes of it."""
    sound, rate = _heard(stem)
    other, other_rate = _heard(style)
    judge = Judge(sound, audio.resample(other, other_rate, rate), rate)
    rows = [("the stem itself", sound, 0.0)]
    for name in names:
        preset, _, quality = name.partition(":")
        target = default_library().load(preset).target
        began = time.process_time()
        styled = restyle(sound, rate, target, Settings(quality=quality or "standard"))
        rows.append((f"`{target.recipe}`{f', {quality}' if quality else ''}", styled, time.process_time() - began))
    say = sys.stdout.write
    say("|  | style ratio | chroma | onset | MFCC ratio | gap, dB | CPU s per s |\n| --- |" + " ---: |" * 6 + "\n")
    for name, styled, spent in rows:
        found = judge.verdict(styled)
        say(
            f"| {name} | {found.style_ratio:.2f} | {found.chroma:.2f} | {found.onset:.2f} | {found.mfcc_ratio:.2f} "
            f"| {found.gap_db:+.1f} | {spent / LONGEST_S:.3f} |\n"
        )


def _heard(path: Path) -> tuple[Tensor, int]:
    found = audio.read(path)
    return found.samples[:, : LONGEST_S * found.rate], found.rate


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
