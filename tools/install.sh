#!/bin/sh
# Installs exec-server: one file, whose SHA-256 stands below. It needs a POSIX shell, sha256sum or openssl, and curl or
# wget, or a directory with the files. No root, unless --to names a directory that asks for it.
# usage: install.sh [--to DIR] [--from URL|DIR]
set -eu

# `make release` writes these three.
version=
base=
digests=

usage() {
    printf 'usage: install.sh [--to DIR] [--from URL|DIR]\n\n'
    printf '  --to DIR         where the program goes; ~/.local/bin unless given\n'
    printf '  --from URL|DIR   where the files of the release are; %s unless given\n' "${base:-the directory of this script}"
}

say() {
    printf 'install.sh: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

to=
from=
while [ $# -gt 0 ]; do
    case $1 in
        --to | --from)
            [ $# -ge 2 ] && [ -n "$2" ] || { say "$1 needs a value"; usage >&2; exit 2; }
            if [ "$1" = --to ]; then to=$2; else from=$2; fi
            shift 2
            ;;
        --to=?*) to=${1#--to=}; shift ;;
        --from=?*) from=${1#--from=}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) say "unexpected argument '$1'"; usage >&2; exit 2 ;;
    esac
done

[ -n "$version" ] || fail "this is the template; 'make release' makes the script"
[ "$(uname -s)" = Linux ] || fail "exec-server runs on Linux, and this is $(uname -s)"
case $(uname -m) in
    x86_64 | amd64) target=x86_64-unknown-linux-musl ;;
    aarch64 | arm64) target=aarch64-unknown-linux-musl ;;
    *) fail "there is no binary for $(uname -m)" ;;
esac
file=exec-server-$version-$target
# The digest is in the script, so that whoever has the right script gets the right file.
digest=$(printf '%s\n' "$digests" | sed -n "s/^\([0-9a-f]\{64\}\)  $file\$/\1/p")
[ -n "$digest" ] || fail "this release has no binary for $target"

if [ -z "$to" ]; then
    [ -n "${HOME:-}" ] || fail "HOME is not set; say where to install with --to DIR"
    to=$HOME/.local/bin
fi
if [ -z "$from" ]; then from=$base; fi
if [ -z "$from" ]; then
    case $0 in
        */*) from=${0%/*} ;;
        *) fail "say where the files are with --from URL or --from DIR" ;;
    esac
fi

mkdir -p "$to" || fail "cannot make $to; --to DIR names another directory"
[ ! -d "$to/exec-server" ] || fail "$to/exec-server is a directory"
[ -d "$to" ] && [ -w "$to" ] || fail "cannot write in $to; --to DIR names another directory"
# Beside its place, so that the last step is one rename, and nobody sees half a file.
part=$to/.exec-server.$$.part
trap 'rm -f "$part"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

case $from in
    https://* | http://*)
        if has curl; then
            curl -fsSL --connect-timeout 15 --retry 2 -o "$part" "$from/$file" || fail "cannot fetch $from/$file"
        elif has wget; then
            wget -q -T 60 -O "$part" "$from/$file" || fail "cannot fetch $from/$file"
        else
            fail "neither curl nor wget is here; fetch $file by other means, and give its directory with --from DIR"
        fi
        ;;
    *) cp "$from/$file" "$part" || fail "cannot read $from/$file" ;;
esac

if has sha256sum; then
    found=$(sha256sum <"$part")
elif has openssl; then
    found=$(openssl dgst -sha256 -r <"$part")
else
    fail "neither sha256sum nor openssl is here to check the file with"
fi
found=${found%% *}
[ "$found" = "$digest" ] ||
    fail "$file has SHA-256 $found, and this script expects $digest: it is cut off or another; nothing was installed"

chmod 755 "$part"
"$part" --version >/dev/null || fail "the program does not run here; nothing was installed"
mv -f "$part" "$to/exec-server"
say "installed $("$to/exec-server" --version) as $to/exec-server"
case :${PATH:-}: in
    *:"$to":*) ;;
    *) say "$to is not in PATH: export PATH=\"$to:\$PATH\"" ;;
esac
