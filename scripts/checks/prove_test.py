"""Does prove.py notice what is missed? Run by .ci/run: python3 -m unittest discover -s scripts/checks -p '*_test.py'."""

import contextlib
import io
import re
import time
import unittest
from unittest import mock

import prove


def recorded(long=False):
    """The lines of a run in which every figure is reached."""
    amount = {suite: both[long] for suite, both in prove.AMOUNTS.items()}
    sampled = {**dict.fromkeys(prove.SAMPLED, 1 if long else 61), **dict.fromkeys(prove.SLOW, 61)}
    of_databases = {of.partition(", ")[0] for of in prove.OF_DATABASES}
    promise = " ".join(f"{key}=0" for key in prove.PROMISE)
    for suite, ways in prove.MODES.items():
        modes = " ".join(f"{mode}={20 if mode in prove.ALWAYS[suite] else 7}" for mode in sorted(ways))
        yield from (f'proof suite={suite} of="{name}" every=1 points=20 schedules={20 * prove.WAYS[suite]} {promise} {modes}' for name in sorted(prove.WHOLE))
    yield from (f'proof suite=single of="{name}" every=1 points=20 schedules=40 {promise}' for name in prove.DYING)
    yield from (f'proof suite=single of="{name}" every={every} points=61 schedules={2 * 61 // every} {promise}' for name, every in sampled.items())
    if long:
        yield from (f'proof suite=answers of="{name}" every=1 points=61 schedules=61 {promise}' for name in prove.SAMPLED)
    yield f"proof suite=pairs of=delta schedules=9000000 double_crashes={amount['pairs'] - len(prove.PAIRED)} {promise}"
    yield from (f'proof suite=pairs of="{name}" schedules=1 double_crashes=1 {promise}' for name in prove.PAIRED)
    yield f"proof suite=simulation of=seeds seeds={amount['simulation']} hours=9 {promise}"
    yield f"proof suite=simulation of=http seeds={amount['simulation over http']} {promise}"
    yield "proof suite=simulation of=defects defects=21 caught=21"
    yield f"proof suite=disk of=Delta images={amount['disk']} recovered={amount['disk'] // 20} {promise}"
    yield "proof suite=disk of=lies lies=2 caught=2"
    yield "proof suite=model of=storm states=2000000"
    yield "proof suite=model of=mutations mutations=33 caught=33"
    yield from (f"proof suite=defects of={name} rule=I1 caught=1" for name in prove.known_defects() - prove.OF_PROCESSES - of_databases)
    yield from (f'proof suite=defects of="{name}" caught=1' for name in prove.OF_DATABASES)
    yield f"proof suite=connector of=sqlite points=20 schedules=40 {promise} broken_commit_noticed=1"
    yield f"proof suite=tests of=all passed={prove.TESTS}"
    yield from (f"proof suite=tests of={store} passed=1" for store in prove.STORES)
    yield from (f"proof suite=kills of={name} kills={amount['kills']} rivals=1 lost=0 doubled=0" + " server_kills=1" * (name in prove.KILLED_SERVERS) + " partial=0" * (name not in prove.UNNAMED) + " damaged=1" * (name in prove.DAMAGED) + " compact=1 checkpoint=1" * (name in prove.KEPT_UP) for name in prove.KILLED)
    kinds = {f"{calls[-1]},KILL": " ".join(f"{kind}=1" for kind in met) for calls, met in prove.MET.items()}
    yield from (f"proof suite=kills of={name} kills={few} lost=0 doubled=0 partial=0" for name, few in prove.FEW_KILLS.items())
    yield from (f"proof suite=syscalls of={name} injected=9 believed=0 lost=0 doubled=0 {kinds.get(name, '')}" for name in prove.SYSTEM_CALLS | kinds.keys())
    yield "proof suite=processes of=defects defects=8 caught=8"
    yield from (f"proof suite=zombies of={name} zombies=9 fenced=1 lost=0 doubled=0" for name in prove.PROCESSES)
    yield from (f"proof suite=limits of={name} runs=9 lost=0 doubled=0" for name in prove.LIMITS)
    yield "proof suite=limits of=all runs=9 lost=0 doubled=0 " + " ".join(f"{kind}=1" for kind in prove.PROCESSES)
    yield from (f"proof suite=servers of={name} stops=2 lost=0 doubled=0" for name in prove.PROCESSES if "s3" in name or "postgres" in name)
    decoders = (folder.name for folder in (prove.ROOT / "fuzz/corpus").iterdir())
    yield from (f"proof suite=fuzz of={name} seconds={amount['fuzz']} runs=5 crashes=0" for name in decoders)
    if long:
        yield from (f"proof suite=mutants of={name} mutants=100 caught=95 skipped=100" for name in sorted(prove.mutated()))


