"""Blends: parsed everywhere the same way, weights summing to one, and played as one preset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from presets import names, resolve
from presets.errors import PresetError
from presets.library import Library
from presets.preset import Preset
from presets.resolve import parse

MakePreset = Callable[..., Preset]
Given = list[list[Tensor]]


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("tape", [("tape", 1.0)]),
        ("tape:0.7", [("tape", 1.0)]),
        ("tape:0.7,choir:0.3", [("tape", 0.7), ("choir", 0.3)]),
        (" Tape 2 : 3 , choir:1 ", [("Tape 2", 0.75), ("choir", 0.25)]),
        ("tape,choir", [("tape", 0.5), ("choir", 0.5)]),
        ({"tape": 7, "choir": 3}, [("tape", 0.7), ("choir", 0.3)]),
        ({"tape": 0.2}, [("tape", 1.0)]),
        ("sounds/a.gram.safetensors:1,choir:1", [("sounds/a.gram.safetensors", 0.5), ("choir", 0.5)]),
        ("C:\\a.safetensors", [("C:\\a.safetensors", 1.0)]),
        ("tape:1e-3,choir:1e-3", [("tape", 0.5), ("choir", 0.5)]),
    ],
)
def test_every_way_to_name_presets_is_understood(value: Any, parts: list[tuple[str, float]]) -> None:
    """A name, a file, a blend in text or as a table: weights come back summing to one."""
    found = [(part.preset, part.weight) for part in parse(value).parts]
    assert [name for name, _ in found] == [name for name, _ in parts]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in parts], rel=1e-12)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "no preset is named"),
        ("  ", "no preset is named"),
        ("tape,", "empty part"),
        (",", "empty part"),
        ("tape:0.7,choir", "'choir' has no weight"),
        ("tape:", "weight of 'tape' is ''"),
        (":0.5", "is empty"),
        ("tape:loud", "weight of 'tape' is 'loud'; expected a number above 0"),
        ("tape:0,choir:1", "weight of 'tape' is '0'; expected a number above 0"),
        ("tape:-1,choir:1", "weight of 'tape' is '-1'"),
        ("tape:nan", "weight of 'tape' is 'nan'"),
        ("tape:inf", "weight of 'tape' is 'inf'"),
        ("tape:1e-9,choir:1", "0.000001 to 1000000"),
        ("tape:1,tape:2", "named twice"),
        ("a/b:1,choir:1", "'/'"),
        (",".join(f"p{i}:1" for i in range(17)), "a blend of 17 presets"),
        ({}, "a blend of 0 presets"),
        ({"tape": True}, "weight of 'tape' is True"),
        ({"tape": 10**400}, "weight of 'tape'"),
        ({"tape": None}, "weight of 'tape' is None"),
        ({"../x": 1.0}, "preset name"),
    ],
)
def test_what_cannot_be_understood_says_why(value: Any, reason: str) -> None:
    """Each mistake names the part it is in and what is expected."""
    with pytest.raises(PresetError, match=reason):
        parse(value)


@given(st.text(max_size=40))
def test_any_text_parses_or_raises_the_one_error(text: str) -> None:
    """No text breaks the parser, and what it accepts sums to one."""
    try:
        spec = parse(text)
    except PresetError:
        return
    assert sum(part.weight for part in spec.parts) == pytest.approx(1.0, rel=1e-9)


def test_labels_name_files() -> None:
    """A blend's label is a possible preset name that tells parts and percentages, however many there are."""
    assert parse("tape").label == "tape"
    assert parse("tape:0.7,choir:0.3").label == "tape70-choir30"
    assert parse("x/rain (v2).gram.safetensors").label == "rain -v2-"
    long = [parse(",".join(f"{'雨' * 60}{i}:{1 + i + j}" for i in range(10))).label for j in range(2)]
    assert all(names.validated(label) == label for label in long)
    assert long[0] != long[1]


@pytest.fixture
def stocked(library: Library, make_preset: MakePreset) -> Library:
    """A library with a bright tape, a dark choir and a rain learnt at another rate."""
    chain = [{"plugin": "reverb"}]
    tape = {"magnitude.power": torch.tensor([[2.0]])}
    choir = {"magnitude.power": torch.tensor([[4.0]])}
    library.save(make_preset("tape", tensors=tape, amount=0.5, chain=chain, loudness_dbfs=-20.0, licence="CC0"))
    library.save(make_preset("choir", tensors=choir, amount=1.0, chain=chain, loudness_dbfs=-20.0, licence="CC-BY"))
    library.save(make_preset("rain", tensors=choir, rate=48_000))
    return library


