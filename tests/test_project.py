"""Facts about what is built, locked and deployed: the wheel, the lock, the rules, the Makefile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ("audit", "build", "compose", "dev", "runtime")
BUNDLED = "gateway/cli/chat/bundled"
# Package in the wheel -> its sources.
PACKAGES = {
    "gateway": ROOT / "gateway",
    "gateway/handlers": ROOT / "handlers",
    f"{BUNDLED}/gateway_client": ROOT / "clients/python/gateway_client",
}


def pyproject(folder: Path = ROOT) -> dict:
    """The project file of the gateway, or of the package in `folder`."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Name -> (version, hashes) of one lock file."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    entries = text.replace("\\\n", " ").splitlines()
    found = {}
    for entry in entries:
        if entry and not entry.startswith("#"):
            requirement, *hashes = entry.split("--hash=")
            package, _, version = requirement.partition(";")[0].strip().partition("==")
            found[package] = (version, [one.strip() for one in hashes])
    return found


def names(requirements: list[str]) -> set[str]:
    """The packages, without their ranges, extras and markers."""
    return {re.split(r"[\[<>=;~! ]", one, maxsplit=1)[0] for one in requirements}


def build(target: str, folder: Path, *, project: Path = ROOT) -> Path:
    """Build without isolation and without network, as the locked hatchling does it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.iterdir()
    return built


def sources(package: str) -> set[str]:
    """What the package must carry: its modules, its scripts, its promise to be typed."""
    return files_of(PACKAGES[package], package)


def files_of(folder: Path, package: str) -> set[str]:
    """The sources in a folder, as files of a package."""
    return {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for pattern in ("*.py", "*.lua", "py.typed")
        for path in folder.rglob(pattern)
    }


def test_wheel_carries_one_package_and_all_it_needs(tmp_path):
    """The wheel has every module and Lua script below `gateway`, which is its command too."""
    with ZipFile(build("wheel", tmp_path)) as wheel:
        carried = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        commands = wheel.read(entry_points).decode()
    assert carried == set().union(*map(sources, PACKAGES))
    assert any(name.endswith(".lua") for name in carried)
    assert "gateway/py.typed" in carried
    assert "gateway = gateway.__main__:main" in commands


def test_sdist_carries_what_the_wheel_is_built_from(tmp_path):
    """The sdist has the same sources, and no test, no secret and no state."""
    with tarfile.open(build("sdist", tmp_path)) as sdist:
        carried = {name.partition("/")[2] for name in sdist.getnames()}
    folders = ("gateway", "handlers", "clients/python/gateway_client")
    expected = {name for folder in folders for name in files_of(ROOT / folder, folder)}
    rest = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert carried - rest == expected


def test_gateway_and_client_own_no_file_together(tmp_path):
    """Whichever is uninstalled first, the other stays whole."""
    gateway = build("wheel", tmp_path / "gateway")
    client = build("wheel", tmp_path / "client", project=ROOT / "clients/python")
    with ZipFile(gateway) as ours, ZipFile(client) as theirs:
        assert not {*ours.namelist()} & {*theirs.namelist()}
        assert "gateway_client/py.typed" in theirs.namelist()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The wheel as it is installed."""
    folder = tmp_path_factory.mktemp("installed")
    with ZipFile(build("wheel", folder / "wheel")) as wheel:
        wheel.extractall(folder / "site")  # noqa: S202  # our own
    return folder / "site"


def run_installed(program: str, site: Path, folder: Path) -> str:
    """Run a program in a folder where the wheel is installed; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_wheel_can_chat_without_the_client_installed(site, tmp_path):
    """`gateway chat` uses the client that it was built with."""
    program = "import gateway.cli.chat.chat, gateway_client; print(gateway_client.__file__)"
    assert Path(run_installed(program, site, tmp_path)).is_relative_to(site / BUNDLED)


@pytest.mark.parametrize("name", ["handlers.py", "handlers/__init__.py"])
def test_operators_own_module_may_be_called_handlers(site, tmp_path, name):
    """GATEWAY_HANDLERS=handlers, beside the operator's agents: it hides no built-in handler."""
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "docs/examples/greet.py", own)
    program = """
from gateway.requests.registry import HandlerRegistry
from gateway.settings import Settings
print(*HandlerRegistry.load(["handlers"]).decoder("json", Settings())._known)
"""
    known = run_installed(program, site, tmp_path).split()
    assert {"greet", "send_message", "create_conversation"} <= {*known}


