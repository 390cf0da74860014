"""Automation in a render: what is read, what is refused before any sound, and what it does to the samples."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from torch import Tensor

from engine import audio
from engine.style import Settings, Target
from presets.library import Library
from presets.preset import new
from render import automation, blending, lanes, planner
from render import chain as chains
from render import job as jobs
from render.breakpoints import Breakpoints
from render.choices import Choices, Layer
from render.errors import InputError
from render.plan import Job

RATE = 8000
MakeStem = Callable[..., Path]
Noise = Callable[..., Tensor]


def _album(tmp_path: Path, track: str = "", album: str = "", stem: str = "vox.wav") -> Path:
    path = tmp_path / "album.toml"
    path.write_text(f'[album]\npreset = "tape"\n{album}\n[[track]]\nstem = "{stem}"\n{track}\n')
    return path


def _lane(target: str, points: object, table: str = "track") -> str:
    return f"[[{table}.automation]]\ntarget = {json.dumps(target)}\npoints = {json.dumps(points)}\n"


def _midi(path: Path, *values: tuple[float, int], name: str = "ctl", control: int = 11) -> Path:
    """A file at 120 a minute, 480 ticks a quarter, with a controller's values at seconds."""
    file, track = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack()
    track.append(mido.MetaMessage("track_name", name=name))
    before = 0
    for seconds, value in values:
        at = round(seconds * 960)
        track.append(mido.Message("control_change", control=control, value=value, time=at - before))
        before = at
    file.tracks.append(track)
    file.save(path)
    return path


def _rendered(job: Job) -> Tensor:
    jobs.render(job, on_event=lambda event: None)
    return audio.read(job.output).samples


