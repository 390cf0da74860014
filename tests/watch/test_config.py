"""How a stem is rendered: layers of TOML, every mistake at once, and no path that leads out of the watched folder."""

import os
import string
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from presets.library import Library
from render import chain as chains
from render import choices, hosting, scans
from watch import layers, tables
from watch.config import ConfigProblem, Configs, StemConfig
from watch.intake import Intake
from watch.tables import DaemonConfig


def put(path: Path, text: str = "") -> Path:
    """A file at ``path``, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library in which some presets are there by name; nobody here loads one."""
    for name in ("tape", "choir", "rain", "lo-fi"):
        put(tmp_path / "library" / f"{name}.gram.safetensors")
    return Library(tmp_path / "library")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty watched folder."""
    (tmp_path / "stems").mkdir()
    return tmp_path / "stems"


class Clock:
    """A clock that goes when told to."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def good(configs: Configs, relative: str) -> StemConfig:
    """The config of a stem that has nothing wrong with it."""
    config = configs.for_stem(relative)
    assert isinstance(config, StemConfig), config.reason
    return config


def bad(configs: Configs, relative: str = "tape/vox.wav") -> str:
    """Why a stem has to wait."""
    config = configs.for_stem(relative)
    assert isinstance(config, ConfigProblem)
    return config.reason


def test_a_folder_named_after_a_preset_needs_no_file(root: Path, library: Library) -> None:
    """The name says the preset, everything else has a default."""
    config = good(Configs(root, library), "tape/drums/vox.wav")
    assert config.settings == {"preset": "tape"}
    assert config.chain is None
    assert config.out == root / "_out"
    assert config.place == PurePosixPath("tape/drums/vox")
    assert (config.after, config.failed, config.label) == ("keep", "move", "tape")


@pytest.mark.parametrize(
    ("folder", "preset", "label"),
    [
        ("tape:0.7,choir:0.3", "tape:0.7,choir:0.3", "tape70-choir30"),
        ("tape70-choir30", "tape:70,choir:30", "tape70-choir30"),
        ("lo-fi50-tape50", "lo-fi:50,tape:50", "lo-fi50-tape50"),
    ],
)
def test_a_folder_named_after_a_blend(root: Path, library: Library, folder: str, preset: str, label: str) -> None:
    """As a blend is written, or as its outputs are called, for systems whose names hold no colon."""
    config = good(Configs(root, library), f"{folder}/vox.wav")
    assert (config.settings["preset"], config.label) == (preset, label)


def test_a_preset_that_is_called_as_a_blend_would_be_wins(root: Path, library: Library) -> None:
    """A blend that was kept under its own label is one preset, and cheaper than its parts."""
    put(library.folder / "tape70-choir30.gram.safetensors")
    assert good(Configs(root, library), "tape70-choir30/vox.wav").settings["preset"] == "tape70-choir30"


def test_a_folder_that_names_no_preset_waits_for_one(root: Path, library: Library) -> None:
    """The reason names the nearest; once the preset is learnt or the folder says one, the stem goes on by itself."""
    clock = Clock()
    configs = Configs(root, library, clock=clock)
    reason = bad(configs, "taep/vox.wav")
    assert "did you mean 'tape'" in reason
    assert 'preset = "NAME"' in reason
    put(library.folder / "taep.gram.safetensors")
    clock.now = 2.0
    assert good(configs, "taep/vox.wav").label == "taep"
    assert "no preset is named" in bad(configs, "vox.wav")
    put(root / "drums" / "watch.toml", 'preset = "rain"')
    assert good(configs, "drums/vox.wav").label == "rain"


def test_no_preset_is_needed_where_nothing_is_styled(root: Path, library: Library) -> None:
    """An amount of 0 leaves the chain alone to work."""
    put(root / "drums" / "watch.toml", "amount = 0.0")
    config = good(Configs(root, library), "drums/vox.wav")
    assert config.settings == {"amount": 0.0}


