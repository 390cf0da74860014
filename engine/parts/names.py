"""The parts by the names recipes call them by, each a module and a class in it, imported when a recipe asks for it.

A new part is a class and a line here.
"""

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from engine.errors import RecipeError
from engine.recipe import Given, Part

REPRESENTATIONS = {
    "decibels": "engine.parts.mels:Decibels",
    "log-magnitude": "engine.parts.representations:LogMagnitude",
    "log-mel": "engine.parts.mels:LogMel",
    "mu-law": "engine.parts.waves:MuLaw",
    "real-imaginary": "engine.parts.representations:RealImaginary",
    "resampled": "engine.parts.waves:Resampled",
    "waveform": "engine.parts.representations:Waveform",
}
FEATURES = {
    "bands": "engine.parts.features:Bands",
    "cochlea": "engine.parts.auditory:Cochlea",
    "identity": "engine.parts.features:Identity",
    "linear": "engine.parts.networks:Linear",
    "musicnn": "engine.parts.vgg:Musicnn",
    "planes": "engine.parts.networks:Planes",
    "random": "engine.parts.networks:Random",
    "soundnet": "engine.parts.soundnet:SoundNet",
    "stack": "engine.parts.stacks:Stack",
    "vgg": "engine.parts.vgg:Vgg",
    "wav2vec2": "engine.parts.wav2vec2:Wav2vec2",
    "wavenet": "engine.parts.wavenet:WaveNet",
}
STATISTICS = {
    "cross-correlations": "engine.parts.auditory:CrossCorrelations",
    "frequency-envelope": "engine.parts.envelopes:FrequencyEnvelope",
    "gaussian": "engine.parts.optimal_transport:Gaussian",
    "gram": "engine.parts.statistics:Gram",
    "levels": "engine.parts.auditory:Levels",
    "marginals": "engine.parts.auditory:Marginals",
    "mmd": "engine.parts.mmd:Mmd",
    "modulation-correlations": "engine.parts.auditory:ModulationCorrelations",
    "modulation-power": "engine.parts.auditory:ModulationPower",
    "on": "engine.parts.statistics:On",
    "sliced": "engine.parts.optimal_transport:Sliced",
    "squares": "engine.parts.statistics:Squares",
    "time-envelope": "engine.parts.envelopes:TimeEnvelope",
}
KEEPERS = {
    "autocorrelation": "engine.parts.keepers:Autocorrelation",
    "chroma": "engine.parts.keepers:KeepChroma",
    "energy": "engine.parts.keepers:KeepEnergy",
    "rhythm": "engine.parts.keepers:KeepRhythm",
    "smooth-gain": "engine.parts.keepers:SmoothGain",
    "whitened": "engine.parts.keepers:KeepWhitened",
}
SOLVERS = {
    "gains": "engine.parts.solvers:OnGains",
    "mapped": "engine.parts.moves:Mapped",
    "mosaic": "engine.parts.mosaic:Mosaic",
    "spectrogram": "engine.parts.solvers:OnSpectrogram",
    "waveform": "engine.parts.solvers:OnWaveform",
}
#: Moves in closed form, for solver ``mapped``.
MOVES = {
    "adain": "engine.parts.moves:Adain",
    "attention": "engine.parts.moves:Attention",
    "covariance": "engine.parts.moves:Covariance",
    "histogram": "engine.parts.moves:Histogram",
    "transport": "engine.parts.moves:Transport",
}
RENDERINGS = {
    "content-phase": "engine.parts.renderings:ContentPhase",
    "griffin-lim": "engine.parts.renderings:GriffinLim",
}
_KINDS: Mapping[str, Mapping[str, str]] = {
    "representation": REPRESENTATIONS,
    "features": FEATURES,
    "statistic": STATISTICS,
    "keeper": KEEPERS,
    "solver": SOLVERS,
    "move": MOVES,
    "rendering": RENDERINGS,
}


def make(kind: str, part: Part, params: Mapping[str, Any]) -> Any:
    """The ``part`` of ``kind`` with its parameters filled in; `RecipeError` for a name or an option nobody knows.

    An option that is a part itself is of the kind it is called by (``representation=Part(...)``).
    """
    names = _KINDS[kind]
    if part.name not in names:
        raise RecipeError(f"no {kind} is called {part.name!r}{_near(part.name, names)} (there are: {', '.join(names)})")
    module, _, attribute = names[part.name].partition(":")
    made = getattr(importlib.import_module(module), attribute)
    known = [field.name for field in fields(made)] if is_dataclass(made) else []
    for option in part.options:
        if option not in known:
            has = f"(there are: {', '.join(known)})" if known else "(it has none)"
            raise RecipeError(f"{kind} {part.name!r} has no option {option!r}{_near(option, known)} {has}")
    options = {}
    for option, value in part.options.items():
        if isinstance(value, Part):
            options[option] = make(option, value, params)
        else:
            options[option] = value.value(params) if isinstance(value, Given) else value
    return made(**options)


def _near(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), 1, 0.4)
    return f"; did you mean {near[0]!r}?" if near else ""
