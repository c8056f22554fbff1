#!/bin/sh
# Fetches the references that `make bench` compares with, from npm into the cache, and prints where
# they are, as REFERENCE_0130=PATH and so on; 0.171 is for `make interop` alone. What cannot be had is only a note: the
# comparison then goes without it.
set -u

cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/exec-server/reference

note() {
    echo "reference.sh: $*" >&2
}

# binary VERSION: prints the path of an unpacked codex, if there is one.
binary() {
    find -L "$cache/$1" -type f -name codex -perm -u+x 2>/dev/null | head -n 1
}

# fetch VERSION: unpacks a whole package or nothing at all.
fetch() {
    command -v npm >/dev/null 2>&1 || { note "no npm: codex $1 is left out"; return 1; }
    partial=$(mktemp -d "$cache/partial.XXXXXX") || return 1
    note "fetching codex $1, once (80 to 170 MB)"
    # npm prints the archive's name last, and has checked its digest.
    if archive=$(cd "$partial" && npm pack --silent "@openai/codex@$1-linux-$arch" | tail -n 1) &&
        [ -n "$archive" ] && mkdir "$partial/unpacked" &&
        tar -xzf "$partial/$archive" -C "$partial/unpacked" &&
        rm -rf "${cache:?}/$1" && mv "$partial/unpacked" "$cache/$1"; then
        rm -rf "$partial"
    else
        rm -rf "$partial"
        note "codex $1 cannot be fetched: it is left out"
        return 1
    fi
}

case $(uname -m) in
x86_64) arch=x64 ;;
aarch64) arch=arm64 ;;
*)
    note "no reference for $(uname -m)"
    exit 0
    ;;
esac
mkdir -p "$cache" || exit 0

for pair in 0130=0.130.0 0169=0.169.0 0171=0.171.0; do
    version=${pair#*=}
    path=$(binary "$version")
    if [ -z "$path" ] && fetch "$version"; then
        path=$(binary "$version")
    fi
    [ -z "$path" ] || echo "REFERENCE_${pair%%=*}=$path"
done
