"""What is shipped: the wheel, the links, and documents that name what is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_OURS = {".git", ".hypothesis", ".venv", "build", "dist", "runs", "__pycache__"}
LINKS = {name: f"pyro_msm/{name}" for name in ("models", "guides", "data", "analysis")}
TEXTS = {".py", ".md", ".toml", ".txt", ".cff", ".j2", ".html", ".css", ""}
MACHINE_PATH = re.compile(r"(?<![\w.:/>-])/(?:home|Users|root|tmp|opt|mnt|work|private)/\w")


def ours(*suffixes: str) -> Iterator[Path]:
    """The text files of the project, not those reached through the links."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name for name in folders
            if name not in NOT_OURS and not name.endswith(("_cache", ".egg-info", ".zarr"))
        ]  # fmt: skip
        yield from (Path(folder) / name for name in files if Path(name).suffix in suffixes)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source tree, built from a copy so that nothing is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(*NOT_OURS, "*.egg-info", "*_cache", "*.nc", "*.zarr")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    done = subprocess.run(
        [*command, folder / "source"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"pyro_msm"}
    missing = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pyro_msm").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - set(names)
    assert not missing
    assert "pyro_msm/py.typed" in names


def test_command_line_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    points = next(tmp_path.glob("*.dist-info")) / "entry_points.txt"
    assert "pyro-msm = pyro_msm.cli:main" in points.read_text()
    program = "import pyro_msm; from pyro_msm.cli import main; print(pyro_msm.__file__); main()"
    for arguments, expected in ((["--help"], "Usage: pyro-msm"), (["config", "kdv-1d"], "kdv-1d")):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(str(tmp_path))
        assert expected in done.stdout


@pytest.mark.slow
def test_wheel_runs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Every import that a run needs is a declared dependency: no dev extras here."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    binaries = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    constraints = ["-c", ROOT / "constraints.txt"]
    install = [binaries / "python", "-m", "pip", "install", "-q", *constraints, wheel]
    subprocess.run(install, check=True, cwd=tmp_path)
    tiny = [
        "data.train=2", "data.validation=1", "data.test=1", "data.options.frames=101",
        "training.steps=20", "training.stride=1", "rollout.times=11",
    ]  # fmt: skip
    overrides = [part for text in tiny for part in ("--set", text)]
    command = [binaries / "pyro-msm", "run", "kdv-1d", "--out", "run", "--members", "3", *overrides]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 0


@pytest.mark.parametrize(("link", "target"), LINKS.items())
def test_links_are_relative(link: str, target: str) -> None:
    assert (ROOT / link).is_symlink()
    assert (ROOT / link).readlink() == Path(target)
    assert (ROOT / link / "__init__.py").is_file()


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in ours(*TEXTS)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not found


@pytest.mark.parametrize("folder", ["home", "root", "tmp"])
def test_machine_paths_are_recognised(folder: str) -> None:
    assert MACHINE_PATH.search(f"file = '/{folder}/me/a.nc'")
    assert not MACHINE_PATH.search(f"https://example.org/{folder}/me")


def test_documents_name_files_that_exist() -> None:
    """Backquoted paths in documents and docstrings, and the targets of relative links."""
    top = {path.name for path in ROOT.iterdir()} - NOT_OURS
    missing = []
    for path in ours(".md", ".py", ".toml"):
        text = path.read_text("utf-8")
        named = set(re.findall(r"`([\w.-]+/[\w./-]*)`", text))
        named = {name for name in named if name.split("/")[0] in top}
        if path.suffix == ".md":
            links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
            named |= {
                link for link in links if "://" not in link and not link.startswith("mailto:")
            }
        for name in named:
            placeholder = re.search(r"[A-Z]{3,}(?!\.md)", name)
            if not (placeholder or (ROOT / name).exists() or (path.parent / name).exists()):
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing


def test_version_is_told_once() -> None:
    import pyro_msm

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert f"version: {pyro_msm.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {pyro_msm.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_parts_are_found_when_they_are_used() -> None:
    import pyro_msm

    assert set(pyro_msm.__all__) <= set(dir(pyro_msm))
    assert pyro_msm.data.systems.names()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        pyro_msm.nothing  # noqa: B018
