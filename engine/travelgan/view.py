"""What the networks see of a sound, and how what they make is played.

Power in 128 mel bands up to 11 025 Hz of windows of 2048 samples every 512 at 22 050 Hz, in decibels less 20, from −100
to 0 mapped to −1 to 1.  Windows last as long at any rate and magnitudes are scaled (`engine.spectra.Resolution`), so a
generator trained at one rate plays at all of them.  Channels share one picture.

Published, a sound is made for the picture by gradient descent from noise.  Ours keeps the stem's own spectrum: the
picture becomes a gain, so its phase, its stereo image and its attacks stay where they are.
"""

import torch
from torch import Tensor

from engine.parts.mels import between_bands, mel_bands
from engine.spectra import Resolution, istft, stft
from engine.travelgan.networks import BANDS

#: The rate the published picture is of; generators are trained at it.
RATE_HZ = 22050
HIGH_HZ = 11025.0
N_FFT = 2048
OFFSET_DB, FLOOR_DB = -20.0, -100.0
#: What a gain may do to a band: more would lift noise, or dig holes that only the ear finds.
LEAST_DB, MOST_DB = -24.0, 18.0


def resolution(rate: int) -> Resolution:
    """The windows of the picture at ``rate``."""
    return Resolution.at(rate, N_FFT)


def decibels(x: Tensor, rate: int, bands: int = BANDS) -> Tensor:
    """Levels ``[batch, bands, frames]`` from −100 to 0 of sounds ``[batch, channels, samples]``."""
    return levels_of(stft(x, resolution(rate)), rate, bands)


def levels_of(spectrum: Tensor, rate: int, bands: int = BANDS) -> Tensor:
    """`decibels` of a sound whose spectrum ``[batch, channels, frames, bins]`` is known."""
    res = resolution(rate)
    power = (spectrum.real.square() + spectrum.imag.square()).mean(1) * res.scale**2
    mel = mel_bands(res, rate, bands, HIGH_HZ, per_hz=True).to(power) @ power.mT
    return (10 * mel.clamp_min(1e-12).log10() + OFFSET_DB).clamp(FLOOR_DB, 0)


def seen(levels: Tensor) -> Tensor:
    """Levels from −100 to 0 as a picture from −1 to 1."""
    return 2 * (levels - FLOOR_DB) / -FLOOR_DB - 1


def levels(picture: Tensor) -> Tensor:
    """A picture from −1 to 1 as levels from −100 to 0; inverse of `seen`."""
    return (picture + 1) / 2 * -FLOOR_DB + FLOOR_DB


def played(spectrum: Tensor, gain_db: Tensor, rate: int, samples: int) -> Tensor:
    """A ``spectrum`` ``[batch, channels, frames, bins]`` times a gain ``[batch, bands, frames]`` in dB, as sound.

    Gives ``[batch, channels, samples]`` and overwrites the spectrum.

    Between the middles of two bands the gain is interpolated; below the first and above the last it stays, so what lies
    beyond 11 kHz goes with the highest band.
    """
    res = resolution(rate)
    between = between_bands(res, rate, gain_db.shape[1], HIGH_HZ).to(gain_db)
    gain = torch.pow(10.0, (gain_db.mT @ between) / 20)
    return istft(spectrum.mul_(gain[:, None]), res, samples)
