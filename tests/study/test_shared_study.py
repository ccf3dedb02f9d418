"""Two calls, each a process of its own, share the arms of one study's folder."""

import re
import subprocess
import sys
from pathlib import Path

from tests.study.test_study import write

VERB = "from fedgin.cli.main import run; run()"
ARMS = [f"mr_only-none-all-seed{seed}" for seed in (1, 2)]


def test_two_calls_run_every_arm_once_and_both_report_all_of_them(tmp_path: Path) -> None:
    blocks = [{"regimes": ["mr_only"], "methods": ["none"], "seeds": [1, 2]}]
    source, out = write(tmp_path, blocks=blocks), tmp_path / "out"
    command = [sys.executable, "-c", VERB, "study", str(source), "--out", str(out), "--cores", "1"]
    calls = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [call.communicate()[0] for call in calls]
    assert [call.returncode for call in calls] == [0, 0], said
    started = [re.findall(r"^(\S+) started$", text, re.MULTILINE) for text in said]
    assert sorted(name for names in started for name in names) == ARMS, "every arm once"
    assert all(text.count("Report: ") == 1 for text in said)
    assert all((out / "arms" / arm / "result.json").is_file() for arm in ARMS)
    rows = (out / "scores.csv").read_text()
    assert all(f"\n{arm}," in rows for arm in ARMS)
