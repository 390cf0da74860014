"""Training a preset: two folders in, a preset out, with a state that can be stopped, looked at and gone on with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner, Result

from engine.errors import AudioError
from engine.settings import Settings
from engine.style import restyle
from engine.travelgan.training import Plan
from presets import checkpoint, learn, preset, resolve, sets, training
from presets.cli import app
from presets.errors import PresetError
from presets.events import (
    Event,
    PresetSaved,
    ReferenceSkipped,
    SetHeard,
    Stepped,
    TrainingLooked,
    TrainingStarted,
    TrainingStopped,
)
from presets.library import Library

SMALL = Plan(batch=1, filters=4)
Make = Callable[..., training.Request]


def noise(path: Path, seconds: float, seed: int, *, hz: float = 400.0, rate: int = 8000) -> Path:
    """A beating tone in noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    at = np.arange(round(rate * seconds)) / rate
    random = np.random.default_rng(seed)
    sound = 0.2 * np.sin(2 * np.pi * hz * at) * (1 + np.sin(2 * np.pi * 2 * at)) + 0.02 * random.standard_normal(
        len(at)
    )
    soundfile.write(path, sound.astype(np.float32), rate, "PCM_16")
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with little more than a minute of sound each."""
    noise(tmp_path / "low" / "a.wav", 40, 1, hz=200)
    noise(tmp_path / "low" / "b.wav", 30, 2, hz=300)
    noise(tmp_path / "high" / "c.wav", 64, 3, hz=2000)
    return tmp_path / "low", tmp_path / "high"


@pytest.fixture
def request_(folders: tuple[Path, Path]) -> Make:
    """A request for a few steps between them."""

    def make(steps: int = 4, name: str = "high", plan: Plan = SMALL, **more: Any) -> training.Request:
        return training.Request([folders[0]], [folders[1]], name, plan, steps, every=2, device="cpu", **more)

    return make


def states(library: Library, name: str = "high") -> dict[str, torch.Tensor]:
    """The tensors of a training's checkpoint."""
    return checkpoint.load(training.folder(library, name) / training.STATE).tensors


def test_a_training_tells_what_it_does_and_leaves_a_preset(request_: Make, library: Library, tmp_path: Path) -> None:
    """Both sets with their numbers, every step, a picture and a preview now and then, and a preset with its card."""
    told: list[Event] = []
    stem = noise(tmp_path / "stem.wav", 1.0, 4)
    made = training.train(request_(preview=stem), library, on_event=told.append)
    assert made is not None
    heard = [event for event in told if isinstance(event, SetHeard)]
    assert [(event.side, event.files, event.enough) for event in heard] == [("content", 2, False), ("style", 1, False)]
    assert heard[1].seconds == pytest.approx(64, abs=0.5)
    assert [event for event in told if isinstance(event, TrainingStarted)] == [TrainingStarted(0, 4, "cpu")]
    assert [event.step for event in told if isinstance(event, Stepped)] == [1, 2, 3, 4]
    looks = [event for event in told if isinstance(event, TrainingLooked)]
    assert [look.step for look in looks] == [2, 4]
    assert isinstance(told[-1], PresetSaved)
    for look in looks:
        assert look.picture.read_bytes().startswith(b"\x89PNG")
        assert look.played is not None
        assert soundfile.info(look.played).frames == 8000
    card = library.load("high").card
    assert card == made.card
    assert card.recipe == "travelgan"
    assert card.training is not None
    assert (card.training.steps, card.training.batch, card.training.content.files) == (4, 1, 2)
    assert {"critic", "identity", "travel"} <= set(card.training.losses)
    assert [reference.name for reference in card.references] == ["c.wav"]


def test_its_preset_holds_the_generator_only_and_plays(request_: Make, library: Library) -> None:
    """Nothing of siamese or critic is in it; it renders, and blends with another."""
    training.train(request_(), library)
    training.train(request_(name="other", plan=Plan(batch=1, filters=4, seed=9)), library)
    loaded = library.load("high")
    assert {name.split(".")[1] for name in loaded.target.tensors if name != "shares"} == {
        *("first", "first_norm", "halved", "halved_norm", "quartered", "quartered_norm", "up", "up_norm", "upper"),
        "spread",
    }
    stem = 0.1 * torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    styled = restyle(stem, 44100, loaded.target, Settings(device="cpu"))
    assert styled.shape == stem.shape
    assert not torch.equal(styled, stem)
    mixed = resolve.load_blend(resolve.parse("high:0.7,other:0.3"), library)
    assert mixed.target.tensors["shares"].tolist() == pytest.approx([0.7, 0.3])
    restyle(stem, 44100, mixed.target, Settings(device="cpu"))


