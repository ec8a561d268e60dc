"""Validates JSON against the subset of JSON Schema that summary.schema.json uses.

A keyword it does not know is an error: better than to pass over a rule in silence.
"""

TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}
ANNOTATIONS = {"$schema", "$id", "title", "description", "$defs"}


def errors(value, schema, root=None, at="$"):
    """A list of what is wrong, empty when the value is valid."""
    root = root or schema
    found = []
    for keyword, rule in schema.items():
        if keyword in ANNOTATIONS:
            continue
        check = CHECKS.get(keyword)
        found += check(value, rule, schema, root, at) if check else [f"{at}: schema keyword {keyword} is unknown here"]
    return found


def _type(value, rule, schema, root, at):
    return [] if TYPES[rule](value) else [f"{at}: {value!r} is no {rule}"]


def _const(value, rule, schema, root, at):
    return [] if value == rule else [f"{at}: {value!r} is not {rule!r}"]


def _enum(value, rule, schema, root, at):
    return [] if value in rule else [f"{at}: {value!r} is none of {rule}"]


def _minimum(value, rule, schema, root, at):
    if not TYPES["number"](value) or value >= rule:
        return []
    return [f"{at}: {value} is below {rule}"]


def _required(value, rule, schema, root, at):
    return [f"{at}: {name} is missing" for name in rule if isinstance(value, dict) and name not in value]


def _properties(value, rule, schema, root, at):
    if not isinstance(value, dict):
        return []
    return [e for name, sub in rule.items() if name in value for e in errors(value[name], sub, root, f"{at}.{name}")]


def _additional(value, rule, schema, root, at):
    if rule is not False or not isinstance(value, dict):
        return []
    return [f"{at}: {name} is not expected" for name in value if name not in schema.get("properties", {})]


def _items(value, rule, schema, root, at):
    if not isinstance(value, list):
        return []
    return [e for i, item in enumerate(value) for e in errors(item, rule, root, f"{at}[{i}]")]


def _reference(value, rule, schema, root, at):
    target = root
    for part in rule.removeprefix("#/").split("/"):
        target = target[part]
    return errors(value, target, root, at)


CHECKS = {"type": _type, "const": _const, "enum": _enum, "minimum": _minimum, "required": _required,
          "properties": _properties, "additionalProperties": _additional, "items": _items, "$ref": _reference}
