#!/usr/bin/env bash
# Run the CuPy backend's tests on a machine with a GPU, and leave one report. Needs no network.
#
#     tests/gpu/run.sh [REPORT [SECTION...]]           PYTHON=.venv/bin/python tests/gpu/run.sh
#
# Sections: gpu training conformance parity examples sanitizer bench suite (all of them, in this order, unless
# some are named; a report that exists is then continued, so that several short runs give one report). A
# section that fails does not stop the others; the last line of the report names those that failed.
# $PYTHON (default python3) has what the extras `test` and `cuda12` or `cuda13` install; the project itself
# need not be installed. PyTorch and compute-sanitizer are used when they are there. LIMIT (default 1200) is
# the most seconds for one command, MINUTES (default 8) how long the bench measures.
#
# REHEARSE=1 goes through all of it where there is no GPU: on the backend `numpy`, as little as possible. It
# confirms nothing of the GPU, only that the script and what it calls are in order.
#
# Exit status: 0 if all that ran passed, 1 if anything failed, 2 if there is no usable GPU.
set -uo pipefail

python=${PYTHON:-python3}
rehearse=${REHEARSE:-}
backend=cupy
[ -z "$rehearse" ] || backend=numpy
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
report=$(realpath -m "${1:-$root/tests/gpu/report.txt}")
shift $(($# > 0))
wanted=" ${*:-gpu training conformance parity examples sanitizer bench suite} "
continued=$#
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
[ "$continued" -gt 0 ] && [ -f "$report" ] || : > "$report"
failed=()

say() { printf '%s\n' "$@" | tee -a "$report"; }

wants() { [[ $wanted == *" $1 "* ]]; }

section() { # section TITLE COMMAND...: run it, keep its last lines and its exit status
    local title=$1 log status
    shift
    log=$work/section.log
    say "" "== $title" "+ $*"
    SECONDS=0
    timeout --kill-after=20 "${LIMIT:-1200}" "$@" > "$log" 2>&1
    status=$?
    tail -n "${LINES_KEPT:-60}" "$log" >> "$report"
    [ $status -ne 124 ] || say "-- stopped: it takes longer than ${LIMIT:-1200} s"
    say "-- $title: exit status $status after $SECONDS s"
    [ $status -eq 0 ] || failed+=("$title ($status)")
    return $status
}

say "" "tinygrad_rnn on a GPU, $(date -u +%Y-%m-%dT%H:%M:%SZ), commit $(git rev-parse --short HEAD 2> /dev/null || echo unknown)"
[ -z "$rehearse" ] || say "A REHEARSAL without a GPU, on the backend $backend: it confirms nothing of the GPU."
section "versions" "$python" -c '
import importlib.metadata as m, platform
print("python", platform.python_version())
for d in sorted(m.distributions(), key=lambda d: d.name.lower()):
    if d.name.lower().split("-")[0] in ("numpy", "numba", "nvidia", "torch", "cupy", "pytest", "tinygrad_rnn", "ml_dtypes"):
        print(d.name, d.version)'
section "backends" "$python" -m tinygrad_rnn backends
if [ -z "$rehearse" ]; then
    section "CuPy, driver and device" "$python" -c 'import cupy; cupy.show_config()'
    if command -v nvidia-smi > /dev/null; then section "nvidia-smi" nvidia-smi; fi
fi

if ! section "the backend says it can be used" "$python" -c "
import tinygrad_rnn as tg
with tg.use_backend('$backend') as backend:
    x = tg.ones((3, 4))
    assert (x @ x.T).numpy().tolist() == [[4.0] * 3] * 3
    print(backend, getattr(backend, 'memory', lambda: '')())"; then
    say "" "RESULT: no usable GPU or no CuPy; nothing was confirmed"
    exit 2
fi

pytest=("$python" -m pytest -p no:cacheprovider -q)
few=()
[ -z "$rehearse" ] || few=(--collect-only)

if wants gpu; then
    section "the tests written for a GPU" "${pytest[@]}" "${few[@]}" tests/gpu -k "not long_training"
fi
if wants training; then
    section "10,000 training steps in flat memory" "${pytest[@]}" "${few[@]}" tests/gpu -k long_training
fi
if wants conformance; then
    level=()
    [ -z "$rehearse" ] || level=(--level 0)
    LINES_KEPT=200 section "the conformance suite" \
        "$python" -m tinygrad_rnn.testing backend $backend "${level[@]}"
fi
if wants parity; then
    TINYGRAD_RNN_BACKEND=$backend section "parity with PyTorch" \
        "${pytest[@]}" "${few[@]}" tests/nn/test_torch_parity.py tests/optim/test_against_torch.py
fi
if wants examples; then
    for cell in lstm gru LayerNormLSTMCell; do
        section "example: char_lm --cell $cell" "$python" examples/char_lm.py \
            --backend $backend --cell "$cell" --quick --out "$work/$cell"
    done
    for name in dinner own_cell long_memory time_series; do
        section "example: $name" "$python" "examples/$name.py" \
            --backend $backend --quick --out "$work/$name"
    done
fi
if wants sanitizer; then
    sanitizer=$(command -v compute-sanitizer || ls -d /usr/local/cuda*/bin/compute-sanitizer \
        "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"/nvidia/*/bin/compute-sanitizer \
        2> /dev/null | tail -n 1)
    if [ -n "$sanitizer" ] && [ -z "$rehearse" ]; then
        for tool in memcheck racecheck; do # without CuPy's pool, so that every array has bounds of its own
            TINYGRAD_RNN_TEST_POOL=off section "compute-sanitizer $tool" \
                "$sanitizer" --tool "$tool" --error-exitcode 9 \
                "${pytest[@]}" tests/gpu -k "sanitizer or (agree and launches and full)"
        done
    else
        say "" "== compute-sanitizer" "-- it is not installed, or this is a rehearsal: it did not run"
    fi
fi
if wants bench; then
    if "$python" -c 'import torch' 2> /dev/null; then
        how=(--minutes "${MINUTES:-8}" --roads --json "$work/bench.json")
        [ -z "$rehearse" ] || how=(--rehearse --json "$work/bench.json")
        LINES_KEPT=400 section "bench against PyTorch" "$python" tests/bench/gpu.py "${how[@]}"
        [ ! -f "$work/bench.json" ] || { say "" "== the bench's figures, as JSON" && cat "$work/bench.json" >> "$report"; }
    else
        say "" "== bench against PyTorch" "-- PyTorch is not installed: no speed was compared"
    fi
fi
if wants suite; then
    TINYGRAD_RNN_BACKEND=$backend section "every test, on this backend" \
        "${pytest[@]}" "${few[@]}" tests --ignore=tests/gpu --ignore=tests/gpu_source --ignore=tests/numba
fi

say "" "RESULT: ${#failed[@]} section(s) failed"
for title in "${failed[@]}"; do say "  $title"; done
[ ${#failed[@]} -eq 0 ]