def test_the_nearest_file_wins_key_by_key(root: Path, library: Library) -> None:
    """Sidecar over sub folder over folder over root; a key that one leaves out comes from the next."""
    put(root / "watch.toml", 'amount = 0.1\nmix = 0.1\nquality = "draft"\nseed = 1\nafter = "move"')
    put(root / "tape" / "watch.toml", 'amount = 0.2\nmix = 0.2\nquality = "fine"\nfailed = "keep"')
    put(root / "tape" / "a" / "watch.toml", 'amount = 0.3\nmix = 0.3\nafter = "delete"')
    put(root / "tape" / "a" / "vox.toml", "amount = 0.4\nbit_depth = 24")
    configs = Configs(root, library)
    vox = good(configs, "tape/a/vox.wav")
    assert vox.settings == {
        "preset": "tape",
        "amount": 0.4,
        "mix": 0.3,
        "quality": "fine",
        "seed": 1,
        "bit_depth": "24",
    }
    assert (vox.after, vox.failed) == ("delete", "keep")
    assert good(configs, "tape/a/bass.wav").settings["amount"] == 0.3
    assert good(configs, "choir/bass.wav").settings["amount"] == 0.1
    assert choices.Choices(**vox.settings).seed == 1


def test_a_folder_s_name_stands_between_its_own_file_and_the_root_s(root: Path, library: Library) -> None:
    """The root's preset is for folders that name none; a folder's own file means what it says."""
    put(root / "watch.toml", 'preset = "rain"')
    put(root / "tape" / "sub" / "watch.toml", 'preset = "choir"')
    configs = Configs(root, library)
    assert good(configs, "drums/vox.wav").label == "rain"
    assert good(configs, "vox.wav").label == "rain"
    assert good(configs, "tape/vox.wav").label == "tape"
    assert good(configs, "tape/sub/vox.wav").label == "choir"


def test_blends_and_preset_files_in_a_file(root: Path, library: Library) -> None:
    """A blend as a text or a table; a preset file is found from the file that names it."""
    put(root / "a" / "watch.toml", 'preset = "tape:3,choir:1"')
    put(root / "b" / "watch.toml", "preset = { tape = 0.7, choir = 0.3 }")
    put(root / "c" / "watch.toml", 'preset = "../presets/mine: one, two.gram.safetensors"')
    put(root / "presets" / "mine: one, two.gram.safetensors")
    configs = Configs(root, library)
    assert good(configs, "a/vox.wav").settings["preset"] == {"tape": 0.75, "choir": 0.25}
    assert good(configs, "b/vox.wav").label == "tape70-choir30"
    with pytest.raises(AssertionError, match="two"):
        good(configs, "c/vox.wav")
    put(root / "c" / "watch.toml", 'preset = "../presets/mine.gram.safetensors"')
    assert good(configs, "c/vox.wav").settings["preset"] == {str(root / "presets/mine.gram.safetensors"): 1.0}


def test_all_mistakes_are_told_at_once(root: Path, library: Library) -> None:
    """Each in one line with its file, its key, what was found and what is allowed, over all files that count."""
    put(root / "watch.toml", 'settle_s = "long"\nworkers = 0\nafter = "bin"')
    put(root / "tape" / "watch.toml", 'amuont = 0.5\nmix = 2\nsettle_s = 3\ntemplate = "../{stem}"')
    put(
        root / "tape" / "vox.toml",
        'quality = "drfat"\nafter = "move"\nchain = [{ plugin = "revreb" }]\npreset = "tpae"',
    )
    lines = bad(Configs(root, library)).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["tape/vox.toml", "quality"],
        ["tape/vox.toml", "after"],
        ["tape/vox.toml", "chain[1].plugin"],
        ["tape/watch.toml", "amuont"],
        ["tape/watch.toml", "mix"],
        ["tape/watch.toml", "settle_s"],
        ["tape/watch.toml", "template"],
        ["watch.toml", "settle_s"],
        ["watch.toml", "workers"],
        ["watch.toml", "after"],
        ["tape/vox.toml", "preset"],
    ]
    text = "\n".join(lines)
    for part in (
        "did you mean 'draft'?",
        "in a watch.toml only",
        "did you mean 'reverb'?",
        "did you mean 'amount'?",
        "found 2; expected a number from 0 (dry) to 1 (wet)",
        "the watched folder itself only",
        "without ..",
        "found 'long'; expected a number of seconds",
        "did you mean 'tape'",
    ):
        assert part in text


