"""Learning: the same thing once, the right audio, and a card that says what was heard."""

import math
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from engine.errors import AudioError, RecipeError
from presets import learn as learning_module
from presets import preset as presets
from presets import references
from presets.errors import PresetError
from presets.events import Event, PresetSaved, ReferenceRead, ReferenceSkipped, TargetStarted
from presets.learn import Defaults, learn
from presets.library import Library

MakeWav = Callable[..., Path]
Given = list[list[Tensor]]


def test_the_real_engine_learns_a_preset_that_loads(library: Library, wav: MakeWav) -> None:
    """With the identity recipe, the file on disk is the preset that came back."""
    made, cached = learn([wav("tape.wav")], "tape", recipe="identity", library=library)
    assert not cached
    assert library.load("tape").card == made.card
    assert made.card.recipe == "identity"


def test_learning_twice_is_cached(library: Library, wav: MakeWav, learning: Given) -> None:
    """The second time nothing is learnt, nothing is written, and the caller is told."""
    events: list[Event] = []
    tape = wav("tape.wav")
    first, cached = learn([tape], "tape", library=library)
    written = library.find("tape").stat().st_mtime_ns
    assert not cached
    second, cached = learn([tape], "tape", library=library, on_event=events.append)
    assert cached
    assert second.card == first.card
    assert len(learning) == 1
    assert library.find("tape").stat().st_mtime_ns == written
    assert events == [PresetSaved("tape", cached=True)]


def test_the_cache_knows_the_sound_under_any_name_place_and_order(
    library: Library, wav: MakeWav, learning: Given, tmp_path: Path
) -> None:
    """Renamed, moved and reordered references, and another preset name, are the same learning."""
    one, two = wav("one.wav", hz=200), wav("two.wav", hz=300)
    first, _ = learn([one, two], "first", library=library, defaults=Defaults(amount=0.5))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copy(one, moved / "b.wav")
    shutil.copy(two, moved / "a.wav")
    second, cached = learn([moved], "second", library=library)
    assert cached
    assert len(learning) == 1
    assert second.content_hash == first.content_hash
    assert second.card.amount == 1.0
    assert {entry.name for entry in library.list()} == {"first", "second"}


@pytest.mark.parametrize(
    "changed", [{"recipe": "ulyanov"}, {"params": {"warm": 10}}, {"rate": 22_050}, {"listen_s": 5.0}, {"again": True}]
)
def test_anything_the_target_depends_on_is_learnt_anew(
    library: Library, wav: MakeWav, learning: Given, changed: dict[str, Any]
) -> None:
    """Another recipe, parameter, rate or span is another learning, and so is being told to learn again."""
    tape = wav("tape.wav")
    learn([tape], "tape", library=library)
    _, cached = learn([tape], "tape", library=library, replace=True, **changed)
    assert not cached
    assert len(learning) == 2


