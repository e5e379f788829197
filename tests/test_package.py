"""The library without the repository: what it brings along, what it imports, and the three examples of docs/."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SEXTANT = ROOT / "sextant"
EXAMPLES = ROOT / "docs" / "examples"
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
TORCH = "torch==2.14.*"  # older builds without CUDA do not go with torchaudio's and torchvision's
HEAVY = ("lightning", "transformers", "torchrec", "datasets", "torchvision", "torchaudio")


def bare_environment() -> dict[str, str]:
    """The variables of this process without those that would lead Python back to it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"OMP_NUM_THREADS": "1", "UV_LINK_MODE": "hardlink"}


def run(*command: str | Path, folder: Path | None = None, timeout: float = 900) -> str:
    """Run a command and return what it printed."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    printed = result.stdout + result.stderr
    assert result.returncode == 0, printed
    return printed


def die(*command: str | Path, folder: Path) -> None:
    """Run a command that kills itself."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr


def weights(printed: str) -> str:
    """The figure that an example prints of its weights."""
    (found,) = re.findall(r"weights ([0-9a-f]{64})$", printed, re.MULTILINE)
    return found


def test_samplers_import_neither_lightning_nor_what_workloads_need() -> None:
    files = [*(SEXTANT / "samplers").rglob("*.py"), SEXTANT / "padding.py", SEXTANT / "errors.py"]
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    code = f"import sys, {', '.join(modules)}; print(sorted({set(HEAVY)!r} & set(sys.modules)))"
    assert run(sys.executable, "-c", code, folder=ROOT).strip().endswith("[]")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    (file,) = folder.glob("*.whl")
    return file


def install(wheel: Path, folder: Path, *more: str, extra: str = "") -> Path:
    """Install the wheel into an environment of its own, and return its Python."""
    run(UV, "venv", "--quiet", "--python", f"{sys.version_info.major}.{sys.version_info.minor}", folder)
    python = folder / "bin" / "python"
    settings: list[str | Path] = ["--config-file", EXAMPLES / "uv.toml"]
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        *settings,
        "--python",
        python,
        TORCH,
        f"sextant{extra} @ {wheel.as_uri()}",
        *more,
    )
    return python


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("alone") / "venv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the examples are, outside the repository."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


@pytest.mark.slow
def test_wheel_has_the_library_and_nothing_else_of_the_repository(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sextant"}
    assert "sextant/py.typed" in names
    here = {str(file.relative_to(ROOT)) for file in (ROOT / "sextant").rglob("*.py")}
    assert here == {name for name in names if name.endswith(".py")}


@pytest.mark.slow
def test_library_brings_nothing_but_what_torch_lightning_and_numpy_need(python: Path, tmp_path: Path) -> None:
    run(UV, "venv", "--quiet", "--python", python, tmp_path / "venv")
    bare = tmp_path / "venv" / "bin" / "python"
    settings: list[str | Path] = ["--config-file", EXAMPLES / "uv.toml", "--python", bare]
    run(UV, "pip", "install", "--quiet", *settings, TORCH, "lightning>=2.6.1,<2.7,!=2.6.2,!=2.6.3", "numpy")
    installed, needed = (
        set(re.findall(r"^[\w.-]+", run(UV, "pip", "freeze", "--python", venv), re.MULTILINE))
        for venv in (python, bare)
    )
    assert installed - needed == {"sextant"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--stream"]], ids=["sampler", "stream"])
def test_loop_of_ones_own_resumes_exactly_without_lightning(python: Path, folder: Path, options: list[str]) -> None:
    without = "import runpy, sys; sys.modules['lightning'] = None; runpy.run_path('plain_loop.py', run_name='__main__')"
    command: list[str | Path] = [python, "-c", without, *options]
    whole = run(*command, "--folder=whole", folder=folder)
    die(*command, "--folder=killed", "--kill_at=25", folder=folder)
    resumed = run(*command, "--folder=killed", folder=folder)
    assert "Resumed after step 20" in resumed
    assert weights(resumed) == weights(whole)


@pytest.mark.slow
def test_lightning_module_and_data_of_ones_own_resume_exactly(python: Path, folder: Path) -> None:
    whole = run(python, "exact_resume.py", "--folder=whole", folder=folder)
    die(python, "exact_resume.py", "--folder=killed", "--kill_at=25", folder=folder)
    resumed = run(python, "exact_resume.py", "--folder=killed", folder=folder)
    assert "epoch 0" not in resumed
    assert weights(resumed) == weights(whole)
    # Metrics cover the whole epoch, also the one that was resumed in its middle.
    assert re.findall(r"epoch [123]: .*", whole) == re.findall(r"epoch [123]: .*", resumed)


@pytest.mark.slow
def test_tables_of_a_module_of_ones_own_are_sharded_over_two_processes_and_resume_exactly(
    wheel: Path, folder: Path, tmp_path: Path
) -> None:
    python = install(wheel, tmp_path / "venv", "fbgemm-gpu-cpu==1.9.*", extra="[torchrec]")
    whole = run(python, "torchrec_tables.py", "--folder=whole", folder=folder)
    assert "row_wise" in whole
    die(python, "torchrec_tables.py", "--folder=killed", "--kill_at=25", folder=folder)
    assert (folder / "killed" / "checkpoints" / "last.ckpt").is_dir()
    resumed = run(python, "torchrec_tables.py", "--folder=killed", folder=folder)
    assert weights(resumed) == weights(whole)
