"""Terms about the stem alone: what must stay, whatever the style."""

from dataclasses import dataclass
from typing import Protocol

from engine.parts.scene import Scene
from engine.spectra import Resolution
from engine.terms import Chroma, Energy, Rhythm, Term, Whitened


class Keep(Protocol):
    """A term of a form of its own; a frozen dataclass."""

    def ready(self, scene: Scene) -> Term:
        """The term for this stem."""
        ...


@dataclass(frozen=True)
class KeepChroma:
    """`engine.terms.Chroma`: the pitches of the stem."""

    n_fft: int = 4096

    def ready(self, scene: Scene) -> Term:
        """0 where the pitches are the stem's, 1 where they have nothing in common."""
        return Chroma(Resolution.at(scene.rate, self.n_fft), scene.rate, scene.stem)


@dataclass(frozen=True)
class KeepRhythm:
    """`engine.terms.Rhythm`: the onsets of the stem (Tomczak 2018)."""

    n_fft: int = 2048

    def ready(self, scene: Scene) -> Term:
        """1 − correlation of the onset envelopes."""
        return Rhythm(Resolution.at(scene.rate, self.n_fft), scene.rate, scene.stem)


@dataclass(frozen=True)
class KeepEnergy:
    """`engine.terms.Energy`: the level of each frame."""

    n_fft: int = 2048

    def ready(self, scene: Scene) -> Term:
        """Mean squared difference of levels in units of 6 dB."""
        return Energy(Resolution.at(scene.rate, self.n_fft), scene.stem)


@dataclass(frozen=True)
class KeepWhitened:
    """`engine.terms.Whitened`: partials without their envelope."""

    n_fft: int = 2048

    def ready(self, scene: Scene) -> Term:
        """Relative distance of the whitened spectra."""
        return Whitened(Resolution.at(scene.rate, self.n_fft), scene.stem)
