"""Plugin files in a chain: found by path or by name, and every way to set one up wrong, before any sound is touched."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from render import chain, children, external, pluginfiles, scans
from render.chain import Chain

pytestmark = pytest.mark.usefixtures("plugins_here")


def _parse(entry: dict[str, Any], folder: Path | None = Path()) -> tuple[Chain, list[str]]:
    steps, mistakes = chain.parse([entry], file="album.toml", key="album.chain", folder=folder)
    return steps, [str(m) for m in mistakes]


def _external(entry: dict[str, Any], folder: Path | None = Path()) -> external.External:
    steps, mistakes = _parse(entry, folder)
    assert not mistakes
    assert steps[0].external is not None
    return steps[0].external


@pytest.mark.parametrize("name", ["GramoGain", "gramogain", "GramoGain.vst3"])
def test_a_plugin_is_found_by_its_name(name: str, plugin_folder: Path) -> None:
    """In the platform's folders and the variable's, in whatever case, with its suffix or without."""
    assert _external({"plugin": name}, None).path == plugin_folder / "GramoGain.vst3"


def test_a_plugin_is_found_by_its_path(plugin_folder: Path, tmp_path: Path) -> None:
    """Absolute, or from the folder of the file that names it; a preset's chain has no folder."""
    assert _external({"plugin": str(plugin_folder / "GramoGain.vst3")}, None).plugin.name == "GramoGain"
    (tmp_path / "fx").symlink_to(plugin_folder)
    assert _external({"plugin": "fx/GramoMono.vst3"}, tmp_path).plugin.widths == (1,)
    _, mistakes = _parse({"plugin": "fx/GramoMono.vst3"}, None)
    assert "expected an absolute path or a name" in mistakes[0]
    _, mistakes = _parse({"plugin": "fx/GramoMoon.vst3"}, tmp_path)
    assert "is not there" in mistakes[0]
    assert "did you mean 'GramoMono.vst3'?" in mistakes[0]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"plugin": "GramoGian"}, "album.chain[1].plugin: no plugin is called 'GramoGian'"),
        ({"plugin": "GramoGian"}, "did you mean 'GramoGain'?"),
        ({"plugin": "GramoSine"}, "GramoSine is an instrument; expected an effect here"),
        ({"plugin": "GramoBorn"}, "crashed (SIGSEGV), when it was looked at"),
        ({"gain_db": 3}, "album.chain[1].gain_db: no such key here; a parameter of a plugin file goes into parameters"),
        ({"presetfile": "x"}, "album.chain[1].presetfile: no such key here"),
        ({"presetfile": "x"}, "did you mean 'preset_file'?"),
        ({"parameters": 3}, "album.chain[1].parameters: found 3; expected a table like { gain_db = … }"),
        ({"parameters": {"gian": 3}}, "album.chain[1].parameters.gian: GramoGain has no such parameter"),
        ({"parameters": {"gian": 3}}, "did you mean 'gain_db'?"),
        ({"parameters": {"gain_db": 24.5}}, "found 24.5; expected a number from -60 to 24 dB"),
        ({"parameters": {"gain_db": True}}, "found true; expected a number"),
        ({"parameters": {"gain_db": float("nan")}}, "found nan; expected a number"),
        ({"parameters": {"invert": 2}}, "found 2; expected true or false"),
        ({"parameters": {"voicing": "haf"}}, "expected one of Plain, Half, Mute; did you mean 'Half'?"),
        ({"parameters": {"gain_db": 1, "Gain": 2}}, "sets gain_db a second time"),
        ({"plugin_name": "Gain"}, "found 'Gain'; expected one of GramoGain; did you mean 'GramoGain'?"),
        ({"latency_samples": -1}, "found -1; expected a whole number from 0 to"),
        ({"latency_samples": 1.5}, "found 1.5; expected a whole number from 0 to"),
        ({"preset_file": "hall.vstpreset"}, "hall.vstpreset cannot be read: No such file"),
        ({"preset_file": 1}, "found 1; expected the path of a .vstpreset"),
    ],
)
def test_mistakes_name_their_place_and_the_nearest_name(entry: dict[str, Any], line: str) -> None:
    """Each mistake is one line with the key path, what was found, what was expected and what comes close."""
    steps, mistakes = _parse({"plugin": "GramoGain", **entry})
    assert steps == ()
    assert len(mistakes) == 1
    assert line in mistakes[0]


