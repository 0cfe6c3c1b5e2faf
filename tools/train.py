"""Train a model: python tools/train.py CONFIG [key=value ...]

Also under torchrun: torchrun --nproc-per-node N tools/train.py CONFIG [key=value ...]
Writes into run.out_dir: config.yaml, metrics.jsonl, TensorBoard events, last.safetensors, best.safetensors and
resume_<step>.pt, from which run.resume=auto goes on. SIGTERM, SIGINT and SIGUSR1 end a run after its step, saved, with
exit code 75.
"""

from videoadapt import cli, workflows
from videoadapt.config import load_config


def main() -> None:
    args = cli.config_parser(__doc__).parse_args()
    workflows.train_config(load_config(args.config, args.overrides))


if __name__ == "__main__":
    cli.run(main)
