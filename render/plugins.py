"""The built-in plugins of pedalboard as a chain may name them: parameters, units and ranges. Data only.

pedalboard takes unknown attributes in silence, lets filters above half the rate blow up and says little about its
ranges, so all of it is written down here; a test compares the table with the pedalboard that is installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = float | int | str | bool


@dataclass(frozen=True)
class Parameter:
    """One parameter: a ``number`` between ``low`` and ``high`` in ``unit``, a ``choice``, a ``flag`` or a ``file``.

    ``open_low`` and ``open_high`` exclude the bound itself; ``below_nyquist`` means that the number must also stay
    below half the stem's rate. A ``default`` of None has to be given. ``fixed`` numbers cannot move while they play.
    """

    name: str
    default: Value | None
    kind: Literal["number", "choice", "flag", "file"] = "number"
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    open_low: bool = False
    open_high: bool = False
    below_nyquist: bool = False
    choices: Mapping[str, str] = field(default_factory=dict)
    fixed: bool = False

    @property
    def moves(self) -> bool:
        """Whether it can be moved while it plays."""
        return self.kind == "number" and not self.fixed

    def holds(self, value: float) -> bool:
        """Whether the number ``value`` is in its range."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    @property
    def allowed(self) -> str:
        """What the parameter takes, in words."""
        if self.kind == "flag":
            return "true or false"
        if self.kind == "file":
            return "the path of an audio file"
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        low = f"above {self.low:g}" if self.open_low else f"from {self.low:g}"
        high = f"below {self.high:g}" if self.open_high else f"to {self.high:g}"
        return " ".join(word for word in ("a number", low, high, self.unit) if word)


@dataclass(frozen=True)
class Plugin:
    """One built-in: its ``name`` in a chain, its class in pedalboard and its parameters.

    ``together`` is how many channels one instance can work on; a stem with more gets one instance per channel,
    because pedalboard would mix them down, leave them dry or refuse. ``rates_hz`` are the only rates it knows.
    ``container`` marks the two that hold a list of plugins.
    """

    name: str
    class_name: str
    use: str
    parameters: tuple[Parameter, ...] = ()
    together: int | None = None
    rates_hz: tuple[int, ...] = ()
    note: str = ""
    container: bool = False

    def parameter(self, name: str) -> Parameter | None:
        """The parameter called ``name``, or None."""
        return next((p for p in self.parameters if p.name == name), None)


def _number(name: str, default: float, low: float, high: float, unit: str = "", **flags: bool) -> Parameter:
    return Parameter(
        name,
        default,
        low=low,
        high=high,
        unit=unit,
        open_low=flags.get("open_low", False),
        open_high=flags.get("open_high", False),
        below_nyquist=flags.get("below_nyquist", False),
        fixed=flags.get("fixed", False),
    )


def _unit(name: str, default: float) -> Parameter:
    return _number(name, default, 0, 1)


def _cutoff(name: str, default: float) -> Parameter:
    return _number(name, default, 0, 96_000, "Hz", open_low=True, below_nyquist=True)


def _quality(default: str) -> Parameter:
    return Parameter("quality", default, "choice", choices=_RESAMPLERS)


_RESAMPLERS = {
    "zero_order_hold": "ZeroOrderHold",
    "linear": "Linear",
    "catmull_rom": "CatmullRom",
    "lagrange": "Lagrange",
    "windowed_sinc": "WindowedSinc",
    "windowed_sinc8": "WindowedSinc8",
    "windowed_sinc16": "WindowedSinc16",
    "windowed_sinc32": "WindowedSinc32",
    "windowed_sinc64": "WindowedSinc64",
    "windowed_sinc128": "WindowedSinc128",
    "windowed_sinc256": "WindowedSinc256",
}
_LADDER_MODES = {m.lower(): m for m in ("LPF12", "HPF12", "BPF12", "LPF24", "HPF24", "BPF24")}
_MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_DYNAMICS = (_number("attack_ms", 1, 0, 10_000, "ms"), _number("release_ms", 100, 0, 10_000, "ms"))
_EQUALISER = (
    _cutoff("cutoff_frequency_hz", 440),
    _number("gain_db", 0, -60, 60, "dB"),
    _number("q", 0.7071067690849304, 0, 100, open_low=True),
)

