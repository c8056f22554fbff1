#!/bin/sh
# Makes what a release publishes, in OUT (dist unless given), for each TARGET that is named: the bare binary, an archive
# with documents, manual pages and completions, and for all of them SHA256SUMS, the list of what is inside, and install.sh.
# usage: [OUT=DIR] [BASE_URL=URL] tools/release.sh TARGET...
#
# The same commit and toolchain give the same bytes, wherever source, HOME and CARGO_HOME are. BASE_URL is where
# install.sh looks for the files if nobody tells it another place; without it somebody has to.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
out=${OUT:-dist}
build=${CARGO_TARGET_DIR:-target}
mkdir -p "$build"
build=$(cd "$build" && pwd)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The time of everything inside: that of the commit, of a source archive, or what the caller says.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(if [ -e .git ]; then git log -1 --format=%ct HEAD; else stat -c %Y Cargo.lock; fi)
fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022
mkdir -p "$out"
out=$(cd "$out" && pwd)

# crates: the directory that holds the crates' directories, to be named the same everywhere.
crates() {
    cargo metadata --locked --offline --format-version 1 --filter-platform "$1" |
        sed 's/"manifest_path":"/\n&/g' | sed -n 's/^"manifest_path":"\(.*\)\/libc-[^/]*\/Cargo\.toml.*/\1/p' | head -n 1
}

# remapped TARGET: the same names for directories in the program as everywhere else.
remapped() {
    sysroot=$(rustc --print sysroot)
    revision=$(rustc -vV | sed -n 's/^commit-hash: //p')
    for pair in "$root=source" "$build=target" "$(crates "$1")=crates" "$sysroot/lib/rustlib/src/rust=/rustc/$revision"; do
        printf '"--remap-path-prefix=%s",' "$pair"
    done
}

# compile TARGET: the binary, at $build/TARGET/release.
compile() {
    tools/setup.sh "$1" || return 1
    name=$(printf '%s' "$1" | tr - _)
    # C code names its files in messages, too.
    flags=$(eval "printf '%s' \"\${CFLAGS_$name:-}\"")
    export "CFLAGS_$name=$flags -ffile-prefix-map=$(crates "$1")=crates -ffile-prefix-map=$root=source -ffile-prefix-map=$build=target"
    cargo build --release --locked --target "$1" --config "target.$1.rustflags=[$(remapped "$1")]"
}

# packed DIR: the archive of that directory of $work on standard output.
packed() {
    tar --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
        --mtime="@$SOURCE_DATE_EPOCH" -C "$work" -cf - "$1" | gzip -9n
}

# documents PROGRAM DIR: what is the same for all targets, as a program of this machine makes it.
documents() {
    mkdir -p "$2/man" "$2/completions"
    "$1" generate man >"$2/man/exec-server.1"
    "$1" help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\)  .*/\1/p' | while read -r command; do
        "$1" generate man "$command" >"$2/man/exec-server-$command.1"
    done
    python3 tools/man.py exec-server 7 "security model of exec-server" "$version" SECURITY.md >"$2/man/exec-server.7"
    python3 tools/man.py environments.toml 5 "environments of exec-server" "$version" docs/command-line.md Environments \
        >"$2/man/environments.toml.5"
    "$1" generate bash >"$2/completions/exec-server.bash"
    "$1" generate zsh >"$2/completions/_exec-server"
    "$1" generate fish >"$2/completions/exec-server.fish"
    cp README.md LICENSE CHANGELOG.md "$2/"
    "$1" licenses >"$work/licenses"
    cat vendor/bubblewrap/NOTICE "$work/licenses" >"$2/NOTICE"
}

for target; do
    compile "$target"
done
# Documents are made by a program that runs here.
own=$(uname -m)-unknown-linux-musl
[ -x "$build/$own/release/exec-server" ] || compile "$own"
documents "$build/$own/release/exec-server" "$work/documents"

files= programs=
for target; do
    name=exec-server-$version-$target
    cp -r "$work/documents" "$work/$name"
    cp "$build/$target/release/exec-server" "$work/$name/exec-server"
    packed "$name" >"$work/$name.tar.gz"
    cp "$work/$name/exec-server" "$work/bare"
    mv "$work/bare" "$out/$name"
    mv "$work/$name.tar.gz" "$out/$name.tar.gz"
    python3 tools/sbom.py "$target" "$out/$name" >"$work/sbom"
    mv "$work/sbom" "$out/$name.cdx.json"
    files="$files $name $name.cdx.json $name.tar.gz"
    case $target in
        x86_64-*) programs="$programs amd64=$out/$name" ;;
        aarch64-*) programs="$programs arm64=$out/$name" ;;
    esac
done
# shellcheck disable=SC2086 # a list of words without blanks
python3 tools/image.py "$out/exec-server-$version.oci.tar" "$version" $programs
files="$files exec-server-$version.oci.tar"
# shellcheck disable=SC2086 # a list of names without blanks
(cd "$out" && sha256sum $files) >"$work/sums"
# The digests, the version and the place stand in the script itself.
awk -v version="$version" -v base="${BASE_URL:-}" -v sums="$work/sums" '
    /^version=$/ { print "version=" version; next }
    /^base=$/ { print "base=\047" base "\047"; next }
    /^digests=$/ {
        printf "digests=\047"
        while ((getline line < sums) > 0) if (line !~ /\.json$|\.tar\.gz$|\.oci\.tar$/) print line
        print "\047"
        next
    }
    { print }' tools/install.sh >"$work/install.sh"
chmod 755 "$work/install.sh"
mv "$work/install.sh" "$out/install.sh"
(cd "$out" && sha256sum install.sh) >>"$work/sums"
cp "$work/sums" "$work/SHA256SUMS"
mv "$work/SHA256SUMS" "$out/SHA256SUMS"
cat "$out/SHA256SUMS"
