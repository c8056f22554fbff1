#!/bin/sh
# Tells which tests were skipped, and for want of what: usage: tools/skipped.sh FILE, as the tests have written it.
set -eu

if [ ! -s "$1" ]; then
    echo 'skipped: no test'
    exit 0
fi
sort -o "$1" "$1"
echo "skipped: $(wc -l <"$1") tests, listed in $1, for want of:"
sed 's/^skipped: [^ ]*: needs //' "$1" | sort | uniq -c