def test_a_mended_file_is_enough(root: Path, library: Library) -> None:
    """Every file is read again when it changes, appears or goes; one that stays is read once."""
    configs = Configs(root, library)
    assert good(configs, "tape/vox.wav").settings == {"preset": "tape"}
    put(root / "tape" / "watch.toml", "amount = 7")
    assert "found 7" in bad(configs)
    put(root / "tape" / "watch.toml", "amount = 0.7")
    assert good(configs, "tape/vox.wav").settings["amount"] == 0.7
    (root / "tape" / "watch.toml").unlink()
    assert good(configs, "tape/vox.wav").settings == {"preset": "tape"}


def test_a_file_that_stays_is_read_once(root: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand stems below one watch.toml do not parse it ten thousand times."""
    put(root / "tape" / "watch.toml", "amount = 0.5")
    configs = Configs(root, library)
    read = []
    real = layers._text

    def reading(path: Path) -> Any:
        read.append(path)
        return real(path)

    monkeypatch.setattr(layers, "_text", reading)
    for number in range(50):
        good(configs, f"tape/{number}.wav")
    assert len(read) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("amount =", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
        ("x = " + "[" * 5_000, "not TOML"),
        ("# " + "x" * 1_000_001, "larger than 1,000,000 bytes"),
        ("amount = nan", "found nan; expected a number from 0"),
        ("amount = true", "found true; expected a number"),
        ('poll = "yes"', "found 'yes'; expected true or false"),
        ("workers = 1.5", "found 1.5; expected a whole number"),
        ("[preset]\ntape = 'much'", "tape"),
        ("chain = 3", "found 3; expected a list of tables"),
        ("[chain]\nplugin = 'gain'", "expected a list of tables"),
        ('template = "{album}"', "expected one of {folder}"),
        ('template = "{stem}.wav"', 'format = "wav"'),
        ("out = ''", "expected the path of a folder"),
    ],
)
def test_what_no_file_may_say(root: Path, library: Library, text: str, line: str) -> None:
    """Whatever is written, the stems wait with one clear line."""
    put(root / "watch.toml", text)
    reason = bad(Configs(root, library))
    assert line in reason
    assert "watch.toml" in reason


def test_a_file_that_is_no_text_is_told(root: Path, library: Library) -> None:
    """Bytes of some other program are a mistake like any other; a byte order mark is none."""
    (root / "watch.toml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in bad(Configs(root, library))
    (root / "watch.toml").write_bytes(b"\xef\xbb\xbfamount = 0.5")
    assert good(Configs(root, library), "tape/vox.wav").settings["amount"] == 0.5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on this system")
def test_a_pipe_or_a_link_for_a_file_is_refused_and_not_waited_on(root: Path, library: Library, tmp_path: Path) -> None:
    """Neither blocks the daemon, and a link brings nothing in from elsewhere; the stem is not rendered without it."""
    (root / "tape").mkdir()
    os.mkfifo(root / "tape" / "vox.toml")
    secret = put(tmp_path / "secret.toml", "amount = 0.9")
    (root / "tape" / "bass.toml").symlink_to(secret)
    (root / "tape" / "kick.toml").mkdir()
    configs = Configs(root, library)
    for name in ("vox", "bass", "kick"):
        assert (
            bad(configs, f"tape/{name}.wav")
            == f"tape/{name}.toml: is no file of its own; expected a file, and no link to one"
        )


def test_paths_of_a_sidecar_stay_in_the_watched_folder(root: Path, library: Library, tmp_path: Path) -> None:
    """Neither .. nor a full path nor a link leads out, for presets and for files of plugins; within they may go."""
    put(tmp_path / "hall.wav")
    put(tmp_path / "mine.gram.safetensors")
    put(root / "_irs" / "hall.wav")
    (root / "link").symlink_to(tmp_path)
    configs = Configs(root, library)
    for path in ("../../hall.wav", str(tmp_path / "hall.wav"), "../link/hall.wav", "~/hall.wav"):
        put(root / "tape" / "vox.toml", f"[[chain]]\nplugin = 'convolution'\nimpulse_response_filename = '{path}'")
        reason = bad(configs)
        assert "chain[1].impulse_response_filename" in reason
        assert "leads out of the watched folder; expected a path inside it" in reason
    put(root / "tape" / "vox.toml", 'preset = "../../mine.gram.safetensors"')
    assert "leads out of the watched folder" in bad(configs)
    put(root / "tape" / "vox.toml", "[[chain]]\nplugin='convolution'\nimpulse_response_filename='../_irs/hall.wav'")
    assert good(configs, "tape/vox.wav").chain == (
        {"plugin": "convolution", "impulse_response_filename": str(root / "_irs" / "hall.wav")},
    )


def test_a_watch_toml_may_name_a_full_path_and_no_way_out(root: Path, library: Library, tmp_path: Path) -> None:
    """A full path is somebody's word; .. and links are more likely an accident or an attack."""
    hall = put(tmp_path / "hall.wav")
    form = "[[chain]]\nplugin = 'chain'\n[[chain.plugins]]\nplugin = 'convolution'\nimpulse_response_filename = '{}'"
    configs = Configs(root, library)
    put(root / "tape" / "watch.toml", form.format(hall))
    chain = good(configs, "tape/vox.wav").chain
    assert chain is not None
    assert chain[0]["plugins"][0]["impulse_response_filename"] == str(hall)
    put(root / "tape" / "watch.toml", form.format("../../hall.wav"))
    assert "chain[1].plugins[1].impulse_response_filename" in bad(configs)
    put(root / "tape" / "watch.toml", form.format(tmp_path / "missing.wav"))
    assert "there is no such file" in bad(configs)


def test_a_file_of_a_plugin_that_comes_later_is_enough(root: Path, library: Library) -> None:
    """The file itself is looked for each time, although the watch.toml has not changed."""
    put(
        root / "tape" / "watch.toml",
        "[[chain]]\nplugin='convolution'\nimpulse_response_filename='../_irs/a.wav'\nmix=3",
    )
    configs = Configs(root, library)
    assert "chain[1].mix" in bad(configs)
    put(root / "tape" / "watch.toml", "[[chain]]\nplugin='convolution'\nimpulse_response_filename='../_irs/a.wav'")
    assert "there is no such file" in bad(configs)
    put(root / "_irs" / "a.wav")
    assert good(configs, "tape/vox.wav").chain


def test_plugin_files_are_looked_for_and_never_loaded(
    root: Path, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is from the file it stands in, a name that of an installed plugin; only a worker loads what it finds."""
    for what in (scans, hosting):
        monkeypatch.setattr(what, "Child" if what is scans else "trial", lambda *_: pytest.fail("it was loaded"))
    monkeypatch.setenv("GRAMOPHONE_PLUGIN_PATH", str(tmp_path / "plugins"))
    form = "[[chain]]\nplugin = '{}'\npreset_file = '{}'"
    configs = Configs(root, library)
    put(root / "tape" / "watch.toml", form.format("../_plugins/Hall.vst3", "hall.state"))
    assert "chain[1].plugin: found '../_plugins/Hall.vst3'; there is no such plugin file" in bad(configs)
    assert "chain[1].preset_file: found 'hall.state'; there is no such file" in bad(configs)
    put(root / "_plugins" / "Hall.vst3" / "Contents" / "Hall.so")
    put(root / "tape" / "hall.state")
    chain = good(configs, "tape/vox.wav").chain
    assert chain == (
        {"plugin": str(root / "_plugins" / "Hall.vst3"), "preset_file": str(root / "tape" / "hall.state")},
    )
    put(root / "tape" / "watch.toml", "[[chain]]\nplugin = 'Echo'")
    assert "no plugin is called 'Echo'; expected a built-in or an installed one" in bad(configs)
    put(tmp_path / "plugins" / "Echo.vst3")
    for name in ("Echo", "Echo.vst3"):
        put(root / "tape" / "watch.toml", f"[[chain]]\nplugin = '{name}'")
        assert good(configs, "tape/vox.wav").chain == ({"plugin": name},)
    put(root / "tape" / "watch.toml", form.format("../../plugins/Echo.vst3", "hall.state"))
    assert "leads out of the watched folder" in bad(configs)


def test_a_sidecar_runs_nothing_that_came_with_it(
    root: Path, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may drop stems names installed plugins in a sidecar, and no plugin file, wherever that lies."""
    monkeypatch.setenv("GRAMOPHONE_PLUGIN_PATH", str(tmp_path / "plugins"))
    put(tmp_path / "plugins" / "Echo.vst3")
    put(root / "tape" / "Mine.vst3")
    configs = Configs(root, library)
    put(root / "tape" / "vox.toml", "[[chain]]\nplugin = 'Echo'")
    assert good(configs, "tape/vox.wav").chain == ({"plugin": "Echo"},)
    for path in ("Mine.vst3", "./Mine.vst3", str(root / "tape" / "Mine.vst3"), "../../plugins/Echo.vst3"):
        put(root / "tape" / "vox.toml", f"[[chain]]\nplugin = '{path}'")
        assert "expected the name of an installed plugin in a sidecar" in bad(configs)


def test_midi_files_are_from_the_file_that_names_them(root: Path, library: Library, tmp_path: Path) -> None:
    """``tempo`` and the ``midi`` of automation, each as a whole path; what is not there, or outside, is told."""
    put(tmp_path / "song.mid")
    put(root / "tape" / "song.mid")
    configs = Configs(root, library)
    lanes = "[{{ target = 'mix', points = [[0, 1]] }}, {{ target = 'amount', cc = 1, midi = '{0}' }}]"
    form = f"tempo = '{{0}}'\nautomation = {lanes}"
    put(root / "tape" / "watch.toml", form.format("song.mid"))
    settings = good(configs, "tape/vox.wav").settings
    assert settings["tempo"] == str(root / "tape" / "song.mid")
    assert [lane.get("midi") for lane in settings["automation"]] == [None, str(root / "tape" / "song.mid")]
    for path, told in (("sogn.mid", "there is no such file"), ("../../song.mid", "leads out of the watched folder")):
        put(root / "tape" / "watch.toml", form.format(path))
        assert [line.split(": ")[1] for line in bad(configs).splitlines() if told in line] == [
            "tempo",
            "automation[2].midi",
        ]


def test_an_empty_chain_is_one(root: Path, library: Library) -> None:
    """chain = [] plays none, the preset's own neither; leaving it out plays the preset's."""
    put(root / "tape" / "vox.toml", "chain = []")
    configs = Configs(root, library)
    assert good(configs, "tape/vox.wav").chain == ()
    assert good(configs, "tape/bass.wav").chain is None


@pytest.mark.parametrize(
    ("where", "out", "problem"),
    [
        ("", ".", "holds the stems"),
        ("", "..", "leads out"),
        ("", "{parent}", "holds the stems"),
        ("", "_failed", "kept for other things"),
        ("", "choir", "is one for stems, by its name"),
        ("", "drums", "is one for stems, by its watch.toml"),
        ("tape", "..", "holds the stems"),
        ("tape", ".", "holds the stems"),
        ("tape", "../../elsewhere", "leads out"),
        ("tape", "{elsewhere}", "leads out"),
        ("tape", "../link/x", "leads out"),
        ("tape", "a\\u0000b", "no path"),
    ],
)
def test_outputs_go_nowhere_else(root: Path, library: Library, where: str, out: str, problem: str) -> None:
    """No output folder holds the stems, is another's, or, but by the root's word, lies elsewhere."""
    (root / "link").symlink_to(root.parent)
    put(root / "drums" / "watch.toml", 'preset = "rain"')
    text = out.format(parent=root.parent.as_posix(), elsewhere=(root.parent / "elsewhere").as_posix())
    put(root / where / "watch.toml", f'out = "{text}"')
    configs = Configs(root, library)
    assert problem in bad(configs)
    assert configs.outputs(["", "tape", "drums"]) == frozenset()


def test_the_root_may_send_outputs_elsewhere(root: Path, library: Library, tmp_path: Path) -> None:
    """By a full path; the sub folders are kept."""
    put(
        root / "watch.toml",
        f'out = "{(tmp_path / "mixes").as_posix()}"\ntemplate = "{{folder}}/{{stem}}_{{preset}}_{{quality}}"',
    )
    config = good(Configs(root, library), "tape/a/vox.wav")
    assert config.out == tmp_path / "mixes"
    assert config.place == PurePosixPath("tape/a/vox_tape_standard")


def test_outputs_inside_the_watched_folder_are_never_inputs(root: Path, library: Library) -> None:
    """From the first look on, also when the folder is named in a file that came just now."""
    put(root / "tape" / "vox.wav")
    put(root / "tape" / "styled" / "vox.wav")
    configs = Configs(root, library)
    intake = Intake(root, configs)
    assert [found.relative for found in intake.look().found] == ["tape/styled/vox.wav", "tape/vox.wav"]
    put(root / "tape" / "watch.toml", 'out = "styled"')
    assert [found.relative for found in intake.look().found] == ["tape/vox.wav"]
    assert intake.excluded == {root / "tape" / "styled"}
    assert good(configs, "tape/vox.wav").out == root / "tape" / "styled"
    (root / "tape" / "watch.toml").unlink()
    assert len(intake.look().found) == 2


def test_an_album_s_stems_are_the_album_s(root: Path, library: Library) -> None:
    """Those it names are not taken by themselves and have to be still with it; others of its folder are."""
    for name in ("tape/a.wav", "tape/b.wav", "tape/sub/c.wav", "rest/d.wav"):
        put(root / name)
    put(
        root / "tape" / "album.toml",
        '[[track]]\nstem = "a.wav"\n[[track]]\nstem = "sub/../sub/c.wav"\n[[track]]\nstem="no.wav"',
    )
    intake = Intake(root, Configs(root, library))
    look = intake.look()
    assert [found.relative for found in look.found] == ["rest/d.wav", "tape/album.toml", "tape/b.wav"]
    album = look.found[1]
    assert len(album.beside) == 2
    put(root / "tape" / "sub" / "c.wav", "more sound")
    assert intake.look().found[1].beside != album.beside
    put(root / "tape" / "album.toml", "[[track]")
    assert len(intake.look().found) == 5
    config = good(Configs(root, library), "tape/album.toml")
    assert (config.settings, config.chain, config.place) == ({}, None, PurePosixPath("tape"))


def test_an_album_waits_for_its_midi_files(root: Path, library: Library) -> None:
    """Parts, tempo, controllers and the files beside its stems: one that changes is another state of the album."""
    manifest = (
        "[album]\ntempo = 'song.mid'\n[[track]]\nstem = 'vox.wav'\n[[track]]\nmidi = 'sub/bass.mid'\n"
        "automation = [{ target = 'mix', cc = 1, midi = 'swell.mid' }, 3]"
    )
    put(root / "tape" / "album.toml", manifest)
    put(root / "tape" / "vox.wav")
    intake = Intake(root, Configs(root, library))
    seen = [intake.look().found[0].beside]
    for name in ("song.mid", "vox.mid", "sub/bass.mid", "swell.mid"):
        for text in ("a", "abc"):
            put(root / "tape" / name, text)
            seen.append(intake.look().found[0].beside)
    put(root / "tape" / "other.mid")
    assert intake.look().found[0].beside == seen[-1]
    assert len(set(seen)) == len(seen) == 9


def test_an_album_needs_no_preset_of_its_folder(root: Path, library: Library) -> None:
    """Its manifest says everything; a mistake in the folder's file holds it back all the same."""
    configs = Configs(root, library)
    assert good(configs, "night bus/album.toml").label == ""
    put(root / "watch.toml", "nonsense = 1")
    assert "nonsense" in bad(configs, "night bus/album.toml")


def test_what_holds_for_the_daemon(root: Path, library: Library) -> None:
    """Read from the watched folder's own file, as far as it is right; the rest is told."""
    configs = Configs(root, library)
    assert configs.daemon() == (DaemonConfig(), ())
    put(root / "watch.toml", 'settle_s = 0.5\nworkers = "two"\npoll = true\ndevice = "cpu"\nmin_free_mb = 10')
    config, mistakes = configs.daemon()
    assert config == DaemonConfig(settle_s=0.5, poll=True, device="cpu", min_free_mb=10)
    assert [mistake.key for mistake in mistakes] == ["workers"]
    (root / "watch.toml").write_text("settle_s =")
    assert configs.daemon()[0] == DaemonConfig()
    assert len(configs.daemon()[1]) == 1


def test_the_key_is_that_of_the_sound(root: Path, library: Library) -> None:
    """It changes with what changes the bytes, a file of a plugin included, and not with where the output goes."""
    hall = put(root / "_irs" / "hall.wav", "hall")
    configs = Configs(root, library)
    keys = []
    for text in (
        "",
        "amount = 0.5",
        "amount = 0.5\nchain = []",
        "chain = [{plugin = 'gain', gain_db = 3}]",
        "chain = [{plugin = 'convolution', impulse_response_filename = '../_irs/hall.wav'}]",
    ):
        put(root / "tape" / "watch.toml", text)
        keys.append(good(configs, "tape/vox.wav").key)
        assert good(configs, "tape/bass.wav").key == keys[-1]
    put(hall, "another hall")
    keys.append(good(configs, "tape/vox.wav").key)
    keys.append(good(configs, "choir/vox.wav").key)
    assert len(set(keys)) == len(keys)
    put(root / "tape" / "watch.toml", 'after = "move"\ntemplate = "{stem}"')
    assert good(configs, "tape/vox.wav").key == keys[0]


def test_the_key_knows_plugins_and_midi_files(
    root: Path, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other code in a plugin's folder, another song beside the stem or another that was chosen is another sound."""
    monkeypatch.setenv("GRAMOPHONE_PLUGIN_PATH", str(tmp_path / "plugins"))
    configs = Configs(root, library)
    code, song = tmp_path / "plugins" / "Echo.vst3" / "Contents" / "Echo.so", root / "tape" / "song.mid"
    beside, keys = root / "tape" / "vox.mid", []

    def note() -> None:
        keys.append(good(configs, "tape/vox.wav").key)

    put(code, "one")
    put(song, "one")
    put(root / "tape" / "watch.toml", "tempo = 'song.mid'\nchain = [{ plugin = 'Echo' }]")
    note()
    for path in (code, song, beside, beside):
        put(path, f"another {len(keys)}")
        os.utime(path, ns=(len(keys), len(keys)))
        note()
    assert len(set(keys)) == len(keys)


_VALUES = st.recursive(
    st.booleans()
    | st.integers(-5, 2**64)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(["tape", "tape:1,choir:2", "draft", "move", "..", "/etc", "x.safetensors", "{stem}", "gain"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["plugin", "plugins", "gain_db", "impulse_response_filename", "tape"]), inner)
    ),
    max_leaves=6,
)
_DOCUMENTS = st.dictionaries(
    st.sampled_from(tables.KEYS) | st.text(string.ascii_letters, max_size=8), _VALUES, max_size=5
)


@given(_DOCUMENTS, st.sampled_from(["root", "folder", "sidecar"]))
@example({"chain": [{"plugin": "convolution", "impulse_response_filename": 3}]}, "sidecar")
def test_any_document_is_values_that_hold_and_mistakes_in_one_line(document: dict[str, Any], level: Any) -> None:
    """Whatever a file holds, nothing is raised, each key is either used or told, and what is used is valid."""
    checked = tables.check(document, "watch.toml", level)
    for mistake in checked.mistakes:
        assert str(mistake).isprintable()
        assert mistake.key.split("[")[0].split(".")[0] in document
    told = {mistake.key.split("[")[0].split(".")[0] for mistake in checked.mistakes}
    assert set(checked.values) | told == set(document)
    assert not set(checked.values) & told
    again = tables.check(checked.values, "watch.toml", level)
    assert (again.values, again.mistakes) == (checked.values, ())
    if level == "sidecar":
        assert not set(checked.values) & {*tables.FOLDER_ONLY, *tables.DAEMON}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="'\n\r"), min_size=1, max_size=30)
    | st.sampled_from(
        ["..", "../..", "../../x", "a/../../../x", "../link/x", "/etc", "~", "~nobody", "./../..//x", "..\\..\\x"]
    )
)
def test_no_relative_path_leads_out(root: Path, text: str) -> None:
    """Whatever a sidecar writes for a path, it is inside the watched folder or refused."""
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(root.parent)
    layer = layers.Layer("sidecar", "tape", "tape/vox.toml", tables.Checked({}))
    try:
        place = layers.Layers(root).inside(layer, text)
    except ValueError:
        return
    assert Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root))


def test_the_chain_here_means_what_it_means_in_a_manifest(root: Path, library: Library) -> None:
    """What comes out can be parsed by who plays it, paths and all."""
    put(root / "tape" / "watch.toml", "[[chain]]\nplugin = 'gain'\ngain_db = 3\n[[chain]]\nplugin = 'reverb'")
    chain = good(Configs(root, library), "tape/vox.wav").chain
    parsed, mistakes = chains.parse(chain, file="", key="chain", folder=None)
    assert not mistakes
    assert [step.plugin.name for step in parsed] == ["gain", "reverb"]
