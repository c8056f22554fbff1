#!/bin/sh
# Makes a release twice, with other directories for source, target, HOME and crates, and compares the bytes; then installs
# from it as a newcomer does. It takes as long as two builds, so it is not part of `make test`.
# usage: tools/release-test.sh [TARGET...]
set -eu

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- "$(uname -m)-unknown-linux-musl"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "release-test: FAILED: $*" >&2
    exit 1
}

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct HEAD)
RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
export SOURCE_DATE_EPOCH RUSTUP_HOME
here=${CARGO_HOME:-$HOME/.cargo}
other=$work/a/rather/long/directory/elsewhere
mkdir -p "$other/source" "$other/home" "$other/crates/registry" "$work/one" "$work/two"
# What was downloaded is shared, and unpacked anew.
for part in cache index; do
    [ ! -d "$here/registry/$part" ] || ln -s "$here/registry/$part" "$other/crates/registry/$part"
done
# The sources as they are here, so that a change that is not committed is tested, too.
git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$other/source"
mkdir -p "$other/source/vendor/bubblewrap/source"
cp vendor/bubblewrap/source/*.xz "$other/source/vendor/bubblewrap/source/"
git rev-parse --short=12 HEAD >"$other/source/COMMIT"

OUT=$work/one tools/release.sh "$@" || fail "the first release"
(
    umask 077
    unset BUBBLEWRAP_SOURCE
    cd "$other/source"
    env HOME="$other/home" CARGO_HOME="$other/crates" CARGO_TARGET_DIR="$other/built" OUT="$work/two" \
        PATH="$here/bin:$PATH" TZ=Asia/Tokyo tools/release.sh "$@"
) || fail "the second release"
diff -r "$work/one" "$work/two" || fail "two releases of the same commit differ"
for target; do
    program=$(echo "$work/one/exec-server-"*"-$target")
    for directory in "$HOME" "$PWD" "$other" "$here"; do
        ! grep -aqF "$directory/" "$program" || fail "$program names $directory"
    done
done
echo "release-test: two releases have the same bytes, and no directory of this machine in them"

# As a newcomer: an empty home, nothing but the files, and the first remote command within a minute.
mkdir "$work/newcomer"
cd "$work/newcomer"
begun=$(date +%s)
env -i HOME="$work/newcomer" PATH=/usr/bin:/bin sh -c '
    set -eu
    sh "$1/install.sh"
    export PATH="$HOME/.local/bin:$PATH"
    exec-server --listen "unix://$HOME/socket" >address &
    trap "kill $!" EXIT
    until [ -S "$HOME/socket" ]; do kill -0 $! && sleep 0.05; done
    test "$(exec-server run -e "unix://$HOME/socket" echo hello)" = hello' sh "$work/one" || fail "the newcomer"
took=$(($(date +%s) - begun))
[ "$took" -lt 60 ] || fail "the newcomer waited $took s"
echo "release-test: from an empty directory to the first remote command in $took s"
