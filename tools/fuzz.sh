#!/bin/bash
# make fuzz T=60: searches each target of src/fuzz.rs for T seconds, or those that TARGETS names, from the corpora in
# fuzz/corpus. An input that breaks one is kept in target/fuzz/failures, and the script fails. KEEP=1 adds inputs that
# reach new code to the corpora, as few as do.
#
# A stable compiler does: the passes that note which code is reached are the compiler's own, and stable flags name them.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=${T:-60} out=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$out/failures"
command -v c++ >/dev/null || { echo "make fuzz needs a C++ compiler, such as Debian's g++" >&2; exit 1; }

flags=(--cfg fuzzing -Cpasses=sancov-module)
for pass in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$pass")
done
RUSTFLAGS="${flags[*]}" cargo build --release --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$out"
fuzz=$out/$host/release/fuzz

# A program in Rust ignores it from its start; the fuzzer's begins in C++.
trap '' PIPE
failed=()
for target in ${TARGETS:-$(ls fuzz/corpus)}; do
    export FUZZ_TARGET=$target
    found=$out/corpus/$target
    mkdir -p "$found"
    log=$out/$target.log
    if "$fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$out/failures/$target-" -dict=fuzz/words "$found" "fuzz/corpus/$target" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        reached=$(grep -o ' cov: [0-9]*' "$log" | tail -1)
        echo "$target: ${runs:-0} inputs in $seconds s, ${reached# cov: } places reached"
    else
        failed+=("$target")
        echo "$target: FAILED; $log says more:" >&2
        grep -aE "panicked|SUMMARY|Test unit written" -A2 "$log" | head -12 >&2 || tail -3 "$log" >&2
    fi
    if [ "${KEEP:-}" ]; then
        "$fuzz" -merge=1 "fuzz/corpus/$target" "$found" >>"$log" 2>&1
    fi
done
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
