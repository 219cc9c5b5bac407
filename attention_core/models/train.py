"""Train a model that ships, or one of your own.

    python -m attention_core.models.train translator --attention additive [--guided 1.0] [--seed 0]
    python -m attention_core.models.train translator --attention general --corpus english-french.tsv
    python -m attention_core.models.train transformer [--seed 0]
    python -m attention_core.models.train vit [--split shortcut] [--size 48] [--seed 0]

Writes the weights, their card and, with --trace, the trace of the training to --output. After every epoch
the whole state is kept there too: what stops the process costs an epoch at most, and the same command with
--resume goes on as if nothing had been.
"""

import argparse
import sys
from collections.abc import Sequence

import torch

from attention_core.models.transformer import command as transformer
from attention_core.models.translator import command as translator
from attention_core.models.vit import command as vit

COMMANDS = {"translator": translator, "transformer": transformer, "vit": vit}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        return COMMANDS[options.model].train(options)
    except KeyboardInterrupt:
        sys.stderr.write(
            "\nStopped. All epochs that were finished are kept: the same with --resume goes on.\n"
        )
        return 130
    except (ValueError, TypeError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="python -m attention_core.models.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="model", required=True)
    for name, command in COMMANDS.items():
        command.add_options(commands.add_parser(name, help=command.HELP))
    return whole


def command_of(options: argparse.Namespace) -> str:
    """What to type for the same weights: the options that are not as they are without being said."""
    return COMMANDS[options.model].command_of(options)


if __name__ == "__main__":
    sys.exit(main())
