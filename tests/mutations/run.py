#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seeds the faults of mutations.json, one at a time, and says which check of CI finds each (README.md)."""

import argparse
import collections
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What CI runs, the cheapest first: name, what it reads (a fault elsewhere cannot concern it), targets, command, seconds
# at most, and what a failure says before the end (the rest is then not waited for). {build} is the build folder, {tree}
# the copy of the sources, {tests} and {cases} are SCOPES'. Formatting does not count; goldens come last, since a fault
# that is only seen there might have been taken for a new cost.
Check = collections.namedtuple("Check", "name reads targets command seconds early", defaults=[None])
CHECKS = [
    Check("generator tests", ("templates/", "generator/"), ["generator_tests"],
          "{build}/bin/generator_tests --gtest_filter=-*ClangFormat*", 120),
    Check("conformance", ("templates/device/", "generator/"), ["emulator_conformance_tests"],
          "{build}/bin/emulator_conformance_tests --gtest_fail_fast", 600),
    Check("test kernels", ("templates/", "generator/", "tests/emulator/kernels/"),
          ["test_kernels_run"], "{build}/bin/test_kernels_run --gtest_fail_fast --gtest_filter='{tests}'", 1200),
    Check("sale check", ("templates/", "generator/"), ["sale_cli"], "{build}/bin/sale check {cases}", 1800,
          r"^\[[ \d]+/\d+\] FAILED.*\n(?:.*\n)*?To see this alone"),
    Check("lint", ("templates/", "generator/"), ["lint_tests"], "{build}/bin/lint_tests --gtest_fail_fast", 1800),
    Check("goldens", ("templates/", "generator/"), ["kernel_tests"], "{build}/bin/kernel_tests --gtest_fail_fast", 1800),
]

# Which test kernels and which cases of sale check have what a file holds; the first line that fits counts, and what has
# none is in all of them.
HOPPER = "--arch sm_90a"
SCOPES = [
    (("templates/select/select_wgmma", "templates/select/wgmma/"), "*SelectWgmma*:*RaggedSelect*", HOPPER),
    (("templates/attend/attend_fp8", "templates/attend/wgmma/fp8_"), "*AttendFp8*:*AttendRagged*", HOPPER),
    (("templates/attend/wgmma/consumer_rows", "templates/attend/wgmma/queries"), "*AttendWgmma*:*AttendRagged*",
     HOPPER),
    (("templates/attend/attend_wgmma", "templates/attend/wgmma/"), "*AttendWgmma*:*AttendFp8*:*AttendRagged*", HOPPER),
    (("templates/amax/", "templates/values/", "templates/common/amax_scale"), "*Values*", HOPPER),
    (("templates/channels/",), "*Fp8Channel*:*RaggedKeys*", HOPPER),
    (("templates/sequences/",), "Sequences.*", ""),
    (("templates/tails/",), "*AttendRagged*", HOPPER),
    (("templates/merge/",), "*Merge*", ""),
    (("templates/quantize/float_keys", "templates/prepare/float_queries", "templates/prepare/prune",
      "templates/common/project"), "*Fp8Codes*", HOPPER),
    (("tests/emulator/kernels/attend_sm90a",), "*AttendKernel*", ""),
    (("tests/emulator/kernels/select_sm90a",), "*SelectKernel*", ""),
    (("tests/emulator/kernels/sm90a",), "*AttendKernel*:*SelectKernel*", ""),
]


def scope_of(file):
    """What stands for {tests} and {cases}."""
    return next(({"tests": tests, "cases": cases} for files, tests, cases in SCOPES if file.startswith(files)),
                {"tests": "*", "cases": ""})


class Mutation:
    def __init__(self, entry):
        text = lambda value: value if isinstance(value, str) else "\n".join(value)
        self.id = entry["id"]
        self.file = entry["file"]
        self.fault = entry["fault"]
        self.old = text(entry["old"])
        self.new = text(entry["new"])
        self.equivalent = entry.get("equivalent")  # why no check can find it

    def apply(self, original):
        if original.count(self.old) != 1:
            sys.exit(f"{self.id}: its old text occurs {original.count(self.old)} times in {self.file}, it must occur once")
        return original.replace(self.old, self.new)


