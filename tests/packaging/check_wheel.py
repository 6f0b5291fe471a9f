#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_wheel.py SOURCE WORK: builds the wheel without a network, and checks what it holds and that it works where it is
installed with nothing else. Exit code 77 where pip or scikit-build-core is missing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

USE = """
import os, sys
import sale
assert "torch" not in sys.modules and "numpy" not in sys.modules, "importing sale needs nothing else"
print(sale.__version__, sale.version(), os.path.realpath(sale.library_path()), os.path.realpath(sale.__file__))
with open("/proc/self/maps") as maps:
    print(*{line.split()[-1] for line in maps if "yaml-cpp" in line})
"""


def fail(text: str) -> None:
    raise SystemExit(f"check_wheel.py: {text}")


def build(source: Path, work: Path) -> Path:
    wheels = work / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--config-settings", f"build-dir={work / 'build'}", "--wheel-dir", str(wheels)]
    subprocess.run([*command, str(source)], check=True)
    (wheel,) = wheels.iterdir()
    return wheel


def main() -> None:
    source, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    for module in ("pip", "scikit_build_core"):
        if importlib.util.find_spec(module) is None:
            print(f"skipped: {sys.executable} has no {module}")
            raise SystemExit(77)
    version = re.search(r"^project\(sale VERSION ([0-9.]+)", (source / "CMakeLists.txt").read_text(), re.MULTILINE)[1]

    wheel = build(source, work)
    if not re.fullmatch(rf"libsale-{re.escape(version)}-py3-none-linux_\w+\.whl", wheel.name):
        fail(f"{wheel.name} is not a wheel of {version} for every Python 3 and this platform alone")
    modules = {str(file.relative_to(source / "python")) for file in (source / "python/sale").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith(f"libsale-{version}.dist-info/")}
        yaml = {name for name in held if re.fullmatch(r"sale/lib/libyaml-cpp\.so\.\d+\.\d+", name)}
        if len(yaml) != 1:
            fail(f"one file is yaml-cpp, not {sorted(yaml)}")
        notices = {f"sale/share/doc/sale/{name}" for name in ("LICENSE", "THIRD_PARTY.md")}
        wanted = modules | yaml | notices | {"sale/lib/libsale.so.0"}
        if held != wanted:
            fail(f"too many files: {sorted(held - wanted)}; missing: {sorted(wanted - held)}")
        installed = work / "installed"
        shutil.rmtree(installed, ignore_errors=True)
        archive.extractall(installed)

    environment = {name: value for name, value in os.environ.items() if name not in ("SALE_LIBRARY", "LD_LIBRARY_PATH")}
    environment["PYTHONPATH"] = str(installed)
    command = [sys.executable, "-S", "-c", USE]
    said = subprocess.run(command, cwd=installed, env=environment, check=True, capture_output=True, text=True).stdout
    expected = [version, version, str(installed / "sale/lib/libsale.so.0"), str(installed / "sale/__init__.py")]
    expected += [str(installed / name) for name in yaml]
    if said.split() != expected:
        fail(f"the installed package says {said.split()}, not {expected}")


if __name__ == "__main__":
    main()
