#!/usr/bin/env python3
"""Prints the list of what a binary consists of, as CycloneDX 1.5 in JSON: the crates that are linked, from cargo's own
data, and the bubblewrap inside, from its pin. It asks no network.

usage: tools/sbom.py TARGET BINARY
"""

import hashlib
import json
import os
import subprocess
import sys
import time
import uuid


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments, "--locked", "--offline"], check=True, capture_output=True, text=True
    ).stdout


def linked(target):
    """Names and versions of the crates that end up in the program: neither those of build scripts nor of macros."""
    tree = cargo(
        "tree", "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe", "--format", "{p}", "--target", target
    )
    pairs = {tuple(line.split(" ")[:2]) for line in tree.splitlines()}
    return {(name, version.removeprefix("v")) for name, version in pairs}


def checksums():
    found, name, version = {}, None, None
    with open("Cargo.lock", encoding="utf-8") as lock:
        for line in lock:
            key, _, value = line.strip().partition(" = ")
            value = value.strip('"')
            if key == "name":
                name = value
            elif key == "version":
                version = value
            elif key == "checksum":
                found[name, version] = value
    return found


def pin():
    with open("vendor/bubblewrap/pin", encoding="utf-8") as lines:
        return dict(line.strip().split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def main():
    target, binary = sys.argv[1:]
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))
    own = next(package for package in metadata["packages"] if package["name"] == "exec-server")
    wanted, sums = linked(target), checksums()
    components = []
    for package in sorted(metadata["packages"], key=lambda package: (package["name"], package["version"])):
        pair = (package["name"], package["version"])
        if pair not in wanted or package is own:
            continue
        reference = f"pkg:cargo/{pair[0]}@{pair[1]}"
        component = {"type": "library", "bom-ref": reference, "name": pair[0], "version": pair[1], "purl": reference}
        if package["license"]:
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if pair in sums:
            component["hashes"] = [{"alg": "SHA-256", "content": sums[pair]}]
        components.append(component)
    bubblewrap = pin()
    components.append(
        {
            "type": "application",
            "bom-ref": f"pkg:generic/bubblewrap@{bubblewrap['version']}",
            "name": "bubblewrap",
            "version": bubblewrap["version"],
            "purl": f"pkg:generic/bubblewrap@{bubblewrap['version']}",
            "description": "a program of its own, carried inside as bytes; the digest is of its source",
            "licenses": [{"license": {"id": "LGPL-2.1-or-later"}}],
            "hashes": [{"alg": "SHA-256", "content": bubblewrap["sha256"]}],
        }
    )
    reference = f"pkg:generic/exec-server@{own['version']}"
    sha256 = digest(binary)
    when = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, sha256)}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
            "component": {
                "type": "application",
                "bom-ref": reference,
                "name": "exec-server",
                "version": own["version"],
                "purl": reference,
                "licenses": [{"license": {"id": "MIT"}}],
                "hashes": [{"alg": "SHA-256", "content": sha256}],
                "properties": [{"name": "target", "value": target}],
            },
        },
        "components": components,
        "dependencies": [{"ref": reference, "dependsOn": [component["bom-ref"] for component in components]}],
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


main()