class Outcome:
    def __init__(self, mutation, check, message, seconds):
        self.mutation = mutation
        self.check = check  # None: it survived
        self.message = message
        self.seconds = seconds

    def row(self):
        if self.check is None:
            caught = "equivalent: " + self.mutation.equivalent if self.mutation.equivalent else "**survives**"
        else:
            caught = f"{self.check}: {self.message}"
        cells = self.mutation.id, self.mutation.fault, caught, f"{self.seconds:.0f}"
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


class Worker:
    """A copy of the tree with a build folder of its own."""

    def __init__(self, folder, build_jobs, checks):
        self.tree = folder / "tree"
        self.build = folder / "build"
        self.log = folder / "log"
        self.build_jobs = build_jobs
        self.checks = checks
        self.copy()
        configure = ["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
        if subprocess.run(["which", "ccache"], stdout=subprocess.DEVNULL).returncode == 0:
            configure.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
        self.require("configuring", configure)

    def copy(self):
        """The working tree without ignored files; unchanged ones keep their time, so that little is rebuilt."""
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                                check=True, stdout=subprocess.PIPE).stdout
        for name in filter(None, listed.decode().split("\0")):
            source, copy = ROOT / name, self.tree / name
            if not source.is_file():
                copy.unlink(missing_ok=True)
                continue
            content = source.read_bytes()
            if not copy.is_file() or copy.read_bytes() != content:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
            copy.chmod(source.stat().st_mode)

    def run(self, command, seconds, early=None):
        """Whether it succeeded, and what it said."""
        deadline = time.monotonic() + seconds
        with open(self.log, "w", errors="replace") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.tree,
                                       shell=isinstance(command, str), start_new_session=True)
        ending = ""
        while process.poll() is None and not ending:
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                if early and re.search(early, self.log.read_text(errors="replace"), re.MULTILINE):
                    ending = "\n"
                elif time.monotonic() > deadline:
                    ending = f"\nerror: not done after {seconds} s\n"
        if ending:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return process.returncode == 0, self.log.read_text(errors="replace") + ending

    def require(self, what, command):
        good, output = self.run(command, 3600)
        if not good:
            sys.exit(f"{what} the unmutated tree fails:\n{output[-4000:]}")

    def first_to_fail(self, checks, file=""):
        """(name, message) of the first check that fails, or None. Without `file` checks run as a whole."""
        targets = sorted({target for check in checks for target in check.targets})
        good, output = self.run(["cmake", "--build", self.build, "-j", str(self.build_jobs), "--target", *targets], 3600)
        if not good:
            return "build", first_message(output)
        for check in checks:
            command = check.command.format(build=self.build, tree=self.tree, **scope_of(file))
            good, output = self.run(command, check.seconds, check.early)
            if not good:
                return check.name, first_message(output)
        return None

    def try_mutation(self, mutation):
        start = time.monotonic()
        path = self.tree / mutation.file
        original = path.read_text()
        path.write_text(mutation.apply(original))
        try:
            checks = [check for check in self.checks if mutation.file.startswith(check.reads)]
            found = self.first_to_fail(checks, mutation.file)
        finally:
            path.write_text(original)
        return Outcome(mutation, *(found or (None, "")), time.monotonic() - start)


def first_message(output):
    """Of GoogleTest the first failure of the first test that failed, of others the first line that speaks of one."""
    failed = re.search(r"^\[  FAILED  \] (\S+)(?:, where .*)? \(\d+ ms\)$", output, re.MULTILINE)
    if failed:
        name = failed[1].rstrip(",")
        block = output[:failed.start()].rpartition(f"[ RUN      ] {name}\n")[2]
        what = re.search(r"Failure\n(.*)", block, re.DOTALL)
        return shorten(f"{name.removeprefix('Cases/')}: {what[1] if what else 'failed'}")
    case = re.search(r"^\[[ \d]+/\d+\] FAILED +[\d.]+ s +(.*)\n(.*)", output, re.MULTILINE)
    if case:
        return shorten(f"{case[1]}: {case[2]}")
    lines = [line for line in output.splitlines() if line.strip()]
    for line in lines:
        if re.search(r"\b(error|failed|failure|fault|differs?)\b", line, re.IGNORECASE):
            return shorten(line)
    return shorten(lines[-1]) if lines else "no message"


