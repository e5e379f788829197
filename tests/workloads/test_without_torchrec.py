"""The workloads without tables where TorchRec is not installed, as on macOS."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torchrec", "fbgemm_gpu"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from sextant.errors import InputError
from train import main

for workload in sys.argv[2:]:
    words = [f"--config={sys.argv[1]}/configs/{place}{workload}.yaml" for place in ("", "synthetic/")]
    try:
        main(["fit", *words, "--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false"])
        print(workload, "trains")
    except InputError as error:
        print(workload, "says:", error)
"""


@pytest.mark.slow
def test_workloads_without_tables_train_and_dlrm_says_what_it_needs(tmp_path: Path) -> None:
    workloads = [file.stem for file in sorted((ROOT / "configs" / "synthetic").glob("*.yaml"))]
    command = [sys.executable, "-c", SCRIPT, str(ROOT), *workloads]
    result = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    said = dict(line.split(" ", 1) for line in result.stdout.splitlines() if line.partition(" ")[0] in workloads)
    assert said.pop("dlrm_criteo") == (
        f"says: {ROOT}/configs/dlrm_criteo.yaml, line 5: model: modules.dlrm.ClickPredictor: it needs torchrec, which "
        "is not installed here. It is for Linux only."
    )
    assert said == dict.fromkeys(set(workloads) - {"dlrm_criteo"}, "trains")
