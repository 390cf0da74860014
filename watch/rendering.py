"""One request to one verdict, inside a worker: the stem is looked at, rendered, and published under a free name.

What is the stem's own fault is `Failed`; what may pass by itself (a preset that is not there, a folder that cannot be
written) is `Waiting`; a file that is not whole, or not the one that was sent, is `Incomplete`.
"""

import errno
import json
import os
import re
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from engine import audio
from engine import device as devices
from engine.errors import AudioError, DeviceError, EngineError
from engine.settings import Settings
from presets import resolve
from presets.errors import PresetError
from presets.library import Library
from presets.preset import Preset
from render import automation, destination, outformat, publish, songs, stamps, tails
from render import chain as chains
from render import job as jobs
from render.chain import Chain
from render.choices import Choices, Layer, chosen, command_line
from render.errors import InputError, MidiError, Mistake, PublishError, RenderError
from render.events import Event, StemWritten
from render.plan import Job
from render.tempo import Song
from watch import albums, barriers, protocol
from watch.protocol import Failed, Incomplete, Published, Rendered, Started, Stem, Tell, Verdict, Waiting

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")

KEPT_PRESETS = 8
KEPT_WISHES = 64
_MOST_NAMES = 10_000
_MOST_NOTES = 20
# What a disk or a folder says that may say otherwise later: nothing that the stem could help.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "ESTALE", "EFBIG", "ENODEV"),
        *("ENXIO", "EMFILE", "ENFILE", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT", "EAGAIN", "EBUSY"),
    )
    if hasattr(errno, name)
)
_SOUNDFILE_SYSTEM = 2  # libsndfile's SF_ERR_SYSTEM: the system call failed, not the format


class Held(Exception):
    """The stem has to wait for ``cause``."""

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True)
class Wishes:
    """What a folder and a sidecar wish of their stems, checked."""

    layer: Layer
    chain: Chain | None


@dataclass(frozen=True)
class KnownJob(Job):
    """A job that reads its stem for its digest once."""

    @cached_property
    def _known(self) -> dict[str, Any]:
        return super().inputs()

    def inputs(self) -> dict[str, Any]:
        """As `Job.inputs`, of the first time it was asked for."""
        return self._known


