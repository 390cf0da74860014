"""Whole plans: on past a failure, not twice over what is done, and out cleanly when interrupted."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from engine import style
from engine.style import Source
from presets.library import Library
from render import batch, planner
from render.choices import Choices
from render.events import (
    AlbumDone,
    AlbumStarted,
    Event,
    StemFailed,
    StemProgress,
    StemPublished,
    StemSkipped,
    StemStarted,
)
from render.plan import Plan

MakeStem = Callable[..., Path]
Contents = Callable[..., list[str]]
Noise = Callable[..., Tensor]


def _plan(stems: list[Path], shelf: Library, *, overwrite: bool = False, **choices: Any) -> Plan:
    made = Choices(**{"preset": "tape", **choices})
    return planner.plan_stems(stems, library=shelf, choices=made, overwrite=overwrite)


def _run(plan: Plan) -> tuple[AlbumDone, list[Event]]:
    events: list[Event] = []
    done = batch.run(plan, on_event=events.append, clock=lambda: 0.0)
    assert events[-1] is done
    assert isinstance(events[0], AlbumStarted)
    return done, events


def _kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events[1:-1] if not isinstance(event, StemProgress)]


def test_every_stem_is_started_and_published_in_order(make_stem: MakeStem, shelf: Library, contents: Contents) -> None:
    """Two stems, two outputs, and events that pair them."""
    done, events = _run(_plan([make_stem("a.wav"), make_stem("b.wav")], shelf))
    assert _kinds(events) == ["StemStarted", "StemWritten", "StemPublished"] * 2
    assert (done.published, done.skipped, done.failed) == (2, 0, 0)
    assert batch.exit_code(done) == 0
    assert contents() == ["a.wav", "a_tape.wav", "b.wav", "b_tape.wav"]


def test_a_failed_stem_does_not_take_the_others_with_it(
    make_stem: MakeStem, shelf: Library, noise: Noise, tmp_path: Path, contents: Contents
) -> None:
    """A broken file and one that fails while it is rendered are told with their reasons; the third is there."""
    (tmp_path / "a.wav").write_bytes(b"<html>")
    loud = make_stem("b.wav", noise(1, 100, peak=3.0), "FLOAT")
    plan = _plan([tmp_path / "a.wav", loud, make_stem("c.wav")], shelf, bit_depth="16", overs="refuse")
    done, events = _run(plan)
    assert _kinds(events) == ["StemFailed", "StemStarted", "StemFailed", "StemStarted", "StemWritten", "StemPublished"]
    failed = [event for event in events if isinstance(event, StemFailed)]
    assert "a.wav" in failed[0].reason
    assert "over full scale" in failed[1].reason
    assert (done.published, done.failed) == (1, 2)
    assert batch.exit_code(done) == 1
    assert contents() == ["a.wav", "b.wav", "c.wav", "c_tape.wav"]


@pytest.mark.parametrize("error", [ZeroDivisionError("boom\nagain"), MemoryError(), OSError(28, "No space left")])
def test_not_even_a_bug_ends_the_batch(
    error: Exception, make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever one stem raises is its own failure, told in one line, with the trace for --debug."""
    real = style.restyle_stream

    def restyle_stream(source: Source, *args: Any, **options: Any) -> Iterator[Tensor]:
        if source.channels == 1:
            raise error
        return real(source, *args, **options)

    monkeypatch.setattr(style, "restyle_stream", restyle_stream)
    plan = _plan([make_stem("a.wav", stem_of_one()), make_stem("b.wav")], shelf)
    done, events = _run(plan)
    assert (done.published, done.failed) == (1, 1)
    (failed,) = [event for event in events if isinstance(event, StemFailed)]
    assert "\n" not in failed.reason
    assert "Traceback" in failed.trace


def stem_of_one() -> Tensor:
    """One channel, so that a test can tell this stem from the others."""
    import torch

    return torch.full((1, 50), 0.25)


def test_what_is_done_is_skipped(make_stem: MakeStem, shelf: Library) -> None:
    """The second run does nothing and leaves the file's very time of change."""
    stems = [make_stem("a.wav"), make_stem("b.wav")]
    _run(_plan(stems, shelf))
    output = stems[0].with_name("a_tape.wav")
    changed = output.stat().st_mtime_ns
    plan = _plan(stems, shelf)
    assert plan.estimate_s == 0
    done, events = _run(plan)
    assert _kinds(events) == ["StemSkipped"] * 2
    assert (done.published, done.skipped) == (0, 2)
    assert output.stat().st_mtime_ns == changed
    done, _ = _run(_plan(stems, shelf, overwrite=True))
    assert done.skipped == 2


@pytest.mark.parametrize(
    "choices",
    [
        {"amount": 0.9},
        {"mix": 0.5},
        {"quality": "draft"},
        {"seed": 1},
        {"bit_depth": "16"},
        {"overs": "refuse"},
        {"tail_s": 0.1},
        {"device": "cpu"},
    ],
)
def test_any_other_choice_is_another_render(choices: dict[str, Any], make_stem: MakeStem, shelf: Library) -> None:
    """Each setting that may change the bytes is part of what is recognised."""
    stem = make_stem()
    _run(_plan([stem], shelf))
    plan = _plan([stem], shelf, overwrite=True, **choices)
    assert not plan.jobs[0].done