def test_another_version_learns_anew(
    library: Library, wav: MakeWav, learning: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preset of an older Gramophone is not passed off as this one's."""
    tape = wav("tape.wav")
    learn([tape], "tape", library=library)
    monkeypatch.setattr(learning_module, "gramophone_version", lambda: "99.0")
    _, cached = learn([tape], "tape", library=library, replace=True)
    assert not cached


def test_a_changed_reference_is_learnt_anew(library: Library, wav: MakeWav, learning: Given) -> None:
    """The references' bytes decide, not their names."""
    learn([wav("tape.wav")], "tape", library=library)
    _, cached = learn([wav("tape.wav", hz=221)], "tape", library=library, replace=True)
    assert not cached
    assert len(learning) == 2


def test_a_damaged_preset_is_no_cache(library: Library, wav: MakeWav, learning: Given) -> None:
    """When the kept tensors are not what they were, the sound is learnt again and the file is whole."""
    tape = wav("tape.wav")
    learn([tape], "tape", library=library)
    path = library.find("tape")
    path.write_bytes(path.read_bytes()[:-1] + b"\x7e")
    _, cached = learn([tape], "tape", library=library)
    assert not cached
    assert presets.load(path).name == "tape"


def test_a_taken_name_is_refused_before_any_audio_is_read(library: Library, wav: MakeWav, learning: Given) -> None:
    """Another sound under the same name needs replace; the old preset stays as it was."""
    old, _ = learn([wav("tape.wav")], "tape", library=library)
    events: list[Event] = []
    with pytest.raises(PresetError, match="--replace"):
        learn([wav("choir.wav", hz=100)], "tape", library=library, on_event=events.append)
    assert events == []
    assert library.load("tape").card == old.card
    new, cached = learn([wav("choir.wav", hz=100)], "tape", library=library, replace=True)
    assert not cached
    assert library.load("tape").card == new.card != old.card


def test_new_defaults_are_kept_without_learning(library: Library, wav: MakeWav, learning: Given) -> None:
    """Learning the same again with an amount or a chain changes the card; saying nothing leaves it."""
    tape, chain = wav("tape.wav"), [{"plugin": "reverb", "room_size": 0.5}]
    learn([tape], "tape", library=library, defaults=Defaults(0.5, chain, "mine"))
    same, cached = learn([tape], "tape", library=library)
    assert cached
    assert (same.card.amount, same.card.chain, same.card.licence) == (0.5, tuple(chain), "mine")
    changed, cached = learn([tape], "tape", library=library, defaults=Defaults(amount=0.75, chain=[]))
    assert cached
    assert (changed.card.amount, changed.card.chain, changed.card.licence) == (0.75, (), "mine")
    assert len(learning) == 1


def test_the_card_says_what_was_heard(library: Library, wav: MakeWav, learning: Given) -> None:
    """Files without their folders, lengths, digests, channels, level and the injected time are in the card."""
    tape = wav("private/tape.wav", rate=48_000, seconds=0.25, channels=2, peak=0.5)
    clock = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
    made, _ = learn([tape], "tape", library=library, clock=lambda: clock)
    (reference,) = made.card.references
    assert (reference.name, reference.duration_s, reference.rate, reference.channels) == ("tape.wav", 0.25, 48_000, 2)
    assert "private" not in library.find("tape").read_bytes().decode("latin-1")
    assert made.card.created == "2031-01-02T03:04:05+00:00"
    # A sine of peak 0.5 has a mean square of 1/8: −9.03 dBFS, here within the rounding of whole periods.
    assert made.card.loudness_dbfs == pytest.approx(10 * math.log10(1 / 8), abs=0.01)


@pytest.mark.parametrize(
    ("rates", "asked", "expected"),
    [((8000,), None, 44_100), ((48_000, 8000), None, 48_000), ((96_000,), None, 48_000), ((48_000,), 16_000, 16_000)],
)
def test_the_rate_is_the_highest_reference_within_44_to_48_khz(
    library: Library, wav: MakeWav, learning: Given, rates: tuple[int, ...], asked: int | None, expected: int
) -> None:
    """References are resampled to one rate without losing length; a rate asked for wins."""
    files = [wav(f"{rate}.wav", rate=rate, seconds=0.5) for rate in rates]
    made, _ = learn(files, "tape", library=library, rate=asked)
    assert made.card.rate == made.target.rate == expected
    assert [excerpt.shape for excerpt in learning[0]] == [(1, expected // 2)] * len(rates)


def test_channels_stay_apart(library: Library, wav: MakeWav, learning: Given) -> None:
    """Stereo and mono references reach the engine with the channels they have."""
    learn([wav("a.wav", channels=2), wav("b.wav", hz=300)], "x", library=library)
    assert sorted(excerpt.shape[0] for excerpt in learning[0]) == [1, 2]


def test_the_order_of_references_does_not_matter(library: Library, wav: MakeWav, learning: Given) -> None:
    """The engine is given the same excerpts in the same order however they were named."""
    one, two, three = (wav(f"{hz}.wav", hz=hz) for hz in (200, 300, 400))
    learn([one, two, three], "x", library=library)
    learn([three, one, two], "y", library=library, again=True)
    assert all(torch.equal(a, b) for a, b in zip(*learning, strict=True))


def test_a_folder_gives_its_audio_and_says_what_it_skips(
    library: Library, wav: MakeWav, learning: Given, tmp_path: Path
) -> None:
    """Nested audio is found; hidden and other files are not; repeats, silence and broken audio are told."""
    wav("set/one.wav")
    wav("set/deep/two.wav", hz=300)
    wav("set/silent.wav", peak=0.0)
    wav("set/.hidden.wav", hz=400)
    shutil.copy(tmp_path / "set/one.wav", tmp_path / "set/again.wav")
    (tmp_path / "set/page.wav").write_text("<!doctype html><p>Not found</p>" * 20)
    (tmp_path / "set/notes.txt").write_text("mine")
    events: list[Event] = []
    made, _ = learn([tmp_path / "set"], "set", library=library, on_event=events.append)
    assert sorted(r.name for r in made.card.references) == ["again.wav", "two.wav"]
    skipped = {event.name: event.reason for event in events if isinstance(event, ReferenceSkipped)}
    assert skipped.keys() == {"one.wav", "silent.wav", "page.wav"}
    assert "same bytes as again.wav" in skipped["one.wav"]
    assert skipped["silent.wav"] == "silent"
    assert len([event for event in events if isinstance(event, ReferenceRead)]) == 2
    assert TargetStarted("kernel", 1.0) in events
    assert events[-1] == PresetSaved("set", cached=False)


def test_long_references_are_heard_evenly(
    library: Library, learning: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More audio than asked for is learnt in excerpts spread over the whole file, as it is there, and said."""
    monkeypatch.setattr(references, "EXCERPT_S", 1.0)
    rate, seconds = 8000, 40
    ramp = np.repeat(np.arange(1, seconds + 1) / 64, rate)  # second k has the one value k/64
    soundfile.write(tmp_path / "long.wav", ramp, rate, "PCM_16")
    events: list[Event] = []
    learn([tmp_path / "long.wav"], "x", library=library, rate=rate, listen_s=8.0, on_event=events.append)
    heard = [float(excerpt.mean()) * 64 - 1 for excerpt in learning[0]]
    assert all(excerpt.shape == (1, rate) for excerpt in learning[0])
    assert heard == [2, 7, 12, 17, 22, 27, 32, 37]
    assert ReferenceRead(0, 1, "long.wav", 40.0, 8.0) in events


def test_many_references_share_the_span(library: Library, wav: MakeWav, learning: Given) -> None:
    """Each of several references is heard in proportion to its length, none is left out."""
    files = [wav(f"{hz}.wav", hz=hz, seconds=4.0) for hz in (200, 300, 400)]
    learn(files, "x", library=library, rate=8000, listen_s=6.0)
    assert [excerpt.shape[1] for excerpt in learning[0]] == [16_000] * 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rate": 4000}, "rate is 4000 Hz; expected 8000 to 192000"),
        ({"rate": 200_000}, "rate is 200000 Hz"),
        ({"listen_s": 0.5}, "listen is 0.5 s"),
        ({"listen_s": math.nan}, "listen is nan"),
        ({"params": {"a": math.nan}}, "finite JSON"),
        ({"params": {"a": {1}}}, "finite JSON"),
        ({"name": "a/b"}, "preset name"),
    ],
)
def test_wrong_options_say_what_is_allowed(
    library: Library, wav: MakeWav, learning: Given, options: dict[str, Any], reason: str
) -> None:
    """Every option out of range is refused, and nothing is kept."""
    given: dict[str, Any] = {"name": "x", "library": library} | options
    with pytest.raises(PresetError, match=reason):
        learn([wav("tape.wav")], **given)
    assert not library.folder.exists()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"amount": 1.5}, "amount"),
        ({"amount": math.nan}, "amount"),
        ({"chain": [{"x": 1}]}, "entry 1 needs plugin"),
        ({"licence": "a\x1b"}, "licence"),
    ],
)
def test_wrong_defaults_are_refused_before_anything_is_learnt(wrong: dict[str, Any], reason: str) -> None:
    """What a card cannot hold is known when the defaults are made."""
    with pytest.raises(PresetError, match=reason):
        Defaults(**wrong)


def test_an_unknown_recipe_names_the_nearest(library: Library, wav: MakeWav) -> None:
    """The engine's own error comes through."""
    with pytest.raises(RecipeError, match="did you mean 'kernel'"):
        learn([wav("tape.wav")], "x", recipe="kernal", library=library)


def test_wrong_parameters_are_refused_before_any_audio_is_read(library: Library, wav: MakeWav) -> None:
    """A slip of the pen costs no minutes of listening."""
    heard: list[Event] = []
    for params, reason in (({"wram": 3}, "did you mean 'warm'"), ({"warm": -1}, "warm is -1; expected a whole number")):
        with pytest.raises(RecipeError, match=reason):
            learn([wav("tape.wav")], "x", params=params, library=library, on_event=heard.append)
    assert heard == []


def test_wrong_references_say_what_they_are(library: Library, wav: MakeWav, tmp_path: Path, learning: Given) -> None:
    """Missing files, empty folders, silence and files that are no audio each have their own words."""
    wav("tape.wav")
    (tmp_path / "empty").mkdir()
    (tmp_path / "page.wav").write_text("<!doctype html><p>Not found</p>" * 20)
    silent, faint = wav("silent.wav", peak=0.0), wav("faint.wav", peak=1e-4)  # −83 dBFS, below BS.1770's gate of −70
    for paths, reason in (
        ([], "no references"),
        ([tmp_path / "tpae.wav"], "does not exist.*did you mean 'tape.wav'"),
        ([tmp_path / ("x" * 300)], "cannot be read"),
        ([tmp_path / "empty"], "holds no audio"),
        ([silent], "are silent"),
        ([faint], "are silent"),
        ([Path("/dev/null")], "not a regular file"),
    ):
        with pytest.raises(PresetError, match=reason):
            learn(paths, "x", library=library)
    with pytest.raises(AudioError, match="page"):
        learn([tmp_path / "page.wav"], "x", library=library)
    assert not library.folder.exists()


def test_a_folder_of_nothing_readable_says_so(library: Library, tmp_path: Path) -> None:
    """When every file of a folder is broken the preset is not learnt from nothing."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/page.wav").write_text("<!doctype html>" * 20)
    with pytest.raises(PresetError, match="none of the files"):
        learn([tmp_path / "set"], "x", library=library)


def test_loudness_is_of_what_sounds(library: Library, tmp_path: Path, learning: Given) -> None:
    """Silence around a sound does not lower its level (0.4 s blocks below the gates are left out)."""
    rate = 8000
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(rate * 4) / rate)
    soundfile.write(tmp_path / "gappy.wav", np.concatenate([tone, np.zeros(rate * 20)]), rate, "PCM_24")
    made, _ = learn([tmp_path / "gappy.wav"], "x", library=library, rate=rate)
    assert made.card.loudness_dbfs == pytest.approx(10 * math.log10(1 / 8), abs=0.01)


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_the_shortest_references_are_learnt(library: Library, tmp_path: Path, learning: Given, samples: int) -> None:
    """A click of one sample is a sound too."""
    soundfile.write(tmp_path / "click.wav", np.full(samples, 0.5), 44_100, "PCM_16")
    made, _ = learn([tmp_path / "click.wav"], "x", library=library)
    assert learning[0][0].shape == (1, samples)
    assert made.card.references[0].duration_s == pytest.approx(samples / 44_100, abs=1e-6)