def missed(lines, long=False, **seconds):
    """The suites of which something is missing, where they took so many seconds."""
    proof = prove.Proof()
    proof.seconds.update(seconds)
    for line in lines:
        assert proof.read(line), line
    return {figure.suite for figure in prove.figures(proof, long) if figure.missing or not proof.of[figure.suite]}, proof.wrong()


class Figures(unittest.TestCase):
    def test_all_are_reached(self):
        for long in (False, True):
            self.assertEqual(missed(recorded(long), long), (set(), {}))

    def test_each_line_is_needed(self):
        for long in (False, True):
            lines = list(recorded(long))
            for n, line in enumerate(lines):
                suite = line.split()[1].removeprefix("suite=")
                self.assertEqual(missed(lines[:n] + lines[n + 1 :], long)[0], {suite}, line)

    def test_what_is_not_caught_is_noticed(self):
        for line in ("simulation of=defects defects=1 caught=0", "defects of=One rule=I1 caught=0", "disk of=lies lies=1 caught=0", "model of=mutations mutations=1 caught=0"):
            self.assertEqual(missed([*recorded(), f"proof suite={line}"])[0], {line.split()[0]})

    def test_single_crashes_have_their_time(self):
        self.assertEqual(missed(recorded(), single=prove.SECONDS)[0], set())
        self.assertEqual(missed(recorded(), single=prove.SECONDS + 1)[0], {"single"})
        self.assertEqual(missed(recorded(long=True), long=True, single=prove.SECONDS + 1)[0], set())

    def test_a_sample_is_not_whole(self):
        self.assertEqual(missed([line.replace("every=1 ", "every=2 ") for line in recorded()])[0], {"single", "answers"})

    def test_a_line_says_what_is_lost_and_doubled(self):
        for suite in ("single", "answers", "pairs", "connector", "kills", "syscalls", "zombies", "limits", "servers"):
            lines = [line.replace(" doubled=0", "") if f"suite={suite} " in line else line for line in recorded()]
            self.assertEqual(missed(lines)[0], {suite})

    def test_somebody_looks_for_parts_where_rows_name_their_load(self):
        self.assertEqual(missed([line.replace(" partial=0", "") if "suite=kills" in line else line for line in recorded()])[0], {"kills"})

    def test_what_can_be_damaged_was(self):
        self.assertEqual(missed([line.replace(" damaged=1", " damaged=0") for line in recorded()])[0], {"kills"})

    def test_what_is_kept_up_was(self):
        for what in ("compact", "checkpoint"):
            self.assertEqual(missed([line.replace(f" {what}=1", f" {what}=0") for line in recorded()])[0], {"kills"})

    def test_images_of_a_disk_are_recovered(self):
        self.assertEqual(missed([re.sub(r" recovered=\d+", " recovered=9", line) for line in recorded()])[0], {"disk"})

    def test_most_mutants_are_tried(self):
        lines = [line.replace("caught=95 skipped=100", "caught=95 skipped=101") if "of=delta " in line else line for line in recorded(True)]
        self.assertEqual(missed(lines, True)[0], {"mutants"})

    def test_a_history_says_all_that_is_promised(self):
        for suite in ("single", "answers", "pairs", "simulation", "disk", "connector"):
            for key in prove.PROMISE:
                lines = [line.replace(f" {key}=0", "") if f"suite={suite} " in line else line for line in recorded()]
                self.assertEqual(missed(lines)[0], {suite})

    def test_each_way_must_have_happened(self):
        for suite, mode in ((suite, mode) for suite, modes in prove.MODES.items() for mode in modes):
            lines = [re.sub(rf" {mode}=\d+", f" {mode}=0", line) for line in recorded()]
            self.assertEqual(missed(lines)[0], {suite})

    def test_who_dies_and_stands_still_does_so_at_every_operation(self):
        for suite, mode in ((suite, mode) for suite, modes in prove.ALWAYS.items() for mode in modes):
            for unmet, missing in ((0, {suite}), (1, set())):
                lines = [line.replace(f" {mode}=20", f" {mode}=19 unmet={unmet}") if 'of="delta"' in line else line for line in recorded()]
                self.assertEqual(missed(lines)[0], missing, f"{mode}, {unmet} unmet")

    def test_a_mutation_that_is_gone_is_missed(self):
        self.assertEqual(missed([line.replace("mutations=33 caught=33", "mutations=32 caught=32") for line in recorded()])[0], {"model"})

    def test_two_at_once_and_servers_that_die_are_among_the_kills(self):
        for key in ("rivals", "server_kills"):
            self.assertEqual(missed([line.replace(f" {key}=1", f" {key}=0", 1) if "of=postgres " in line else line for line in recorded()])[0], {"kills"}, key)

    def test_of_few_kills_none_is_missing(self):
        for name, few in prove.FEW_KILLS.items():
            lines = [line.replace(f" kills={few}", f" kills={few - 1}") if f"of={name} " in line else line for line in recorded()]
            self.assertEqual(missed(lines)[0], {"kills"}, name)

    def test_each_sink_has_met_the_calls_that_it_makes(self):
        for calls, kinds in prove.MET.items():
            for kind in kinds:
                lines = [line.replace(f" {kind}=1", "") if re.search(rf"of=({'|'.join(calls)}),", line) else line for line in recorded()]
                self.assertEqual(missed(lines)[0], {"syscalls"}, f"{calls} of {kind}")

    def test_who_was_stopped_was_woken(self):
        for end in ("gone", "done", "stops"):
            lines = [line.replace("fenced=1", f"fenced=0 {end}=1") if "suite=zombies of=sqlite " in line else line for line in recorded()]
            self.assertEqual(missed(lines)[0], {"zombies"} if end == "stops" else set(), end)

    def test_tests_on_a_server_of_others_are_counted_apart(self):
        proof, said = prove.Proof(), "test result: ok. 57 passed; 0 failed\nskipped: LANDFALL_S3_URI names no store\ns3: 60 checks passed, 0 failed\n"
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertTrue(prove.run(proof, "tests", ["printf", said], {}, 600))
        self.assertEqual({name: of["passed"] for name, of in proof.of["tests"].items()}, {"all": 57, "s3": 60})

    def test_tests_that_do_nothing_have_failed(self):
        for said, failed in (
            ("test result: ok. 0 passed; 0 failed", 1),
            ("test result: ok. 10 passed; 0 failed; 0 ignored", 0),
            ("s3: 0 checks passed, 0 failed", 1),
            ("skipped: LANDFALL_S3_URI names no store", 0),
            ("skipped: LANDFALL_TEST_POSTGRES is not set; see scripts/with-postgres", 1),
            ("..i.skipped for DuckDb: LANDFALL_TEST_ADBC_DUCKDB or its server is not there", 1),
            ("one of the records was skipped: it is no number", 0),
        ):
            proof = prove.Proof()
            with contextlib.redirect_stdout(io.StringIO()):
                prove.run(proof, "tests", ["printf", "%s\n", said], {}, 600)
            self.assertEqual(proof.wrong(), {"failed": 1} if failed else {}, said)

    def test_what_went_wrong_early_is_shown_of_a_suite_that_failed(self):
        lines = ("seed 7", "run 3 ended as the server died: gone", "run 4 failed with 10: a bug", "differs: a -> b")
        said = "".join(f"echo '{line}'; " for line in lines)
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            prove.run(prove.Proof(), "kills", ["bash", "-c", f"{said} yes 'differs: c' | head -{prove.SHOWN}; yes well | head -{3 * prove.SHOWN}; exit 1"], {}, 600)
        shown = [line.removeprefix("  | ") for line in shown.getvalue().splitlines() if line.startswith("  | ")]
        self.assertEqual(shown[:3], [lines[0], *lines[2:]])
        self.assertEqual(len(shown), 2 * prove.SHOWN)

    def test_single_faults_are_of_the_suite_that_ran_them(self):
        proof = prove.Proof()
        proof.read(prove.of_its_suite("proof suite=single of=delta every=1 points=20 schedules=40 Fail=20", "answers"))
        self.assertEqual((list(proof.of), proof.enough["answers"]), (["answers"], {"delta"}))

    def test_few_faults_for_many_operations_are_not_whole(self):
        self.assertEqual(missed([line.replace("points=20", "points=21") for line in recorded() if "suite=connector" not in line])[0], {"single", "answers", "connector"})

    def test_who_is_sampled_later_too_was_whole(self):
        later = [line.replace("every=1 ", "every=1000000 ").replace("schedules=40", "schedules=6") for line in recorded() if "suite=single" in line]
        self.assertEqual(missed([*recorded(), *later])[0], set())

    def test_faults_that_were_not_met_are_shown(self):
        for suite in prove.MODES:
            for unmet in (0, 3):
                proof = prove.Proof()
                proof.read(f"proof suite={suite} of=delta every=1 points=20 schedules=40 unmet={unmet}")
                ran = next(figure.ran for figure in prove.figures(proof, False) if figure.suite == suite)
                self.assertEqual("3 unmet" in ran, unmet == 3, ran)

    def test_every_test_is_run_by_some_suite(self):
        ran = [command for step in prove.commands(False) for lane in step for _, command, _ in lane if "cargo" in command]
        binaries = {name for command in ran for flag, name in zip(command, command[1:]) if flag == "--test"}
        there = {path.stem for path in prove.ROOT.glob("tests/*.rs")} | {path.parent.name for path in prove.ROOT.glob("tests/*/main.rs")}
        self.assertEqual(there - binaries, set())
        # One of them says what the others are to be.
        for name in re.findall(r"#\[test\]\nfn (\w+)", (prove.ROOT / "tests/defects/main.rs").read_text()):
            self.assertTrue(any(word in name for command in ran if "defects" in command for word in command[command.index("--nocapture") + 1 :]), name)

    def test_each_variable_is_read_by_some_test(self):
        told = {name for long in (False, True) for step in prove.commands(long) for lane in step for _, _, environment in lane for name in environment}
        code = "".join(path.read_text() for folder in ("src", "tests") for path in (prove.ROOT / folder).rglob("*.rs"))
        self.assertEqual({name for name in told if f'"{name}"' not in code}, set())

    def test_few_mutants_of_a_module_may_be_missed(self):
        lines = [line.replace("of=delta mutants=100 caught=95", "of=delta mutants=100 caught=94") for line in recorded(True)]
        self.assertEqual(missed(lines, True)[0], {"mutants"})

    def test_who_stands_still_is_ended_with_what_it_started(self):
        # The child holds the output: as long as it is there, there is more to read.
        began = time.monotonic()
        for command in ("sleep 600 & wait", "sleep 600 & exit 0", "trap '' TERM; sleep 600"):
            with contextlib.redirect_stdout(io.StringIO()) as said, mock.patch.object(prove, "GRACE", 0.2):
                self.assertFalse(prove.run(prove.Proof(), "kills", ["bash", "-c", command], {}, 0.2))
            self.assertIn("was ended after 0.2 s", said.getvalue())
        self.assertLess(time.monotonic() - began, 60)

    def test_who_ends_in_time_is_not_ended(self):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertTrue(prove.run(prove.Proof(), "kills", ["true"], {}, 600))
            self.assertFalse(prove.run(prove.Proof(), "kills", ["false"], {}, 600))
        self.assertIn("false exits with 1", said.getvalue())

    def test_nothing_may_be_wrong(self):
        for key in prove.WRONG:
            self.assertEqual(missed([*recorded(), f"proof suite=single of=delta {key}=1"])[1], {key: 1})


if __name__ == "__main__":
    unittest.main()