_ALL = (
    Plugin("bitcrush", "Bitcrush", "fewer bits, lo-fi", (_number("bit_depth", 8, 0, 32, "bits"),)),
    Plugin(
        "brickwall_limiter",
        "BrickwallLimiter",
        "a ceiling without make-up gain",
        (
            _number("ceiling_db", -1, -100, 24, "dB"),
            _number("release_ms", 100, 0, 10_000, "ms", open_low=True),
            _number("lookahead_ms", 5, 0, 100, "ms", open_low=True, fixed=True),
            Parameter("true_peak", False, "flag"),
        ),
    ),
    Plugin("chain", "Chain", "plugins one after the other, as one", container=True),
    Plugin(
        "chorus",
        "Chorus",
        "a moving copy beside the sound",
        (
            _number("rate_hz", 1, 0, 100, "Hz"),
            _unit("depth", 0.25),
            # Outside 1 to 100 JUCE moves the delay back in without a word.
            _number("centre_delay_ms", 7, 1, 100, "ms"),
            _number("feedback", 0, -1, 1),
            _unit("mix", 0.5),
        ),
    ),
    Plugin("clipping", "Clipping", "hard clipping at a threshold", (_number("threshold_db", -6, -100, 24, "dB"),)),
    Plugin(
        "compressor",
        "Compressor",
        "less dynamics",
        (_number("threshold_db", 0, -100, 24, "dB"), _number("ratio", 1, 1, 1_000), *_DYNAMICS),
    ),
    Plugin(
        "convolution",
        "Convolution",
        "a room, a cabinet: convolution with an impulse response",
        (Parameter("impulse_response_filename", None, "file"), _unit("mix", 1)),
        together=2,
        note="the impulse response is brought to one energy, 18 dB below that of a unit impulse",
    ),
    Plugin(
        "delay",
        "Delay",
        "echoes",
        (_number("delay_seconds", 0.5, 0, 30, "s"), _unit("feedback", 0), _unit("mix", 0.5)),
    ),
    Plugin("distortion", "Distortion", "tanh distortion", (_number("drive_db", 25, -60, 100, "dB"),)),
    Plugin("gain", "Gain", "louder or softer", (_number("gain_db", 1, -100, 100, "dB"),)),
    Plugin(
        "gsm_full_rate_compressor",
        "GSMFullRateCompressor",
        "the sound of a 2G telephone",
        (_quality("windowed_sinc8"),),
        together=1,
    ),
    Plugin("high_shelf_filter", "HighShelfFilter", "treble up or down", _EQUALISER),
    Plugin("highpass_filter", "HighpassFilter", "6 dB per octave below", (_cutoff("cutoff_frequency_hz", 50),)),
    Plugin("invert", "Invert", "polarity turned round"),
    Plugin(
        "ladder_filter",
        "LadderFilter",
        "the Moog ladder",
        (
            Parameter("mode", "lpf12", "choice", choices=_LADDER_MODES),
            _cutoff("cutoff_hz", 200),
            _unit("resonance", 0),
            _number("drive", 1, 1, 100),
        ),
    ),
    Plugin(
        "limiter",
        "Limiter",
        "a loudness maximiser",
        (_number("threshold_db", -10, -100, 24, "dB"), _number("release_ms", 100, 0, 10_000, "ms")),
        note="adds make-up gain and clips at full scale; brickwall_limiter does neither",
    ),
    Plugin("low_shelf_filter", "LowShelfFilter", "bass up or down", _EQUALISER),
    Plugin("lowpass_filter", "LowpassFilter", "6 dB per octave above", (_cutoff("cutoff_frequency_hz", 50),)),
    Plugin("mix", "Mix", "plugins side by side, summed", container=True),
    Plugin(
        "mp3_compressor",
        "MP3Compressor",
        "the sound of a small MP3",
        (_number("vbr_quality", 2, 0, 9.999, fixed=True),),
        together=2,
        rates_hz=_MP3_RATES_HZ,
    ),
    Plugin(
        "noise_gate",
        "NoiseGate",
        "silence between the notes",
        (_number("threshold_db", -100, -100, 24, "dB"), _number("ratio", 10, 1, 1_000), *_DYNAMICS),
    ),
    Plugin("peak_filter", "PeakFilter", "one band up or down", _EQUALISER),
    Plugin(
        "phaser",
        "Phaser",
        "moving notches",
        (
            _number("rate_hz", 1, 0, 100, "Hz"),
            _unit("depth", 0.5),
            _cutoff("centre_frequency_hz", 1_300),
            # At ±1 the loop rings forever and grows.
            _number("feedback", 0, -1, 1, open_low=True, open_high=True),
            _unit("mix", 0.5),
        ),
    ),
    Plugin(
        "pitch_shift",
        "PitchShift",
        "another pitch, the same length",
        (_number("semitones", 0, -72, 72, "st", fixed=True),),
        note="cannot work in blocks, so a long stem needs memory for all of it, three times over",
    ),
    Plugin(
        "resample",
        "Resample",
        "down to a lower rate and back",
        (_number("target_sample_rate", 8_000, 100, 384_000, "Hz", fixed=True), _quality("windowed_sinc32")),
    ),
    Plugin(
        "reverb",
        "Reverb",
        "a room (Freeverb)",
        (
            _unit("room_size", 0.5),
            _unit("damping", 0.5),
            _unit("wet_level", 0.33),
            _unit("dry_level", 0.4),
            _unit("width", 1),
            _unit("freeze_mode", 0),
        ),
        together=2,
    ),
)
PLUGINS: Mapping[str, Plugin] = {p.name: p for p in _ALL}