def test_python_client_needs_two_packages_only():
    """gateway-client stands on websockets and msgspec, in the gateway's own ranges."""
    client = pyproject(ROOT / "clients/python")["project"]
    gateway = pyproject()["project"]
    assert names(client["dependencies"]) == {"msgspec", "websockets"}
    assert set(client["dependencies"]) <= set(gateway["dependencies"])
    assert client["version"] == gateway["version"]


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_versions_with_hashes_and_names_no_place(name):
    """Every entry has one version and SHA-256 hashes; no index, no URL, no path of a machine."""
    entries = locked(name)
    assert entries
    for version, hashes in entries.values():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|file:|(^|\s)/\w", text)


def test_locks_agree_with_each_other_and_cover_the_project():
    """What runs in the image is what was tested, and no dependency is left to chance."""
    dev, runtime, groups = locked("dev"), locked("runtime"), pyproject()["dependency-groups"]
    assert {name: version for name, (version, _) in runtime.items()}.items() <= {
        name: version for name, (version, _) in dev.items()
    }.items()
    assert names(pyproject()["project"]["dependencies"]) <= set(runtime)
    assert names([one for one in groups["dev"] if isinstance(one, str)]) <= set(dev)


def test_every_rule_left_out_has_its_reason():
    """A lint rule is ignored with a reason beside it, or not at all."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[tool.ruff.lint]")[2].partition("[tool.ruff.lint.flake8")[0]
    ignored = re.findall(r'^    "([A-Z]+[0-9]*)",(.*)$', section, flags=re.MULTILINE)
    lint = pyproject()["tool"]["ruff"]["lint"]
    listed = [*lint["ignore"], *(rule for one in lint["per-file-ignores"].values() for rule in one)]
    assert lint["select"] == ["ALL"]
    assert [rule for rule, _ in ignored] == listed
    for rule, comment in ignored:
        assert re.match(r"\s+# \w+ .*\w+", comment), f"{rule} is ignored without a reason"


def test_every_exception_from_a_security_rule_has_its_reason():
    """Rules of bandit are on for all that runs; a line that breaks one says why it may."""
    lint = pyproject()["tool"]["ruff"]["lint"]
    assert not [rule for rule in lint["ignore"] if rule.startswith("S")]
    for pattern, rules in lint["per-file-ignores"].items():
        if not pattern.startswith(("gateway", "handlers", "clients")):
            continue
        assert not [rule for rule in rules if re.match(r"S\d", rule)], pattern
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in PACKAGES.values()
        for path in folder.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"noqa: (\w+, ?)*S\d", line)
    ]
    assert lines
    for line in lines:
        assert re.search(r"noqa: [\w, ]*S\d+[\w, ]*  # \w+.* \w+", line), line


def test_make_help_tells_of_every_target():
    """`make` alone lists each target with what it does."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^\.PHONY: (\S+)$", text, flags=re.MULTILINE)
    told = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    assert {"run", "test", "check", "lock"} <= set(targets)
    for target in targets:
        assert re.search(rf"^  make {target} +\w", told, flags=re.MULTILINE), target


@pytest.mark.parametrize(("target", "has_tools"), [("run", False), ("test", True)])
def test_make_installs_what_a_target_needs(tmp_path, target, has_tools):
    """Running needs no tools for development; both install what is locked, with its hashes."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    command = ["make", "--dry-run", "-C", tmp_path, target]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    installs = [line for line in told.splitlines() if " install " in line and " -r " in line]
    assert installs
    assert all("--require-hashes" in line or "compose" in line for line in installs)
    assert ("requirements/runtime.txt" in told, "requirements/dev.txt" in told) == (True, has_tools)


def test_image_runs_as_nobody_and_holds_no_secret():
    """The Dockerfile ends as a user without rights, and gives no setting a value."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    last_stage = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER (?!0|root)", last_stage, flags=re.MULTILINE)
    assert "GATEWAY_" not in text
    assert "COPY . " not in text