@dataclass
class Renderer:
    """Renders stems of one ``library`` on ``device``, keeping presets and wishes from one to the next."""

    library: Library
    device: str = "auto"

    def __post_init__(self) -> None:
        self._presets: OrderedDict[tuple[resolve.BlendSpec, str], tuple[tuple[Any, ...], Preset]] = OrderedDict()
        self._wishes: OrderedDict[str, Wishes] = OrderedDict()

    def render(self, request: Stem, tell: Tell) -> Verdict:
        """Render what ``request`` asks for; never raises but for an interrupt."""
        try:
            barriers.reach("worker-claimed", request.path)
            if not _same(request):
                return Incomplete(request.id, "changed after it had been still", changed=True)
            return self._album(request, tell) if request.album else self._stem(request, tell)
        # The worker boundary: whatever a stem does to us is its verdict, and the next one goes on.
        except Exception as error:
            return self._verdict(request, error)

    def wishes(self, request: Stem) -> Wishes:
        """The choices and the chain of ``request``; `Held` when there is a mistake in them."""
        key = json.dumps([request.choices, request.chain, request.base])
        if key in self._wishes:
            self._wishes.move_to_end(key)
            return self._wishes[key]
        layer, mistakes = command_line(Choices(**request.choices))
        layer = replace(layer, base=Path(request.base))
        chain: Chain | None = None
        if request.chain is not None:
            chain, more = chains.parse(list(request.chain), file="", key="chain", folder=Path(request.base))
            mistakes += more
        if mistakes:
            raise Held("config", _lines(mistakes))
        wishes = Wishes(layer, chain)
        if not chains.files(chain or ()):  # those have to be looked at every time
            _keep(self._wishes, key, wishes, KEPT_WISHES)
        return wishes

    def preset(self, layer: Layer) -> tuple[Preset | None, str]:
        """The preset that ``layer`` chooses, read again only when its files are others, and its label."""
        value = layer.choices.preset
        if value is None:
            if layer.choices.amount != 0:
                raise Held("preset", 'no preset is chosen; name the folder after one, or write preset = "NAME"')
            return None, "dry"
        try:
            spec = resolve.parse(value)
            base = layer.base
            seen = tuple(_snapshot(resolve.file_of(part, self.library, base)) for part in spec.parts)
            key = (spec, os.fspath(base or ""))
            if key not in self._presets or self._presets[key][0] != seen:
                _keep(self._presets, key, (seen, resolve.load_blend(spec, self.library, base=base)), KEPT_PRESETS)
            self._presets.move_to_end(key)
            return self._presets[key][1], spec.label
        except PresetError as error:
            raise Held("preset", str(error)) from error
        except (OSError, ValueError, RuntimeError) as error:
            raise Held("preset", f"preset {value!r} cannot be read: {error}") from error

    def _stem(self, request: Stem, tell: Tell) -> Verdict:
        with _readable(request.path) as path:
            return self._sound(request, path, tell)

    def _sound(self, request: Stem, path: Path, tell: Tell) -> Verdict:
        wishes = self.wishes(request)
        preset, label = self.preset(wishes.layer)
        settings = _settings(wishes.layer, preset, self.device)
        chain = wishes.chain
        if chain is None:
            chain = _preset_chain(preset)
        try:
            info = audio.probe(path)
        except AudioError as error:
            return Incomplete(request.id, _said(request, path, error), changed=not _same(request))
        if misfits := chains.misfits(chain, rate=info.rate, channels=info.channels):
            return Failed(request.id, "; ".join(misfits))
        layers = (wishes.layer,)
        song, told = _song(wishes.layer, info.path)
        try:
            form, _ = outformat.decide(layers, destination.beside(info.path), info, "")
        except InputError as error:
            raise Held("config", str(error)) from error
        natural = request.place + outformat.suffix(form, info.path)
        job = KnownJob(
            index=1,
            title=info.path.stem,
            info=info,
            root=Path(request.out),
            output=Path(request.out, natural),
            preset=preset,
            label=label,
            settings=settings,
            chain=chain,
            format=form,
            overs=chosen(layers, "overs")[0] or "limit",
            tail_samples=tails.samples(chosen(layers, "tail_s")[0], info.rate),
            tail_auto=chosen(layers, "tail_s")[0] == tails.AUTO,
            overwrite=False,
            song=song,
            song_start_s=songs.into_session_s(info.path) if song and wishes.layer.choices.tempo else 0.0,
            notes=told,
            loudness_lufs=chosen(layers, "loudness_lufs")[0],
            ceiling_dbtp=chosen(layers, "ceiling_dbtp")[0],
        )
        job = automation.applied(job, layers)
        _stay_inside(job)
        tell(Started(request.id, job.duration_s, job.estimate_s))
        barriers.reach("worker-started", request.path)
        return self._publish(request, job, tell)

    def _publish(self, request: Stem, job: KnownJob, tell: Tell) -> Verdict:
        """Render ``job`` under the first name that is free, or find that it is there already."""
        for target in _targets(request, job):
            if target.output != job.output or target.overwrite:
                job = _renamed(job, target.output, overwrite=target.overwrite)
            if os.path.lexists(job.output):
                if stamps.holds(job.output, job.inputs()):
                    publish.confirm(job.output)
                    return _published(request, job, already=True)
                if not job.overwrite:
                    continue
            try:
                barriers.reach("worker-render", request.path)
                jobs.render(job, on_event=partial(_relay, request, tell))
            except PublishError as error:
                if isinstance(error.__cause__, FileExistsError):
                    continue  # somebody was faster
                raise
            barriers.reach("worker-published", request.path)
            return _published(request, job, already=False)
        return Failed(request.id, f"{job.output} and {_MOST_NAMES} names like it are taken; clear the output folder")

    def _album(self, request: Stem, tell: Tell) -> Verdict:
        return albums.render(request, self.library, tell, device=request.choices.get("device", self.device))

    def _verdict(self, request: Stem, error: Exception) -> Verdict:
        """What ``error`` says about the stem of ``request``, or about the world around it."""
        reason = _said(request, Path(request.path), error)
        if isinstance(error, Held):
            return Waiting(request.id, reason, error.cause)
        if isinstance(error, InputError):
            return Waiting(request.id, "; ".join(str(mistake) for mistake in error.mistakes), "config")
        if not _same(request):
            return Incomplete(request.id, f"changed while it was worked on ({reason})", changed=True)
        if isinstance(error, DeviceError):
            return Waiting(request.id, reason, "device")
        if (told := _passing(error)) is not None:
            # An input that has the right identity and cannot be read is kept from us as an output folder would be.
            return Waiting(request.id, f"{reason}{told}", "output")
        if devices.ran_out(error):
            torch.cuda.empty_cache()  # what this stem had is not to keep the next one from its memory
            return Failed(request.id, f"needs more memory than there is ({reason})", retry=True)
        if isinstance(error, RenderError | EngineError | PresetError):
            return Failed(request.id, reason)
        return Failed(request.id, f"unexpected {type(error).__name__}: {reason}", retry=True)


@dataclass(frozen=True)
class _Target:
    output: Path
    overwrite: bool = False


