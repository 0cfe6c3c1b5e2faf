"""Train a model.

On several GPUs: torchrun --nproc-per-node N -m videoadapt train CONFIG [key=value ...]
The run writes into run.out_dir: config.yaml, metrics.jsonl, TensorBoard events, last.safetensors, best.safetensors and
resume_<step>.pt, from which run.resume=auto continues. On SIGTERM, SIGINT or SIGUSR1 it finishes its step, saves its
state and ends with exit code 75.
"""

import argparse

from videoadapt.commands.common import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)


def run(args: argparse.Namespace) -> None:
    from videoadapt.config import load_config

    config = load_config(args.config, args.overrides)
    from videoadapt.workflows import train_config

    train_config(config)
