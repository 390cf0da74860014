"""What comes beside the outputs of a render: sessions for DAWs and the report, where they go and what they may replace.

They are written anew with every render. What we wrote may be replaced as long as nobody changed it: a session that was
opened and saved in a DAW is the user's, and stays unless --overwrite is said.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from render import naming, stamps
from render.errors import Mistake, found, nearest
from render.exports import aaf
from render.exports.kinds import SUFFIXES

if TYPE_CHECKING:
    from render.plan import Job

REPORT_SUFFIXES = {"report": ".report.html", "figures": ".report.json"}


@dataclass(frozen=True)
class Wish:
    """What was asked for; None leaves it to the manifest, or to the default: no sessions.

    ``of_albums`` says that an album has a report unless somebody does not want one.
    """

    exports: tuple[str, ...] | None = None
    originals: bool | None = None
    report: bool | None = None
    of_albums: bool = False

    def over(self, other: "Wish") -> "Wish":
        """What comes of this wish for an album, with its gaps filled by ``other``, that of the manifest."""
        report = next((said for said in (self.report, other.report) if said is not None), self.of_albums)
        return Wish(
            other.exports if self.exports is None else self.exports,
            other.originals if self.originals is None else self.originals,
            report,
        )


@dataclass(frozen=True)
class Delivery:
    """What is written into ``folder`` once the stems are rendered; ``name`` begins the name of each file.

    ``exports`` are kinds of `render.exports.kinds`; with ``originals`` the stems are in them too, muted.
    """

    folder: Path
    name: str
    exports: tuple[str, ...] = ()
    originals: bool = False
    report: bool = False
    overwrite: bool = False

    @property
    def paths(self) -> dict[str, Path]:
        """Where each thing goes, by its kind: the sessions, then ``report`` and its twin ``figures``."""
        suffixes = {kind: SUFFIXES[kind] for kind in self.exports} | (REPORT_SUFFIXES if self.report else {})
        return {kind: self.folder / naming.component(self.name, suffix) for kind, suffix in suffixes.items()}

    def may_replace(self, path: Path) -> bool:
        """Whether what is at ``path`` is nothing, or ours and untouched, or was given up by --overwrite."""
        return self.overwrite or not os.path.lexists(path) or stamps.unchanged(path)


def kinds(text: str) -> tuple[tuple[str, ...], list[Mistake]]:
    """The kinds in ``text``, a list with commas as it is typed after --export, and what is wrong with it."""
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))
    wrong = [name for name in names if name not in SUFFIXES]
    allowed = ", ".join(SUFFIXES)
    mistakes = [
        Mistake("", "--export", f"found {found(name)}; expected one or more of {allowed}{nearest(name, SUFFIXES)}")
        for name in wrong
    ]
    if not names:
        mistakes.append(Mistake("", "--export", f"found nothing; expected one or more of {allowed}"))
    return tuple(name for name in names if name in SUFFIXES), mistakes


def decide(
    wish: Wish, title: str, jobs: "Sequence[Job]", inputs: Sequence[Path], *, file: str, overwrite: bool
) -> tuple[Delivery | None, list[Mistake]]:
    """What ``wish`` comes to for ``jobs``, and every reason why it cannot be; None when nothing is wished."""
    if not jobs or not (wish.exports or wish.report):
        return None, []
    delivery = Delivery(
        _folder(jobs), title, wish.exports or (), bool(wish.originals), bool(wish.report), overwrite=overwrite
    )
    key = "album.export" if file else "--export"
    mistakes = _linkable(delivery, jobs, file, key) if "aaf" in delivery.exports else []
    taken = {naming.collision_key(path.resolve()): "an input of this render" for path in inputs}
    taken |= {naming.collision_key(job.output.resolve()): "an output of this render" for job in jobs}
    for kind, path in delivery.paths.items():
        where = key if kind in SUFFIXES else "album.report" if file else "--report"
        if what := taken.get(naming.collision_key(path.resolve())):
            mistakes.append(Mistake(file, where, f"{path} is {what}; give the album another title"))
        elif path.is_dir():
            mistakes.append(Mistake(file, where, f"{path} is a folder; expected a free name"))
        elif not delivery.may_replace(path):
            less = "" if kind in SUFFIXES else ", --no-report leaves it out"
            reason = f"{path} was changed, or is not ours; move it away, or --overwrite replaces it{less}"
            mistakes.append(Mistake(file, where, reason))
    return delivery, mistakes


def named(stems: Sequence[Path]) -> str:
    """What to call a session of ``stems`` that have no album."""
    first = stems[0].stem
    return first if len(stems) == 1 else f"{first} and {len(stems) - 1} more"


def _folder(jobs: "Sequence[Job]") -> Path:
    """The folder that all outputs share, as long as it is theirs; else that of the first."""
    if len({job.root for job in jobs}) > 1:
        return jobs[0].output.parent
    return Path(os.path.commonpath([job.output.parent for job in jobs]))


def _linkable(delivery: Delivery, jobs: "Sequence[Job]", file: str, key: str) -> list[Mistake]:
    if reason := aaf.problem():
        return [Mistake(file, key, f"aaf {reason}")]
    forms = {job.output: job.format.container for job in jobs}
    if delivery.originals:
        forms |= {job.stem: job.info.format.container for job in jobs}
    return [
        Mistake(file, key, f"aaf links WAV and AIFF, and {path.name} is {container}; choose format = wav")
        for path, container in forms.items()
        if container not in aaf.CONTAINERS
    ]
