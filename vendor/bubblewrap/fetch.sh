#!/bin/sh
# Puts bubblewrap's pinned source archive into vendor/bubblewrap/source/, from the first place whose SHA-256 is the pin's.
# Places in order: already there, $BUBBLEWRAP_SOURCE (a file), the cache outside the clone, an apt source, upstream.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/pin"

destination=$here/source/$file
cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/exec-server
work=
trap 'if [ -n "$work" ]; then rm -rf "$work"; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() {
    printf 'bubblewrap %s: %s\n' "$version" "$*" >&2
}

# matches FILE PLACE: whether FILE is the pinned archive; says why not, naming the PLACE.
matches() {
    found=$(sha256sum <"$1" | cut -d ' ' -f 1)
    [ "$found" = "$sha256" ] && return 0
    say "rejected $2: its SHA-256 is $found, the pin says $sha256"
    return 1
}

# place FILE AT: copies so that AT is never seen half written, also when two fetches run at once.
place() {
    mkdir -p "$(dirname "$2")" || return 1
    partial=$(mktemp "$2.XXXXXX") || return 1
    if cp "$1" "$partial" && chmod 644 "$partial" && mv -f "$partial" "$2"; then
        return 0
    fi
    rm -f "$partial"
    return 1
}

# accept FILE PLACE: takes FILE if it is the pinned archive, remembers it in the cache, and ends the search.
accept() {
    matches "$1" "$2" || return 0
    place "$1" "$destination"
    if [ "$1" != "$cache/$file" ]; then
        place "$1" "$cache/$file" 2>/dev/null || say "note: $cache cannot be written, so the next clone has to fetch again"
    fi
    say "taken from $2"
    exit 0
}

# excuse LOG: the first reasons inside a log, in brackets on one line, or nothing.
excuse() {
    sed -n -e 's/^[EW]: //p' -e 's/^curl: //p' -e 's/^wget: //p' "$1" | head -n 2 | sed -e 's/^ */ (/' -e 's/ *$/)/' | tr -d '\n'
}

from_user() {
    if [ -z "${BUBBLEWRAP_SOURCE:-}" ]; then
        return 0
    fi
    if [ ! -f "$BUBBLEWRAP_SOURCE" ] || [ ! -r "$BUBBLEWRAP_SOURCE" ]; then
        say "rejected BUBBLEWRAP_SOURCE=$BUBBLEWRAP_SOURCE: not a readable file"
    else
        accept "$BUBBLEWRAP_SOURCE" "$BUBBLEWRAP_SOURCE"
    fi
}

from_cache() {
    if [ -r "$cache/$file" ]; then
        accept "$cache/$file" "the cache $cache"
    else
        say "not in the cache $cache"
    fi
}

# Asks the machine's own package mirrors for Debian's copy, through a private apt state: no root, and nothing of the
# machine's apt configuration changes. The release comes from the pin, since the machine's may be older.
from_apt() {
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    if ! command -v apt-get >/dev/null; then
        say "no apt source: this machine has no apt-get"
        return 0
    fi
    if [ ! -r "$keyring" ]; then
        say "no apt source: $keyring is missing"
        return 0
    fi
    apt=$work/apt
    mkdir -p "$apt/sources" "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/got"
    apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | sort -u |
        while read -r site suite; do
            case $suite in
                *-security) suite=$debian_release-security ;;
                *-*) continue ;;
                *) suite=$debian_release ;;
            esac
            printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' "$site" "$suite" "$keyring"
        done >"$apt/sources/pinned.sources"
    if [ ! -s "$apt/sources/pinned.sources" ]; then
        say "no apt source: this machine's apt knows no archive"
        return 0
    fi
    # No sandbox user: it could not write into our directory, and apt would only warn and go on as we are.
    set -- -q -o APT::Sandbox::User= -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$apt/sources" \
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Acquire::Retries=1 \
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20
    # An archive that is not Debian's has no such release; the others still count, so this status decides nothing.
    apt-get "$@" update >"$apt/log" 2>&1 </dev/null || :
    packaged=$(apt-cache "$@" showsrc bubblewrap 2>>"$apt/log" | sed -n 's/^Version: //p' | sort -u | paste -sd ' ')
    # shellcheck disable=SC2086 # a list of versions, which hold no blanks
    chosen=$(printf '%s\n' $packaged | grep -F -- "$version-" | head -n 1) || :
    if [ -z "$chosen" ]; then
        say "no apt source: $debian_release has ${packaged:-no bubblewrap}$(excuse "$apt/log")"
        return 0
    fi
    (cd "$apt/got" && apt-get "$@" source --download-only --tar-only "bubblewrap=$chosen") >>"$apt/log" 2>&1 </dev/null || :
    for archive in "$apt/got"/*.orig.tar.*; do
        if [ -f "$archive" ]; then
            accept "$archive" "the apt source of $debian_release ($chosen)"
            return 0
        fi
    done
    say "no apt source: the download failed$(excuse "$apt/log")"
}

from_upstream() {
    if command -v curl >/dev/null; then
        set -- curl -fsSL --connect-timeout 10 --max-time 120 -o "$work/upstream" "$upstream"
    elif command -v wget >/dev/null; then
        set -- wget -nv --tries=1 --timeout=20 -O "$work/upstream" "$upstream"
    else
        say "not from upstream: neither curl nor wget is here"
        return 0
    fi
    if "$@" >"$work/log" 2>&1 </dev/null; then
        accept "$work/upstream" "$upstream"
    else
        say "not from upstream: $upstream cannot be fetched$(excuse "$work/log")"
    fi
}

if [ -f "$destination" ] && matches "$destination" "$destination"; then
    exit 0
fi
work=$(mktemp -d)
from_user
from_cache
from_apt
from_upstream
say "no source found. Get $file elsewhere and run: make BUBBLEWRAP_SOURCE=/path/to/$file"
exit 1