def _targets(request: Stem, job: Job) -> Iterator[_Target]:
    """Where the output may go, best first: over our own earlier one, then names that are not to be avoided."""
    natural = job.output
    if request.mine is not None and request.mine_sha256 is not None:
        mine = Path(request.mine)
        alike = re.escape(natural.stem) + r"( \(\d+\))?" + re.escape(natural.suffix)
        if mine.parent == natural.parent and re.fullmatch(alike, mine.name) and _holds(mine, request.mine_sha256):
            yield _Target(mine, overwrite=True)
    for number in range(request.number, request.number + _MOST_NAMES):
        yield _Target(natural.with_name(protocol.numbered(natural.stem, number) + natural.suffix))


def _published(request: Stem, job: KnownJob, *, already: bool) -> Published:
    return Published(
        request.id,
        os.fspath(job.output),
        stamps.file_digest(job.output),
        audio.probe(job.output).frames,  # with a tail that ends by itself this is the first to know
        already,
        source_sha256=job.inputs()["stem"],
        preset_hash=job.inputs()["preset"] or "",
        notes=job.notes[:_MOST_NOTES],
    )


def _renamed(job: KnownJob, output: Path, *, overwrite: bool) -> KnownJob:
    renamed = replace(job, output=output, overwrite=overwrite)
    vars(renamed)["_known"] = job.inputs()
    return renamed


def _stay_inside(job: Job) -> None:
    """Refuse an output folder that a link leads out of its root."""
    if not job.output.parent.resolve().is_relative_to(job.root.resolve()):
        raise Held("output", f"{job.output} would leave the output folder {job.root} through a link; remove the link")


def _settings(layer: Layer, preset: Preset | None, device: str) -> Settings:
    names = ("amount", "mix", "quality", "seed", "device")
    given = {name: value for name in names if (value := getattr(layer.choices, name)) is not None}
    if preset is not None:
        given.setdefault("amount", preset.card.amount)
    devices.pick(given.setdefault("device", device))
    return Settings(**given)


def _song(layer: Layer, stem: Path) -> tuple[Song | None, tuple[str, ...]]:
    """The bars and markers that the folder chose, or those of the MIDI file beside ``stem``, and notes on that one."""
    if layer.choices.tempo is None:
        return songs.of_stem(stem)
    try:
        return songs.chosen((layer.base or Path()) / layer.choices.tempo), ()
    except MidiError as error:
        raise Held("config", f"tempo: {error}") from error


def _preset_chain(preset: Preset | None) -> Chain:
    if preset is None or not preset.card.chain:
        return ()
    chain, mistakes = chains.parse(preset.card.chain, file=f"preset {preset.name}", key="chain", folder=None)
    if mistakes:
        raise Held("preset", _lines(mistakes))
    return chain


def _said(request: Stem, path: Path, error: Exception) -> str:
    """What ``error`` says, without the path of the stem, which it is told beside and may not stay at."""
    text = " ".join(str(error).split()) or type(error).__name__
    for name in (request.path, os.fspath(path)):
        text = text.removeprefix(f"{' '.join(name.split())}: ")
    return text


def _lines(mistakes: list[Mistake]) -> str:
    return "; ".join(str(mistake) for mistake in mistakes)


def _passing(error: BaseException) -> str | None:
    """What the system said when ``error`` comes of a disk or folder that may recover; None when it does not."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        if isinstance(at, OSError) and at.errno in _PASSING:
            said = at.strerror or str(at)
            return "" if said in str(error) else f" ({said})"
        if getattr(at, "code", None) == _SOUNDFILE_SYSTEM:
            return ""
        at = at.__cause__ or at.__context__
    return "" if "is the disk full?" in str(error) else None


@contextmanager
def _readable(path: str) -> Iterator[Path]:
    """``path``, or a link to it where its name is no text, which readers of sound files do not take."""
    try:
        path.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="gramophone-") as folder:
            link = Path(folder, f"stem{Path(path).suffix}")
            link.symlink_to(path)
            yield link
    else:
        yield Path(path)


def _same(request: Stem) -> bool:
    """Whether the file of ``request`` is still the one that was found."""
    try:
        status = os.lstat(request.path)
    except OSError:
        return False
    found = (status.st_size, status.st_mtime_ns, status.st_ino)
    return stat.S_ISREG(status.st_mode) and found == (request.size, request.mtime_ns, request.inode)


def _holds(path: Path, sha256: str) -> bool:
    try:
        return stamps.file_digest(path) == sha256
    except RenderError:
        return False


def _snapshot(path: Path) -> tuple[str, int, int, int, int]:
    status = path.stat()
    return os.fspath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _keep(kept: OrderedDict[_Key, _Kept], key: _Key, value: _Kept, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)


def _relay(request: Stem, tell: Tell, event: Event) -> None:
    """Tell when the sound of ``request`` is whole; other progress inside a stem is nobody's business here."""
    if isinstance(event, StemWritten):
        tell(Rendered(request.id, os.fspath(event.output)))
        barriers.reach("worker-rendered", request.path)