def test_another_stem_preset_or_impulse_response_is_another_render(
    make_stem: MakeStem, shelf: Library, noise: Noise, tmp_path: Path
) -> None:
    """Contents count, not names: a changed file under the old name is rendered anew."""
    stem, room = make_stem(), make_stem("room.wav", noise(1, 50))
    album = tmp_path / "album.toml"
    album.write_text(
        f'[album]\npreset = "tape"\n[[track]]\nstem = "{stem.name}"\n'
        f'[[track.chain]]\nplugin = "convolution"\nimpulse_response_filename = "{room.name}"\n'
    )

    def plan() -> Plan:
        return planner.plan_album(album, library=shelf, overwrite=True)

    _run(plan())
    assert plan().jobs[0].done
    make_stem("room.wav", noise(1, 50, seed=5))
    assert not plan().jobs[0].done
    _run(plan())
    make_stem("vox.wav", noise(2, 1600, seed=6))
    assert not plan().jobs[0].done
    _run(plan())
    album.write_text(album.read_text().replace('"tape"', "{ tape = 1, rain = 1 }"))
    assert not plan().jobs[0].done


def test_an_output_that_somebody_edited_is_not_taken_for_ours(make_stem: MakeStem, shelf: Library) -> None:
    """Trimmed in an editor, say: then it is theirs, and only --overwrite replaces it."""
    stem = make_stem()
    _run(_plan([stem], shelf))
    output = stem.with_name("vox_tape.wav")
    output.write_bytes(output.read_bytes()[:-2])
    assert not _plan([stem], shelf, overwrite=True).jobs[0].done


def test_a_crash_before_the_output_was_named_is_made_good(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """The stamp is there and the output is not, as after a power cut: the next run renders it."""
    from render import job as jobs

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    stem = make_stem()
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "publish", crash)
        done, _ = _run(_plan([stem], shelf))
    assert done.interrupted
    assert contents() == ["vox.wav"]
    done, _ = _run(_plan([stem], shelf))
    assert done.published == 1


def test_an_interrupt_ends_the_batch_and_keeps_what_is_whole(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """The first stem stays, the second leaves nothing, the third is not begun; the exit code is 130."""
    count = iter(range(3))

    def restyle_stream(source: Source, *_: object, **options: object) -> Iterator[Tensor]:
        yield source.read(0, 100)
        if next(count) == 1:
            raise KeyboardInterrupt
        yield source.read(100, source.samples - 100)

    monkeypatch.setattr(style, "restyle_stream", restyle_stream)
    done, events = _run(_plan([make_stem(f"{n}.wav") for n in "abc"], shelf))
    assert done.interrupted
    assert batch.exit_code(done) == 130
    assert _kinds(events) == ["StemStarted", "StemWritten", "StemPublished", "StemStarted"]
    assert contents() == ["a.wav", "a_tape.wav", "b.wav", "c.wav"]


def test_side_by_side_every_stem_comes_out_as_it_does_alone(
    make_stem: MakeStem, shelf: Library, noise: Noise, tmp_path: Path
) -> None:
    """Four stems, three at a time, one of them broken: the same bytes as one by one, and one failure told."""
    stems = [make_stem(f"{name}.wav", noise(seed=seed)) for seed, name in enumerate("abcd")]
    stems[2].write_bytes(stems[2].read_bytes()[:-50])
    _run(_plan(stems, shelf))
    alone = {path.name: path.read_bytes() for path in tmp_path.glob("*_tape.wav")}
    assert len(alone) == 3
    events: list[Event] = []
    done = batch.run(_plan(stems, shelf, overwrite=True, seed=1), on_event=events.append, side_by_side=3)
    assert (done.published, done.failed) == (3, 1)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*_tape.wav")} == alone
    assert {event.index for event in events if isinstance(event, StemPublished)} == {1, 2, 4}


def test_an_interrupt_reaches_every_stem_under_work(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    """Of two stems under work at once one is interrupted: neither leaves anything, and no third is begun."""
    ready = threading.Barrier(2)

    def restyle_stream(source: Source, *_: object, **options: object) -> Iterator[Tensor]:
        first = ready.wait() == 0
        for start in range(source.samples):
            if first and start == 1:
                raise KeyboardInterrupt
            time.sleep(0.01)
            yield source.read(start, 1)

    monkeypatch.setattr(style, "restyle_stream", restyle_stream)
    events: list[Event] = []
    plan = _plan([make_stem(f"{n}.wav") for n in "abc"], shelf)
    done = batch.run(plan, on_event=events.append, side_by_side=2)
    assert done.interrupted
    assert _kinds(events) == ["StemStarted", "StemStarted"]
    assert contents() == ["a.wav", "b.wav", "c.wav"]


def test_a_file_that_appears_meanwhile_is_left_as_it_is(
    make_stem: MakeStem, shelf: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was in the way when the plan was made; what is there at the end stays, and the stem fails."""
    plan = _plan([make_stem()], shelf)
    plan.jobs[0].output.write_text("theirs")
    done, _ = _run(plan)
    assert done.failed == 1
    assert plan.jobs[0].output.read_text() == "theirs"


def test_events_are_of_the_kinds_that_are_drawn(make_stem: MakeStem, shelf: Library) -> None:
    """The started event names what is needed to draw it; the published one says how it went."""
    _, events = _run(_plan([make_stem()], shelf))
    started = next(event for event in events if isinstance(event, StemStarted))
    published = next(event for event in events if isinstance(event, StemPublished))
    assert (started.index, started.preset, started.duration_s) == (1, "tape", 0.2)
    assert published.output == started.output
    assert published.format == "WAV PCM_24"
    assert not [event for event in events if isinstance(event, StemSkipped)]