def test_a_blend_is_the_weighted_mean(stocked: Library, learning: Given) -> None:
    """Targets, default amounts and levels average by weight; the shared chain, licences and parts are kept."""
    mixed = resolve.load_blend(parse("tape:3,choir:1"), stocked)
    assert mixed.name == "tape75-choir25"
    assert mixed.target.tensors["magnitude.power"].item() == pytest.approx(2.5, rel=1e-6)
    assert mixed.card.amount == pytest.approx(0.625, abs=1e-6)
    assert mixed.card.loudness_dbfs == pytest.approx(-20.0, abs=1e-9)
    assert mixed.card.chain == ({"plugin": "reverb"},)
    assert mixed.card.licence == "CC0; CC-BY"
    assert mixed.card.learn_key is None
    parts = [(part.name, part.weight, part.content_hash) for part in mixed.card.blend_of]
    assert parts == [(n, w, stocked.load(n).content_hash) for n, w in (("tape", 0.75), ("choir", 0.25))]


def test_scaling_the_weights_changes_nothing(stocked: Library, learning: Given) -> None:
    """0.7 and 0.3 are the very preset that 7 and 3 are."""
    small = resolve.load_blend(parse("tape:0.7,choir:0.3"), stocked)
    large = resolve.load_blend(parse("tape:7,choir:3"), stocked)
    assert small.content_hash == large.content_hash


def test_a_single_preset_is_itself(stocked: Library) -> None:
    """Whatever its weight, one preset is loaded, not blended."""
    assert resolve.load_blend(parse("tape:0.3"), stocked).card == stocked.load("tape").card


def test_different_chains_are_not_mixed(stocked: Library, learning: Given, make_preset: MakePreset) -> None:
    """A blend of presets with different chains has none, unless it is given one."""
    tensors = {"magnitude.power": torch.tensor([[1.0]])}
    stocked.save(make_preset("dry", tensors=tensors))
    assert resolve.load_blend(parse("tape,dry"), stocked).card.chain == ()
    chain = ({"plugin": "gain"},)
    assert resolve.blended(parse("tape,dry"), "x", stocked, defaults={"chain": chain}).card.chain == chain


def test_presets_that_do_not_fit_say_how_to_make_them(stocked: Library) -> None:
    """Two rates cannot be blended; the error names both and the command."""
    with pytest.raises(PresetError, match=r"'tape' is identity at 44100 Hz and 'rain' is identity at 48000 Hz; learn"):
        resolve.load_blend(parse("tape,rain"), stocked)


def test_missing_and_broken_parts_are_named(stocked: Library) -> None:
    """A blend fails by the part that is wrong."""
    with pytest.raises(PresetError, match="did you mean 'choir'"):
        resolve.load_blend(parse("tape,chior"), stocked)
    stocked.path("broken").write_bytes(b"no")
    with pytest.raises(PresetError, match=r"broken\.gram\.safetensors is 2 bytes long"):
        resolve.load_blend(parse("tape,broken"), stocked)
    with pytest.raises(PresetError, match="two presets at least"):
        resolve.blended(parse("tape"), "x", stocked)


def test_files_stand_where_names_do(stocked: Library, tmp_path: Path, learning: Given) -> None:
    """A preset file is found from the base folder, absolutely, with a comma in its name, and inside a blend."""
    elsewhere = tmp_path / "album"
    elsewhere.mkdir()
    given = elsewhere / "given, by a friend.gram.safetensors"
    given.write_bytes(stocked.find("tape").read_bytes())
    plain = given.rename(elsewhere / "given.gram.safetensors")
    assert resolve.load_blend(parse("given.gram.safetensors"), stocked, base=elsewhere).name == "given"
    assert resolve.load_blend(parse(str(plain)), stocked).card == stocked.load("tape").card
    assert resolve.load_blend(parse(f"{plain}:1,choir:1"), stocked).name == "given50-choir50"
    given.write_bytes(plain.read_bytes())
    assert resolve.load_blend(parse(str(given)), stocked).name == "given- by a friend"
    with pytest.raises(PresetError, match="No such file"):
        resolve.load_blend(parse("none.safetensors"), stocked, base=elsewhere)
    with pytest.raises(PresetError, match="no user's home"):
        resolve.load_blend(parse("~no-such-user-here/x.safetensors"), stocked)
