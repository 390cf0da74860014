"""The JSON Schema of manifests, which editors complete and check TOML by."""

import re
from typing import Any

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
    assert set(entries) == set(PLUGINS)
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
