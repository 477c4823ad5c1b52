"""Other packages for word alignment, in an environment of their own.

    python benchmarks/word_alignment_peers.py PEER SOURCE TARGET FORWARD REVERSE

writes the links of both directions, a line for each of the texts, as source and target
positions from 0, and prints the CPU time in seconds. PEER is eflomal, thot-ibm1,
thot-fast-align or nltk; the packages are eflomal 2.0.0, sil-thot 3.5.3 and nltk 3.10.4.
`word_alignment.py` calls this file.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

ITERATIONS = 5


def align_by_eflomal(source, target, forward, reverse):
    """Run the program with its defaults."""
    program = Path(sys.executable).with_name("eflomal-align")
    options = ["-s", source, "-t", target, "-f", forward, "-r", reverse, "--overwrite"]
    subprocess.run([sys.executable, str(program), *options], check=True)


def align_by_thot(name, source, target, forward, reverse):
    """Train a model in each direction."""
    from thot import alignment

    texts = [Path(path).read_text().splitlines() for path in (source, target)]
    for turned, out in ((False, forward), (True, reverse)):
        model = getattr(alignment, name)()
        lines = zip(*(texts[::-1] if turned else texts), strict=True)
        pairs = [tuple(line.split() for line in pair) for pair in lines]
        for one, other in pairs:
            model.add_sentence_pair(one, other)
        model.start_training()
        for _ in range(ITERATIONS):
            model.train()
        model.end_training()
        lines = []
        for one, other in pairs:
            _, links = model.get_best_alignment(one, other)
            found = zip(*links.to_numpy().nonzero(), strict=True)
            lines.append([link[::-1] if turned else link for link in found])
        write(lines, out)


def align_by_nltk(source, target, forward, reverse):
    """Train IBM model 1 in each direction."""
    from nltk.translate import AlignedSent, IBMModel1

    texts = [Path(path).read_text().splitlines() for path in (source, target)]
    for turned, out in ((False, forward), (True, reverse)):
        given, generated = texts[::-1] if turned else texts
        lines = zip(given, generated, strict=True)
        bitext = [AlignedSent(two.split(), one.split()) for one, two in lines]
        IBMModel1(bitext, ITERATIONS)  # sets the alignments of the sentences
        lines = []
        for pair in bitext:
            found = [(i, j) for j, i in pair.alignment if i is not None]
            lines.append([link[::-1] if turned else link for link in found])
        write(lines, out)


def write(lines, path):
    with open(path, "w") as file:
        for links in lines:
            print(*(f"{i}-{j}" for i, j in links), file=file)


def cpu_seconds():
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(which) for which in both]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(peer, *paths):
    start = cpu_seconds()
    if peer == "eflomal":
        align_by_eflomal(*paths)
    elif peer == "nltk":
        align_by_nltk(*paths)
    else:
        names = {"thot-ibm1": "Ibm1AlignmentModel", "thot-fast-align": "FastAlignModel"}
        align_by_thot(names[peer], *paths)
    print(cpu_seconds() - start)
    sys.stdout.flush()
    os._exit(0)  # some end with an error while their models are freed


if __name__ == "__main__":
    main(*sys.argv[1:])
