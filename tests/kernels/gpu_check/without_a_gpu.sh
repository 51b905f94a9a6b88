#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A folder as scripts/gpu_check makes it, where there is no GPU: every part says that it was never run, the last line that nothing was, and the status is 77. With made-up
# programs in it, whose parts are all right: so is the recipe with one digest twice, and with an error twice, another digest or none it is wrong. Without LibTorch, which is
# found in three places, or with a sanitizer that does not end in time, the status is 78 and the last line says what was not done.
# Usage: without_a_gpu.sh GPU_CHECK
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/tools"
pack() { tar -czf "$folder/programs.tar.gz" -C "$folder" bin; }
ln -s "$1" "$folder/bin/gpu_check"
pack
cp "${0%/*}/digests.txt" "${0%/*}/run" "$folder"
echo "a test" >"$folder/commit"
status=0
"$folder/run" "$folder/results" >/dev/null || status=$?
[ $status = 77 ] && [ "$(grep -c "never run on a device" "$folder/results")" = 7 ] && tail -n 1 "$folder/results" | grep -q "^run: nothing was checked: " ||
  { cat "$folder/results"; echo "status $status"; exit 1; }

# tool NAME COMMANDS: what the run finds under this name.
tool() {
  printf '#!/bin/sh\n%s\n' "$2" >"$folder/tools/$1"
  chmod +x "$folder/tools/$1"
}
tool compute-sanitizer 'exit 0'
tool nvidia-smi 'echo "$@"'
tool python3 'exit 1'
PATH=$folder/tools:$PATH
# with_programs STATUS LINE COMMANDS: `temper inspect` does COMMANDS, the run ends with STATUS and says LINE.
with_programs() {
  rm -f "$folder/bin/"*
  printf '#!/bin/sh\nexit 0\n' >"$folder/bin/gpu_check"
  printf '#!/bin/sh\n[ "$1" = run ] && exit 0\n%s\n' "$3" >"$folder/bin/temper"
  chmod +x "$folder/bin/"*
  pack
  status=0
  "$folder/run" "$folder/results" >/dev/null || status=$?
  [ $status = "$1" ] && grep -q "$2" "$folder/results" || { cat "$folder/results"; echo "status $status, not $1 and: $2"; exit 1; }
}
says() { grep -q "$1" "$folder/results" || { cat "$folder/results"; echo "no line: $1"; exit 1; }; }

# LibTorch where given: it, or the folder that holds it; else where scripts/install puts it.
torch=libtorch-2.11.0/torch
mkdir -p "$folder/$torch/lib"
: >"$folder/$torch/lib/libtorch_cuda.so"
digest=$(printf '%064d' 7)
export TEMPER_CACHE="$folder/none" TEMPER_LIBTORCH= CUDA_VISIBLE_DEVICES=2,1
with_programs 78 "^run: right, but for what was not done: recipe$" "echo $digest"
says "^part recipe: never run on a device: no LibTorch"
TEMPER_CACHE=$folder
with_programs 0 "^run: all is right" "echo $digest"
TEMPER_CACHE=$folder/none TEMPER_LIBTORCH=$folder/$torch
with_programs 0 "^run: all is right" "echo $digest"
TEMPER_LIBTORCH=$folder/libtorch-2.11.0
with_programs 0 "^part recipe: right" "echo $digest"
with_programs 1 "^wrong: part recipe: the digest" 'case $2 in *cuda) echo '"$digest"';; *) printf "%064d\n" 8;; esac'
with_programs 1 "^wrong: part recipe: device cuda: no digest: error" 'echo error >&2; exit 1'
with_programs 1 "^wrong: part recipe: device cuda: no digest: error" 'echo error'
with_programs 1 "^wrong: part recipe: device cuda: no digest: $digest" "echo $digest; exit 1"

# The sanitizer: not done; not done, and an error; an error. `timeout` says 124 of what it ends.
tool compute-sanitizer 'echo "========= COMPUTE-SANITIZER"; exit 124'
with_programs 78 "^run: right, but for what was not done: sanitizer$" "echo $digest"
says "^part sanitizer: memcheck not done in 50 s"
says "^card: -i 2 --query"
for ends in 124 9; do
  tool compute-sanitizer 'echo "========= COMPUTE-SANITIZER"; echo "========= Invalid read"; exit '$ends
  with_programs 1 "^wrong: part sanitizer: memcheck ended with $ends: ========= Invalid read" "echo $digest"
done
