"""Chains: the table against the pedalboard that is installed, and every way to write one wrong."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pedalboard
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from render import chain
from render.chain import Chain
from render.plugins import PLUGINS, Parameter, Plugin

MakeStem = Callable[..., Path]
_NOT_BUILT_INS = {"Plugin", "PluginContainer", "ExternalPlugin", "VST3Plugin", "AudioUnitPlugin", "IIRFilter"}


def _parse(raw: object, folder: Path | None = Path()) -> tuple[Chain, list[str]]:
    steps, mistakes = chain.parse(raw, file="album.toml", key="album.chain", folder=folder)
    return steps, [str(m) for m in mistakes]


def _signature(plugin: Plugin) -> dict[str, str]:
    """The constructor's parameters and defaults as pybind11 writes them into the docstring."""
    text = str(getattr(pedalboard, plugin.class_name).__init__.__doc__).split("\n")[0]
    return dict(re.findall(r"(\w+): [^=,]+(?:\[[^=]*\])? = ([^,)]+)", text))


def test_every_built_in_of_pedalboard_is_in_the_table() -> None:
    """A new pedalboard with a plugin more, or one less, turns this red."""
    classes = {
        name
        for name, found in inspect.getmembers(pedalboard, inspect.isclass)
        if issubclass(found, pedalboard.Plugin) and not name.startswith("_")
    }
    ours = {plugin.class_name for plugin in PLUGINS.values()}
    assert ours == classes - _NOT_BUILT_INS - {"Pedalboard"}


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda p: p.name)
def test_parameters_have_the_names_and_defaults_of_pedalboard(plugin: Plugin) -> None:
    """The table says what the installed constructor says, name by name."""
    real = _signature(plugin)
    if plugin.container:
        assert not plugin.parameters
        return
    for parameter in plugin.parameters:
        if parameter.kind == "file":
            continue
        default = real.pop(parameter.name)
        if parameter.kind == "choice":
            assert parameter.choices[str(parameter.default)] in default
        elif parameter.kind == "flag":
            assert str(parameter.default) == default
        else:
            assert float(default) == pytest.approx(parameter.default)
    real.pop("sample_rate", None)
    assert not real


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda p: p.name)
def test_defaults_are_in_their_own_range(plugin: Plugin) -> None:
    """A chain that only names a plugin is a chain, unless the plugin needs a file or others inside."""
    steps, mistakes = _parse([{"plugin": plugin.name}])
    if plugin.container or any(p.default is None for p in plugin.parameters):
        assert len(mistakes) == 1
    else:
        assert not mistakes
        assert steps[0].values == {p.name: p.default for p in plugin.parameters}


def _outside(parameter: Parameter) -> list[object]:
    if parameter.kind == "flag":
        return [1, "true"]
    if parameter.kind == "choice":
        return ["nonsense", 3]
    low = parameter.low if parameter.open_low else math.nextafter(parameter.low, -math.inf)
    high = parameter.high if parameter.open_high else math.nextafter(parameter.high, math.inf)
    return [low, high, math.nan, math.inf, True, "3", [3]]


@pytest.mark.parametrize("plugin", [p for p in PLUGINS.values() if p.parameters], ids=lambda p: p.name)
def test_values_out_of_range_are_refused_in_one_line(plugin: Plugin) -> None:
    """Just beyond each bound, NaN, infinity and other types are mistakes that say what is allowed."""
    for parameter in plugin.parameters:
        if parameter.kind == "file":
            continue
        for value in _outside(parameter):
            _, mistakes = _parse([{"plugin": plugin.name, parameter.name: value}])
            mine = [m for m in mistakes if m.startswith(f"album.toml: album.chain[1].{parameter.name}: found ")]
            assert len(mine) == 1, (parameter.name, value, mistakes)
            assert parameter.allowed in mine[0]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"plugin": "compresor"}, "did you mean 'compressor'?"),
        ({"plugin": "Compressor"}, "did you mean 'compressor'?"),
        ({"plugin": "PitchShift"}, "did you mean 'pitch_shift'?"),
        ({"plugin": "compressor", "treshold_db": -3}, "did you mean 'threshold_db'?"),
        ({"plugin": "ladder_filter", "mode": "LPF12"}, "did you mean 'lpf12'?"),
        ({}, "album.chain[1].plugin: no plugin is named"),
        ({"plugin": 3}, "album.chain[1].plugin: found 3"),
        ({"plugin": "/Library/Audio/Plug-Ins/VST3/Reverb.vst3"}, "is not there; expected the path of a plugin file"),
        ({"plugin": "Reverb.clap"}, "expected a plugin file that ends in .vst3"),
        ({"plugin": "convolution"}, "convolution needs it; expected the path of an audio file"),
        ({"plugin": "mix", "plugins": []}, "album.chain[1].plugins: is empty"),
        ({"plugin": "mix"}, "album.chain[1].plugins: found a date or time; expected a list of tables"),
        ({"plugin": "chain", "plugins": [{"plugin": "gian"}]}, "album.chain[1].plugins[1].plugin"),
    ],
)
def test_mistakes_name_their_place_and_the_nearest_name(entry: Mapping[str, Any], line: str) -> None:
    """Each mistake is one line with the key path, what was found and what comes close."""
    steps, mistakes = _parse([entry])
    assert len(mistakes) == 1
    assert line in mistakes[0]
    assert not steps


