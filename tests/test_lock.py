"""The locked versions are those that the project asks for, and all of them."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
LINUX = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}


def locked():
    """The versions by name."""
    lines = (HERE / "locked-3.11.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line[:1] not in ("#", " ", "")]
    versions = {canonicalize_name(name): version for name, version in pins}
    assert len(versions) == len(pins), "each once"
    return versions


def asked_for():
    """What is required on Python 3.11 with everything that CI installs."""
    project = pytest.importorskip("tomllib").loads(
        (HERE.parent / "pyproject.toml").read_text()
    )["project"]
    left = [*project["dependencies"], f"{project['name']}[dev]"]
    while left:
        requirement = Requirement(left.pop())
        if requirement.name == project["name"]:
            for extra in requirement.extras:
                left += project["optional-dependencies"][extra]
        elif requirement.marker is None or requirement.marker.evaluate(LINUX):
            yield requirement


def test_the_lock_has_what_the_project_asks_for():
    """A dependency that is new, or needs a newer version, wants the lock renewed."""
    versions = locked()
    lacking = [
        str(requirement)
        for requirement in asked_for()
        if canonicalize_name(requirement.name) not in versions
        or versions[canonicalize_name(requirement.name)] not in requirement.specifier
    ]
    assert lacking == [], "see LOCK in tests/run.py"


def wanted_by(name, version):
    """What a package asks for in turn, where that version is installed here."""
    with suppress(PackageNotFoundError):
        installed = distribution(name)
        if installed.version == version:
            for requirement in map(Requirement, installed.requires or ()):
                marker = requirement.marker
                if marker is None or marker.evaluate({**LINUX, "extra": ""}):
                    yield canonicalize_name(requirement.name)


def test_the_lock_has_what_its_packages_ask_for():
    """What is not in it is neither held at a version nor looked up by the audit."""
    versions = locked()
    wanted = {w for pin in versions.items() for w in wanted_by(*pin)}
    assert wanted - versions.keys() <= {"pip"}, "see LOCK in tests/run.py"


def test_the_lock_names_exact_versions():
    """No ranges, and nothing that is on one machine only."""
    versions = locked().values()
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in versions)
