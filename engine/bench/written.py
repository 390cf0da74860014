"""What a render is once it is a file: samples through a 24-bit WAV and back."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor


def through_file(samples: Tensor, rate: int) -> tuple[Tensor, str]:
    """``samples`` ``[channels, samples]`` written to a real file and read again, and the format that was used.

    24-bit PCM, or 32-bit float where a peak is over full scale.  Without soundfile the samples are rounded to 24 bits
    in memory.
    """
    over = float(samples.abs().max()) > 1.0
    try:
        from engine import audio  # soundfile, which GPU boxes may not have
    except ImportError:
        return (samples if over else torch.round(samples * 2**23).clamp(-(2**23), 2**23 - 1) / 2**23), "memory, 24 bits"
    format = audio.Format("WAV", "FLOAT" if over else "PCM_24")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "render.wav"
        audio.write(path, samples, rate, format)
        return audio.read(path).samples, f"{format.container} {format.subtype}"