def test_all_mistakes_of_a_chain_come_at_once() -> None:
    """Three wrong steps give three lines, and the right one among them is kept."""
    raw = [{"plugin": "gain", "gain_db": "loud"}, 5, {"plugin": "invert"}, {"plugin": "invert", "depth": 1}]
    steps, mistakes = _parse(raw)
    assert len(mistakes) == 3
    assert [step.plugin.name for step in steps] == ["invert"]


@pytest.mark.parametrize("raw", [3, "gain", {"plugin": "gain"}])
def test_a_chain_that_is_no_list_is_refused(raw: object) -> None:
    """A table or a word where a list belongs is one mistake."""
    assert len(_parse(raw)[1]) == 1


def test_endless_nesting_and_length_are_bounded() -> None:
    """A chain from a stranger cannot nest or grow without end."""
    nested: dict[str, Any] = {"plugin": "gain"}
    for _ in range(200):
        nested = {"plugin": "chain", "plugins": [nested]}
    assert "nested more than" in _parse([nested])[1][0]
    assert "expected at most" in _parse([{"plugin": "gain"}] * 1000)[1][0]


def test_filters_must_stay_below_half_the_rate(make_stem: MakeStem) -> None:
    """Above it pedalboard's filters return NaN; the stem's rate decides, so it is said with the stem."""
    steps, mistakes = _parse([{"plugin": "lowpass_filter", "cutoff_frequency_hz": 12_000}])
    assert not mistakes
    assert not chain.misfits(steps, rate=44_100, channels=2)
    assert "expected below 11025 Hz" in chain.misfits(steps, rate=22_050, channels=2)[0]


def test_rates_that_a_plugin_does_not_know_are_told_at_plan_time() -> None:
    """The MP3 encoder knows nine rates, and 96 kHz is none of them."""
    steps, _ = _parse([{"plugin": "mix", "plugins": [{"plugin": "mp3_compressor"}]}])
    assert "the stem is at 96000 Hz" in chain.misfits(steps, rate=96_000, channels=2)[0]
    assert not chain.misfits(steps, rate=48_000, channels=2)


def test_impulse_responses_are_found_checked_and_fitted(
    make_stem: MakeStem, noise: Callable[..., Tensor], tmp_path: Path
) -> None:
    """Paths resolve against the folder; a missing file is a mistake, and channels must go with the stem's."""
    make_stem("room.wav", noise(2, 100))
    steps, mistakes = _parse([{"plugin": "convolution", "impulse_response_filename": "room.wav"}], tmp_path)
    assert not mistakes
    assert chain.files(steps) == [tmp_path / "room.wav"]
    assert not chain.misfits(steps, rate=8000, channels=2)
    assert "has 2 channels; expected 1 channel" in chain.misfits(steps, rate=8000, channels=6)[0]
    _, mistakes = _parse([{"plugin": "convolution", "impulse_response_filename": "roam.wav"}], tmp_path)
    assert "is not there" in mistakes[0]
    _, mistakes = _parse([{"plugin": "convolution", "impulse_response_filename": "room.wav"}], None)
    assert "expected an absolute path" in mistakes[0]


def test_surprising_plugins_carry_a_note() -> None:
    """The maximiser called limiter says that it adds gain; other plugins say nothing."""
    assert "make-up gain" in chain.notes(_parse([{"plugin": "limiter"}, {"plugin": "limiter"}])[0])[0]
    assert not chain.notes(_parse([{"plugin": "gain"}])[0])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["plugin", "mix"]) | st.text(), inner),
    max_leaves=8,
)


@given(_JSON)
def test_no_chain_however_odd_raises_anything(raw: object) -> None:
    """Whatever stands in a manifest, the reader answers with steps or with mistakes, never with an exception."""
    steps, mistakes = _parse(raw)
    assert all("\n" not in line for line in mistakes)
    assert mistakes or isinstance(raw, list)
    assert all(step.plugin.name in PLUGINS for step in chain.walk(steps))
