#!/bin/sh
# Brings what a build for TARGET needs and this machine lacks: Rust's target, a musl C compiler, xz, the crates.
# Usage: tools/setup.sh TARGET. Where all is there it only looks, without the network.
set -eu

target=$1

say() {
    printf 'set-up: %s\n' "$*" >&2
}

has() {
    command -v "$1" >/dev/null 2>&1
}

rust_target() {
    if ! has cargo || ! has rustc; then
        say "cargo and rustc are not in PATH. Install Rust with rustup (https://rustup.rs), then run make again"
        return 1
    fi
    libraries=$(rustc --print target-libdir --target "$target") || return 1
    [ -d "$libraries" ] && return 0
    if ! has rustup; then
        say "$(rustc --version) has no target $target, and rustup is not here to add it."
        say "Install your distribution's package for it, or Rust with rustup (https://rustup.rs)"
        return 1
    fi
    say "adding Rust's target $target"
    if ! rustup target add "$target" </dev/null; then
        say "that failed. With the network up, type: rustup target add $target"
        return 1
    fi
}

# The compiler that the cc crate will call: the environment wins over .cargo/config.toml, which says musl-gcc.
c_compiler() {
    variable=CC_$(printf '%s' "$target" | tr - _)
    eval "printf '%s' \"\${$variable:-musl-gcc}\""
}

packages() {
    compiler=$(c_compiler)
    if [ "$compiler" = musl-gcc ] && [ "${target%%-*}" != "$(uname -m)" ]; then
        name=$(printf '%s' "$target" | tr - _)
        say "musl-gcc compiles for $(uname -m) only. For $target set CC_$name to a C compiler and"
        say "CARGO_TARGET_$(printf '%s' "$name" | tr '[:lower:]' '[:upper:]')_LINKER to a linker"
        return 1
    fi
    missing=
    if ! has "$compiler"; then
        if [ "$compiler" != musl-gcc ]; then
            say "the C compiler $compiler for $target is not in PATH"
            return 1
        fi
        missing="$missing musl-tools"
    fi
    has cc || missing="$missing gcc libc6-dev"
    has xz || missing="$missing xz-utils"
    [ -e /usr/include/linux/capability.h ] || missing="$missing linux-libc-dev"
    missing=${missing# }
    [ -n "$missing" ] || return 0

    if ! has apt-get; then
        say "this machine lacks what Debian calls: $missing. Install it with its own package program, then run make again"
        return 1
    fi
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif has sudo && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        say "needs root for packages. Type this, then run make again:"
        say "  sudo apt-get update && sudo apt-get install -y $missing"
        return 1
    fi
    say "installing $missing"
    # shellcheck disable=SC2086 # both are lists of words
    install() {
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
            install -y --no-install-recommends $missing </dev/null >&2
    }
    # A fresh machine has no package lists, an old one stale lists; one with good ones needs no update.
    if ! install; then
        say "not with the package lists as they are: updating them"
        $as_root apt-get -qq update </dev/null >&2 || :
        install || {
            say "that failed. Type: sudo apt-get update && sudo apt-get install -y $missing"
            return 1
        }
    fi
}

# for_tests PACKAGE PROGRAM WHAT: for tests that go without it where it is missing, and say so. Only in a container:
# elsewhere a package may start a server, and what is installed is somebody's choice.
for_tests() {
    [ ! -x "$2" ] && [ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] && has apt-get || return 0
    say "installing $1 for the tests"
    fetch() {
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
            install -y --no-install-recommends "$1" </dev/null >&2
    }
    fetch "$1" || { apt-get -qq update </dev/null >&2 && fetch "$1"; } || say "that failed; $3"
}

crates() {
    cargo fetch --locked --quiet --target "$target" || {
        say "the crates cannot be fetched; the archive that 'make dist' makes holds them"
        return 1
    }
}

rust_target
packages
for_tests openssh-server /usr/sbin/sshd "the tests over ssh will say that they are skipped"
if [ "$(uname -m)" = x86_64 ]; then
    for_tests user-mode-linux /usr/bin/linux.uml "the tests in a virtual machine will fail"
fi
for_tests busybox-static /bin/busybox "tests of install.sh will say that they are skipped"
for_tests curl /usr/bin/curl "tests of install.sh will say that they are skipped"
for_tests wget /usr/bin/wget "tests of install.sh will say that they are skipped"
for_tests man-db /usr/bin/man "tests of manual pages will say that they are skipped"
for_tests podman /usr/bin/podman "the tests with podman will say that they are skipped"
for_tests runc /usr/sbin/runc "the tests with podman will say that they are skipped"
for_tests zsh /usr/bin/zsh "its completions will say that they are skipped"
for_tests fish /usr/bin/fish "its completions will say that they are skipped"
for_tests strace /usr/bin/strace "the tests that interrupt system calls will say that they are skipped"
for_tests bubblewrap /usr/bin/bwrap "the tests of the machine's own bwrap will fail or say that they are skipped"
crates
