"""What is in a rendered file, judged apart from the losses that made it.

A `Judge` knows one stem and one style and gives a `Verdict` on anything made of them.  It hears the mean of the
channels at 22 050 Hz, at most `LONGEST_S` of it.

The style distance is of an explicit random network with fresh filters (Ulyanov & Lebedev 2016: 4096 filters of 11
frames on log1p magnitude, 93 ms window, 23 ms hop), whatever the renderer matched, at equal RMS; log1p makes it depend
on level, so every sound is taken at the gain that suits it best.  Chroma and onsets are librosa's; where librosa is not
installed they are None and the verdict says so.
"""

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torchaudio  # type: ignore[import-untyped]
from torch import Tensor

from engine.errors import AudioError
from engine.kernel import WIDTH
from engine.random_network import RandomNetwork, style_distance

RATE_HZ = 22050
LONGEST_S = 60
N_FFT, HOP = 2048, 512
FILTERS = 4096
SEED = 20261120
LEVEL_RMS = 0.15
GAINS_DB = (-6, -4, -2, 0, 2, 4, 6)
FLOOR_RMS = 1e-5  # of a gap: -100 dBFS
SHORTEST = WIDTH * HOP
NO_LIBROSA = "librosa is not installed: chroma and onset were not judged (pip install librosa)"


@dataclass(frozen=True)
class Verdict:
    """What was found in a rendered sound.

    ``style_ratio`` and ``mfcc_ratio`` are distances to the style over the untreated stem's: 1 nothing was transferred,
    0 the style's own statistics.  ``chroma`` is the mean cosine to the stem's chroma and ``onset`` the correlation with
    its onset envelope: 1 pitch and rhythm were kept; None without librosa.  ``gap_db`` is how much power the stem's
    quietest tenth of frames has gained at equal overall RMS, ``level_db`` the change of overall RMS, ``peak`` the
    largest sample of any channel (1 = full scale).
    """

    style_ratio: float
    style_loss: float
    chroma: float | None
    onset: float | None
    mfcc_ratio: float
    gap_db: float
    level_db: float
    peak: float
    missing: str | None = None

    def record(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return asdict(self)


class Judge:
    """Judges what was made of ``stem`` in the style of ``style``, both float ``[channels, samples]`` at ``rate`` Hz.

    The filters of its network follow from ``seed`` alone, so verdicts compare between runs and machines.
    `AudioError` for a sound that is silent or too short to have a style (0.26 s).
    """

    def __init__(self, stem: Tensor, style: Tensor, rate: int, *, seed: int = SEED) -> None:
        self.rate = rate
        self._stem, heard_style = _heard(stem, rate, "the stem"), _heard(style, rate, "the style")
        for what, sound in (("the stem", self._stem), ("the style", heard_style)):
            if not bool(sound.any()):
                raise AudioError(f"{what} is silent; there is nothing to judge by")
        self._network = RandomNetwork(N_FFT // 2 + 1, FILTERS, seed=seed)
        self._style = self._network.features(_log_magnitude(heard_style))
        self._style_loss = self._best(self._stem)
        self._style_timbre = _timbre(heard_style)
        self._stem_timbre = float((_timbre(self._stem) - self._style_timbre).norm())
        self._pitch = _Pitch(self._stem) if _has_librosa() else None

    def verdict(self, rendered: Tensor) -> Verdict:
        """Judge ``rendered`` ``[channels, samples]``, at the rate of the stem and as long as it."""
        sound = _heard(rendered, self.rate, "the rendered sound")
        loss = self._best(sound)
        timbre = float((_timbre(sound) - self._style_timbre).norm())
        return Verdict(
            style_ratio=loss / max(self._style_loss, 1e-12),
            style_loss=loss,
            chroma=self._pitch.chroma(sound) if self._pitch else None,
            onset=self._pitch.onset(sound) if self._pitch else None,
            mfcc_ratio=timbre / max(self._stem_timbre, 1e-9),
            gap_db=_gap_db(self._stem, sound),
            level_db=20 * math.log10(_rms(sound) / _rms(self._stem)),
            peak=float(rendered.abs().max()),
            missing=None if self._pitch else NO_LIBROSA,
        )

    def _best(self, sound: Tensor) -> float:
        """The style distance of a sound at the gain that suits it best."""
        gains = (10 ** (db / 20) for db in GAINS_DB)
        features = (self._network.features(_log_magnitude(sound, gain)) for gain in gains)
        # Rounding can leave the distance of a sound to itself a hair below zero.
        return max(0.0, min(float(style_distance(f, self._style)) for f in features))


def judge(stem: Tensor, style: Tensor, rendered: Tensor, rate: int, *, seed: int = SEED) -> Verdict:
    """A single `Verdict`; a `Judge` is cheaper where one pair is judged several times."""
    return Judge(stem, style, rate, seed=seed).verdict(rendered)


class _Pitch:
    """The stem's chroma and onset envelope as librosa hears them."""

    def __init__(self, stem: Tensor) -> None:
        self._chroma, self._onsets = _chroma(stem), _onsets(stem)
        loudness = _frame_rms(stem)
        self._loud = loudness > 0.05 * loudness.max()

    def chroma(self, sound: Tensor) -> float:
        """Mean cosine of the chroma of ``sound`` and the stem over frames in which the stem is not quiet."""
        a, b = _chroma(sound), self._chroma
        n = min(a.shape[1], b.shape[1], self._loud.shape[0])
        a, b = a[:, :n], b[:, :n]
        cosine = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0) + 1e-9)
        return float(cosine[self._loud[:n]].mean())

    def onset(self, sound: Tensor) -> float:
        """Correlation of the onset envelopes of ``sound`` and the stem; 0 if one of them has no onsets at all."""
        a, b = _onsets(sound), self._onsets
        n = min(a.shape[0], b.shape[0])
        a, b = a[:n] - a[:n].mean(), b[:n] - b[:n].mean()
        return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))


