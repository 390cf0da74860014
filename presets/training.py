"""Train a preset between two sets of sounds, in steps that can be stopped, looked at, heard and gone on with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from presets import atomic, cards, checkpoint, names, references, sets
from presets.checkpoint import Checkpoint, Record, Told
from presets.errors import PresetError
from presets.events import (
    OnEvent,
    PresetSaved,
    SetHeard,
    Stepped,
    TrainingLooked,
    TrainingStarted,
    TrainingStopped,
)
from presets.learn import Defaults
from presets.library import Library
from presets.sets import Set
from presets.version import gramophone_version

if TYPE_CHECKING:
    from torch import Tensor

    from engine.target import Target
    from engine.travelgan.training import Losses, Plan, Trainer
    from presets.preset import Clock, Preset

RECIPE = "travelgan"
FOLDER = "training"  # in the library: a folder for each name, with the checkpoint, pictures and previews
STATE = "checkpoint.safetensors"
STEPS, EVERY = 20_000, 500
PREVIEW_S = 30.0


@dataclass(frozen=True)
class Request:
    """What is to be trained: files or folders of both sets, and for how many ``steps``.

    Every ``every`` steps the state is kept, a picture drawn and, with ``preview``, that stem played. ``device`` is as
    `engine.device.pick` takes it; ``rate`` in Hz is the preset's, None lets the style's files decide. ``overlap`` is
    how the preset plays: pieces fade into each other, or lie end to end.
    """

    content: Sequence[Path]
    style: Sequence[Path]
    name: str
    plan: "Plan"
    steps: int = STEPS
    every: int = EVERY
    device: str = "auto"
    rate: int | None = None
    preview: Path | None = None
    overlap: bool = True
    defaults: Defaults = field(default_factory=Defaults)

    def __post_init__(self) -> None:
        names.validated(self.name)
        for what, value in (("steps", self.steps), ("every", self.every)):
            if not 1 <= value <= 10_000_000:
                raise PresetError(f"{what} is {value}; expected 1 to 10000000 steps")
        if self.rate is not None:
            references.checked_rate(self.rate)


def folder(library: Library, name: str) -> Path:
    """Where the training of the preset called ``name`` keeps its state."""
    return library.folder / FOLDER / names.validated(name)


def train(
    wanted: Request,
    library: Library,
    *,
    resume: bool = False,
    replace: bool = False,
    on_event: OnEvent = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    clock: "Clock | None" = None,
) -> "Preset | None":
    """Train what is ``wanted`` and keep it in ``library``; None when ``stop`` said so between two steps.

    The state is kept either way, and ``resume`` goes on from it, to the bit, to any number of steps. Raises
    `PresetError` before anything is read when the name is taken and not to be replaced, a training of that name was
    begun and is not to be gone on with, or there is none to go on with; after the sets are read, when they are too
    small or not those the training was begun with.
    """
    from engine import device as devices
    from engine.travelgan.clips import Clips
    from engine.travelgan.training import Trainer

    place = folder(library, wanted.name)
    _check_names(library, wanted.name, place, resume, replace)
    begun = checkpoint.load(place / STATE) if resume else None
    device = devices.pick(wanted.device)
    heard = {side: sets.hear(paths, side, on_event) for side, paths in _sides(wanted)}
    for each in heard.values():
        on_event(SetHeard(each.side, len(each.files), each.seconds, each.seconds >= sets.GOOD_S))
    stem = _preview(wanted.preview)
    frames = wanted.plan.frames
    clips = {side: Clips(each.pictures, frames) for side, each in heard.items()}
    trainer = Trainer(clips["content"], clips["style"], wanted.plan, device)
    record = Record(
        version=gramophone_version(),
        content=heard["content"].sha256,
        style=heard["style"].sha256,
        plan=checkpoint.plan_record(wanted.plan),
        history=[],
    )
    if begun is not None:
        if told := checkpoint.differences(begun.record, record):
            raise PresetError(
                f"the training of {wanted.name!r} was begun otherwise: {', '.join(told)}; give it the same"
            )
        trainer.restore(begun.tensors)
        record = begun.record
    on_event(TrainingStarted(trainer.step_number, wanted.steps, str(device)))
    with devices.arranged(device):
        run = _Run(wanted, trainer, record, place, stem, _rate(wanted, heard["style"]), on_event)
        if not run.to_the_end(stop):
            on_event(TrainingStopped(trainer.step_number, wanted.steps, place))
            return None
    preset = _preset(wanted, run, heard, str(device), clock)
    library.save(preset, replace=replace or resume)
    on_event(PresetSaved(wanted.name, cached=False))
    return preset


@dataclass
class _Run:
    """The steps of one training, and what is kept of them on the way."""

    wanted: Request
    trainer: "Trainer"
    record: Record
    place: Path
    stem: "tuple[Tensor, int] | None"
    rate: int
    tell: OnEvent

    def to_the_end(self, stop: Callable[[], bool]) -> bool:
        """Go on to the last step; False when ``stop`` said so first. The state is kept at the end in both cases."""
        from engine.travelgan.training import Losses

        since: list[Losses] = []
        kept = self.trainer.step_number if self.record.history else -1
        going = True
        while going and self.trainer.step_number < self.wanted.steps:
            since.append(self.trainer.step())
            step = self.trainer.step_number
            self.tell(Stepped(step, self.wanted.steps, since[-1]))
            going = not stop()
            if step % self.wanted.every == 0 or step == self.wanted.steps or not going:
                self._told(step, Losses.mean(since))
                since, kept = [], step
                self._keep()
                self._look(step)
        if kept != self.trainer.step_number:
            self._keep()
        return self.trainer.step_number >= self.wanted.steps

    def target(self) -> "Target":
        """What the generator is now, as a target."""
        from engine import recipes
        from engine.methods.travelgan import trained

        plan = self.wanted.plan
        params = {"pieces": plan.pieces, "filters": plan.filters, "overlap": self.wanted.overlap}
        return trained(recipes.find(RECIPE), self.trainer.generator, self.rate, params)

    def _told(self, step: int, losses: "Losses") -> None:
        said = {name: round(value, 6) for name, value in vars(losses).items() if value is not None}
        self.record = self.record.model_copy(update={"history": [*self.record.history, Told(step=step, losses=said)]})

    def _keep(self) -> None:
        checkpoint.save(Checkpoint(self.record, self.trainer.state()), self.place / STATE)

    def _look(self, step: int) -> None:
        """A picture of a crop of each set and of what is made of the content's, and the preview's stem played."""
        from presets.picture import training_png

        picture = self.place / f"step-{step:07d}.png"
        content, made, style = self.trainer.look()
        history = [(told.step, told.losses) for told in self.record.history]
        atomic.write(picture, [training_png(content, made, style, history, title=self.wanted.name)], replace=True)
        played = None
        if self.stem is not None:
            from engine import audio
            from engine.settings import Settings
            from engine.style import restyle

            played = self.place / f"step-{step:07d}.wav"
            sound, rate = self.stem
            styled = restyle(sound, rate, self.target(), Settings(device=str(self.trainer.device)))
            audio.write(played, styled, rate, audio.Format("WAV", "FLOAT"))
        self.tell(TrainingLooked(step, picture, played))


def _sides(wanted: Request) -> list[tuple[str, Sequence[Path]]]:
    return [("content", wanted.content), ("style", wanted.style)]


def _check_names(library: Library, name: str, place: Path, resume: bool, replace: bool) -> None:
    there = (place / STATE).exists()
    if resume and not there:
        raise PresetError(f"no training of {name!r} was begun in {place}; leave out --resume to begin one")
    if replace:
        return
    if resume:
        if library.path(name).exists() and ((card := library.entry(name).card) is None or card.training is None):
            raise PresetError(f"preset {name!r} is not of this training; --replace puts what is trained in its place")
        return
    if there:
        raise PresetError(
            f"a training of {name!r} was begun in {place}; --resume goes on with it, --replace begins anew"
        )
    if library.path(name).exists():
        raise PresetError(f"preset {name!r} exists; choose another --name, or say --replace")


def _preview(path: Path | None) -> "tuple[Tensor, int] | None":
    """The first half minute of the stem to play now and then, with its rate."""
    if path is None:
        return None
    from engine import audio

    rate = audio.probe(path).rate
    return next(iter(audio.read_blocks(path, round(PREVIEW_S * rate)))), rate


def _rate(wanted: Request, style: Set) -> int:
    return wanted.rate or min(max(max(file.rate for file in style.files), 44_100), 48_000)


def _preset(wanted: Request, run: _Run, heard: dict[str, Set], device: str, clock: "Clock | None") -> "Preset":
    from presets import preset as presets

    history = run.record.history
    card = cards.Training(
        steps=run.trainer.step_number,
        batch=wanted.plan.batch,
        seed=wanted.plan.seed,
        device=device,
        content=heard["content"].card(),
        style=heard["style"].card(),
        losses=history[-1].losses if history else {},
    )
    return presets.new(
        wanted.name,
        run.target(),
        references=heard["style"].files,
        training=card,
        clock=clock or presets.utc_now,
        **wanted.defaults.fields(),
    )
