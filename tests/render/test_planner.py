"""Plans: everything decided before any audio is touched, or every mistake at once."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from presets.library import Library
from render import destination, planner
from render.choices import Choices
from render.errors import InputError, Mistake
from render.plan import Job, Plan

MakeStem = Callable[..., Path]
Contents = Callable[..., list[str]]
Noise = Callable[..., Tensor]


def _album(folder: Path, text: str) -> Path:
    path = folder / "album.toml"
    path.write_text(text)
    return path


def _mistakes(plan: Callable[[], Plan]) -> list[str]:
    with pytest.raises(InputError) as caught:
        plan()
    lines = [str(m) for m in caught.value.mistakes]
    assert all(line.isprintable() for line in lines)
    return lines


def _only(plan: Plan) -> Job:
    (job,) = plan.jobs
    return job


def test_an_album_resolves_against_its_manifest(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Stems and outputs are found from the manifest's folder, blends are named by their parts, numbers are padded."""
    make_stem("stems/vox.wav")
    make_stem("stems/bass.wav")
    album = _album(
        tmp_path,
        '[album]\ntitle = "Night Bus"\noutput = "renders/{album}/{index:02d}_{track}_{preset}.wav"\npreset = "tape"\n'
        '[[track]]\nstem = "stems/vox.wav"\npreset = { tape = 0.7, rain = 0.3 }\n'
        '[[track]]\nstem = "stems/bass.wav"\ntitle = "Sub: low"\n',
    )
    plan = planner.plan_album(album, library=shelf)
    assert plan.title == "Night Bus"
    assert [job.output.relative_to(tmp_path).as_posix() for job in plan.jobs] == [
        "renders/Night Bus/01_vox_tape70-rain30.wav",
        "renders/Night Bus/02_Sub_ low_tape.wav",
    ]
    assert plan.jobs[0].root == tmp_path / "renders"
    assert plan.estimate_s > 0


