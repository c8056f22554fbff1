#!/bin/sh
# Makes a C compiler for aarch64 with musl on a Debian machine of another kind, in DIR: cc, and musl below it. Debian has the
# compiler (gcc-aarch64-linux-gnu) and, for arm64 machines, musl's headers and library (musl-dev), which are unpacked, not
# installed: through a private apt state, so nothing of the machine's configuration changes.
# usage: tools/musl-aarch64.sh DIR
set -eu

mkdir -p "$1"
place=$(cd "$1" && pwd)
[ ! -x "$place/cc" ] || exit 0
command -v aarch64-linux-gnu-gcc >/dev/null || {
    echo "set-up: no C compiler for aarch64; Debian's packages gcc-aarch64-linux-gnu and libc6-dev-arm64-cross have it" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/got"
set -- -qq -o APT::Sandbox::User= -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o Dir::State::status=/dev/null
apt-get "$@" update </dev/null >&2
(cd "$work/got" && apt-get "$@" download musl-dev </dev/null >&2)
dpkg-deb -x "$work/got"/musl-dev_*.deb "$place"
include=$place/usr/include/aarch64-linux-musl
library=$place/usr/lib/aarch64-linux-musl
# As Debian's musl-gcc has it, for this place.
cat >"$place/specs" <<END
%rename cpp_options old_cpp_options
*cpp_options:
-nostdinc -isystem $include -isystem include%s %(old_cpp_options)

*cc1:
%(cc1_cpu) -nostdinc -isystem $include -isystem include%s

*link_libgcc:
-L$library -L .%s

*libgcc:
libgcc.a%s %:if-exists(libgcc_eh.a%s)

*startfile:
$library/crt1.o $library/crti.o crtbeginT.o%s

*endfile:
crtend.o%s $library/crtn.o

*link:
-nostdlib %{static:-static} %{rdynamic:-export-dynamic}

*esp_link:


*esp_options:


*esp_cpp_options:


END
cat >"$place/cc.part" <<END
#!/bin/sh
exec aarch64-linux-gnu-gcc "\$@" -specs "$place/specs"
END
chmod 755 "$place/cc.part"
mv "$place/cc.part" "$place/cc"
