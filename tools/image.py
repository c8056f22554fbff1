#!/usr/bin/env python3
"""Makes an OCI image from scratch, as one file that podman, docker and skopeo load, without a daemon: the program as
/exec-server, /tmp for everybody, and nothing else. The same programs give the same bytes.

usage: tools/image.py OUT.tar VERSION ARCHITECTURE=BINARY...

ARCHITECTURE is what images call it: amd64, arm64.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import time

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def add(tar, name, mode, content=None):
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = mode, EPOCH
    if content is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


def layer(binary):
    with open(binary, "rb") as file:
        program = file.read()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        add(tar, "exec-server", 0o755, program)
        add(tar, "tmp", 0o1777)
    return raw.getvalue()


class Blobs:
    def __init__(self):
        self.content = {}

    def put(self, kind, content):
        """Keeps it; what others name it by."""
        if isinstance(content, dict):
            content = json.dumps(content, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()
        self.content[digest] = content
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def image(blobs, version, architecture, binary):
    raw = layer(binary)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
        file.write(raw)
    config = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH)),
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": ["/exec-server"],
            "Cmd": ["--listen", "ws://127.0.0.1:8765"],
            "Env": ["PATH=/:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": {"org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "MIT"},
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(raw).hexdigest()]},
        "history": [{"created_by": "tools/image.py"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blobs.put(CONFIG, config),
        "layers": [blobs.put(LAYER, packed.getvalue())],
    }
    return blobs.put(MANIFEST, manifest) | {"platform": {"architecture": architecture, "os": "linux"}}


def main():
    out, version, programs = sys.argv[1], sys.argv[2], sys.argv[3:]
    if not programs:
        sys.exit(__doc__)
    blobs = Blobs()
    manifests = [image(blobs, version, *program.split("=", 1)) for program in programs]
    name = {"org.opencontainers.image.ref.name": f"exec-server:{version}"}
    if len(manifests) == 1:
        entry = manifests[0]
    else:
        entry = blobs.put(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry | {"annotations": name}]}
    part = out + ".part"
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        add(tar, "oci-layout", 0o644, b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, "index.json", 0o644, json.dumps(index, sort_keys=True).encode())
        add(tar, "blobs", 0o755)
        add(tar, "blobs/sha256", 0o755)
        for digest in sorted(blobs.content):
            add(tar, f"blobs/sha256/{digest}", 0o644, blobs.content[digest])
    os.replace(part, out)


main()
