"""Does prove.py notice what is missed? Run by .ci/run: python3 -m unittest discover -s scripts/checks -p '*_test.py'."""

import unittest

import prove


def recorded(long=False):
    """The lines of a run in which every figure is reached."""
    amount = {suite: both[long] for suite, both in prove.AMOUNTS.items()}
    every = 1 if long else 61
    yield from (f'proof suite=single of="{name}" every=1 points=5 schedules=30 lost=0 doubled=0' for name in sorted(prove.WHOLE))
    yield from (f'proof suite=single of="{name}" every={every} points=5 schedules=3 lost=0' for name in sorted(prove.SAMPLED))
    yield f"proof suite=pairs of=delta schedules={amount['pairs']} lost=0"
    yield f"proof suite=simulation of=seeds seeds={amount['simulation']} hours=9 lost=0"
    yield "proof suite=simulation of=defects defects=12 caught=12"
    yield f"proof suite=disk of=Delta images={amount['disk']} lost=0"
    yield "proof suite=disk of=lies lies=2 caught=2"
    yield "proof suite=model of=storm states=2000000"
    yield "proof suite=model of=mutations mutations=33 caught=33"
    yield from (f"proof suite=defects of=D{n} rule=I1 caught=1" for n in range(25 - len(prove.DATABASES)))
    yield from (f'proof suite=defects of="D, {name}" caught=1' for name in prove.DATABASES)
    yield "proof suite=connector of=sqlite points=9 schedules=54 lost=0 broken_commit_noticed=1"
    yield from (f"proof suite=kills of={name} kills={amount['kills']} lost=0 doubled=0" for name in prove.KILLED)
    yield from (f"proof suite=syscalls of={name} injected=9 believed=0" for name in prove.SYSTEM_CALLS)
    yield "proof suite=processes of=defects defects=7 caught=7"
    yield from (f"proof suite=zombies of={name} zombies=9 fenced=1" for name in prove.PROCESSES)
    yield from (f"proof suite=limits of={name} runs=9" for name in prove.LIMITS)
    yield from (f"proof suite=servers of={name} stops=2" for name in prove.PROCESSES if "s3" in name or "postgres" in name)
    decoders = (folder.name for folder in (prove.ROOT / "fuzz/corpus").iterdir())
    yield from (f"proof suite=fuzz of={name} seconds={amount['fuzz']} runs=5 crashes=0" for name in decoders)
    if long:
        yield "proof suite=mutants of=chain mutants=100 caught=95"


def missed(lines, long=False):
    """The suites of which something is missing."""
    proof = prove.Proof()
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

    def test_a_sample_is_not_whole(self):
        self.assertEqual(missed([line.replace("every=1 ", "every=2 ") for line in recorded()])[0], {"single"})

    def test_nothing_may_be_wrong(self):
        for key in prove.WRONG:
            self.assertEqual(missed([*recorded(), f"proof suite=single of=delta {key}=1"])[1], {key: 1})


if __name__ == "__main__":
    unittest.main()