def _has_librosa() -> bool:
    try:
        import librosa  # noqa: F401
    except ImportError:
        return False
    return True


def _chroma(sound: Tensor) -> Tensor:
    import librosa

    with warnings.catch_warnings():
        # A sound shorter than the lowest note's filter is what librosa warns of; it pads, and so does every comparison.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(librosa.feature.chroma_cqt(y=sound.numpy(), sr=RATE_HZ)).double()


def _onsets(sound: Tensor) -> Tensor:
    import librosa

    return torch.from_numpy(librosa.onset.onset_strength(y=sound.numpy(), sr=RATE_HZ)).double()


def _heard(x: Tensor, rate: int, what: str) -> Tensor:
    """The mean of the channels of ``[channels, samples]`` at `RATE_HZ`, ``[samples]``, at most `LONGEST_S` of it."""
    if x.dim() != 2 or not x.is_floating_point():
        raise AudioError(f"{what} is {x.dtype} {list(x.shape)}; expected floats [channels, samples]")
    if not bool(torch.isfinite(x).all()):
        raise AudioError(f"{what} holds samples that are not finite numbers; it cannot be judged")
    mono: Tensor = x.detach().cpu().float().mean(0)[: rate * LONGEST_S]
    if rate != RATE_HZ:
        # A long filter that lets all below 10.5 kHz through: of the usual short one MFCC hear the slope.
        mono = torchaudio.functional.resample(mono, rate, RATE_HZ, lowpass_filter_width=128, rolloff=0.95)
    if mono.shape[0] < SHORTEST:
        raise AudioError(
            f"{what} lasts {mono.shape[0] / RATE_HZ:.2f} s; expected at least {SHORTEST / RATE_HZ:.2f} s to judge"
        )
    return mono


def _rms(sound: Tensor) -> float:
    return float(sound.square().mean().sqrt()) + 1e-12


def _log_magnitude(sound: Tensor, gain: float = 1.0) -> Tensor:
    """``log1p`` of the magnitude ``[bins, frames]`` of ``[samples]`` at the judge's level times ``gain``."""
    level = sound * (LEVEL_RMS / _rms(sound) * gain)
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(level, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    return spectrum.abs().log1p()


def _timbre(sound: Tensor) -> Tensor:
    """Mean and deviation over time of MFCC 1 to 19 (librosa's definition) at equal RMS, ``[38]``."""
    bands = {"n_fft": N_FFT, "hop_length": HOP, "n_mels": 128, "pad_mode": "constant"}
    transform = torchaudio.transforms.MFCC(
        RATE_HZ, n_mfcc=20, melkwargs={**bands, "norm": "slaney", "mel_scale": "slaney"}
    )
    mfcc: Tensor = transform(sound / _rms(sound))[1:]
    return torch.cat([mfcc.mean(1), mfcc.std(1, correction=0)])


def _frame_rms(sound: Tensor) -> Tensor:
    """RMS of frames of `N_FFT` samples every `HOP`, zeros beyond the ends."""
    padded = torch.nn.functional.pad(sound.double(), (N_FFT // 2, N_FFT // 2))
    return padded.unfold(0, N_FFT, HOP).square().mean(1).sqrt()


def _gap_db(stem: Tensor, sound: Tensor) -> float:
    """Rise of the mean power in the stem's quietest tenth of frames, both sounds at one overall RMS."""
    before, after = _frame_rms(stem), _frame_rms(sound) * (_rms(stem) / _rms(sound))
    n = min(before.shape[0], after.shape[0])
    quiet = before[:n].argsort()[: max(1, n // 10)]
    power = [float(frames[quiet].square().mean()) + FLOOR_RMS**2 for frames in (after, before)]
    return 10 * math.log10(power[0] / power[1])
