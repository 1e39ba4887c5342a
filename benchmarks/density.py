"""Densities beside exact ones, simple ones and published ones.

    python benchmarks/density.py bsds300 --minutes 60 --threads 2

`bsds300`: patches of natural images, see patches.py.
"""

import argparse

import torch

import patches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parsers = parser.add_subparsers(required=True)
    images = parsers.add_parser("bsds300", help="patches of natural images against published figures")
    images.add_argument("--minutes", type=float, default=60)
    images.add_argument("--resume", action="store_true", help="go on from the checkpoint in runs/")
    images.add_argument("--rows", type=int, help="so many patches only: does everything work?")
    images.set_defaults(run=patches.main)
    for each in parsers.choices.values():
        each.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.run(options)


if __name__ == "__main__":
    main()
