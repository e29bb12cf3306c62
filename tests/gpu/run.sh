#!/usr/bin/env bash
# Run the CuPy backend's tests on a machine with a GPU, and leave one report. Needs no network.
#
#     tests/gpu/run.sh [REPORT]            PYTHON=.venv/bin/python tests/gpu/run.sh
#
# $PYTHON (default python3) has what the extras `test` and `cuda12` or `cuda13` install; the project itself
# need not be installed. PyTorch, compute-sanitizer and tests/bench/gpu.py are used when they are there.
# Exit status: 0 if all that ran passed, 1 if anything failed, 2 if there is no usable GPU.
set -uo pipefail

python=${PYTHON:-python3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
report=$(realpath -m "${1:-$root/tests/gpu/report.txt}")
cd "$root"
export PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! "$python" -c 'import importlib.metadata as m; m.version("tinygrad_rnn")' 2> /dev/null; then
    # Not installed, and there may be no setuptools here: declare the checkout as a distribution.
    "$python" - "$work" << 'PYTHON'
import pathlib, sys, tomllib
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
info = pathlib.Path(sys.argv[1], f"tinygrad_rnn-{project['version']}.dist-info")
info.mkdir()
(info / "METADATA").write_text(
    f"Metadata-Version: 2.4\nName: tinygrad_rnn\nVersion: {project['version']}\n")
points = project["entry-points"]["tinygrad_rnn.backends"].items()
(info / "entry_points.txt").write_text(
    "\n".join(["[tinygrad_rnn.backends]", *(f"{name} = {value}" for name, value in points)]))
PYTHON
fi
export PYTHONPATH="$root:$root/backends:$work${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$(dirname "$report")"
: > "$report"
failures=0

say() { printf '%s\n' "$@" | tee -a "$report"; }

section() { # section TITLE COMMAND...: run it, keep its last lines and its exit status
    local title=$1 log status
    shift
    log=$work/section.log
    say "" "== $title" "+ $*"
    SECONDS=0
    "$@" > "$log" 2>&1
    status=$?
    tail -n "${LINES_KEPT:-60}" "$log" >> "$report"
    say "-- $title: exit status $status after $SECONDS s"
    [ $status -eq 0 ] || failures=$((failures + 1))
    return $status
}

say "tinygrad_rnn on a GPU, $(date -u +%Y-%m-%dT%H:%M:%SZ), commit $(git rev-parse --short HEAD 2> /dev/null || echo unknown)"
section "versions" "$python" -c '
import importlib.metadata as m, platform
print("python", platform.python_version())
for d in sorted(m.distributions(), key=lambda d: d.name.lower()):
    if d.name.lower().split("-")[0] in ("numpy", "numba", "torch", "cupy", "pytest", "tinygrad_rnn"):
        print(d.name, d.version)'
section "backends" "$python" -m tinygrad_rnn backends
section "device" nvidia-smi || true

if ! section "the backend says it can be used" "$python" -c '
import tinygrad_rnn as tg
with tg.use_backend("cupy"):
    x = tg.ones((3, 4))
    assert (x @ x.T).numpy().tolist() == [[4.0] * 3] * 3
    print(tg.get_backend())'; then
    say "" "RESULT: no usable GPU or no CuPy; nothing was confirmed"
    exit 2
fi

LINES_KEPT=200 section "the conformance suite" \
    "$python" -m tinygrad_rnn.testing backend cupy --json "${report%.txt}.conformance.json"
pytest=("$python" -m pytest -p no:cacheprovider -q)
section "the tests written for a GPU" "${pytest[@]}" tests/gpu
TINYGRAD_RNN_BACKEND=cupy section "every test, on this backend" "${pytest[@]}" tests
for cell in lstm gru LayerNormLSTMCell; do
    section "example: char_lm --cell $cell" \
        "$python" examples/char_lm.py --backend cupy --cell "$cell" --quick --out "$work/$cell"
done
TINYGRAD_RNN_BACKEND=cupy section "example: dinner" "$python" examples/dinner.py --quick

if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck; do
        section "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 9 \
            "${pytest[@]}" tests/gpu -k "not long"
    done
else
    say "" "compute-sanitizer is not installed: memcheck and racecheck did not run"
fi

if [ -f tests/bench/gpu.py ]; then
    LINES_KEPT=400 section "bench against PyTorch" "$python" tests/bench/gpu.py
else
    say "" "tests/bench/gpu.py does not exist: no speed was measured"
fi

say "" "RESULT: $failures section(s) failed"
[ $failures -eq 0 ]
