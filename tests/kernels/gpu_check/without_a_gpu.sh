#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A folder as scripts/gpu_check makes it, where there is no GPU: every part says that it was never run, and the status is 77.
# Usage: without_a_gpu.sh GPU_CHECK
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
ln -s "$1" "$folder/bin/gpu_check"
cp "${0%/*}/digests.txt" "${0%/*}/run" "$folder"
echo "a test" >"$folder/commit"
status=0
"$folder/run" "$folder/results" >/dev/null || status=$?
[ $status = 77 ] && [ "$(grep -c "never run on a device" "$folder/results")" = 7 ] || { cat "$folder/results"; echo "status $status"; exit 1; }
