"""Writes the parts of the client that are made from something else.

* ``src/exec_server/wire.py``: the types of every request, from ``docs/openrpc.json``.
* ``src/exec_server/_sync/``: the client with threads, from the one for asyncio in ``_aio/``; and its tests likewise.

``python3 tools/generate.py`` writes them; with ``--check`` it only says what is out of date, with exit code 1.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List

HERE = Path(__file__).resolve().parent.parent
PACKAGE = HERE / "src" / "exec_server"
TESTS = HERE / "tests"
OPENRPC = HERE.parent.parent / "docs" / "openrpc.json"

Schema = Dict[str, Any]

# Parameters that are also a part of a result, by the name that they have there.
PARAMETERS = {"OutputParams": "ProcessOutputParams"}

# The types of JSON.
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


# The types of the wire.


def type_of(schema: Any) -> str:
    """The Python type of a JSON schema."""
    if not isinstance(schema, dict):
        return "Any"
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[1]
        return PARAMETERS.get(name, name)
    if "const" in schema:
        return f"Literal[{json.dumps(schema['const'])}]"
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]"
    for kind in ("anyOf", "oneOf", "allOf"):
        if kind in schema:
            return union([type_of(each) for each in schema[kind]])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return union([type_of({**schema, "type": kind}) for kind in kinds])
    if kinds == "array":
        return f"List[{type_of(schema.get('items'))}]"
    if kinds == "object":
        if "properties" in schema:
            return "Dict[str, Any]"
        return f"Dict[str, {type_of(schema.get('additionalProperties'))}]"
    return SCALARS.get(str(kinds), "Any")


def union(types: List[str]) -> str:
    """One of these types, each named once."""
    distinct = list(dict.fromkeys(types))
    if "Any" in distinct:
        return "Any"
    if len(distinct) == 1:
        return distinct[0]
    if all(each.startswith("Literal[") for each in distinct):
        return f"Literal[{', '.join(each[len('Literal['):-1] for each in distinct)}]"
    if distinct[-1] == "None" and len(distinct) == 2:
        return f"Optional[{distinct[0]}]"
    return f"Union[{', '.join(distinct)}]"


def comment(schema: Any, indent: str) -> str:
    """What the schema says about itself."""
    text = schema.get("description", "") if isinstance(schema, dict) else ""
    lines = textwrap.wrap(" ".join(text.split()), 110)
    return "".join(f"{indent}# {line}\n" for line in lines)


def record(name: str, schema: Schema) -> str:
    """An object with named members as a TypedDict."""
    members: Dict[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", []))
    head = comment(schema, "")
    if any(keyword.iskeyword(member) for member in members):
        rows = "".join(f"        {json.dumps(member)}: {json.dumps(type_of(it))},\n" for member, it in members.items())
        return f"{head}{name} = TypedDict(\n    {json.dumps(name)},\n    {{\n{rows}    }},\n    total=False,\n)\n"

    def rows_of(names: List[str]) -> str:
        return "".join(f"{comment(members[each], '    ')}    {each}: {type_of(members[each])}\n" for each in names)

    always = [member for member in members if member in required]
    maybe = [member for member in members if member not in required]
    if not maybe:
        return f"{head}class {name}(TypedDict):\n{rows_of(always) or '    pass' + chr(10)}"
    if not always:
        return f"{head}class {name}(TypedDict, total=False):\n{rows_of(maybe)}"
    base = f"_{name}Required"
    return f"class {base}(TypedDict):\n{rows_of(always)}\n\n{head}class {name}({base}, total=False):\n{rows_of(maybe)}"


def wire(document: Schema) -> str:
    """The module of all types and methods."""
    schemas: Dict[str, Schema] = document["components"]["schemas"]
    # An alias is evaluated when the module is read, so it stands behind the records that it names.
    records = [record(name, it) for name, it in schemas.items() if it.get("type") == "object"]
    aliases = {name: it for name, it in schemas.items() if it.get("type") != "object" and name != "Never"}
    plain = [f"{comment(it, '')}{name} = {type_of(it)}\n" for name, it in aliases.items()]
    params: List[str] = []
    table: List[str] = []
    for method in document["methods"]:
        words = re.split(r"[/]", method["name"])
        name = "".join(word[0].upper() + word[1:] for word in words) + "Params"
        if name not in schemas:
            members = {each["name"]: each["schema"] for each in method["params"]}
            required = [each["name"] for each in method["params"] if each.get("required")]
            about = f"Parameters of `{method['name']}`."
            params.append(record(name, {"description": about, "properties": members, "required": required}))
        if "x-notification-of" in method:
            continue
        constant = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", method["name"].replace("/", "_")).upper()
        reply = type_of(method["result"]["schema"])
        table.append(f'{constant}: Method[{name}, {reply}] = Method("{method["name"]}")\n')
    kinds = "\n\n".join(records + params)
    return f'''"""The types of the wire, made from docs/openrpc.json by tools/generate.py. PROTOCOL.md says what they mean."""

from __future__ import annotations

from typing import Any, Dict, Generic, List, Literal, Optional, TypedDict, TypeVar, Union

P = TypeVar("P")
R = TypeVar("R")


class Method(Generic[P, R]):
    """A method by its name, with the types of its parameters and of its result."""

    def __init__(self, name: str) -> None:
        self.name = name


{"".join(plain)}

{kinds}

{"".join(table)}'''


# The client with threads.

# What there is by hand for both: waiting, and streams.
BY_HAND = {"_io.py", "io.py", "__init__.py"}

# In this order.
SUBSTITUTIONS = [
    (r"\basync def\b", "def"),
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\bawait ", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"__aiter__", "__iter__"),
    (r"__anext__", "__next__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bAsync([A-Z]\w*)", r"\1"),
    (r"\b_aio\b", "_sync"),
    (r"an? asyncio task", "a thread"),
]


def without_async(source: str, name: str) -> str:
    """A module of ``_aio`` for threads."""
    for pattern, replacement in SUBSTITUTIONS:
        source = re.sub(pattern, replacement, source)
    return f"# Made from {name} by tools/generate.py.\n{source}"


def outputs() -> Dict[Path, str]:
    """What every generated file should be."""
    result = {PACKAGE / "wire.py": wire(json.loads(OPENRPC.read_text("utf-8")))}
    for source, target in ((PACKAGE / "_aio", PACKAGE / "_sync"), (TESTS / "aio", TESTS / "sync")):
        for path in sorted(source.glob("*.py")):
            if path.name not in BY_HAND:
                name = f"{source.name}/{path.name}"
                result[target / path.name] = without_async(path.read_text("utf-8"), name)
    return result


def main(arguments: List[str]) -> int:
    """Writes the files, or with --check compares them."""
    stale = []
    for path, text in outputs().items():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(path)
        if "--check" not in arguments:
            path.write_text(text, "utf-8")
    for path in stale:
        print(f"{'out of date' if '--check' in arguments else 'written'}: {path.relative_to(HERE)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