def test_the_command_line_wins_over_the_track_and_the_track_over_the_album(
    make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """Each choice comes from the first layer that makes one, the preset's own amount being the last."""
    make_stem()
    album = _album(
        tmp_path,
        '[album]\npreset = "half"\nquality = "fine"\nseed = 3\nmix = 0.9\n'
        '[[track]]\nstem = "vox.wav"\nseed = 4\nmix = 0.8\n',
    )
    settings = _only(planner.plan_album(album, library=shelf, choices=Choices(mix=0.7))).settings
    assert (settings.amount, settings.mix, settings.seed, settings.quality) == (0.5, 0.7, 4, "fine")
    settings = _only(planner.plan_album(album, library=shelf, choices=Choices(amount=0.2, preset="tape"))).settings
    assert settings.amount == 0.2


def test_the_chain_of_the_track_comes_before_the_album_s_and_both_before_the_preset_s(
    make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """The preset's chain is played when the manifest has none; a track may leave out the album's."""
    make_stem()
    make_stem("two.wav")
    album = _album(
        tmp_path,
        '[album]\npreset = "half"\n[[album.chain]]\nplugin = "gain"\n'
        '[[track]]\nstem = "vox.wav"\n[[track.chain]]\nplugin = "reverb"\n'
        '[[track]]\nstem = "two.wav"\nalbum_chain = false\n',
    )
    jobs = planner.plan_album(album, library=shelf).jobs
    assert [[step.plugin.name for step in job.chain] for job in jobs] == [["reverb", "gain"], ["invert"]]
    assert all(not job.chain for job in planner.plan_album(album, library=shelf, with_chain=False).jobs)


def test_a_chain_that_is_there_but_empty_turns_the_preset_s_off(
    make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """``chain = []`` says: none."""
    make_stem()
    album = _album(tmp_path, '[album]\npreset = "half"\n[[track]]\nstem = "vox.wav"\nchain = []\n')
    assert _only(planner.plan_album(album, library=shelf)).chain == ()


@pytest.mark.parametrize(
    ("subtype", "container", "template", "choices", "expected"),
    [
        ("PCM_16", "WAV", "{track}", {}, ("vox.wav", "WAV", "PCM_16")),
        ("PCM_16", "AIFF", "{track}", {}, ("vox.aif", "AIFF", "PCM_16")),
        ("PCM_16", "AIFF", "{track}.wav", {}, ("vox.wav", "WAV", "PCM_16")),
        ("FLOAT", "WAV", "{track}.flac", {}, ("vox.flac", "FLAC", "PCM_24")),
        ("PCM_16", "WAV", "{track}", {"format": "flac"}, ("vox.flac", "FLAC", "PCM_16")),
        ("PCM_16", "WAV", "{track}.wav", {"format": "aiff"}, ("vox.aiff", "AIFF", "PCM_16")),
        ("PCM_16", "AIFF", "{track}.wav", {"format": "source"}, ("vox.aif", "AIFF", "PCM_16")),
        ("PCM_24", "WAV", "{track}", {"bit_depth": "16"}, ("vox.wav", "WAV", "PCM_16")),
        ("PCM_24", "WAV", "{track}", {"bit_depth": "32f"}, ("vox.wav", "WAV", "FLOAT")),
        ("FLOAT", "WAV", "{track}", {"bit_depth": "source"}, ("vox.wav", "WAV", "FLOAT")),
        ("PCM_U8", "WAV", "{track}.flac", {}, ("vox.flac", "FLAC", "PCM_S8")),
    ],
)
def test_format_and_depth_follow_the_stem_the_template_and_the_choice(
    subtype: str,
    container: str,
    template: str,
    choices: dict[str, str],
    expected: tuple[str, str, str],
    make_stem: MakeStem,
    shelf: Library,
    tmp_path: Path,
) -> None:
    """The stem's own by default; an ending in the template or a choice on the command line changes it."""
    stem = make_stem("vox.aif" if container == "AIFF" else "vox.wav", subtype=subtype, container=container)
    album = _album(tmp_path, f'[album]\noutput = "out/{template}"\npreset = "tape"\n[[track]]\nstem = "{stem.name}"\n')
    job = _only(planner.plan_album(album, library=shelf, choices=Choices(**choices)))  # type: ignore[arg-type]
    assert (job.output.name, job.format.container, job.format.subtype) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('format = "flac"\noutput = "{track}.wav"', "album.format: found 'flac', but outputs end in .wav"),
        ('format = "source"\noutput = "{track}.wav"', "album.format: found 'source', but outputs end in .wav"),
        ('format = "flac"\nbit_depth = "32f"', "album.bit_depth: FLAC cannot hold FLOAT"),
        ('output = "../{track}"', "album.output: found '../{track}'; expected a path without .."),
        ('output = "{trak}"', "album.output: found {trak}; expected one of"),
        ('preset = "tap"', "album.preset: no preset is called 'tap'"),
        ("preset = { tape = -1 }", "album.preset: the weight of 'tape' is -1"),
        ('device = "cuda:99"', "album.device: device 'cuda:99' is not on this machine"),
        ('chain = [{ plugin = "gian" }]', "album.chain[1].plugin: no plugin is called 'gian'"),
        (
            'chain = [{ plugin = "lowpass_filter", cutoff_frequency_hz = 5000 }]',
            "track[1]: vox.wav: lowpass_filter.cutoff_frequency_hz is 5000 Hz; expected below 4000 Hz",
        ),
    ],
)
def test_what_is_behind_the_names_is_checked_too(
    text: str, told: str, make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """A wrong preset, template, device, format or chain is one line at the key where it was written."""
    make_stem()
    preset = "" if "preset" in text else 'preset = "tape"\n'
    album = _album(tmp_path, f'[album]\n{preset}{text}\n[[track]]\nstem = "vox.wav"\n')
    (line,) = _mistakes(lambda: planner.plan_album(album, library=shelf))
    assert line.startswith(f"{album}: {told}")


def test_mistakes_of_every_kind_come_at_once(
    make_stem: MakeStem, shelf: Library, tmp_path: Path, contents: Contents
) -> None:
    """A misspelt key, a bad value, a missing stem, a missing preset and a wrong plugin: five lines, nothing written."""
    make_stem("stems/vox.wav")
    album = _album(
        tmp_path,
        '[album]\namont = 1\npreset = "tape"\n'
        '[[track]]\nstem = "stems/vox.wav"\nquality = "best"\n'
        '[[track]]\nstem = "stems/vix.wav"\n'
        '[[track]]\nstem = "stems/vox.wav"\npreset = "tpe"\n[[track.chain]]\nplugin = "revreb"\n',
    )
    before = contents()
    lines = _mistakes(lambda: planner.plan_album(album, library=shelf))
    assert len(lines) == 5
    told = "\n".join(lines)
    for part in (
        "did you mean 'amount'?",
        "found 'best'",
        "did you mean 'vox.wav'?",
        "'tpe'",
        "did you mean 'reverb'?",
    ):
        assert part in told
    assert contents() == before


@pytest.mark.parametrize(
    ("tracks", "told"),
    [
        (["a/vox.wav", "b/vox.wav"], "as number 1 is; add {index}"),
        (["a/vox.wav", "b/VOX.wav"], "as number 1 is; add {index}"),
        (["a/é.wav", "b/é.wav"], "as number 1 is; add {index}"),
    ],
)
def test_two_tracks_never_get_one_name(
    tracks: list[str], told: str, make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """The same name, or one that differs by case or composition alone, is refused for the second track."""
    text = '[album]\noutput = "out/{stem}.wav"\npreset = "tape"\n'
    for track in tracks:
        make_stem(track)
        text += f'[[track]]\nstem = "{track}"\n'
    (line,) = _mistakes(lambda: planner.plan_album(_album(tmp_path, text), library=shelf))
    assert ": track[2]: " in line
    assert told in line


def test_an_output_is_never_another_s_folder(tmp_path: Path) -> None:
    """``x.wav`` as a file for one track and as a folder for another is found before either is made."""
    problems = destination.conflicts({1: tmp_path / "x.wav", 2: tmp_path / "X.wav/y.wav"}, [])
    assert "is a folder of number 2" in problems[1]


@pytest.mark.parametrize("link", [None, "symbolic", "hard"])
def test_no_stem_is_ever_written_over(link: str | None, make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Not with --overwrite, and not through a link that leads to the stem."""
    stem = make_stem()
    out = stem
    if link:
        out = tmp_path / "out.wav"
        (out.symlink_to if link == "symbolic" else out.hardlink_to)(stem)
    (line,) = _mistakes(
        lambda: planner.plan_stems([stem], library=shelf, choices=Choices(preset="tape"), out=out, overwrite=True)
    )
    assert "would be written over" in line


def test_no_link_leads_out_of_the_output_folder(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """A link below the output folder that points elsewhere is refused before anything goes through it."""
    make_stem()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "renders").mkdir()
    (tmp_path / "renders/X").symlink_to(tmp_path / "elsewhere")
    album = _album(tmp_path, '[album]\ntitle = "X"\npreset = "tape"\n[[track]]\nstem = "vox.wav"\n')
    (line,) = _mistakes(lambda: planner.plan_album(album, library=shelf))
    assert "would leave the output folder" in line


@pytest.mark.parametrize(
    ("out", "names"),
    [
        (None, ["vox_tape.wav", "bass_tape.wav"]),
        ("out", ["out/vox_tape.wav", "out/bass_tape.wav"]),
        ("out.d/", ["out.d/vox_tape.wav", "out.d/bass_tape.wav"]),
        ("out/{index:02d} {stem}.flac", ["out/01 vox.flac", "out/02 bass.flac"]),
        ("out/{preset}/{stem}", ["out/tape/vox.wav", "out/tape/bass.wav"]),
    ],
)
def test_out_is_a_folder_or_a_template(
    out: str | None, names: list[str], make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """Without it outputs go beside their stems; with fields in braces it names each one."""
    stems = [make_stem("vox.wav"), make_stem("bass.wav")]
    where = None if out is None else Path(f"{tmp_path}/{out}")
    if out == "out.d/":
        where = tmp_path / "out.d"
        where.mkdir()
    plan = planner.plan_stems(stems, library=shelf, choices=Choices(preset="tape"), out=where)
    assert [job.output.relative_to(tmp_path).as_posix() for job in plan.jobs] == names


def test_out_is_one_file_for_one_stem(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """Its ending chooses the format; for two stems one file is a mistake that says what to write instead."""
    stems = [make_stem("vox.wav"), make_stem("bass.wav")]
    choices = Choices(preset="tape")
    job = _only(planner.plan_stems(stems[:1], library=shelf, choices=choices, out=tmp_path / "new/mine.flac"))
    assert (job.output, job.format.container) == (tmp_path / "new/mine.flac", "FLAC")
    (line,) = _mistakes(lambda: planner.plan_stems(stems, library=shelf, choices=choices, out=tmp_path / "mine.flac"))
    assert "for 2 stems; expected a folder, or a template like 'mine_{stem}.flac'" in line
    (line,) = _mistakes(lambda: planner.plan_stems(stems[:1], library=shelf, choices=choices, out=tmp_path / "m.mp3"))
    assert line.startswith("--out: found the ending '.mp3'")


def test_options_are_checked_like_the_manifest(make_stem: MakeStem, shelf: Library) -> None:
    """What is typed is told by the option's name, all of it at once."""
    choices = Choices(preset="tpe", amount=2.0, quality="best", bit_depth="17", seed=-1)
    lines = _mistakes(lambda: planner.plan_stems([make_stem()], library=shelf, choices=choices))
    assert sorted(line.split(":")[0] for line in lines) == [
        "--amount",
        "--bit-depth",
        "--preset",
        "--quality",
        "--seed",
    ]


def test_a_typed_depth_that_the_manifest_s_format_cannot_hold_is_the_option_s_mistake(
    make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """The line names what was typed, not the manifest that it was typed for."""
    make_stem()
    album = _album(tmp_path, '[album]\npreset = "tape"\nformat = "flac"\n[[track]]\nstem = "vox.wav"\n')
    (line,) = _mistakes(lambda: planner.plan_album(album, library=shelf, choices=Choices(bit_depth="32f")))
    assert line.startswith("--bit-depth: FLAC cannot hold FLOAT")


def test_a_stem_that_is_not_there_is_a_mistake_and_one_that_is_broken_is_not(
    make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """A batch goes on without a broken stem; a name that leads nowhere, or to a folder, stops it before it starts."""
    good, broken = make_stem(), tmp_path / "broken.wav"
    broken.write_bytes(b"<html>")
    plan = planner.plan_stems([broken, good], library=shelf, choices=Choices(preset="tape"))
    assert [job.index for job in plan.jobs] == [2]
    assert "broken.wav" in plan.unreadable[0].reason
    (line,) = _mistakes(lambda: planner.plan_stems([broken], library=shelf, choices=Choices(preset="tape")))
    assert "broken.wav" in line
    (line,) = _mistakes(
        lambda: planner.plan_stems([good, tmp_path / "vax.wav"], library=shelf, choices=Choices("tape"))
    )
    assert "is not there" in line
    assert "did you mean 'vox.wav'?" in line
    (line,) = _mistakes(lambda: planner.plan_stems([tmp_path], library=shelf, choices=Choices("tape")))
    assert "is a folder" in line


def test_a_preset_is_needed_unless_nothing_is_styled(make_stem: MakeStem, shelf: Library) -> None:
    """Amount 0 needs none and is called dry."""
    stem = make_stem()
    (line,) = _mistakes(lambda: planner.plan_stems([stem], library=shelf))
    assert line.startswith("--preset: is missing; expected a preset")
    job = _only(planner.plan_stems([stem], library=shelf, choices=Choices(amount=0.0)))
    assert job.output.name == "vox_dry.wav"
    assert job.untouched


def test_a_preset_file_resolves_where_it_was_named(make_stem: MakeStem, shelf: Library, tmp_path: Path) -> None:
    """In a manifest from the manifest's folder, by an absolute path from anywhere; the name is the preset's."""
    make_stem()
    (tmp_path / "mine.gram.safetensors").write_bytes(shelf.find("tape").read_bytes())
    album = _album(tmp_path, '[[track]]\nstem = "vox.wav"\npreset = "mine.gram.safetensors"\n')
    assert _only(planner.plan_album(album, library=Library(tmp_path / "none"))).label == "mine"


def test_a_chain_in_a_preset_that_is_wrong_is_told_with_the_preset_s_name(make_stem: MakeStem, tmp_path: Path) -> None:
    """A preset's chain is only checked here, where it is played."""
    import torch

    from engine.style import Target
    from presets import preset

    library = Library(tmp_path / "library")
    target = Target("identity", {}, 8000, {"frames": torch.ones(4)})
    library.save(preset.new("odd", target, chain=[{"plugin": "gain", "gain": 3}]))
    (line,) = _mistakes(lambda: planner.plan_stems([make_stem()], library=library, choices=Choices("odd")))
    assert line.startswith("preset odd: chain[1].gain: gain has no such parameter; expected one of gain_db")


def test_an_output_in_the_way_is_a_mistake_until_overwriting_is_asked_for(
    make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """Files, folders and dangling links in the way are all found at plan time."""
    stem = make_stem()
    out = tmp_path / "out.wav"
    out.write_text("mine")
    choices = Choices("tape")
    (line,) = _mistakes(lambda: planner.plan_stems([stem], library=shelf, choices=choices, out=out))
    assert "exists and was not rendered from these inputs; --overwrite replaces it" in line
    assert _only(planner.plan_stems([stem], library=shelf, choices=choices, out=out, overwrite=True)).overwrite
    out.unlink()
    out.symlink_to(tmp_path / "nowhere")
    assert len(_mistakes(lambda: planner.plan_stems([stem], library=shelf, choices=choices, out=out))) == 1
    folder = tmp_path / "vox_tape.wav"
    folder.mkdir()
    (line,) = _mistakes(lambda: planner.plan_stems([stem], library=shelf, choices=choices, overwrite=True))
    assert "is a folder" in line


def test_the_output_folder_of_an_album_can_be_put_elsewhere(
    make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """--out takes the place of the folders before the first field."""
    make_stem()
    album = _album(
        tmp_path, '[album]\ntitle = "X"\noutput = "a/b/{album}/{track}"\npreset = "tape"\n[[track]]\nstem = "vox.wav"\n'
    )
    job = _only(planner.plan_album(album, library=shelf, out=tmp_path / "elsewhere"))
    assert job.output == tmp_path / "elsewhere/X/vox.wav"
    (line,) = _mistakes(lambda: planner.plan_album(album, library=shelf, out=tmp_path / "x.wav"))
    assert line.startswith("--out: found the file")


_TEXT = st.text(max_size=12) | st.sampled_from(
    ["vox.wav", "~nobody/x.wav", "\x00", "..", ".", "/", "/dev/zero", "{track}", "tape", "tape:", "a" * 300, "x.vst3"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stem=_TEXT, preset=_TEXT, output=_TEXT, title=_TEXT, plugin=_TEXT)
@example(stem="~nobody/x.wav", preset="tape", output="{track}", title="x", plugin="gain")
@example(stem="\x00", preset="\x00", output="\x00", title="\x00", plugin="\x00")
@example(stem="~\x00", preset="~\x00/x", output="~\x00", title="~\x00", plugin="~\x00")
def test_a_stranger_s_album_is_planned_or_refused_and_never_crashes(
    stem: str, preset: str, output: str, title: str, plugin: str, make_stem: MakeStem, shelf: Library, tmp_path: Path
) -> None:
    """Whatever the texts of a manifest are, there is a plan inside its folder or lines that say what is wrong."""
    make_stem()
    room = {"plugin": "convolution", "impulse_response_filename": stem}
    document = {
        "album": {"preset": preset, "output": output, "title": title, "chain": [{"plugin": plugin}, room]},
        "track": [
            {"stem": stem, "tempo": stem, "automation": [{"target": "mix", "cc": 1, "midi": stem}]},
            {"stem": "vox.wav"},
        ],
    }
    album = _album(tmp_path, _toml(document))
    jobs: tuple[Job, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    try:
        jobs = planner.plan_album(album, library=shelf).jobs
    except InputError as error:
        mistakes = error.mistakes
    assert jobs or mistakes
    assert all(str(mistake).isprintable() for mistake in mistakes)
    assert all(job.output.resolve().is_relative_to(tmp_path) for job in jobs)


def _toml(value: object) -> str:
    """``value`` as TOML, tables inline: JSON's strings are TOML's, but for what JSON leaves as it is."""
    if isinstance(value, dict):
        pairs = [f"{key} = {_inline(inner)}" for key, inner in value.items()]
        return "\n".join(pairs)
    return _inline(value)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=True) if not _beyond(value) else json.dumps("x")


def _beyond(value: object) -> bool:
    # JSON writes characters beyond the first plane as two halves, which TOML does not know.
    return isinstance(value, str) and any(ord(c) > 0xFFFF or 0xD800 <= ord(c) < 0xE000 for c in value)
