"""What an output says beside its sound: all that its stem says, and a line about what was done to it.

No clock is read: a date is the stem's own, or the one that is handed in.
"""

import unicodedata
from datetime import datetime

from engine import annotations as notes
from engine import ixml
from engine.audio import Annotations, Broadcast
from engine.bext import coding_line
from presets.version import gramophone_version
from render.chain import Chain
from render.plan import Job

ORIGINATOR = "Gramophone"


def of(job: Job, source: Annotations, *, when: datetime | None = None) -> Annotations:
    """What the output of ``job`` says: ``source``'s start time, markers, texts and documents, and our own line.

    What the stem does not say is said of the render: the track's title, who made it, and, where ``when`` is given,
    the date. Raises nothing.
    """
    words = made_by(job)
    carried = source.broadcast or Broadcast(time_reference=source.start_samples or 0)
    broadcast = Broadcast(
        description=carried.description or _plain(job.title),
        originator=carried.originator or ORIGINATOR,
        reference=carried.reference,
        date=f"{when:%Y-%m-%d}" if when else carried.date,
        time=f"{when:%H:%M:%S}" if when else carried.time,
        time_reference=carried.time_reference,
        history=carried.history,
    ).coded(coding_line(job.info.rate, notes.depth(job.format), job.info.channels, words))
    facts = ixml.Facts(job.info.rate, broadcast.time_reference, notes.depth(job.format))
    return Annotations(
        job.info.rate,
        broadcast,
        source.ixml or ixml.new(facts, {"NOTE": f"{job.title}: {words}"}),
        source.cues,
        {**source.tags, "ISFT": f"{ORIGINATOR} {gramophone_version()}"},
    )


def made_by(job: Job) -> str:
    """What was done to the stem of ``job``, in a line.

    No comma is in it, which would end its field of a coding history.
    """
    words = [f"{ORIGINATOR} {gramophone_version()}"]
    if job.styled:
        settings = job.settings
        words += [f"preset {job.label}", f"amount {settings.amount:g}", f"mix {settings.mix:g}"]
        words.append(f"quality {settings.quality}")
    if job.chain:
        words.append(f"chain {_names(job.chain)}")
    return "; ".join(words)


def lost(job: Job, source: Annotations) -> list[str]:
    """What of ``source`` does not reach the output of ``job``, as notes to a plan."""
    found = [f"{what} of the stem is left out" for what in source.dropped]
    if missing := notes.lost(source, job.format):
        listed = " and ".join([", ".join(missing[:-1]), missing[-1]] if len(missing) > 1 else missing)
        found.append(f"{job.format.container} has no place for {listed} of the stem; WAV has")
    return found


def _names(chain: Chain) -> str:
    return " > ".join(f"{step.plugin.name}({_names(step.inner)})" if step.inner else step.plugin.name for step in chain)


def _plain(words: str) -> str:
    """``words`` in the ASCII that a broadcast chunk is meant to hold, accents dropped."""
    split = unicodedata.normalize("NFKD", words)
    return "".join(c if c.isascii() else "?" for c in split if not unicodedata.combining(c))