def test_all_mistakes_are_told_at_once() -> None:
    """Three wrong things in one plugin are three lines."""
    wrong = {"plugin": "GramoGain", "parameters": {"gain": 99, "invrt": True}, "latency_samples": "late"}
    assert len(_parse(wrong)[1]) == 3


def test_an_instrument_is_none_of_the_built_ins() -> None:
    """Who misspells an instrument is told where plugins are looked for, and not of effects that play nothing."""
    told: list[str] = []
    entry = {"plugin": "GramoSin"}
    assert external.read(entry, "", folder=None, wrong=lambda _, text: told.append(text), instrument=True) is None
    assert "expected the name of a plugin file in " in told[0]
    assert told[0].endswith("did you mean 'GramoSine'?")
    assert "reverb" not in told[0]


def test_a_parameter_goes_by_any_of_its_names() -> None:
    """In snake case with its unit or without it, or as the plugin shows it; the chain keeps the first of these."""
    for name in ("gain_db", "gain", "Gain"):
        assert _external({"plugin": "GramoGain", "parameters": {name: -3}}).values == {"gain_db": -3.0}
    values = _external({"plugin": "GramoGain", "parameters": {"invert": 1, "voicing": "Half"}}).values
    assert values == {"invert": True, "voicing": "Half"}


def test_states_are_tried_before_anything_is_rendered(tmp_path: Path) -> None:
    """A preset of another plugin, and a file that is none, are mistakes of the plan and not failures of the stem."""
    (tmp_path / "bad.vstpreset").write_bytes(b"RIFF")
    (tmp_path / "empty.bin").write_bytes(b"")
    (tmp_path / "hall.vstpreset").write_bytes(b"VST3" + bytes(60))
    for name, line in (
        ("bad.vstpreset", "is no VST3 preset"),
        ("empty.bin", "holds 0 bytes"),
        ("hall.vstpreset", "album.chain[1].preset_file: GramoGain (preset_file = hall.vstpreset) refused"),
    ):
        _, mistakes = _parse({"plugin": "GramoGain", "preset_file": name}, tmp_path)
        assert len(mistakes) == 1
        assert line in mistakes[0]


def test_what_the_sound_depends_on_is_in_the_record(tmp_path: Path, plugin_folder: Path) -> None:
    """The plugin's code, its parameters and its latency; not where it lies, so that moving it renders nothing again."""
    (tmp_path / "copy").symlink_to(plugin_folder)
    here = _parse({"plugin": "GramoGain", "parameters": {"gain": 3}})[0][0].record()
    there = _parse({"plugin": "copy/GramoGain.vst3", "parameters": {"Gain": 3.0}}, tmp_path)[0][0].record()
    assert here == there
    assert here != _parse({"plugin": "GramoGain", "parameters": {"gain": 3.5}})[0][0].record()
    assert here != _parse({"plugin": "GramoMono", "parameters": {"gain": 3}})[0][0].record()
    late = _parse({"plugin": "GramoGain", "parameters": {"gain": 3}, "latency_samples": 5})[0][0].record()
    assert here != late


def test_channels_that_a_plugin_cannot_play_are_told_at_plan_time() -> None:
    """Mono plugins play each channel, stereo ones a lone channel twice; one that plays nothing is told."""
    stereo, mono = _parse({"plugin": "GramoGain"})[0], _parse({"plugin": "GramoMono"})[0]
    for channels in (1, 2, 6):
        assert not chain.misfits(stereo, rate=48_000, channels=channels)
        assert not chain.misfits(mono, rate=48_000, channels=channels)
    assert "comes back as their mean" in chain.notes(stereo, channels=1)[0]
    assert not chain.notes(stereo, channels=2)
    assert not chain.notes(mono, channels=2)
    assert stereo[0].external is not None
    eight = replace(stereo[0].external, plugin=replace(stereo[0].external.plugin, widths=(8,)))
    assert (
        "plays 8 channels, and the stem has 2"
        in chain.misfits((replace(stereo[0], external=eight),), rate=48_000, channels=2)[0]
    )


def test_files_that_are_no_plugins_are_told(tmp_path: Path) -> None:
    """A text, an empty bundle, and formats that nobody loads here."""
    (tmp_path / "text.vst3").write_text("not a plugin")
    (tmp_path / "empty.vst3").mkdir()
    assert "refused: Unable to" in _parse({"plugin": "./text.vst3"}, tmp_path)[1][0]
    assert "holds no plugin that can be loaded" in _parse({"plugin": "./empty.vst3"}, tmp_path)[1][0]
    assert "expected a plugin file that ends in .vst3" in _parse({"plugin": "./x.clap"}, tmp_path)[1][0]


