"""The session as a ``.dawproject``, which Bitwig Studio, Studio One and Cubase open.

A ZIP of ``project.xml``, ``metadata.xml`` and the audio itself, byte for byte, so that it can be sent as it is.
Source: DAWproject 1.0 (bitwig/dawproject), Project.xsd and MetaData.xsd.
"""

import io
import shutil
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from presets.version import gramophone_version
from render import naming
from render.exports.session import Session, Track

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a ZIP can hold: the same session gives the same bytes
_ZIP64_FROM = 1 << 31
_MASTER = "master-channel"


def write(session: Session, path: Path, part: Path) -> None:
    """Write ``session``, which will lie at ``path``, into the file ``part``; OSError when it cannot be."""
    places = {
        clip.path: f"audio/{naming.component(f'{number:02d}_{clip.path.stem}', clip.path.suffix)}"
        for number, clip in enumerate(session.clips, 1)
    }
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("project.xml", _DATE), _xml(_project(session, places)))
        archive.writestr(zipfile.ZipInfo("metadata.xml", _DATE), _xml(_metadata(session)))
        for source, place in places.items():
            large = source.stat().st_size >= _ZIP64_FROM
            with (
                source.open("rb") as audio,
                archive.open(zipfile.ZipInfo(place, _DATE), "w", force_zip64=large) as inside,
            ):
                shutil.copyfileobj(audio, inside, 1 << 20)


def _project(session: Session, places: dict[Path, str]) -> ElementTree.Element:
    project = ElementTree.Element("Project", version="1.0")
    _add(project, "Application", name="Gramophone", version=gramophone_version())
    transport = _add(project, "Transport")
    tempo = session.tempo
    bpm = tempo.tempos[0].bpm if tempo else 120.0
    metre = tempo.metres[0] if tempo else None
    _add(transport, "Tempo", id="tempo", name="Tempo", unit="bpm", min="1", max="999", value=repr(bpm))
    _add(
        transport,
        "TimeSignature",
        id="metre",
        numerator=str(metre.numerator if metre else 4),
        denominator=str(metre.denominator if metre else 4),
    )
    structure = _add(project, "Structure")
    for number, track in enumerate(session.tracks, 1):
        _mixer(structure, track, number)
    master = _add(structure, "Track", id="master", name="Master", contentType="audio", loaded="true")
    channel = _add(master, "Channel", id=_MASTER, role="master", audioChannels="2", solo="false")
    _add(channel, "Volume", id="master-volume", name="Volume", unit="linear", min="0", max="2", value="1")
    arrangement = _add(project, "Arrangement", id="arrangement")
    lanes = _add(arrangement, "Lanes", id="lanes", timeUnit="seconds")
    for number, track in enumerate(session.tracks, 1):
        _lane(lanes, track, number, places)
    if session.markers:
        markers = _add(arrangement, "Markers", id="markers", timeUnit="seconds")
        for marker in session.markers:
            _add(markers, "Marker", time=repr(marker.seconds), name=marker.text)
    if tempo:
        quarter = tempo.ticks_per_quarter
        points = _add(arrangement, "TempoAutomation", id="tempo-points", timeUnit="beats", unit="bpm")
        _add(points, "Target", parameter="tempo")
        for change in tempo.tempos:
            _add(points, "RealPoint", time=repr(change.tick / quarter), value=repr(change.bpm), interpolation="hold")
        points = _add(arrangement, "TimeSignatureAutomation", id="metre-points", timeUnit="beats")
        _add(points, "Target", parameter="metre")
        for bar in tempo.metres:
            numbers = {"numerator": str(bar.numerator), "denominator": str(bar.denominator)}
            _add(points, "TimeSignaturePoint", time=repr(bar.tick / quarter), **numbers)
    return project


def _mixer(structure: ElementTree.Element, track: Track, number: int) -> None:
    strip = _add(structure, "Track", id=f"track-{number}", name=track.name, contentType="audio", loaded="true")
    wide = {"audioChannels": str(track.channels), "destination": _MASTER}
    channel = _add(strip, "Channel", id=f"channel-{number}", role="regular", solo="false", **wide)
    _add(channel, "Mute", id=f"mute-{number}", name="Mute", value="true" if track.muted else "false")
    _add(channel, "Pan", id=f"pan-{number}", name="Pan", unit="normalized", min="0", max="1", value="0.5")
    _add(channel, "Volume", id=f"volume-{number}", name="Volume", unit="linear", min="0", max="2", value="1")


def _lane(lanes: ElementTree.Element, track: Track, number: int, places: dict[Path, str]) -> None:
    lane = _add(lanes, "Lanes", id=f"lane-{number}", track=f"track-{number}")
    clips = _add(lane, "Clips", id=f"clips-{number}")
    for clip in track.clips:
        length = {"duration": repr(clip.duration_s)}
        place = _add(
            clips, "Clip", name=clip.name, time=repr(clip.start_s), contentTimeUnit="seconds", playStart="0.0", **length
        )
        form = {"channels": str(clip.channels), "sampleRate": str(clip.rate)}
        audio = _add(place, "Audio", timeUnit="seconds", algorithm="raw", **form, **length)
        _add(audio, "File", path=places[clip.path])


def _metadata(session: Session) -> ElementTree.Element:
    metadata = ElementTree.Element("MetaData")
    _add(metadata, "Title").text = session.title
    _add(metadata, "Comment").text = f"Rendered by Gramophone {gramophone_version()}"
    return metadata


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _xml(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    file = io.BytesIO()
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    return file.getvalue()
