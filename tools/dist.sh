#!/bin/sh
# Makes dist/exec-server-VERSION.tar.gz from the commit at HEAD: the source, every crate and bubblewrap's source, so that it
# builds with no network. The same commit gives the same bytes.
set -eu

cd "$(dirname "$0")/.."
if ! git rev-parse --git-dir >/dev/null 2>&1 || [ ! -e .git ]; then
    echo "make dist works in a git clone only: the archive is made from a commit" >&2
    exit 1
fi
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "note: the archive holds HEAD, without your uncommitted changes" >&2
fi

version=$(git show HEAD:Cargo.toml | sed -n 's/^version = "\(.*\)"$/\1/p' | head -n 1)
name=exec-server-$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/$name

git archive --prefix="$name/" HEAD | tar -xf - -C "$work"
git rev-parse --short=12 HEAD >"$tree/COMMIT"

# The archive's own pin decides, so its own script fetches: from the clone's copy if that is the one.
file=$(. "$tree/vendor/bubblewrap/pin" && printf '%s' "$file")
if [ -f "vendor/bubblewrap/source/$file" ]; then
    BUBBLEWRAP_SOURCE=$PWD/vendor/bubblewrap/source/$file
    export BUBBLEWRAP_SOURCE
fi
"$tree/vendor/bubblewrap/fetch.sh"

(cd "$tree" && cargo vendor --locked --quiet --versioned-dirs vendor/crates >/dev/null)
cat >>"$tree/.cargo/config.toml" <<'END'

[source.crates-io]
replace-with = "vendor"

[source.vendor]
directory = "vendor/crates"
END

mkdir -p dist
tar --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --mtime="@$(git log -1 --format=%ct HEAD)" -C "$work" -cf - "$name" | gzip -9n >"$work/archive"
mv "$work/archive" "dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz")