def test_stopped_and_gone_on_with_is_the_same_to_the_bit(request_: Make, library: Library, tmp_path: Path) -> None:
    """Three steps, a stop, and three more: the state and the preset of six at once."""
    told: list[Event] = []
    stops = iter([False, False, True])
    assert training.train(request_(6), library, on_event=told.append, stop=lambda: next(stops)) is None
    assert told[-1] == TrainingStopped(3, 6, training.folder(library, "high"))
    assert not library.path("high").exists()
    told.clear()
    gone_on = training.train(request_(6), library, resume=True, on_event=told.append)
    assert TrainingStarted(3, 6, "cpu") in told
    whole = training.train(request_(6), Library(tmp_path / "elsewhere"))
    mine, other = states(library), states(Library(tmp_path / "elsewhere"))
    assert [name for name in mine if not torch.equal(mine[name], other[name])] == []
    assert gone_on is not None
    assert whole is not None
    assert gone_on.content_hash == whole.content_hash


def test_more_steps_can_follow(request_: Make, library: Library) -> None:
    """A training that is done goes on to a larger number, and replaces its preset."""
    first = training.train(request_(2), library)
    second = training.train(request_(4, overlap=False), library, resume=True)
    assert first is not None
    assert second is not None
    assert library.load("high").content_hash == second.content_hash != first.content_hash
    record = checkpoint.load(training.folder(library, "high") / training.STATE).record
    assert [told.step for told in record.history] == [2, 4]
    assert (first.card.params["overlap"], second.card.params["overlap"]) == (True, False)


def test_only_the_same_training_goes_on(request_: Make, library: Library, folders: tuple[Path, Path]) -> None:
    """Other sets or another plan are named."""
    training.train(request_(2), library)
    with pytest.raises(PresetError, match=r"batch \(was 1, now 2\), seed \(was 0, now 5\)"):
        training.train(request_(4, plan=Plan(batch=2, filters=4, seed=5)), library, resume=True)
    noise(folders[1] / "more.wav", 5, 7)
    with pytest.raises(PresetError, match="begun otherwise: the style set"):
        training.train(request_(4), library, resume=True)


def test_names_that_are_taken_are_told_before_anything_is_read(request_: Make, library: Library) -> None:
    """A preset, a training that was begun, and none to go on with."""
    told: list[Event] = []
    with pytest.raises(PresetError, match="leave out --resume"):
        training.train(request_(), library, resume=True, on_event=told.append)
    training.train(request_(2), library)
    with pytest.raises(PresetError, match="--resume goes on with it, --replace begins anew"):
        training.train(request_(2), library, on_event=told.append)
    (training.folder(library, "high") / training.STATE).unlink()
    with pytest.raises(PresetError, match="preset 'high' exists"):
        training.train(request_(2), library, on_event=told.append)
    assert told == []
    assert training.train(request_(2), library, replace=True) is not None


def test_a_preset_that_was_learnt_meanwhile_stays(
    request_: Make, library: Library, make_preset: Callable[..., Any]
) -> None:
    """Going on does not write over a preset of that name that is none of its own, unless told to."""
    assert training.train(request_(4), library, stop=lambda: True) is None
    library.save(make_preset("high"))
    before = library.path("high").read_bytes()
    with pytest.raises(PresetError, match="not of this training; --replace"):
        training.train(request_(4), library, resume=True)
    assert library.path("high").read_bytes() == before
    assert training.train(request_(4), library, resume=True, replace=True) is not None


def test_sets_that_are_too_small_are_refused_with_the_numbers(tmp_path: Path) -> None:
    """How much there is, in how many files, and how much it takes; silence and repeats count for nothing."""
    noise(tmp_path / "few" / "a.wav", 20, 1)
    noise(tmp_path / "few" / "same.wav", 20, 1)
    soundfile.write(tmp_path / "few" / "silent.wav", np.zeros(8000 * 70), 8000)
    (tmp_path / "few" / "notes.wav").write_text("no sound at all")
    told: list[Event] = []
    with pytest.raises(
        PresetError, match=r"the style set has 19\.\d s of sound in 1 file; training needs 60 s at least"
    ):
        sets.hear([tmp_path / "few"], "style", told.append)
    assert {event.name for event in told if isinstance(event, ReferenceSkipped)} >= {"silent.wav", "notes.wav"}
    with pytest.raises(AudioError):
        sets.hear([tmp_path / "few" / "notes.wav"], "style", told.append)
    with pytest.raises(PresetError, match="does not exist"):
        sets.hear([tmp_path / "nowhere"], "content", told.append)


