"""The manifest's JSON Schema, for editors that complete and check TOML while it is written."""

from typing import Any

from render import lanes, midipart
from render.chain import MAX_STEPS
from render.external import MAX_LATENCY_SAMPLES
from render.instrument import MAX_RATE, MAX_TAIL_S, MIN_RATE
from render.manifest import Manifest
from render.plugins import PLUGINS, Parameter, Plugin

_CHAIN = {"$ref": "#/$defs/Chain"}
_AUTOMATION = {"$ref": "#/$defs/Automation"}
_OF_INSTRUMENTS = {
    "rate": {
        "type": "integer",
        "minimum": MIN_RATE,
        "maximum": MAX_RATE,
        "description": "In Hz; else that of the album's stems.",
    },
    "tail_s": {"type": "number", "minimum": 0, "maximum": MAX_TAIL_S, "description": "For the last notes to ring out."},
}


def manifest_schema() -> dict[str, Any]:
    """The schema of an album manifest, with every plugin's parameters, units and ranges."""
    schema = Manifest.model_json_schema()
    definitions = schema["$defs"]
    for table in ("AlbumTable", "TrackTable"):
        properties = definitions[table]["properties"]
        for name, items in (("chain", _CHAIN), ("automation", _AUTOMATION)):
            properties[name] = {**items, "description": properties[name].get("description", "")}
        for value in properties.values():
            value.pop("default", None)  # TOML has no null to leave a key at
            if "anyOf" in value:
                value["anyOf"] = [arm for arm in value["anyOf"] if arm != {"type": "null"}]
    definitions["TrackTable"]["oneOf"] = [{"required": ["stem"]}, {"required": ["midi", "instrument"]}]
    definitions["TrackTable"]["properties"]["instrument"] = {
        **_plugin_file(_OF_INSTRUMENTS),
        "description": definitions["TrackTable"]["properties"]["instrument"]["description"],
    }
    steps = [*(_plugin(p) for p in PLUGINS.values()), {"title": "plugin file", **_plugin_file({})}]
    definitions["Chain"] = {"type": "array", "maxItems": MAX_STEPS, "items": {"oneOf": steps}}
    definitions["Automation"] = {"type": "array", "maxItems": lanes.MAX_LANES, "items": _lane()}
    schema["title"] = "Gramophone album"
    schema["required"] = ["track"]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def _lane() -> dict[str, Any]:
    seconds = {"type": "number", "minimum": 0, "maximum": lanes.LONGEST_S}
    point = {"type": "array", "prefixItems": [seconds, {"type": "number"}], "minItems": 2, "maxItems": 2}
    number, text = {"type": "number"}, {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "target": {**text, "description": 'amount, mix or a parameter like "chain[1].threshold_db"'},
            "points": {"type": "array", "items": point, "minItems": 1, "maxItems": lanes.MAX_POINTS},
            "cc": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 127}, {"enum": list(midipart.CONTROLLERS)}]},
            "midi": {**text, "description": "The MIDI file; else the one beside the stem."},
            "midi_track": {"anyOf": [{"type": "integer", "minimum": 1}, text]},
            "channel": {"type": "integer", "minimum": 1, "maximum": 16},
            "low": {**number, "description": "What the controller's 0 means."},
            "high": {**number, "description": "What the controller's 127 means."},
        },
        "required": ["target"],
        "oneOf": [{"required": ["points"]}, {"required": ["cc"]}],
        "additionalProperties": False,
    }


def _plugin_file(more: dict[str, Any]) -> dict[str, Any]:
    setting = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]}
    return {
        "description": "A plugin file by its path, or by the name of an installed one.",
        "type": "object",
        "properties": {
            "plugin": {"type": "string", "not": {"enum": list(PLUGINS)}},
            "plugin_name": {"type": "string", "description": "Which one, when the file holds several."},
            "preset_file": {"type": "string", "description": "A .vstpreset, or a file of the plugin's raw state."},
            "parameters": {
                "type": "object",
                "additionalProperties": setting,
                "description": "In the plugin's own units; gramophone chain params PLUGIN lists them.",
            },
            "latency_samples": {
                "type": "integer",
                "minimum": 0,
                "maximum": MAX_LATENCY_SAMPLES,
                "description": "How late it is, if it does not say so itself.",
            },
            **more,
        },
        "required": ["plugin"],
        "additionalProperties": False,
    }


def _plugin(plugin: Plugin) -> dict[str, Any]:
    properties: dict[str, Any] = {"plugin": {"const": plugin.name}}
    properties |= {p.name: _parameter(p) for p in plugin.parameters}
    if plugin.container:
        properties["plugins"] = _CHAIN
    needed = ["plugin", *(["plugins"] if plugin.container else [])]
    needed += [p.name for p in plugin.parameters if p.default is None]
    return {
        "title": plugin.name,
        "description": f"{plugin.use}. {plugin.note}".strip().rstrip("."),
        "type": "object",
        "properties": properties,
        "required": needed,
        "additionalProperties": False,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    default = {} if parameter.default is None else {"default": parameter.default}
    if parameter.kind == "flag":
        return {"type": "boolean", **default}
    if parameter.kind == "file":
        return {"type": "string", "description": parameter.allowed}
    if parameter.kind == "choice":
        return {"enum": list(parameter.choices), **default}
    low = "exclusiveMinimum" if parameter.open_low else "minimum"
    high = "exclusiveMaximum" if parameter.open_high else "maximum"
    unit = {"description": parameter.unit} if parameter.unit else {}
    return {"type": "number", low: parameter.low, high: parameter.high, **unit, **default}