def shorten(text):
    text = re.sub(r'C\+\+ exception with description "|cu\w+ failed with CUDA_\w+ \(', "", text)
    text = re.sub(r"\S*/(?=[^/\s]+\.(?:cpp|hpp|py)\b)", "", text)
    text = re.sub(r'\)?" thrown in the test body\.', "", text)
    text = " ".join(text.split())
    return text if len(text) <= 180 else text[:179] + "…"


def table(outcomes):
    real = [o for o in outcomes if not o.mutation.equivalent]
    lines = ["| id | fault | caught by | s |", "|---|---|---|---|"] + [o.row() for o in outcomes]
    by_check = collections.Counter(o.check for o in real if o.check)
    lines += ["", f"{sum(by_check.values())} of {len(real)} faults caught ("
              + ", ".join(f"{count} by {name}" for name, count in by_check.most_common()) + f"); "
              f"{len(outcomes) - len(real)} equivalent."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="ID,..", help="these faults alone; a trailing * stands for anything")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/mutations", help="scratch (%(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this file, after every fault")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time, each with a tree and a build of its own")
    parser.add_argument("--no-baseline", action="store_true", help="trust that the unmutated tree passes")
    parser.add_argument("--without", default="", metavar="CHECK,..", help="leave these checks out")
    parser.add_argument("--list", action="store_true", help="check that every fault still applies, and list them")
    options = parser.parse_args()

    mutations = [Mutation(entry) for entry in json.loads((pathlib.Path(__file__).parent / "mutations.json").read_text())]
    if options.only:
        wanted = options.only.split(",")
        chosen = lambda m: any(re.fullmatch(re.escape(w).replace(r"\*", ".*"), m.id) for w in wanted)
        mutations = [m for m in mutations if chosen(m)]
    for mutation in mutations:
        mutation.apply((ROOT / mutation.file).read_text())
    if options.list:
        for mutation in mutations:
            print(f"{mutation.id}: {mutation.file}: {mutation.fault}")
        return

    left_out = options.without.split(",")
    chosen_checks = [check for check in CHECKS if check.name not in left_out]
    jobs = max(1, min(options.jobs, len(mutations)))
    build_jobs = max(1, (os.cpu_count() or 1) // jobs)
    folder = options.folder.resolve()
    workers = [Worker(folder / str(i), build_jobs, chosen_checks) for i in range(jobs)]
    for worker in workers:  # one after the other: the later ones find the objects in ccache
        checks = chosen_checks if worker is workers[0] and not options.no_baseline else []
        targets = sorted({target for check in chosen_checks for target in check.targets})
        worker.require("building", ["cmake", "--build", worker.build, "--target", *targets])
        found = worker.first_to_fail(checks) if checks else None
        if found:
            sys.exit(f"The unmutated tree fails {found[0]}: {found[1]}\nLog: {worker.log}")

    todo = queue.SimpleQueue()
    for mutation in mutations:
        todo.put(mutation)
    outcomes = {}
    lock = threading.Lock()

    def work(worker):
        while True:
            try:
                mutation = todo.get_nowait()
            except queue.Empty:
                return
            outcome = worker.try_mutation(mutation)
            with lock:
                outcomes[mutation.id] = outcome
                print(outcome.row(), flush=True)
                if options.output:
                    options.output.write_text(table([outcomes[m.id] for m in mutations if m.id in outcomes]))

    threads = [threading.Thread(target=work, args=[worker]) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n" + table([outcomes[m.id] for m in mutations]))
    sys.exit(any(o.check is None and not o.mutation.equivalent for o in outcomes.values()))


if __name__ == "__main__":
    main()
