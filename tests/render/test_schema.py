"""The JSON Schema of manifests, which editors complete and check TOML by."""

import re
from typing import Any

import pytest
import tomli

from render.manifest import AlbumTable, TrackTable
from render.plugins import PLUGINS
from render.schema import manifest_schema


def test_every_key_of_the_manifest_is_in_the_schema() -> None:
    """Album and track tables list exactly the keys that are read, each with a description."""
    definitions = manifest_schema()["$defs"]
    for table in (AlbumTable, TrackTable):
        properties = definitions[table.__name__]["properties"]
        assert set(properties) == set(table.model_fields)
        assert all(entry["description"] for entry in properties.values())
        assert definitions[table.__name__]["additionalProperties"] is False


def test_every_plugin_and_parameter_is_in_the_schema() -> None:
    """Names and bounds are those of the table that chains are checked by."""
    entries = {e["title"]: e for e in manifest_schema()["$defs"]["Chain"]["items"]["oneOf"]}
    assert set(entries) == {*PLUGINS, "plugin file"}
    assert entries["reverb"]["properties"]["room_size"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.5,
    }
    assert "exclusiveMinimum" in entries["peak_filter"]["properties"]["q"]
    assert entries["convolution"]["required"] == ["plugin", "impulse_response_filename"]


def test_every_reference_within_the_schema_is_there() -> None:
    """No ``$ref`` points to a definition that does not exist, and nothing may be null, which TOML has not."""
    schema = manifest_schema()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if ref := node.get("$ref"):
                assert re.sub("^#/[$]defs/", "", ref) in schema["$defs"]
            assert node.get("type") != "null"
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)


GOOD = """
[album]
title = "Night Bus"
output = "out/{track}"
preset = { tape = 0.7, rain = 0.3 }
tempo = "song.mid"
tail_s = "auto"
loudness_lufs = -18
ceiling_dbtp = -1.5
export = ["dawproject", "rpp", "midi", "aaf"]
export_originals = true
report = false
[[album.chain]]
plugin = "ZaMaximX2"
parameters = { threshold_db = -6, bypass = false, voicing = "Plain" }
latency_samples = 480
[[track]]
stem = "vox.wav"
amount = 0.5
bit_depth = 24
chain = [
  { plugin = "mix", plugins = [{ plugin = "gain", gain_db = 3 }, { plugin = "a.vst3", preset_file = "b.state" }] },
]
automation = [
  { target = "mix", points = [[0, 1], [2.5, 0]] },
  { target = "chain[1].plugins[1].gain_db", cc = "pan", midi = "a.mid", midi_track = 3, low = -3, high = 3 },
]
[[track]]
midi = "song.mid"
midi_track = 2
instrument = { plugin = "Synth.vst3", plugin_name = "Synth", tail_s = 2.0, rate = 48000 }
"""


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("", ""),
        ('stem = "vox.wav"', 'stem = "vox.wav"\nmidi = "a.mid"\ninstrument = { plugin = "a.vst3" }'),
        ('stem = "vox.wav"', ""),
        ('tail_s = "auto"', 'tail_s = "ever"'),
        ("gain_db = 3", 'gain_db = "loud"'),
        ("gain_db = 3", "gain = 3"),
        ('"gain"', '"gain", preset_file = "x"'),
        ("latency_samples = 480", "latency_samples = -1"),
        ("latency_samples = 480", "latency = 480"),
        ("rate = 48000", "rate = 48"),
        ("rate = 48000", "seed = 1"),
        ('"aaf"', '"als"'),
        ("points = [[0, 1], [2.5, 0]]", "points = []"),
        ("points = [[0, 1], [2.5, 0]]", "points = [[0, 1]], cc = 1"),
        ("ceiling_dbtp = -1.5", "ceiling_dbtp = 3"),
    ],
)
def test_a_validator_agrees_with_the_manifest(found: str, instead: str) -> None:
    """Every key of every feature passes a validator that is not ours; what a render refuses does not pass it either."""
    jsonschema = pytest.importorskip("jsonschema", reason="no jsonschema here; it comes with the extra dev")
    validator = jsonschema.Draft202012Validator(manifest_schema())
    assert found in GOOD
    errors = list(validator.iter_errors(tomli.loads(GOOD.replace(found, instead) if found else GOOD)))
    assert bool(errors) is bool(found), errors