def test_pipes_are_neither_plugins_nor_states(tmp_path: Path, make_pipe: Callable[[Path], Path]) -> None:
    """Nobody waits for the other end of one: not as a plugin, in one's bundle, or as its state."""
    make_pipe(tmp_path / "pipe.vst3")
    make_pipe(tmp_path / "state.vstpreset")
    (tmp_path / "bundle.vst3" / "Contents").mkdir(parents=True)
    make_pipe(tmp_path / "bundle.vst3" / "Contents" / "x.so")
    for name in ("pipe", "bundle"):
        assert "holds no plugin that can be loaded" in _parse({"plugin": f"./{name}.vst3"}, tmp_path)[1][0]
    assert (
        "state.vstpreset is no file"
        in _parse({"plugin": "GramoGain", "preset_file": "state.vstpreset"}, tmp_path)[1][0]
    )


def test_a_name_is_looked_up_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin_folder: Path) -> None:
    """The first folder wins, folders within count, and hidden ones do not."""
    own = tmp_path / "own" / "Vendor" / "GramoGain.vst3"
    own.mkdir(parents=True)
    (tmp_path / "own" / ".hidden" / "GramoHidden.vst3").mkdir(parents=True)
    monkeypatch.setenv(pluginfiles.VARIABLE, f"{tmp_path / 'own'}:{plugin_folder}")
    assert pluginfiles.find("GramoGain", None) == own
    assert pluginfiles.find("GramoMono", None) == plugin_folder / "GramoMono.vst3"
    assert pluginfiles.find("GramoHidden", None) is None


@pytest.mark.parametrize(
    ("name", "environ", "places"),
    [
        ("linux", {}, ["HOME/.vst3", "/usr/local/lib/vst3", "/usr/lib/vst3"]),
        (
            "darwin",
            {"GRAMOPHONE_PLUGIN_PATH": os.pathsep.join(["/one", "", "/two"])},
            [
                *("/one", "/two", "HOME/Library/Audio/Plug-Ins/VST3", "HOME/Library/Audio/Plug-Ins/Components"),
                *("/Library/Audio/Plug-Ins/VST3", "/Library/Audio/Plug-Ins/Components"),
            ],
        ),
        (
            "win32",
            {"LOCALAPPDATA": "/local", "COMMONPROGRAMFILES": "/common"},
            ["/local/Programs/Common/VST3", "/common/VST3"],
        ),
        ("win32", {}, ["C:\\Program Files\\Common Files/VST3"]),
    ],
)
def test_every_platform_has_its_folders(
    name: str, environ: dict[str, str], places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable's first, then the user's, then the machine's, where each platform's hosts look for plugins."""
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = [Path(place.replace("HOME", str(tmp_path))) for place in places]
    assert pluginfiles.folders(name, environ) == expected


@given(
    st.text(max_size=20) | st.sampled_from(["~\x00", "\udcff.vst3", "a" * 5000 + ".vst3", "/\x00.vst3", "~nobody/x"])
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_however_odd_raises_anything(name: str) -> None:
    """Whatever stands for a plugin or for its state, the reader answers with mistakes."""
    _parse({"plugin": name})
    steps, mistakes = _parse({"plugin": "GramoGain", "preset_file": name})
    assert mistakes
    assert not steps


def test_a_child_that_cannot_be_started_is_a_clear_error() -> None:
    """No program there: one line, and no trace."""
    with pytest.raises(children.PluginFault, match="cannot be given a process of its own"):
        children.Child(("/nowhere/python",))


def test_of_several_plugins_in_a_file_one_is_named(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name it is a mistake that lists them, a wrong name has a nearest one, a right one is what is loaded."""
    one = scans.scan(plugin_folder / "GramoGain.vst3")
    two = replace(one, plugins=(one.plugins[0], replace(one.plugins[0], name="GramoOther")))
    monkeypatch.setattr(scans, "scan", lambda path: two)
    assert "holds 2 plugins; expected one of GramoGain, GramoOther" in _parse({"plugin": "GramoGain"})[1][0]
    assert "did you mean 'GramoOther'?" in _parse({"plugin": "GramoGain", "plugin_name": "Gramo Othr"})[1][0]
    chosen = _external({"plugin": "GramoGain", "plugin_name": "GramoOther"})
    assert chosen.several
    assert chosen.plugin.name == "GramoOther"
