"""The session as AAF, for Pro Tools, Logic, Media Composer and others: one mono track for each channel of a file.

Files are linked, not copied. AAF knows no muted track, so the originals play through a gain of zero.
Source: AAF Edit Protocol (AMWA), whose audio gain is the operation and parameter named here.
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from render.errors import RenderError
from render.exports.session import Clip, Session, Track

_GAIN = ("9d2ea894-0968-11d3-8a38-0050040ef7d2", "Mono Audio Gain")
_AMPLITUDE = ("e4962321-2267-11d3-8a4c-0050040ef7d2", "Amplitude")
_FRAMES_HZ = 25
CONTAINERS = ("WAV", "WAVEX", "AIFF")


def problem() -> str:
    """Why no AAF can be written here, or nothing."""
    try:
        import aaf2  # noqa: F401
    except ImportError:
        return "needs pyaaf2, which is not installed: pip install 'gramophone[aaf]'"
    return ""


def write(session: Session, path: Path, part: Path) -> None:
    """Write ``session``, which will lie at ``path``, into the file ``part``.

    `RenderError` when pyaaf2 is missing, or for a clip that AAF cannot link to; OSError when it cannot be written.
    """
    if reason := problem():
        raise RenderError(f"{path.name} {reason}")
    import aaf2

    with aaf2.open(str(part), "w") as file:
        composition = file.create.CompositionMob(session.title)
        composition.usage = "Usage_TopLevel"
        file.content.mobs.append(composition)
        _timecode(file, composition, session)
        gain = _gain(file) if any(track.muted for track in session.tracks) else None
        for track in session.tracks:
            for clip in track.clips:
                master = _linked(file, clip)
                for channel in range(clip.channels):
                    placed = master.create_source_clip(channel + 1, length=clip.length_samples, media_kind="sound")
                    segment = _silenced(file, placed, gain) if track.muted else placed
                    _place(file, composition, segment, clip, _name(track, clip, channel))


def _timecode(file: Any, composition: Any, session: Session) -> None:
    slot = composition.create_timeline_slot(_FRAMES_HZ)
    slot.name = "Timecode"
    slot.segment = file.create.Timecode(fps=_FRAMES_HZ, length=max(1, math.ceil(session.end_s * _FRAMES_HZ)))
    slot.segment.start = session.origin_s * _FRAMES_HZ


def _linked(file: Any, clip: Clip) -> Any:
    """The master of ``clip``, a slot for each channel, which leads to the file itself."""
    from aaf2 import ama

    aiff = clip.format.container == "AIFF"
    summary = ama.get_aifc_fmt(str(clip.path)) if aiff else ama.get_wave_fmt(str(clip.path))
    if clip.format.container not in CONTAINERS or summary is None:
        raise RenderError(f"{clip.path} is {clip.format.container}; expected WAV or AIFF for AAF (--format wav)")
    source, master = file.create.SourceMob(), file.create.MasterMob(clip.name)
    source.name = clip.path.name
    descriptor = file.create.AIFCDescriptor() if aiff else file.create.WAVEDescriptor()
    descriptor["SampleRate"].value = clip.rate
    descriptor["Summary"].value = summary
    descriptor["Length"].value = clip.length_samples
    descriptor["ContainerFormat"].value = file.dictionary.lookup_containerdef("AAF")
    descriptor["Locator"].append(ama.create_network_locator(file, clip.path.resolve()))
    source.descriptor = descriptor
    for channel in range(clip.channels):
        end = source.create_timeline_slot(clip.rate, channel + 1)
        end["PhysicalTrackNumber"].value = channel + 1
        end.segment = file.create.SourceClip(length=clip.length_samples, media_kind="sound")
        inner = master.create_timeline_slot(clip.rate, channel + 1)
        inner["PhysicalTrackNumber"].value = channel + 1
        inner.segment = source.create_source_clip(channel + 1, length=clip.length_samples, media_kind="sound")
    file.content.mobs.append(source)
    file.content.mobs.append(master)
    return master


def _place(file: Any, composition: Any, segment: Any, clip: Clip, name: str) -> None:
    slot = composition.create_sound_slot(edit_rate=clip.rate)
    slot.name = name
    if clip.start_samples:
        slot.segment.components.append(file.create.Filler("sound", clip.start_samples))
    slot.segment.components.append(segment)
    slot.segment.length = clip.start_samples + clip.length_samples


def _name(track: Track, clip: Clip, channel: int) -> str:
    return f"{track.name} {channel + 1}" if clip.channels > 1 else track.name


def _silenced(file: Any, placed: Any, gain: Any) -> Any:
    group = file.create.OperationGroup(gain, length=placed.length, media_kind="sound")
    group.parameters.append(file.create.ConstantValue(_AMPLITUDE[1], Fraction(0, 1)))
    group.segments.append(placed)
    return group


def _gain(file: Any) -> Any:
    """The definition of the gain, entered into the file's dictionary."""
    parameter = file.create.ParameterDef(*_AMPLITUDE, "", "Rational")
    file.dictionary.register_def(parameter)
    operation = file.create.OperationDef(*_GAIN, "")
    operation.media_kind = "sound"
    operation["NumberInputs"].value = 1
    operation["IsTimeWarp"].value = False
    operation["Bypass"].value = 1
    operation["OperationCategory"].value = "OperationCategory_Effect"
    operation.parameters.append(parameter)
    file.dictionary.register_def(operation)
    return operation