@pytest.fixture
def wet_by_amount(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """An engine whose sound at an amount is the stem times 1 - amount; the amounts that it was asked for."""
    asked: list[float] = []

    def restyle_stream(source: Any, target: Target, settings: Settings, *args: Any, **kwargs: Any) -> Any:
        asked.append(settings.amount)
        for at in range(0, source.samples, 700):
            stem = source.read(at, min(700, source.samples - at))
            yield stem + settings.mix * ((1 - settings.amount) * stem - stem)

    monkeypatch.setattr("engine.style.restyle_stream", restyle_stream)
    return asked


def test_mix_is_a_ramp_by_the_sample(
    tmp_path: Path, make_stem: MakeStem, shelf: Library, wet_by_amount: list[float]
) -> None:
    """From dry at 50 ms to wet at 150 ms: each sample has its own share, within a rounding of float32 (2^-24)."""
    dry = torch.full((2, 1600), 0.5)
    make_stem(samples=dry, subtype="FLOAT")
    album = _album(tmp_path, _lane("mix", [[0.05, 0], [0.15, 1]]))
    (job,) = planner.plan_album(album, library=shelf).jobs
    share = ((torch.arange(1600) / RATE - 0.05) / 0.1).clamp(0, 1)
    heard = _rendered(job)
    assert torch.allclose(heard, dry * (1 - share), rtol=0, atol=2**-24)
    assert torch.equal(heard[:, :400], dry[:, :400])
    assert wet_by_amount == [1.0]


def test_amount_is_the_engine_s_at_its_rungs_and_between_them_a_blend(
    tmp_path: Path, make_stem: MakeStem, shelf: Library, wet_by_amount: list[float]
) -> None:
    """0.2 is held, then up to 1: renders at 0.2, 0.5, 0.75 and 1; what is held is that very render."""
    dry = torch.full((1, 1600), 0.5)
    make_stem(samples=dry, subtype="FLOAT")
    album = _album(tmp_path, _lane("amount", [[0.1, 0.2], [0.2, 1.0]]), album="amount = 0.3\nmix = 1.0")
    (job,) = planner.plan_album(album, library=shelf).jobs
    heard = _rendered(job)
    assert wet_by_amount == [0.2, 0.5, 0.75, 1.0] == list(job.amounts)
    # The engine's sound is a straight line of the amount here, and so is a blend of any two.
    amount = 0.2 + 0.8 * ((torch.arange(1600) / RATE - 0.1) / 0.1).clamp(0, 1)
    assert torch.allclose(heard[0], 0.5 * (1 - amount), rtol=0, atol=1e-6)
    held = torch.full((800,), 0.5) + ((1 - 0.2) * torch.full((800,), 0.5) - 0.5)
    assert torch.equal(heard[0, :800], held)


def test_an_amount_of_nothing_is_the_stem_and_costs_nothing(noise: Noise) -> None:
    """The rung 0 is not rendered, and what it holds is the stem to the bit."""
    assert blending.rungs(Breakpoints(((0.0, 0.0), (1.0, 0.3)))) == (0.0, 0.3)
    assert blending.rungs(Breakpoints(((0.0, 0.4),))) == (0.4,)


@pytest.mark.parametrize("amount", [0.4, 1.0])
def test_an_amount_that_is_held_is_that_amount(
    amount: float, tmp_path: Path, make_stem: MakeStem, noise: Noise
) -> None:
    """With the real engine, a lane of one point: the bytes of the same number without automation."""
    library = Library(tmp_path / "library")
    from engine import style

    target = style.learn([noise(1, 12_000, seed=3)], RATE)
    library.save(new("rain", target))
    make_stem(samples=noise(1, 12_000))
    path = tmp_path / "album.toml"
    head = '[album]\npreset = "rain"\nquality = "draft"\n[[track]]\nstem = "vox.wav"\n'
    path.write_text(
        f'{head}amount = {amount}\n[[track]]\nstem = "vox.wav"\ntitle = "b"\n{_lane("amount", [[0, amount]])}'
    )
    plain, moving = planner.plan_album(path, library=library).jobs
    assert torch.equal(_rendered(plain), _rendered(moving))


def test_the_first_layer_that_says_something_holds(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """The command line over the track over the album, numbers and lanes alike."""
    make_stem()
    album = _album(tmp_path, _lane("amount", [[0, 0.5]]), album="amount = 0.9")
    (job,) = planner.plan_album(album, library=shelf).jobs
    assert job.amount_line is not None
    assert job.settings.amount == 0.5
    (job,) = planner.plan_album(album, library=shelf, choices=Choices(amount=0.7)).jobs
    assert job.amount_line is None
    assert job.settings.amount == 0.7
    album = _album(tmp_path, "mix = 0.25", _lane("mix", [[0, 1], [1, 0]], "album"))
    (job,) = planner.plan_album(album, library=shelf).jobs
    assert (job.mix_line, job.settings.mix) == (None, 0.25)


def test_chains_of_track_and_album_are_moved_by_their_own_tables(
    tmp_path: Path, make_stem: MakeStem, shelf: Library
) -> None:
    """``chain[1]`` is the first step of the chain beside it; containers are reached through ``plugins``."""
    make_stem()
    inner = '[{ plugin = "invert" }, { plugin = "gain" }]'
    track = f'chain = [{{ plugin = "mix", plugins = {inner} }}]\n{_lane("chain[1].plugins[2].gain_db", [[0, -3]])}'
    album = 'chain = [{ plugin = "delay" }]\n' + _lane("chain[1].mix", [[0, 0], [1, 1]], "album")
    (job,) = planner.plan_album(_album(tmp_path, track, album), library=shelf).jobs
    assert job.chain[0].inner[1].lines == {"gain_db": Breakpoints(((0.0, -3.0),))}
    assert job.chain[1].lines == {"mix": Breakpoints(((0.0, 0.0), (1.0, 1.0)))}


def test_a_preset_s_chain_can_be_moved_and_another_stays(tmp_path: Path, make_stem: MakeStem) -> None:
    """Without a chain of its own a track moves the preset's; under --no-chain there is nothing to move."""
    library = Library(tmp_path / "library")
    library.save(new("tape", Target("identity", {}, RATE, {"frames": torch.ones(1, 16)}), chain=[{"plugin": "gain"}]))
    make_stem()
    album = _album(tmp_path, _lane("chain[1].gain_db", [[0, 2]]))
    (job,) = planner.plan_album(album, library=library).jobs
    assert job.chain[0].lines["gain_db"].high == 2
    (job,) = planner.plan_album(album, library=library, with_chain=False).jobs
    assert job.chain == ()


MISTAKES = [
    (
        'target = "amuont"\npoints = [[0, 0]]',
        ".target",
        "found 'amuont'; expected amount, mix or a parameter",
        "amount",
    ),
    ("points = [[0, 0]]", ".target", "is missing", None),
    ('target = "mix"', ".points", "is missing; expected either points", None),
    ('target = "mix"\npoints = [[0, 0]]\ncc = 1', ".points", "found beside cc", None),
    ('target = "mix"\npoints = [[0, 0]]\nlow = 1', ".low", "found beside points", None),
    ('target = "mix"\npoint = [[0, 0]]\npoints = [[0, 0]]', ".point", "no such key here", "points"),
    ('target = "mix"\npoints = []', ".points", "found a list; expected points like", None),
    ('target = "mix"\npoints = [[0, 1.5]]', ".points", "found 1.5; expected values from 0 to 1", None),
    ('target = "mix"\npoints = [[1, 0], [0.5, 1]]', ".points[2]", "found 0.5 s after 1 s", None),
    ('target = "mix"\npoints = [[-1, 0]]', ".points[1]", "found -1 s; expected seconds from 0", None),
    ('target = "mix"\npoints = [[0, nan], [1, true], [2]]', ".points[1]", "expected [seconds, value]", None),
    ('target = "chain[3].gain_db"\npoints = [[0, 0]]', ".target", "chain[3] is not there; expected 1 to 2", None),
    ('target = "chain[1].gain"\npoints = [[0, 0]]', ".target", "gain has no such parameter", "gain_db"),
    ('target = "chain[2].lookahead_ms"\npoints = [[0, 1]]', ".target", "cannot move while it plays", None),
    ('target = "chain[1].gain_db"\npoints = [[0, 999]]', ".points", "found 999; expected a number from -100", None),
    ('target = "chain[1].gain_db"\ncc = 11', ".midi", "there is no MIDI file beside the stem", None),
    ('target = "chain[1].gain_db"\ncc = 11\nmidi = "none.mid"', ".midi", "none.mid", None),
    ('target = "mix"\ncc = 7\nmidi = "ctl.mid"', ".cc", "controller 7 is never used there; it uses 11", None),
    ('target = "mix"\ncc = "expresion"\nmidi = "ctl.mid"', ".cc", "no controller is called", "expression"),
    ('target = "mix"\ncc = 11\nmidi = "ctl.mid"\nmidi_track = "no"', ".midi_track", "there is no track 'no'", None),
    ('target = "mix"\ncc = 11\nmidi = "ctl.mid"\nchannel = 99', ".channel", "channel 99", None),
    ('target = "mix"\ncc = 11\nmidi = "ctl.mid"\nhigh = 2', ".high", "found 2; expected a number from 0 to 1", None),
    ('target = "chain[1].gain_db"\ncc = 11\nmidi = "ctl.mid"\nhigh = 200', ".high", "found 200; expected", None),
]


@pytest.mark.parametrize(("table", "key", "message", "near"), MISTAKES)
def test_mistakes(
    table: str, key: str, message: str, near: str | None, tmp_path: Path, make_stem: MakeStem, shelf: Library
) -> None:
    """One line for each, with its key path, what was found, what is allowed and the nearest name."""
    make_stem()
    _midi(tmp_path / "ctl.mid", (0, 0), (1, 127))
    chain = 'chain = [{ plugin = "gain" }, { plugin = "brickwall_limiter" }]'
    with pytest.raises(InputError) as caught:
        planner.plan_album(_album(tmp_path, f"{chain}\n[[track.automation]]\n{table}"), library=shelf)
    said = [m for m in caught.value.mistakes if m.key == f"track[1].automation[1]{key}"]
    assert said, caught.value.mistakes
    assert message in said[0].message
    assert near is None or f"did you mean '{near}'" in said[0].message


def test_all_mistakes_at_once(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """Two tables that move one target, one beside a number, one on a chain that is not there, one of too many."""
    make_stem()
    two = _lane("mix", [[0, 0]]) * 2 + _lane("chain[1].gain_db", [[0, 0]])
    with pytest.raises(InputError) as caught:
        planner.plan_album(_album(tmp_path, f"mix = 0.5\n{two}", 'chain = [{ plugin = "gain" }]'), library=shelf)
    assert {(m.key, m.message.split(";")[0]) for m in caught.value.mistakes} == {
        ("track[1].automation[2].target", "moves mix a second time"),
        ("track[1].automation", "found beside mix = 0.5"),
        ("track[1].automation[3].target", "track[1] has no chain of its own"),
    }
    found = lanes.read([{}] * 65, file="", key="automation", folder=None, stem=None)[1]
    assert found[0].message == "found 65 tables; expected at most 64"


def test_a_controller_is_a_line(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """0 to 127 become low to high, over the parameter's own range when nothing is said; the steps take 5 ms."""
    make_stem()
    _midi(tmp_path / "ctl.mid", (0, 0), (0.1, 127))
    chain = 'chain = [{ plugin = "gain" }]\n'
    wide = '[[track.automation]]\ntarget = "chain[1].gain_db"\ncc = 11\nmidi = "ctl.mid"\n'
    (job,) = planner.plan_album(_album(tmp_path, chain + wide + "low = -12\nhigh = 6"), library=shelf).jobs
    assert job.chain[0].lines["gain_db"].points == ((0.0, -12.0), (0.095, -12.0), (0.1, 6.0))
    (job,) = planner.plan_album(_album(tmp_path, chain + wide), library=shelf).jobs
    assert (job.chain[0].lines["gain_db"].low, job.chain[0].lines["gain_db"].high) == (-100, 100)


def test_the_midi_file_beside_a_stem_can_be_meant(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """Without a name it is the one beside the stem; an album's lane leaves stems alone that have none, and says so."""
    make_stem()
    table = '[[album.automation]]\ntarget = "mix"\ncc = "expression"\n'
    (job,) = planner.plan_album(_album(tmp_path, album=table), library=shelf).jobs
    assert job.mix_line is None
    assert "mix stays as it is: there is no MIDI file beside vox.wav" in job.notes
    _midi(tmp_path / "vox.mid", (0, 127))
    (job,) = planner.plan_album(_album(tmp_path, album=table), library=shelf).jobs
    assert job.mix_line == Breakpoints(((0.0, 1.0),))


def test_tracks_that_name_what_they_move_need_no_table(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """A track called ``gramophone: mix`` in the file beside a stem; what it cannot do is a note, no mistake."""
    stem = make_stem()
    _midi(tmp_path / "vox.mid", (0, 0), (0.1, 127), name="Gramophone: mix")
    (job,) = planner.plan_stems([stem], library=shelf, choices=Choices(preset="half")).jobs
    assert job.mix_line == Breakpoints(((0.0, 0.0), (0.095, 0.0), (0.1, 1.0)))
    _midi(tmp_path / "vox.mid", (0, 0), name="gramophone: chain[1].nothing")
    (job,) = planner.plan_stems([stem], library=shelf, choices=Choices(preset="half")).jobs
    assert any("invert has no such parameter" in note for note in job.notes)
    (job,) = planner.plan_stems([stem], library=shelf, choices=Choices(preset="half", mix=0.5)).jobs
    assert (job.mix_line, job.settings.mix) == (None, 0.5)


def test_a_watched_folder_needs_one_call(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """`applied` gives a finished job what its layer and the file beside its stem say, or every mistake in them."""
    stem = make_stem()
    (job,) = planner.plan_stems([stem], library=shelf, choices=Choices(preset="tape")).jobs
    _midi(tmp_path / "vox.mid", (0, 64))
    entries = [{"target": "amount", "points": [[0, 0.25], [1, 0.75]]}, {"target": "mix", "cc": 11}]
    moved = automation.applied(job, [Layer("", "--", Choices(automation=entries), tmp_path)])
    assert (moved.settings.amount, moved.settings.mix) == (0.75, 1.0)
    assert moved.mix_line == Breakpoints(((0.0, 64 / 127),))
    with pytest.raises(InputError, match="automation"):
        automation.applied(job, [Layer("", "--", Choices(automation=[{"target": "x"}]), tmp_path)])


def test_what_moves_is_in_the_stamp(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """Another point of any line is another output; what is not automated keeps its stamp without a word of it."""
    make_stem()
    chain = 'chain = [{ plugin = "gain" }]\n'
    keys = []
    for points in ([[0, 0.5]], [[0, 0.5], [0.5, 0.25]]):
        for target in ("amount", "mix", "chain[1].gain_db"):
            (job,) = planner.plan_album(_album(tmp_path, chain + _lane(target, points)), library=shelf).jobs
            keys.append(json.dumps(job.inputs(), sort_keys=True))
    assert len(set(keys)) == 6
    (plain,) = planner.plan_album(_album(tmp_path, chain), library=shelf).jobs
    assert "automation" not in json.dumps(plain.inputs())


def test_a_step_of_a_filter_stays_below_half_the_rate(tmp_path: Path, make_stem: MakeStem, shelf: Library) -> None:
    """A cutoff that moves to 5 kHz is refused on a stem at 8 kHz, before anything sounds."""
    make_stem()
    chain = 'chain = [{ plugin = "lowpass_filter", cutoff_frequency_hz = 100 }]\n'
    with pytest.raises(InputError, match="is 5000 Hz; expected below 4000 Hz"):
        planner.plan_album(
            _album(tmp_path, chain + _lane("chain[1].cutoff_frequency_hz", [[0, 100], [1, 5000]])), library=shelf
        )


def test_steps_say_what_moves() -> None:
    """The record of a step, which stamps and reports show, tells its lines apart."""
    steps, _ = chains.parse([{"plugin": "gain"}], file="", key="chain", folder=None)
    lane = lanes.Lane("chain[1].gain_db", Breakpoints(((0.0, 0.0), (1.0, -6.0))), "", (1,), "gain_db")
    moved, mistakes = automation.onto(steps, [lane])
    assert not mistakes
    assert moved[0].record()["automation"]["gain_db"].startswith("-6 to 0 in 2 points (")
    assert np.isclose(moved[0].lines["gain_db"].at(0.5), -3)
