#!/usr/bin/env python3
"""What a run of SyTest says, beside the list of tests that have to pass.

    summary.py results.tap run.log                       counts the results by group of test files
    summary.py results.tap run.log --allowlist FILE      also fails when a test of the list did not pass, when one that
                                                         Synapse passes neither passed nor is in not-passed.txt, and
                                                         when one of not-passed.txt passed
    summary.py results.tap run.log --update FILE         adds the tests that passed to the list
    summary.py --percentage FILE                         how much of what Synapse passes is in the list

results.tap is what run-tests.pl wrote to stdout with -O tap, run.log what it wrote to stderr, where the name of each
test file stands. The list has one name of a test a line, below a comment that names its file; SyTest reads it as a
whitelist. `synapse-pass.txt` beside this script names what Synapse 1.163.2 passes, as "file<TAB>name"; `not-passed.txt`
names those of them that cannot pass, as "file<TAB>name<TAB>reason", sorted. A reason that begins with "at times: " is of a
test that passes or fails by chance.
"""

import argparse
import collections
import pathlib
import re
import sys

RESULT = re.compile(r"^(not )?ok (\d+) (\(expected fail\) )?(.*)$")
FILE = re.compile(r"^(tests/\S+\.pl):$")
NUMBER = re.compile(r"^\s+Test (\d+) ")
STATES = "passed", "failed", "skipped"
# State resolution and event formats of the room versions 1 to 5 are not supported, by decision.
OLD_VERSION = re.compile(r"\bversion [1-5]\b|\bv[1-5] rooms?\b")
# How the reason of a test begins that passes and fails by chance.
BY_CHANCE = "at times: "


def read_files(path):
    """Which file each test number is in."""
    files, current = {}, None
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            if match := FILE.match(line):
                current = match[1]
            elif match := NUMBER.match(line):
                files[int(match[1])] = current
    return files


def read_results(tap, log):
    """The (file, name, state) of each test."""
    files = read_files(log)
    with open(tap, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not (match := RESULT.match(line.rstrip("\n"))):
                continue
            name, state = match[4], "failed" if match[1] else "passed"
            if " # skip" in name:
                name, state = name.split(" # skip")[0], "skipped"
            # A directive of TAP follows some names.
            name = re.sub(r" # [A-Z]{4} .*$", "", name)
            name = re.sub(r" \(\d+ subtests\)$", "", name)
            yield files.get(int(match[2]), "?"), name, state


def group_of(path):
    """The group of a test file: its folder, or the file itself where it has none."""
    parts = path.removesuffix(".pl").split("/")
    return parts[1] if len(parts) > 1 else path


def read_list(path):
    """The header of the list, and its names by file."""
    header, files, current = [], collections.defaultdict(set), None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# tests/"):
            current = line.removeprefix("# ")
        elif current is None:
            header.append(line)
        elif line and not line.startswith("#"):
            files[current].add(line)
    return header, files


def write_list(path, header, files):
    parts = ["\n".join(header).rstrip()]
    parts += ["\n".join([f"# {file}", *sorted(files[file])]) for file in sorted(files) if files[file]]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def read_beside(name):
    """The lines of a file beside this script, split at tabs."""
    lines = pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line]


def excuses(states, passed):
    """What is wrong with the list of tests that cannot pass, given the states of all tests of a full run."""
    lines = read_beside("not-passed.txt")
    excused = {(file, name): reason for file, name, reason in lines}
    for test in sorted(set(read_beside("synapse-pass.txt")) - passed - set(excused)):
        yield f"did not pass, and Synapse passes it: {': '.join(test)}"
    for test in sorted(test for test in set(excused) & passed if not excused[test].startswith(BY_CHANCE)):
        yield f"passed although not-passed.txt says it cannot: {': '.join(test)}"
    for test in sorted(set(excused) - set(states)):
        yield f"is in not-passed.txt, and there is no such test: {': '.join(test)}"
    if lines != sorted(lines):
        yield "not-passed.txt is not sorted"


def percentage(path):
    """Prints how much of what Synapse passes is in the list, by group, and of what counts without federation."""
    _, listed = read_list(path)
    groups, local = collections.defaultdict(lambda: [0, 0]), [0, 0]
    for file, name in read_beside("synapse-pass.txt"):
        here = name in listed.get(file, ())
        group = group_of(file)
        groups[group][0] += here
        groups[group][1] += 1
        if group != "50federation" and not OLD_VERSION.search(name):
            local[0] += here
            local[1] += 1
    for group, (here, all_) in sorted(groups.items()):
        print(f"{group:28}{here:5} of {all_:4}{100 * here / all_:7.1f} %")
    here, all_ = (sum(counts[index] for counts in groups.values()) for index in (0, 1))
    print(f"{'all':28}{here:5} of {all_:4}{100 * here / all_:7.1f} %")
    print(f"{'without 50federation, v1-v5':28}{local[0]:5} of {local[1]:4}{100 * local[0] / local[1]:7.1f} %")


def counts(results):
    """Prints how many tests of each group passed, failed and were skipped."""
    groups = collections.defaultdict(collections.Counter)
    for file, _, state in results:
        groups[group_of(file)][state] += 1
    groups["all"] = sum(groups.values(), collections.Counter())
    print(f"{'group':28}" + "".join(f"{state:>9}" for state in STATES))
    for group in groups:
        print(f"{group:28}" + "".join(f"{groups[group][state]:9}" for state in STATES))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tap", nargs="?")
    parser.add_argument("log", nargs="?")
    parser.add_argument("--allowlist", type=pathlib.Path)
    parser.add_argument("--update", type=pathlib.Path)
    parser.add_argument("--percentage", type=pathlib.Path)
    parser.add_argument("--failed", action="store_true", help="also names what did not pass and Synapse passes")
    args = parser.parse_args()
    if args.percentage:
        percentage(args.percentage)
        return
    results = list(read_results(args.tap, args.log))
    counts(results)
    # A name may stand twice in a file: it passed if each of them did.
    states = collections.defaultdict(set)
    for file, name, state in results:
        states[file, name].add(state)
    passed = {test for test, seen in states.items() if seen == {"passed"}}
    if args.failed:
        for file, name in sorted(set(states) - passed):
            print(f"{'/'.join(sorted(states[file, name]))}\t{file}\t{name}")
    if args.update:
        header, files = read_list(args.update)
        for file, name in passed:
            files[file].add(name)
        write_list(args.update, header, files)
        percentage(args.update)
    if args.allowlist:
        _, files = read_list(args.allowlist)
        missing = sorted((file, name) for file in files for name in files[file] if (file, name) not in passed)
        for file, name in missing:
            print(f"did not pass, and has to: {file}: {name}")
        wrong = list(excuses(states, passed))
        print("\n".join(wrong))
        percentage(args.allowlist)
        sys.exit(1 if missing or wrong else 0)


if __name__ == "__main__":
    main()