def test_a_checkpoint_is_whole_or_not_there(request_: Make, library: Library) -> None:
    """One that was cut off, or is something else, is said in words; nothing is loaded from it."""
    training.train(request_(2), library)
    path = training.folder(library, "high") / training.STATE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PresetError, match="is truncated"):
        training.train(request_(4), library, resume=True)
    path.write_bytes(library.path("high").read_bytes())
    with pytest.raises(PresetError, match="is not a training's checkpoint"):
        training.train(request_(4), library, resume=True)
    path.write_bytes(whole.replace(b'format\\":1', b'format\\":7'))
    with pytest.raises(PresetError, match="format 7"):
        training.train(request_(4), library, resume=True)


def test_a_card_without_a_training_says_nothing_of_it(library: Library, make_preset: Callable[..., Any]) -> None:
    """So that a version that knows of none reads what others make."""
    library.save(make_preset())
    header, _, _ = preset_parts(library.path("tape"))
    assert "training" not in json.loads(header["gramophone"])


def preset_parts(path: Path) -> tuple[dict[str, str], int, bytes]:
    """The metadata of a preset file, where its tensors begin, and all of it."""
    from presets import tensorfile

    header, blob = tensorfile.read(path)
    return dict(header.metadata), header.data_start, blob


@pytest.fixture
def run(library: Library) -> Callable[..., Result]:
    """Run a preset command on the library."""

    def invoke(*arguments: object, code: int = 0) -> Result:
        environment = {"GRAMOPHONE_LIBRARY": str(library.folder), "COLUMNS": "200"}
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_the_command(run: Callable[..., Result], folders: tuple[Path, Path], library: Library) -> None:
    """It says what it hears and does, and the preset shows its training."""
    few = ("--steps", 3, "--every", 2, "--batch", 1, "--filters", 4, "--device", "cpu")
    result = run("train", "--content", folders[0], "--style", folders[1], "--name", "high", *few)
    assert f"trained 'high': {library.path('high')}" in result.stdout
    for words in ("content: 1.2 min in 2 files; ten minutes or more", "step 3/3  critic", "seen in", "on cpu"):
        assert words in result.stderr
    assert "3 steps of 1 on cpu: 1.2 min of content, 1.1 min of style; critic" in run("show", "high").stdout
    assert json.loads(run("show", "high", "--json").stdout)["card"]["training"]["steps"] == 3
    picture = library.folder / "high.png"
    run("show", "high", "--picture", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_line(run: Callable[..., Result], folders: tuple[Path, Path]) -> None:
    """Exit code 2, before anything is trained; learning points to training."""
    given = ("--content", folders[0], "--style", folders[1], "--name", "x")
    for more, words in (
        (("--pieces", 5), "pieces is 5; expected 2 to 3"),
        (("--steps", 0), "steps is 0; expected 1"),
        (("--device", "abacus"), "'abacus'; expected auto"),
        (("--rate", 3), "rate is 3 Hz"),
        (("--preview", "nowhere.wav"), "nowhere.wav"),
    ):
        result = run("train", *given, *more, code=2)
        assert words in result.stderr.splitlines()[-1]
    result = run("learn", folders[0], "--recipe", "travelgan", "--name", "x", code=2)
    assert "gramophone preset train --content" in result.stderr


def test_learning_refuses_before_it_hashes(folders: tuple[Path, Path]) -> None:
    """A request for a trained recipe is a mistake at once."""
    with pytest.raises(PresetError, match="not learnt from references"):
        learn.request([folders[0] / "nowhere.wav"], recipe="travelgan")


def test_trained_presets_are_checked_as_all_are(request_: Make, library: Library) -> None:
    """A byte changed on disk is found."""
    training.train(request_(2), library)
    path = library.path("high")
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(PresetError, match="corrupt tensor"):
        preset.load(path)
