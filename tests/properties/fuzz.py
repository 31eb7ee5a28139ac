"""`make fuzz`: what strangers feed us, answers of the API and values of the database, fuzzed.

    python -m tests.properties.fuzz SECONDS

Each target has its time. The first violation ends it with a status other than 0; the input is
shown in the output.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.unit.test_answer_properties import LOCAL

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("answers", "documents")
#: The shapes of answers that have been seen in the field, to begin with.
SHAPES: tuple[object, ...] = (
    {"ma_hoa_don": "QG-1", "code": 200, "mess": "ok"},
    {"ma_hoa_don_quoc_gia": "QG-1", "code": "200", "message": "ok"},
    {"status": "success", "message": "ok", "ma_hoa_don": LOCAL},
    {"code": 200, "data": [{"ma_phieu": "QG-1"}]},
    {"code": 200, "message": "", "data": {"token": "abc", "token_type": "bearer"}},
    {"token": "abc", "expires_in": "3600"},
    {"code": 409, "mess": "đã tồn tại"},
    {"detail": [{"loc": ["body", 0], "msg": "field required"}]},
    {"Message": "No HTTP resource was found", "MessageDetail": "x"},
    {"code": 1e400, "mess": None},
    {"code": 200, "success": False, "ma_hoa_don_quoc_gia": "QG-1"},
    {"code": "00", "data": json.dumps({"ma_hoa_don_quoc_gia": "QG-1"})},
    json.dumps({"code": 200, "ma_hoa_don_quoc_gia": "QG-1"}),
    "QG_0001",
    "lỗi hệ thống",
    None,
)


def fuzz(target: str, *, seconds: int, inputs_tried: int = -1) -> subprocess.CompletedProcess[str]:
    """Fuzz one target in a process of its own, which the fuzzer ends the hard way.

    Args:
        inputs_tried: end after this number of inputs, before the seconds are over; -1: do not.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        inputs = Path(folder, "inputs")
        inputs.mkdir()
        if target == "answers":
            _write_shapes(inputs)
        options = [
            f"-max_total_time={seconds}",
            f"-runs={inputs_tried}",
            f"-artifact_prefix={folder}/",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        return subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tests.properties.fuzz_targets", target, inputs, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )


def executions(done: subprocess.CompletedProcess[str]) -> int:
    """How many inputs were tried."""
    found = re.search(r"number_of_executed_units:\s*(\d+)", done.stdout)
    return int(found[1]) if found else 0


def _write_shapes(folder: Path) -> None:
    for number, shape in enumerate(SHAPES):
        text = json.dumps(shape, ensure_ascii=number % 2 == 0)
        for status in range(2):
            # The first two bytes stand for the status and for a header, see `fuzz_answer`.
            beginning = bytes([5 * status, 1])
            Path(folder, f"{number}-{status}").write_bytes(beginning + text.encode())


def main() -> None:
    if importlib.util.find_spec("atheris") is None:
        sys.exit("fuzz: there is no fuzzer for this platform")
    for target in NAMES:
        done = fuzz(target, seconds=int(sys.argv[1]))
        if done.returncode != 0:
            sys.exit(f"{done.stdout}\nfuzz: {target} failed, status {done.returncode}")
        print(f"fuzz: {executions(done)} {target} in {sys.argv[1]} s, nothing found", flush=True)


if __name__ == "__main__":
    main()
