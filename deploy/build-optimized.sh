#!/usr/bin/env bash
# Builds edge and backend optimized by a profile of themselves under load, as the images have them:
#   deploy/build-optimized.sh              the binaries are then in target/optimized
#
# The compiler is told which branches are taken and what is called how often: what that saves is in
# docs/decisions/compiler-settings.md. It takes three builds with load on the second, some 25 minutes
# on two cores. Needs Linux, rustup, 4 GB of memory and two cores, of which core 0 must be one.
# Compiler flags of your own (RUSTFLAGS) are not used.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}
profile=$PWD/$target/profile
[[ $target = /* ]] && profile=$target/profile
llvm_profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
unset CARGO_BUILD_TARGET

say() { printf '\n== %s\n' "$*" >&2; }

# Builds with one flag for the compiler, which may have spaces in it. With a target named, build
# scripts and procedural macros stay as they are.
build() {
    CARGO_ENCODED_RUSTFLAGS=$1 cargo build --release --locked -p edge -p backend \
        --target "$host" --target-dir "$target/$2"
}

if [[ ! -x $llvm_profdata ]]; then
    say "the tool that merges profiles"
    rustup component add llvm-tools
fi

say "1 of 4: the load generator"
cargo build --release --locked -p loadtest --target-dir "$target"

say "2 of 4: binaries that write a profile"
rm -rf "$profile"
build "-Cprofile-generate=$profile" generate

say "3 of 4: load"
measure() {
    "$target/release/loadtest" measure "$@" \
        --edge-bin "$target/generate/$host/release/edge" \
        --backend-bin "$target/generate/$host/release/backend"
}
measure edge --rounds 1
measure edge --rounds 1 --spans-per-request 100 --clients 8 --concurrency 32
measure edge --rounds 1 --field-order collector
measure backend --rounds 2 --spans 600000 --policies ten --steady
measure backend --rounds 1
measure span-metrics --rounds 2
"$llvm_profdata" merge -o "$profile/merged.profdata" "$profile"/*.profraw
rm "$profile"/*.profraw

say "4 of 4: the binaries"
# Cargo does not look whether the profile is another one than that of the last time.
rm -rf "$target/use"
build "-Cprofile-use=$profile/merged.profdata" use
mkdir -p "$target/optimized"
cp "$target/use/$host/release/edge" "$target/use/$host/release/backend" "$target/optimized/"
say "done: $target/optimized/edge, $target/optimized/backend"
